"""What a step looks at: pictures in memory, views of them, pairs of a bad and a good one, and the batch of a step.

Holds no file names and no masks. A stream of views can be entered anywhere, as if it had been drawn from its beginning.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from weakspot.errors import TrainingError


@dataclass(frozen=True)
class View:
    """A picture as it is shown once: mirrored, a little brighter or darker, with a little more or less contrast."""

    index: int
    mirror: int = 0  # 0 none, 1 left–right, 2 up–down, 3 both
    contrast: float = 1.0  # factor about the training mean
    brightness: float = 0.0  # added, in training deviations


Views = tuple[View, ...]


class Batch(NamedTuple):
    """The views of one step, and what is known of them."""

    views: Views
    labels: Tensor  # (B,), 1 bad, 0 good
    bad_cells: Tensor | None  # (B, 1, h, w), 1 where a cell is held for bad; None where no cell is known


@dataclass(frozen=True)
class TrainingImages:
    """Pictures at the detector's size, as raw pixel values, and their labels."""

    pixels: np.ndarray  # (n, C, H, W), uint8 or uint16
    labels: np.ndarray  # (n,), 1 bad, 0 good
    _by_device: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert self.pixels.ndim == 4 and len(self.pixels) == len(self.labels), (self.pixels.shape, self.labels.shape)

    @cached_property
    def mean(self) -> float:
        """Mean of all pixels, in raw units."""
        return float(np.mean([image.mean(dtype=np.float64) for image in self.pixels]))

    @cached_property
    def std(self) -> float:
        """Deviation of all pixels, in raw units; at least one, so that a blank set stays finite."""
        squares = np.mean([np.square(image, dtype=np.float64).mean() for image in self.pixels])
        return max(1.0, float(np.sqrt(max(0.0, squares - self.mean**2))))

    def seen(self, views: Views, device: str | torch.device = "cpu") -> Tensor:
        """Views of pictures → (B, C, H, W) float32, channels last, on the device, where the pictures then stay."""
        pixels = self._on(torch.device(device))
        images = torch.stack([_seen(pixels[view.index], view, self.mean, self.std) for view in views])
        return images.contiguous(memory_format=torch.channels_last)

    def part(self, indices: np.ndarray) -> "TrainingImages":
        """Only these pictures, in that order."""
        return TrainingImages(self.pixels[indices], self.labels[indices])

    def _on(self, device: torch.device) -> Tensor:
        if device not in self._by_device:
            self._by_device[device] = torch.from_numpy(self.pixels).to(device)
        return self._by_device[device]


def endless_batches(
    pairs: Iterator[Views], pairs_a_step: int, labels: np.ndarray, cells: Tensor | None, device: str
) -> Iterator[Batch]:
    """Batches of so many pairs each. labels: (n,) of all pictures; cells: (n, 1, h, w) of all, where they are known."""
    known = torch.from_numpy(labels.astype(np.float32)).to(device)
    of_all = None if cells is None else cells.to(device)
    while True:
        views = tuple(view for pair in islice(pairs, pairs_a_step) for view in pair)
        bad_cells = None if of_all is None else torch.stack([mirrored(of_all[v.index], v.mirror) for v in views])
        yield Batch(views, torch.stack([known[view.index] for view in views]), bad_cells)


def endless_pairs(
    labels: np.ndarray, seed: tuple[int, ...], mirrored: bool, jitter: float = 0.0, start: int = 0
) -> Iterator[Views]:
    """Pairs of a bad and a good view, from the `start`-th on; a list is drawn without repetition, then reshuffled.

    labels: (n,), 1 bad, 0 good; jitter: contrast varies by this share, brightness by this many deviations, evenly
    both ways. Raises TrainingError where a label is missing: there is nothing to draw.
    """
    bad, good = (np.flatnonzero(labels == label) for label in (1, 0))
    if not len(bad) or not len(good):
        raise TrainingError(
            f"{len(bad)} bad and {len(good)} good pictures to draw from; needed is at least one of each"
        )
    return islice(_pairs(bad, good, np.random.default_rng(seed), mirrored, jitter), start, None)


def _pairs(
    bad: np.ndarray, good: np.ndarray, rng: np.random.Generator, mirrored: bool, jitter: float
) -> Iterator[Views]:
    bad_ones, good_ones = _endless(bad, rng), _endless(good, rng)
    while True:
        yield _view(next(bad_ones), rng, mirrored, jitter), _view(next(good_ones), rng, mirrored, jitter)


def mirrored(maps: Tensor, mirror: int) -> Tensor:
    """A picture or map (..., H, W) mirrored left–right (1), up–down (2), both (3) or not (0)."""
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if mirror & bit]
    return torch.flip(maps, axes) if axes else maps


def _view(index: int, rng: np.random.Generator, mirrored: bool, jitter: float) -> View:
    mirror = int(rng.integers(4)) if mirrored else 0
    contrast, brightness = rng.uniform(-jitter, jitter, 2).tolist() if jitter else (0.0, 0.0)
    return View(index, mirror, 1 + contrast, brightness)


def _endless(indices: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(indices).tolist()


def _seen(image: Tensor, view: View, mean: float, std: float) -> Tensor:
    seen = mirrored(image.float(), view.mirror)
    if view.contrast == 1 and view.brightness == 0:
        return seen
    return (seen - mean) * view.contrast + (mean + view.brightness * std)
