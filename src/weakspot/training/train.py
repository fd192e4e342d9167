"""A whole training: the recipe's stages one after the other, on pictures in memory, and the scores that come of it.

Knows no files, no thresholds, no test pictures.
"""

from typing import NamedTuple

import numpy as np
import torch

from weakspot.errors import SettingsError
from weakspot.network.detector import Detector
from weakspot.settings import CELL
from weakspot.training.batches import TrainingImages, View
from weakspot.training.loop import run_stage
from weakspot.training.sparing import SparingDetector
from weakspot.training.stages import Recipe
from weakspot.training.state import Machine, StageState, Training

DECISION_CELL = 64  # pixels a side: what a cell of the decision network's last map sees the middle of


class Scores(NamedTuple):
    """What a detector says of n pictures: raw scores (n,), heat scores (n,), heat maps (n, h, w) in [0, 1]."""

    raw: np.ndarray
    heat: np.ndarray
    heat_maps: np.ndarray


def start_training(recipe: Recipe, images: TrainingImages, seed: int, machine: Machine) -> Training:
    """A detector with fresh weights, drawn by the seed, that knows its pictures' mean and deviation."""
    _refuse_single_values(recipe, images)
    torch.manual_seed(seed)
    fresh = (SparingDetector if machine.small else Detector)(recipe.network, images.mean, images.std, recipe.parts_of)
    fresh.ignored = _ignored_cells(images)
    detector = fresh.to(machine.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Training(recipe, images, seed, machine, detector)


def _ignored_cells(images: TrainingImages) -> torch.Tensor | None:
    """The cells (h, w) that are ignored, as 0 and 1: a mask of pixels is made of whole cells."""
    return None if images.ignored is None else torch.from_numpy(images.ignored[::CELL, ::CELL].astype(np.float32))


def run_training(training: Training) -> Detector:
    """Run the stages that are left; returns the detector in eval mode."""
    while training.stage < len(training.recipe.stages):
        run_stage(training)
        training.stage, training.state = training.stage + 1, StageState()
    if training.recipe.finish is not None:
        training.recipe.finish(training.detector, training.images, training.seed)
    return training.detector.eval()


def _refuse_single_values(recipe: Recipe, images: TrainingImages) -> None:
    """Raise SettingsError where a batch norm of the decision would see one value a channel, which has no deviation."""
    height, width = images.pixels.shape[2:]
    alone = any(not stage.together and "decision" in stage.trains for stage in recipe.stages)
    if alone and max(height, width) <= DECISION_CELL:
        what = f'size {height}x{width} with pairing = "one_by_one": the decision network would see a single cell'
        raise SettingsError(f"{what}; take a size above {DECISION_CELL}x{DECISION_CELL}")


@torch.no_grad()
def scores(detector: Detector, images: TrainingImages) -> Scores:
    """One picture at a time and in fp32, as inspection sees them, whatever the training computed in."""
    detector.eval()
    device = detector.mean.device
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # a GPU would round to ten bits
        answers = [detector(images.seen((View(index),), device)) for index in range(len(images.labels))]
    raw, heat, maps = (torch.cat(values).float().cpu() for values in zip(*answers, strict=True))
    return Scores(raw.numpy().astype(np.float64), heat.numpy().astype(np.float64), maps.sigmoid()[:, 0].numpy())
