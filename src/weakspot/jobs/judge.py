"""Whether a training learned, and which thresholds its scores give; the evidence for both in words."""

from dataclasses import dataclass
from math import comb

import numpy as np
from sklearn.metrics import roc_auc_score

from weakspot.errors import TrainingError
from weakspot.evaluation.label_doubts import swap_sentence
from weakspot.evaluation.metrics import better_than_chance
from weakspot.evaluation.threshold import ThresholdChoice, choose_thresholds
from weakspot.jobs.learn import FINAL, LOST_BELOW, Learned
from weakspot.settings import TrainSettings

CHANCE = 0.05  # how often pure chance may pass for learning


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How the detector decides, and what a person must know of it."""

    choice: ThresholdChoice
    learned: str  # the evidence that it learned, in one sentence
    warnings: tuple[str, ...]


def judge(learned: Learned, labels: np.ndarray, groups: list[str], ids: list[str], settings: TrainSettings) -> Verdict:
    """Hold the detector that ships, and those of its folds, against chance; then choose the thresholds.

    labels: (n,), 1 bad, 0 good; groups, ids: the physical part and the name of each picture. Raises TrainingError for
    a training that did not learn, unless the settings keep it, which is then the first warning.
    """
    fault, evidence = _fault(learned, labels, groups), _evidence(learned, labels, groups)
    if fault and settings.unlearned == "refuse":
        ways_out = (
            "more bad pictures, a larger --size so that the defect is visible, another --seed, a longer --schedule"
        )
        look = "look at `weakspot audit` for labels that are wrong"
        raise TrainingError(f"{fault} ({evidence}). Try: {ways_out}; and {look}")
    seen = "scores of the very pictures it was trained on, which flatter"
    if learned.held_out is None:
        choice = choose_thresholds(
            labels, learned.scores.raw, settings.threshold, groups, ids, chosen_on=seen, held_out=False
        )
    else:
        choice = choose_thresholds(labels, learned.held_out.raw, settings.threshold, groups, ids)
    warnings = [f"{fault} ({evidence})"] * bool(fault) + [f"thresholds rest on {seen}"] * (learned.held_out is None)
    warnings += _doubts(learned, labels, groups)
    return Verdict(choice=choice, learned=evidence, warnings=tuple(warnings))


def _fault(learned: Learned, labels: np.ndarray, groups: list[str]) -> str:
    """What speaks against it, in words; empty where nothing does."""
    held_out = learned.held_out
    lost = FINAL in learned.lost or _auroc(labels, learned.scores.raw) < LOST_BELOW
    unproved = held_out is not None and better_than_chance(labels, held_out.raw, groups) > CHANCE
    if not lost and not (unproved and _least_chance(labels, groups) <= CHANCE):
        return ""
    swap = "" if held_out is None else swap_sentence(labels, held_out.raw, groups)
    if swap:
        return f"the training did not learn: {swap}"
    means = [float(learned.scores.heat_maps[labels == label].mean()) for label in (1, 0)]
    heat = "is all dark" if max(means) < 0.02 else f"has the mean {means[0]:.3f} on bad and {means[1]:.3f} on good ones"
    return f"the training did not learn: the heat {heat}"


def _doubts(learned: Learned, labels: np.ndarray, groups: list[str]) -> list[str]:
    """What stands in the way of trusting the evidence."""
    doubts = [
        f"the search of {name} was lost in every start, and its scores choose thresholds" for name in learned.lost
    ]
    if learned.held_out is not None and _least_chance(labels, groups) > CHANCE:
        parts = [len({group for group, label in zip(groups, labels, strict=True) if label == one}) for one in (1, 0)]
        doubts.append(
            f"{parts[0]} bad and {parts[1]} good parts are too few to show that it learned: chance may rank as well"
        )
    return doubts


def _least_chance(labels: np.ndarray, groups: list[str]) -> float:
    """How often chance ranks so few parts perfectly."""
    bad, good = (len({group for group, label in zip(groups, labels, strict=True) if label == one}) for one in (1, 0))
    return 1 / comb(bad + good, bad)


def _evidence(learned: Learned, labels: np.ndarray, groups: list[str]) -> str:
    """The figures that speak for it, and what they are of."""
    own = f"the detector ranks its own training pictures with AUROC {_auroc(labels, learned.scores.raw):.2f}"
    if learned.held_out is None:
        return f"{own}; without folds nothing says how it ranks others"
    chance = better_than_chance(labels, learned.held_out.raw, groups)
    others = f"those of its folds rank pictures they have not seen with {_auroc(labels, learned.held_out.raw):.2f}"
    lost = f"; lost in every start: {', '.join(learned.lost)}" if learned.lost else ""
    return f"{own}; {others}, which chance alone reaches in {_percent(chance)} of trainings{lost}"


def _percent(share: float) -> str:
    return "less than 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def _auroc(labels: np.ndarray, values: np.ndarray) -> float:
    return float(roc_auc_score(labels, values))
