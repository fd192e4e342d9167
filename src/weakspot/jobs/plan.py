"""What a training will be before it starts: grey or colour, depth, size in pixels, and how many minutes it will take
here."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from weakspot.errors import DataError
from weakspot.settings import CELL, SMALLEST, Size, TrainSettings
from weakspot.training.images import TrainingImages
from weakspot.training.machine import seconds_a_pair
from weakspot.training.stages import Recipe, Stage, pairs_a_step, recipe
from weakspot.training.train import Machine

PROBE = 256 * 256  # pixels of the pictures on which a pair is timed, at most; smaller ones tell of overheads


@dataclass(frozen=True)
class Plan:
    """What is decided before training."""

    size: Size  # height, width in pixels
    channels: int
    bit_depth: int
    minutes: float  # estimated, everything included
    minutes_folds: float  # of these, for the thresholds

    @property
    def words(self) -> str:
        """For the terminal."""
        return (
            f"{self.size[0]} × {self.size[1]} pixels, {'grey' if self.channels == 1 else 'colour'}, {self.bit_depth} bit: about "
            f"{self.minutes:.0f} min on this machine, of which {self.minutes_folds:.0f} for the thresholds (out-of-fold trainings)"
        )


def plan_training(
    image_sizes: list[Size], channels: int, bit_depth: int, pictures: int, settings: TrainSettings, machine: Machine
) -> Plan:  # fmt: skip
    """The pictures' own size (their median), or the settings'; where it is not given, reduced until the estimate fits
    `settings.minutes`.

    image_sizes: (height, width) of every training picture; pictures: how many train. Raises DataError when even the
    smallest picture is too small.
    """
    own = own_size(image_sizes)
    whole = recipe(settings, channels, pairs=1)
    folds = settings.folds if settings.folds > 1 else 0
    seconds = _seconds_a_megapixel(whole, machine, channels, bit_depth, settings.size or own)

    def minutes(size: Size) -> tuple[float, float]:
        megapixels = size[0] * size[1] / 1e6 * (pairs_a_step(settings, *size) or 1)
        final = _pair_seconds(whole, settings.schedule, seconds, megapixels)
        of_folds = folds * _pair_seconds(whole, settings.schedule * settings.fold_schedule, seconds, megapixels)
        of_folds += pictures * seconds[whole.stages[0].name] * size[0] * size[1] / 1e6 / 4
        return (final + of_folds) / 60, of_folds / 60

    size = settings.size or own
    total, of_folds = minutes(size)
    while settings.size is None and total > settings.minutes and min(size) > SMALLEST:
        size = _scaled(size, min(0.95, sqrt(settings.minutes / total)))  # again, since small pictures go more at a time
        total, of_folds = minutes(size)
    return Plan(size, channels, bit_depth, total, of_folds)


def own_size(image_sizes: list[Size]) -> Size:
    """Median height and width in whole cells."""
    height, width = (int(np.median([size[axis] for size in image_sizes])) for axis in (0, 1))
    if min(height, width) < SMALLEST:
        raise DataError(
            f"the pictures are {height} × {width} pixels; a heat map needs at least {SMALLEST} × {SMALLEST}: take larger ones, or --size"
        )
    return _scaled((height, width), 1.0)


def _scaled(size: Size, factor: float) -> Size:
    height, width = (max(SMALLEST, round(side * factor / CELL) * CELL) for side in size)
    return height, width


def _pair_seconds(whole: Recipe, schedule: float, seconds: dict[str, float], megapixels: float) -> float:
    return sum(_steps(stage) * schedule * seconds[stage.name] * megapixels for stage in whole.stages)


def _steps(stage: Stage) -> float:
    """A search is counted as if it found something half-way: it mostly does so earlier."""
    return stage.iterations + stage.find_first / 2


def _seconds_a_megapixel(
    whole: Recipe, machine: Machine, channels: int, bit_depth: int, size: Size
) -> dict[str, float]:
    """Measured at the size, or at that of the probe where it is larger."""
    height, width = size if size[0] * size[1] <= PROBE else (int(sqrt(PROBE)),) * 2
    noise = (
        np.random.default_rng(0)
        .integers(0, 2**bit_depth, (2, channels, height, width))
        .astype(np.uint8 if bit_depth == 8 else np.uint16)
    )
    probe = TrainingImages(noise, np.array([1, 0]))
    return {name: value / (height * width / 1e6) for name, value in seconds_a_pair(whole, probe, machine).items()}
