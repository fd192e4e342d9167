"""Whether a training learned, and which thresholds its scores give; the evidence for both in words."""

from dataclasses import dataclass
from math import comb

import numpy as np
from sklearn.metrics import roc_auc_score

from weakspot.errors import TrainingError, amount
from weakspot.evaluation.label_doubts import swap_sentence
from weakspot.evaluation.metrics import better_than_chance
from weakspot.evaluation.threshold import ThresholdChoice, choose_thresholds
from weakspot.jobs.learn import FINAL, LOST_BELOW, Learned, bad_ones_are_few
from weakspot.jobs.recipes import shows_bad
from weakspot.settings import TrainSettings

CHANCE = 0.05  # how often pure chance may pass for learning


@dataclass(frozen=True)
class _Proof:
    """What the folds' detectors are asked of and have not seen: which is defective, how they score it, whose part."""

    labels: np.ndarray  # (m,), 1 defective
    raw: np.ndarray  # (m,)
    groups: list[str]


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
    proof, few = _proof(learned, labels, groups), bad_ones_are_few(labels, settings)
    shown = bool(labels.any()) and shows_bad(settings)
    fault, evidence = _fault(learned, proof, few, labels, groups), _evidence(learned, proof, labels, shown)
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
    warnings += _doubts(learned, proof, few, labels, groups, shown)
    return Verdict(choice=choice, learned=evidence, warnings=tuple(warnings))


def _proof(learned: Learned, labels: np.ndarray, groups: list[str]) -> _Proof | None:
    """All pictures, or where bad ones are few the good ones with a drawn defect and without; None without folds."""
    if learned.held_out is None:
        return None
    if learned.drawn is None:
        return _Proof(labels, learned.held_out.raw, groups)
    good = np.flatnonzero(labels == 0)
    raw = np.concatenate([learned.drawn, learned.held_out.raw[good]])
    return _Proof(np.repeat((1, 0), len(good)), raw, 2 * [groups[place] for place in good])


def _fault(learned: Learned, proof: _Proof | None, few: bool, labels: np.ndarray, groups: list[str]) -> str:
    """What speaks against it, in words; empty where nothing does."""
    lost = FINAL in learned.lost or (not few and _auroc(labels, learned.scores.raw) < LOST_BELOW)
    unproved = proof is not None and _least_chance(proof) <= CHANCE < _chance(proof)
    if not lost and not unproved:
        return ""
    unseen = learned.held_out
    swap = "" if few or unseen is None else swap_sentence(labels, unseen.raw, groups)
    if swap:
        return f"the training did not learn: {swap}"
    means = {one: float(learned.scores.heat_maps[labels == one].mean()) for one in (1, 0) if one in labels}
    on = " and ".join(f"{mean:.3f} on {'bad' if one else 'good'}" for one, mean in means.items())
    heat = "is all dark" if max(means.values()) < 0.02 else f"has the mean {on} ones"
    return f"the training did not learn: the heat {heat}"


def _doubts(
    learned: Learned, proof: _Proof | None, few: bool, labels: np.ndarray, groups: list[str], shown: bool
) -> list[str]:
    """What stands in the way of trusting the evidence. shown: whether it learned from bad pictures."""
    doubts = [
        f"the search of {name} was lost in every start, and its scores choose thresholds" for name in learned.lost
    ]
    if not shown:
        doubts.append("it was shown no bad picture: all that it knows of defects was drawn")
    elif few:
        count = amount(_parts(labels, groups)[0], "bad part")
        doubts.append(f"whether it learned was judged by drawn defects: {count} can show too little")
    if proof is not None and _least_chance(proof) > CHANCE:
        bad, good = _parts(labels, groups)
        doubts.append(f"{bad} bad and {good} good parts are too few to show that it learned: chance may rank as well")
    return doubts


def _chance(proof: _Proof) -> float:
    """How often chance ranks at least as well."""
    return better_than_chance(proof.labels, proof.raw, proof.groups)


def _least_chance(proof: _Proof) -> float:
    """How often chance ranks so few parts perfectly."""
    bad, good = _parts(proof.labels, proof.groups)
    return 1 / comb(bad + good, bad)


def _parts(labels: np.ndarray, groups: list[str]) -> tuple[int, int]:
    """How many parts have a bad picture, and how many a good one."""
    bad, good = (len({group for group, label in zip(groups, labels, strict=True) if label == one}) for one in (1, 0))
    return bad, good


def _evidence(learned: Learned, proof: _Proof | None, labels: np.ndarray, shown: bool) -> str:
    """The figures that speak for it, and what they are of. shown: whether it learned from bad pictures."""
    own = "the detector learned from good pictures and drawn defects"
    if shown:
        own = f"the detector ranks its own training pictures with AUROC {_auroc(labels, learned.scores.raw):.2f}"
    if proof is None or learned.held_out is None:
        return f"{own}; without folds nothing says how it ranks others"
    others, bad = "pictures they have not seen", ""
    if learned.drawn is not None:
        others = "good pictures they have not seen, with a defect drawn on each, above those without"
        if labels.any():
            count = amount(int(labels.sum()), "bad picture")
            bad = f"; {count} among the good ones with {_auroc(labels, learned.held_out.raw):.2f}"
    ranked = f"those of its folds rank {others} with {_auroc(proof.labels, proof.raw):.2f}"
    lost = f"; lost in every start: {', '.join(learned.lost)}" if learned.lost else ""
    return f"{own}; {ranked}, which chance alone reaches in {_percent(_chance(proof))} of trainings{bad}{lost}"


def _percent(share: float) -> str:
    return "less than 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def _auroc(labels: np.ndarray, values: np.ndarray) -> float:
    return float(roc_auc_score(labels, values))
