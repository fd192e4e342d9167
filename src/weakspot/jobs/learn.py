"""From pictures in memory to a trained detector and its thresholds: k from the data, out-of-fold scores, the final training, and whether it learned.

Every training has a folder of its own below the run's and is gone on with where it was stopped. Reads no picture files.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sklearn.metrics import roc_auc_score

from weakspot.errors import TrainingError
from weakspot.evaluation.threshold import ThresholdChoice, choose_thresholds
from weakspot.jobs.out_of_fold import OutOfFold, auroc_error, choose_fraction, fold_numbers, out_of_fold
from weakspot.jobs.plan import SEARCH_SCHEDULE, chooses_fraction, search_factor
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
    by_fraction: dict[str, float]  # out-of-fold AUROC by share of cells; empty where k was given
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Trainings:
    """The trainings of one run: each in a folder of its own, begun or gone on with by name."""

    settings: TrainSettings
    machine: Machine
    folder: Path
    identity: str  # hash of everything that shapes them
    watch: Watch

    def whole(self, name: str, images: TrainingImages, fraction: float, schedule: float) -> Detector:
        """All stages of the recipe."""
        return self._train(name, self._recipe(images, fraction, schedule), images)

    def search(self, name: str, images: TrainingImages, fraction: float, schedule: float) -> Detector:
        """The first stage alone, which is enough to compare shares of cells."""
        chosen = self._recipe(images, fraction, schedule)
        return self._train(name, replace(chosen, stages=chosen.stages[:1]), images)

    def _recipe(self, images: TrainingImages, fraction: float, schedule: float) -> Recipe:
        _, channels, height, width = images.pixels.shape
        return recipe(self.settings, channels, fraction, schedule, pairs_a_step(self.settings, height, width))

    def _train(self, name: str, chosen: Recipe, images: TrainingImages) -> Detector:
        """One training, started anew with another seed where the search was lost."""
        for start in range(STARTS):
            detector = self._start(name if start == 0 else f"{name}, start {start + 1}", chosen, images, self.settings.seed + 1000 * start)
            if start + 1 == STARTS or _auroc(images.labels, scores(detector, images, self.machine)[1]) >= LOST_BELOW:
                break
            self.watch.note(f"{name}: the search was lost (it does not even tell its own training pictures apart); starting again with another seed")
        return detector

    def _start(self, name: str, chosen: Recipe, images: TrainingImages, seed: int) -> Detector:
        training = start_training(chosen, images, seed, self.machine)
        self.watch.begin(name, chosen, images)

        def on_step(step: Step) -> None:
            self.watch.step(training.detector, step)

        place = self.folder / name.replace(", ", "-").replace(" ", "-")
        return train_resumably(training, place, f"{self.identity}-{name}", on_step, self.watch.stop, self.watch.note)


def learn(
    images: TrainingImages, groups: list[str], ids: list[str], settings: TrainSettings, machine: Machine, folder: Path, watch: Watch
) -> Learned:
    """Choose k, score out of fold, choose the thresholds, train on everything. Raises TrainingError when nothing was learned.

    groups, ids: the physical part and the name of each picture; folder: where the trainings lie, so that `--resume` finds them.
    """
    trainings = Trainings(settings, machine, folder, _identity(images, settings, machine), watch)
    fraction, held_out = recipe(settings, 1).network.top_fraction, None
    by_fraction: dict[str, float] = {}
    if settings.folds > 1:
        numbers = fold_numbers(images.labels, groups, settings.folds, settings.seed)
        if chooses_fraction(settings):
            fraction, by_fraction = _fraction(images, numbers, trainings)
        held_out = out_of_fold(images, numbers, trainings.whole, "fold", fraction, settings.schedule * settings.fold_schedule, machine)
        watch.note(f"out of fold, bad parts score above good ones {held_out.auroc():.1%} of the time (AUROC by the heat)")
    detector = trainings.whole("final", images, fraction, settings.schedule)
    raw_scores, heat_scores, heat_maps = scores(detector, images, machine)
    _refuse_unlearned(images.labels, heat_scores, heat_maps, held_out)
    choice, warnings = _thresholds(images.labels, held_out, raw_scores, groups, ids, settings)
    chosen = recipe(settings, images.pixels.shape[1], fraction)
    return Learned(detector=detector, recipe=chosen, choice=choice, held_out=held_out, by_fraction=by_fraction, warnings=warnings)


def _fraction(images: TrainingImages, numbers: np.ndarray, trainings: Trainings) -> tuple[float, dict[str, float]]:
    """k, searched for on smaller pictures: a share of the cells is the same share at any size."""
    small = images.shrunk(search_factor(*images.pixels.shape[2:]))
    schedule = trainings.settings.schedule * SEARCH_SCHEDULE
    fraction, by_fraction = choose_fraction(small, numbers, trainings.search, schedule, trainings.machine)
    found = ", ".join(f"{share}: {auroc:.3f}" for share, auroc in by_fraction.items())
    trainings.watch.note(f"k = {fraction:.0%} of the cells, by out-of-fold AUROC: {found}")
    return fraction, by_fraction


def _thresholds(
    labels: np.ndarray, held_out: OutOfFold | None, training_scores: np.ndarray, groups: list[str], ids: list[str], settings: TrainSettings
) -> tuple[ThresholdChoice, tuple[str, ...]]:  # fmt: skip
    if held_out is not None:
        return choose_thresholds(labels, held_out.raw_scores, settings.threshold, groups, ids), ()
    words = "scores of the very pictures it was trained on, which flatters (folds = 0)"
    return choose_thresholds(labels, training_scores, settings.threshold, groups, ids, chosen_on=words), (f"thresholds rest on {words}",)


def _refuse_unlearned(labels: np.ndarray, heat_scores: np.ndarray, heat_maps: np.ndarray, held_out: OutOfFold | None) -> None:
    """A training that learned nothing must not end as a quiet success."""
    if held_out is None:
        auroc, needed = _auroc(labels, heat_scores), LOST_BELOW
    else:  # short trainings on parts of the pictures rank worse than the final one: no more is asked for than chance would hardly give
        auroc = held_out.auroc()
        needed = 0.5 + min(0.1, auroc_error(0.5, int(labels.sum()), int((labels == 0).sum())))
    if auroc >= needed:
        return
    bad, good = (float(heat_maps[labels == label].mean()) for label in (1, 0))
    dark = "is all dark" if max(bad, good) < 0.02 else "is the same for good and bad"
    how = "is upside down: good parts look worse than bad ones" if auroc < 0.4 else dark
    raise TrainingError(
        f"the training did not learn: the heat {how} (AUROC {auroc:.2f} {'on held-out' if held_out is not None else 'on its own training'} pictures, "
        f"mean heat {bad:.3f} on bad and {good:.3f} on good ones). Try: more bad pictures, a larger --size so that the defect is visible, "
        f"another --seed, a longer --schedule; and look at `weakspot audit` for labels that are wrong"
    )


def _auroc(labels: np.ndarray, values: np.ndarray) -> float:
    return float(roc_auc_score(labels, values))


def _identity(images: TrainingImages, settings: TrainSettings, machine: Machine) -> str:
    """Hash of pictures, settings and machine: trainings that share it can be gone on with."""
    plain = json.dumps([as_plain(settings), asdict(machine), images.pixels.shape, str(images.pixels.dtype)], sort_keys=True, default=str)
    return hashlib.sha256(plain.encode() + images.labels.tobytes() + np.ascontiguousarray(images.pixels).tobytes()).hexdigest()


def describe(learned: Learned) -> dict[str, Any]:
    """What the run keeps of it, as plain values."""
    return {"top_fraction": learned.recipe.network.top_fraction, "auroc_by_fraction": learned.by_fraction, "thresholds": learned.choice.evidence}
