"""What a training will be before it starts: its size in pixels, what it computes on, and how many minutes it takes.

A plan is kept with the run: a resumed run reads it, for a clock measured anew would choose otherwise. It is made
anew where the first steps of the training take much longer than planned.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from weakspot.data.reading import area
from weakspot.errors import OutputError
from weakspot.jobs.pictures import Pictures
from weakspot.jobs.recipes import fold_schedule, recipe
from weakspot.settings import CELL, SMALLEST, Fit, Size, TrainSettings
from weakspot.training.batches import TrainingImages
from weakspot.training.machine import seconds_a_step
from weakspot.training.stages import Recipe
from weakspot.training.state import Machine

PROBE = 256 * 256  # pixels of the pictures on which a step is timed first, at most
PROBES = 3  # sizes that are timed after it, at most
OTHER_WORK = 1.1  # what saving, scoring and writing take on top of the steps
LATE = 1.25  # times the minutes allowed, from which a training that has begun is planned anew


@dataclass(frozen=True)
class Plan:
    """What is decided before training."""

    size: Size  # height, width in pixels
    channels: int
    bit_depth: int
    machine: Machine
    minutes: float  # estimated, for the final training and the folds
    fits: bool  # whether that is within the minutes that the settings allow; they allow any where they name the size
    step_seconds: float  # estimated, of the first stage

    def plain(self) -> dict[str, Any]:
        """As the run keeps it."""
        return asdict(self)

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Self:
        """What `plain` gave, also after JSON. Raises OutputError for what it cannot have given."""
        try:
            height, width = plain["size"]
            return cls(**plain | {"size": (height, width), "machine": Machine(**plain["machine"])})
        except (KeyError, TypeError, ValueError):
            raise OutputError("the run's plan in run.json is damaged or of another version; begin a new run") from None

    @property
    def words(self) -> str:
        """For the terminal."""
        kind = f"{'grey' if self.channels == 1 else 'colour'}, {self.bit_depth} bit"
        late = "" if self.fits else "; no smaller size would fit the minutes allowed"
        time = "less than a minute" if self.minutes < 1 else f"about {self.minutes:.0f} min"
        return f"{self.size[0]} × {self.size[1]} pixels, {kind}: {time} on this machine{late}"


def plan_training(pictures: Pictures, settings: TrainSettings, machine: Machine) -> Plan:
    """The settings' size, or else the pictures' own (their median), reduced until the estimate fits the minutes."""
    if settings.size is not None:
        size = settings.size
        clock = _Clock(pictures, settings, machine, size)
    else:
        own = own_size(pictures.sizes)
        clock = _Clock(pictures, settings, machine, _reduced(own, PROBE))
        size = clock.largest_that_fits(own)
        for _ in range(PROBES):  # small pictures take longer a pixel than the probe
            clock, before = _Clock(pictures, settings, machine, size), size
            size = clock.largest_that_fits(size)
            if size == before:
                break
    minutes = clock.minutes(size)
    fits = settings.size is not None or minutes <= settings.minutes
    return Plan(size, pictures.channels, pictures.bit_depth, machine, minutes, fits, clock.step_seconds(size))


def replanned(plan: Plan, settings: TrainSettings, step_seconds: float) -> Plan:
    """The plan for a machine on which a step of the first stage takes so long: of a smaller size, where that is needed.

    The same plan where the settings name the size, where it is not that late, or where nothing smaller would help.
    """
    slower = step_seconds / plan.step_seconds

    def at(size: Size) -> Plan:
        scale = slower * _pixels(size) / _pixels(plan.size)
        minutes, seconds = plan.minutes * scale, plan.step_seconds * scale
        return replace(plan, size=size, minutes=minutes, step_seconds=seconds, fits=minutes <= settings.minutes)

    size = _largest(plan.size, lambda size: at(size).fits)
    is_late = settings.size is None and plan.minutes * slower > LATE * settings.minutes
    return at(size) if is_late and size != plan.size else plan


def reduction(pictures: Pictures, size: Size, fit: Fit) -> float:
    """How many times smaller than their own the pictures' sides are at a size: the median, by areas."""
    taken = [area(height, width, size, fit) for height, width in pictures.sizes]
    shares = [own[0] * own[1] / (now[0] * now[1]) for own, now in zip(pictures.sizes, taken, strict=True)]
    return float(np.median(shares) ** 0.5)


def own_size(sizes: list[Size]) -> Size:
    """Median height and width in whole cells."""
    height, width = (float(np.median([size[axis] for size in sizes])) for axis in (0, 1))
    return _whole_cells(int(height), int(width))


class _Clock:
    """How long a training takes, from the seconds of a step that were measured at one size."""

    def __init__(self, pictures: Pictures, settings: TrainSettings, machine: Machine, size: Size) -> None:
        self.settings, self.pictures = settings, pictures
        self.recipe = recipe(settings, pictures.channels, schedule=1.0)
        kind = np.uint8 if pictures.bit_depth == 8 else np.uint16
        has_bad = int(pictures.labels.any() and self.recipe.shows_bad)
        # from black to white and no noise, on which hardly anything that is drawn could be seen
        ramp = np.resize(np.linspace(0, 2**pictures.bit_depth - 1, size[1]).astype(kind), (2, pictures.channels, *size))
        self.seconds = seconds_a_step(self.recipe, TrainingImages(ramp, np.array([has_bad, 0])), machine)
        self.pixels = _pixels(size)

    def step_seconds(self, size: Size) -> float:
        """Of the first stage, at a size."""
        return self.seconds[self.recipe.stages[0].name] * _pixels(size) / self.pixels

    def minutes(self, size: Size) -> float:
        """Of the final training and the folds, and of scoring every picture twice, at a size."""
        settings, scale = self.settings, _pixels(size) / self.pixels
        folds = settings.folds * fold_schedule(settings) if settings.folds > 1 else 0
        steps = _seconds(self.recipe, self.seconds) * settings.schedule * (1 + folds)
        first = self.recipe.stages[0]
        # twice, each half of its share in a step
        scoring = len(self.pictures.sizes) * self.seconds[first.name] / (2 * first.pairs + first.synthetic)
        return (steps + scoring) * scale * OTHER_WORK / 60

    def largest_that_fits(self, own: Size) -> Size:
        """Of the pictures' own size and all below it the largest that fits the minutes, else the smallest."""
        return _largest(own, lambda size: self.minutes(size) <= self.settings.minutes)


def _largest(own: Size, fits: Callable[[Size], bool]) -> Size:
    """Of a size and all of its proportions below it the largest that fits, else the smallest."""
    height, width = own
    most = max(own) // CELL
    sizes = [_whole_cells(height * cells / most, width * cells / most) for cells in range(most, 0, -1)]
    return next(filter(fits, sizes), sizes[-1])


def _pixels(size: Size) -> int:
    return size[0] * size[1]


def _seconds(whole: Recipe, seconds: dict[str, float]) -> float:
    return sum(stage.iterations * seconds[stage.name] for stage in whole.stages)


def _reduced(size: Size, pixels: int) -> Size:
    factor = min(1.0, (pixels / (size[0] * size[1])) ** 0.5)
    return _whole_cells(size[0] * factor, size[1] * factor)


def _whole_cells(height: float, width: float) -> Size:
    tall, wide = (max(SMALLEST, round(side / CELL) * CELL) for side in (height, width))
    return tall, wide
