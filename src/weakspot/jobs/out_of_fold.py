"""Scores of training pictures by detectors that had not seen them: few folds, a short schedule. They choose the
thresholds, and tell whether anything was learned at all. No test picture comes near here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from weakspot.network.detector import Detector
from weakspot.training.images import TrainingImages
from weakspot.training.train import Machine, scores

Learn = Callable[[str, TrainingImages, float], Detector]  # name, pictures, schedule → trained detector


@dataclass(frozen=True)
class OutOfFold:
    """One score per training picture, from the detector that had not seen it. Heat maps (n, h, w) in [0, 1]."""

    raw_scores: np.ndarray
    heat_scores: np.ndarray
    heat_maps: np.ndarray
    labels: np.ndarray

    def auroc(self) -> float:
        """How often a bad picture scores above a good one, out of fold, by the heat."""
        return float(roc_auc_score(self.labels, self.heat_scores))


def fold_numbers(labels: np.ndarray, groups: list[str], folds: int, seed: int) -> np.ndarray:
    """Which fold each picture is held out in (n,): whole groups, bad pictures spread evenly. Fewer folds where there
    are too few bad groups."""
    bad_groups = len({group for group, label in zip(groups, labels, strict=True) if label})
    splitter = StratifiedGroupKFold(max(2, min(folds, bad_groups)), shuffle=True, random_state=seed)
    numbers = np.zeros(len(labels), int)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        numbers[held_out] = number
    return numbers


def out_of_fold(
    images: TrainingImages, numbers: np.ndarray, learn: Learn, schedule: float, machine: Machine
) -> OutOfFold:
    """Train once per fold on the rest and score the fold. Scores are made comparable between folds by nothing but the
    shared loss."""
    raw, heat = np.zeros(len(numbers)), np.zeros(len(numbers))
    maps: dict[int, np.ndarray] = {}
    for number in sorted(set(numbers.tolist())):
        held_out = np.flatnonzero(numbers == number)
        detector = learn(f"fold {number}", images.part(np.flatnonzero(numbers != number)), schedule)
        raw[held_out], heat[held_out], heat_maps = scores(detector, images.part(held_out), machine)
        maps.update(zip(held_out.tolist(), heat_maps, strict=True))
    return OutOfFold(raw, heat, np.stack([maps[index] for index in range(len(numbers))]), images.labels)


def auroc_error(auroc: float, bad: int, good: int) -> float:
    """Standard error of an AUROC from so many bad and good pictures (Hanley and McNeil 1982, eq. 2)."""
    both_bad, both_good = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (bad - 1) * (both_bad - auroc**2) + (good - 1) * (both_good - auroc**2)
    return float(np.sqrt(max(0.0, variance) / (bad * good)))
