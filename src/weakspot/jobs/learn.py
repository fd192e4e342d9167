"""From pictures in memory to a trained detector: once for each fold, for scores out of fold, and once on everything.

Reads no picture files, chooses no thresholds, and sees no test picture.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from weakspot.data.findings import FEW
from weakspot.jobs.observe import Observer
from weakspot.jobs.recipes import draws_defects, fold_schedule, recipe, shows_bad
from weakspot.network.detector import Detector
from weakspot.provenance import training_code, versions
from weakspot.settings import TrainSettings
from weakspot.training.batches import TrainingImages, with_defects
from weakspot.training.stages import Recipe
from weakspot.training.state import Machine, Training
from weakspot.training.train import Scores, run_training, scores, start_training

STARTS = 3  # a search that cannot even tell its own training pictures apart is lost, and starts again with another seed
LOST_BELOW = 0.75  # AUROC by the heat on the training pictures
FINAL = "final"


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A trained detector, and what it and the detectors of the folds say of the training pictures."""

    detector: Detector
    recipe: Recipe
    scores: Scores  # by the detector itself, which has seen them
    held_out: Scores | None  # each by the fold's detector, which has not; None where there are no folds
    # raw scores of the good ones with a defect drawn on each, by the same; None where bad ones can tell more
    drawn: np.ndarray | None = None
    lost: tuple[str, ...]  # trainings that were lost in every start


@dataclass(frozen=True)
class _Task:
    """One training: its name, the pictures it learns, those it is asked of afterwards, and the factor on its steps."""

    name: str
    trains: np.ndarray
    held_out: np.ndarray
    schedule: float


def learn(
    images: TrainingImages,
    folds: np.ndarray | None,
    settings: TrainSettings,
    machine: Machine,
    light_share: float,
    observer: Observer,
) -> Learned:
    """Train for every fold and on everything; a training whose search is lost starts again with another seed.

    folds: the fold in which each picture is held out (n,), or None for no folds; light_share: of the pictures'
    variance, what lies between them.
    """
    fingerprint, held_out, lost = _fingerprint(images, settings), _nothing(images, settings), []
    few = bad_ones_are_few(images.labels, settings)
    drawn = np.zeros(len(images.labels)) if few and folds is not None else None
    for task in _tasks(len(images.labels), folds, settings):
        part = images if task.name == FINAL else images.part(task.trains)
        chosen = recipe(settings, _channels(images), light_share, task.schedule)
        shown = part if chosen.shows_bad else part.part(np.flatnonzero(part.labels == 0))
        for start in range(STARTS if chosen.searches else 1):
            name = task.name if start == 0 else f"{task.name}, start {start + 1}"
            training = start_training(chosen, shown, settings.seed + 1000 * start, machine)
            if not observer.begin(name, training, _identity(fingerprint, task, training.seed, chosen, machine)):
                run_training(training)
                observer.keep(training)
            own = scores(training.detector, part)
            by_drawn = few or not shown.labels.any()
            if not chosen.searches or _tells_apart(training, part, own, by_drawn) >= LOST_BELOW:
                break
            what = "defects drawn on its own training pictures" if by_drawn else "its own training pictures"
            observer.note(f"{name}: the search was lost: it does not even tell {what} apart")
        else:
            lost.append(task.name)
        if task.name != FINAL:
            unseen = images.part(task.held_out)
            _fill(held_out, task.held_out, scores(training.detector, unseen))
            if drawn is not None and not unseen.labels.all():
                drawn[task.held_out[unseen.labels == 0]] = _scores_of_drawn(training, unseen).raw
    return Learned(
        detector=training.detector,
        recipe=chosen,
        scores=own,
        held_out=None if folds is None else held_out,
        drawn=None if drawn is None else drawn[images.labels == 0],
        lost=tuple(lost),
    )


def bad_ones_are_few(labels: np.ndarray, settings: TrainSettings) -> bool:
    """Whether drawn defects tell more of what was learned than so few bad pictures, or than those it was not shown.

    labels: (n,), 1 bad, 0 good.
    """
    return not shows_bad(settings) or (bool(labels.sum() < FEW) and draws_defects(settings))


def _tells_apart(training: Training, images: TrainingImages, own: Scores, by_drawn: bool) -> float:
    """AUROC by the heat on the pictures trained on, or by_drawn on the good ones of them with a defect and without."""
    if not by_drawn:
        return float(roc_auc_score(images.labels, own.heat))
    drawn = _scores_of_drawn(training, images).heat
    both = np.concatenate([own.heat[images.labels == 0], drawn])
    return float(roc_auc_score(np.repeat((0, 1), len(drawn)), both))


def _scores_of_drawn(training: Training, images: TrainingImages) -> Scores:
    """Of the good pictures, in order, with a defect drawn on each."""
    return scores(training.detector, with_defects(images, training.seed))


def _tasks(pictures: int, folds: np.ndarray | None, settings: TrainSettings) -> Iterator[_Task]:
    everything = np.arange(pictures)
    for number in sorted(set(() if folds is None else folds.tolist())):
        inside = folds == number
        schedule = settings.schedule * fold_schedule(settings)
        yield _Task(f"fold {number}", everything[~inside], everything[inside], schedule)
    yield _Task(FINAL, everything, everything[:0], settings.schedule)


def _fingerprint(images: TrainingImages, settings: TrainSettings) -> str:
    """SHA-256 of the pictures, their labels and marks, and of the file of the first weights, where there is one."""
    digest = hashlib.sha256(f"{images.pixels.shape} {images.pixels.dtype}".encode() + images.labels.tobytes())
    digest.update(np.ascontiguousarray(images.pixels).data)
    for number, mark in images.marked.items():
        digest.update(f"{number}".encode() + np.packbits(mark).tobytes())
    if images.ignored is not None:
        digest.update(np.packbits(images.ignored).tobytes())
    if settings.weights_from is not None:
        digest.update(Path(settings.weights_from).read_bytes())
    return digest.hexdigest()


def _identity(fingerprint: str, task: _Task, seed: int, chosen: Recipe, machine: Machine) -> str:
    """Hash of everything that shapes a training's numbers: only what shares it may be gone on with.

    The processor is left out: a run that moves to another one goes on, and differs in rounding alone.
    """
    shapes = [
        *(fingerprint, task.name, task.trains.tolist(), seed, asdict(chosen), asdict(machine), training_code()),
        *(versions().get(package) for package in ("weakspot", "torch", "numpy", "scipy", "scikit-learn")),
    ]
    return hashlib.sha256(json.dumps(shapes, default=_named).encode()).hexdigest()


def _named(function: Any) -> str:
    """What stands for a function in a hash."""
    return f"{function.__module__}.{function.__qualname__}"


def _nothing(images: TrainingImages, settings: TrainSettings) -> Scores:
    count, (height, width) = len(images.labels), (-(-side // 8) for side in _size(images))
    return Scores(np.zeros(count), np.zeros(count), np.zeros((count, height, width), np.float32))


def _fill(all_scores: Scores, places: np.ndarray, some: Scores) -> None:
    for values, new in zip(all_scores, some, strict=True):
        values[places] = new


def _channels(images: TrainingImages) -> int:
    return int(images.pixels.shape[1])


def _size(images: TrainingImages) -> tuple[int, int]:
    return int(images.pixels.shape[2]), int(images.pixels.shape[3])
