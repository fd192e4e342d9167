"""The training pictures before they have a size: what they are, and each at any size."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from weakspot.data.audit import Audit, refuse_unfit
from weakspot.data.cues import measure
from weakspot.data.reading import array_pixels, fit_image, has_colour
from weakspot.data.samples import Sample
from weakspot.errors import DataError
from weakspot.settings import ReadSettings, Size, TrainSettings
from weakspot.training.batches import TrainingImages
from weakspot.training.stages import fewest_bad

Order = Literal["rgb", "bgr"]  # of the colours in an array
FEWEST_GOOD = 2  # pictures: with one nothing can be held out
RULES_OF_GOOD_ONES = ("limits", "false_alarms")  # rules for the thresholds that need no bad picture


@dataclass(frozen=True)
class Pictures:
    """Pictures by number. `pixels(number)` gives (H, W) or (H, W, 3), uint8 or uint16."""

    pixels: Callable[[int], np.ndarray]
    labels: np.ndarray  # (n,), 1 bad, 0 good
    sizes: list[Size]  # (height, width) of each
    bit_depth: int  # 8, or 16 where any picture has 16
    channels: int  # 1, or 3 where any picture has colour
    light_share: float  # of the pixels' variance, what lies between the pictures' means, 0 to 1
    hashes: tuple[str, ...] = ()  # SHA-256 of the files

    def fitted(self, size: Size) -> TrainingImages:
        """All at one size, by the one documented rule."""
        numbers = range(len(self.labels))
        images = [fit_image(self.pixels(number), size, self.channels, self.bit_depth) for number in numbers]
        return TrainingImages(np.stack(images), self.labels)


def pictures_of(samples: Sequence[Sample], audit: Audit, settings: TrainSettings) -> Pictures:
    """Samples that an audit has read: it knows them already. Raises DataError where there are too few."""
    facts = [audit.facts_of(sample) for sample in samples]
    return Pictures(
        pixels=lambda number: audit.pixels(samples[number]),
        labels=_checked_labels([sample.label for sample in samples], settings),
        sizes=[(each.height, each.width) for each in facts],
        bit_depth=16 if any(each.bit_depth > 8 for each in facts) else 8,
        channels=_channels(settings.read, (each.coloured for each in facts)),
        light_share=_light_share([each.mean for each in facts], [each.std for each in facts]),
        hashes=tuple(each.sha256 for each in facts),
    )


def pictures_in_memory(
    images: Sequence[np.ndarray], labels: Sequence[int], channels: Order, settings: TrainSettings
) -> Pictures:
    """The same for arrays, (H, W) or (H, W, 3), uint8 or uint16; channels: the order of the colours in them.

    Raises ImageError for one that is too small or blank: its giver can leave it out; DataError where there are too few.
    """
    arrays = [array_pixels(image, f"picture {number}", channels) for number, image in enumerate(images)]
    for number, array in enumerate(arrays):
        refuse_unfit(array, f"picture {number}")
    means, deviations, _ = zip(*map(measure, arrays), strict=True)
    return Pictures(
        pixels=lambda number: arrays[number],
        labels=_checked_labels(labels, settings),
        sizes=[(array.shape[0], array.shape[1]) for array in arrays],
        bit_depth=max(8 * array.itemsize for array in arrays),
        channels=_channels(settings.read, map(has_colour, arrays)),
        light_share=_light_share(means, deviations),
    )


def _channels(settings: ReadSettings, coloured: Iterable[bool]) -> int:
    """1 grey, 3 colour: as the settings say, or where any picture has colour."""
    return 3 if settings.channels == "colour" or (settings.channels == "auto" and any(coloured)) else 1


def _light_share(means: Sequence[float], deviations: Sequence[float]) -> float:
    """From each picture's mean and deviation; of the pictures as they are, so that no chosen size moves it."""
    between = float(np.var(means))
    return between / max(between + float(np.mean(np.square(deviations))), 1e-12)


def _checked_labels(labels: Sequence[int], settings: TrainSettings) -> np.ndarray:
    """The labels (n,), where the recipe can train on so many of each, and the rule choose thresholds by them."""
    array, fewest, rule = np.array(labels, int), fewest_bad(settings), settings.threshold.rule
    bad, good = int(array.sum()), int((array == 0).sum())
    found = f"{bad} bad and {good} good pictures to train on"
    if good < FEWEST_GOOD:
        raise DataError(f"{found}; needed are at least {FEWEST_GOOD} good ones, and far more to learn what varies")
    if bad < fewest:
        needed = f"the recipe {settings.recipe} needs at least {fewest} bad ones"
        raise DataError(f"{found}; {needed}: add some, or take one that draws defects (--recipe synthetic)")
    if not bad and rule not in RULES_OF_GOOD_ONES:
        raise DataError(f"{found}; the rule {rule} needs bad ones: add some, or take --rule {RULES_OF_GOOD_ONES[-1]}")
    return array
