"""From pictures in memory to a trained detector and its thresholds: out-of-fold scores, the final training, and whether
it learned.

Every training has a folder of its own below the run's and is gone on with where it was stopped. Reads no picture files.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sklearn.metrics import roc_auc_score

from weakspot.errors import TrainingError
from weakspot.evaluation.threshold import ThresholdChoice, choose_thresholds
from weakspot.jobs.out_of_fold import OutOfFold, auroc_error, fold_numbers, out_of_fold
from weakspot.network.detector import Detector
from weakspot.settings import TrainSettings, as_plain
from weakspot.training.images import TrainingImages
from weakspot.training.loop import Step
from weakspot.training.resume import train_resumably
from weakspot.training.stages import Recipe, pairs_a_step, recipe
from weakspot.training.train import Machine, scores, start_training

STARTS = 3  # a search that cannot even tell its own training pictures apart is lost, and starts again with another seed
LOST_BELOW = 0.75  # AUROC on the training pictures


class Watch(Protocol):
    """Whoever looks on: shows progress, keeps the history, may ask to stop."""

    def begin(self, name: str, chosen: Recipe, images: TrainingImages) -> None: ...
    def step(self, detector: Detector, step: Step) -> None: ...
    def note(self, text: str) -> None: ...
    def stop(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A trained detector, how it decides, and what that rests on."""

    detector: Detector
    recipe: Recipe
    choice: ThresholdChoice
    held_out: OutOfFold | None  # None: no folds were asked for, and the thresholds rest on training scores
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Trainings:
    """The trainings of one run: each in a folder of its own, begun or gone on with by name."""

    settings: TrainSettings
    machine: Machine
    folder: Path
    identity: str  # hash of everything that shapes them
    watch: Watch
    light_share: float  # of all training pictures, so that every fold is normalized alike

    def train(self, name: str, images: TrainingImages, schedule: float) -> Detector:
        """One training, started anew with another seed where the search was lost."""
        _, channels, height, width = images.pixels.shape
        chosen = recipe(self.settings, channels, schedule, pairs_a_step(self.settings, height, width), self.light_share)
        for start in range(STARTS):
            detector = self._start(
                name if start == 0 else f"{name}, start {start + 1}", chosen, images, self.settings.seed + 1000 * start
            )
            if start + 1 == STARTS or _auroc(images.labels, scores(detector, images, self.machine)[1]) >= LOST_BELOW:
                break
            self.watch.note(
                f"{name}: the search was lost (it does not even tell its own training pictures apart); starting again with another seed"
            )
        return detector

    def _start(self, name: str, chosen: Recipe, images: TrainingImages, seed: int) -> Detector:
        training = start_training(chosen, images, seed, self.machine)
        self.watch.begin(name, chosen, images)

        def on_step(step: Step) -> None:
            self.watch.step(training.detector, step)

        place = self.folder / name.replace(", ", "-").replace(" ", "-")
        return train_resumably(training, place, f"{self.identity}-{name}", on_step, self.watch.stop, self.watch.note)


def learn(
    images: TrainingImages,
    groups: list[str],
    ids: list[str],
    settings: TrainSettings,
    machine: Machine,
    folder: Path,
    watch: Watch,
) -> Learned:
    """Score out of fold, train on everything, choose the thresholds. Raises TrainingError when nothing was learned.

    groups, ids: the physical part and the name of each picture; folder: where the trainings lie, so that `--resume`
    finds them.
    """
    trainings = Trainings(settings, machine, folder, _identity(images, settings, machine), watch, images.light_share)
    held_out = None
    watch.note(_told_of_light(images, settings))
    if settings.folds > 1:
        numbers = fold_numbers(images.labels, groups, settings.folds, settings.seed)
        held_out = out_of_fold(images, numbers, trainings.train, settings.schedule * settings.fold_schedule, machine)
        watch.note(
            f"out of fold, bad parts score above good ones {held_out.auroc():.1%} of the time (AUROC by the heat)"
        )
    detector = trainings.train("final", images, settings.schedule)
    raw_scores, heat_scores, heat_maps = scores(detector, images, machine)
    warnings = _warn_of_unlearned(images.labels, heat_scores, heat_maps, held_out, settings)
    choice, about_thresholds = _thresholds(images.labels, held_out, raw_scores, groups, ids, settings)
    chosen = recipe(settings, images.pixels.shape[1], light_share=images.light_share)
    return Learned(
        detector=detector, recipe=chosen, choice=choice, held_out=held_out, warnings=warnings + about_thresholds
    )


def _told_of_light(images: TrainingImages, settings: TrainSettings) -> str:
    how = {"picture": "each picture is normalized by itself", "training": "all pictures are normalized alike"}
    chosen = recipe(settings, images.pixels.shape[1], light_share=images.light_share).network.normalization
    return f"{images.light_share:.0%} of the variance lies between pictures: {how[chosen]}"


def _thresholds(
    labels: np.ndarray,
    held_out: OutOfFold | None,
    training_scores: np.ndarray,
    groups: list[str],
    ids: list[str],
    settings: TrainSettings,
) -> tuple[ThresholdChoice, tuple[str, ...]]:
    if held_out is not None:
        return choose_thresholds(labels, held_out.raw_scores, settings.threshold, groups, ids), ()
    words = "scores of the very pictures it was trained on, which flatters (folds = 0)"
    return choose_thresholds(labels, training_scores, settings.threshold, groups, ids, chosen_on=words), (
        f"thresholds rest on {words}",
    )


def _warn_of_unlearned(
    labels: np.ndarray,
    heat_scores: np.ndarray,
    heat_maps: np.ndarray,
    held_out: OutOfFold | None,
    settings: TrainSettings,
) -> tuple[str, ...]:
    """A training that learned nothing must not end as a quiet success: it is refused, or (`unlearned = "keep"`) kept
    with a warning."""
    if held_out is None:
        auroc, needed = _auroc(labels, heat_scores), LOST_BELOW
    # short trainings on parts of the pictures rank worse than the final one: no more is asked for than chance would
    # hardly give
    else:
        auroc = held_out.auroc()
        needed = 0.5 + min(0.1, auroc_error(0.5, int(labels.sum()), int((labels == 0).sum())))
    if auroc >= needed:
        return ()
    seen_on = "held-out" if held_out is not None else "its own training"
    said = f"the training did not learn: {_how_unlearned(labels, heat_maps, auroc)} (AUROC {auroc:.2f} on {seen_on} pictures)"
    if settings.unlearned == "keep":
        return (said,)
    raise TrainingError(
        f"{said}. Try: more bad pictures, a larger --size so that the defect is visible, another --seed, a longer --schedule; "
        f"and look at `weakspot audit` for labels that are wrong"
    )


def _how_unlearned(labels: np.ndarray, heat_maps: np.ndarray, auroc: float) -> str:
    bad, good = (float(heat_maps[labels == label].mean()) for label in (1, 0))
    means = f"mean heat {bad:.3f} on bad and {good:.3f} on good ones"
    if auroc < 0.4:
        return f"the heat is upside down, good parts look worse than bad ones, {means}"
    return f"the heat {'is all dark' if max(bad, good) < 0.02 else 'is the same for good and bad'}, {means}"


def _auroc(labels: np.ndarray, values: np.ndarray) -> float:
    return float(roc_auc_score(labels, values))


def _identity(images: TrainingImages, settings: TrainSettings, machine: Machine) -> str:
    """Hash of pictures, settings and machine: trainings that share it can be gone on with."""
    plain = json.dumps(
        [as_plain(settings), asdict(machine), images.pixels.shape, str(images.pixels.dtype)],
        sort_keys=True,
        default=str,
    )
    return hashlib.sha256(
        plain.encode() + images.labels.tobytes() + np.ascontiguousarray(images.pixels).tobytes()
    ).hexdigest()


def describe(learned: Learned) -> dict[str, Any]:
    """What the run keeps of it, as plain values."""
    network = learned.recipe.network
    held_out = None if learned.held_out is None else learned.held_out.auroc()
    return {
        "top_fractions": network.top_fractions,
        "normalization": network.normalization,
        "held_out_auroc": held_out,
        "thresholds": learned.choice.evidence,
    }
