"""What a step looks at: pictures in memory, views of them, pairs of a bad and a good one, and the batch of a step.

Holds no file names. A stream can be entered anywhere, as if it had been drawn from its beginning.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from weakspot.errors import TrainingError
from weakspot.settings import CELL
from weakspot.training.synthetic import cells_of, draw_defect

ALIKE = 1.2  # times as much as pictures may change along one side than along the other, to be turned
# in the seeds of what is drawn to learn from, of what is drawn to be asked of, and of turns; pairs have none
DRAWING, PROVING, TURNING = 1, 2, 3
QUARTERS = 0, 5, 3, 6  # mirrorings that together turn a picture by 0, 90, 180 and 270 degrees


@dataclass(frozen=True)
class View:
    """A picture as it is shown once: shifted, mirrored, a little brighter or darker, with more or less contrast."""

    index: int
    mirror: int = 0  # the sum of 1 left–right, 2 up–down, 4 along the diagonal, which with those turns it
    contrast: float = 1.0  # factor about the training mean
    brightness: float = 0.0  # added, in training deviations
    shift: tuple[int, int] = (0, 0)  # pixels down and to the right, over the mirrored border
    drawn: np.ndarray | None = field(default=None, compare=False)  # (C, H, W), as shifted, where it was drawn on


Views = tuple[View, ...]


class Batch(NamedTuple):
    """The views of one step, those known by their label alone first, and what is known of them."""

    views: Views
    labels: Tensor  # (B,), 1 bad, 0 good, of the first B views
    # (S, 1, h, w), 1 where a defect was marked or drawn on the last S views; None where on none
    known_cells: Tensor | None
    ignored: Tensor | None = None  # (B + S, 1, h, w) bool, cells of the views that take no part

    def one_by_one(self) -> "Iterator[Batch]":
        """Each view as a batch of its own, in order; only of batches whose pictures are all known by their label."""
        assert self.known_cells is None and self.ignored is None, "what is drawn is learned beside pairs"
        return (Batch((view,), label[None], None) for view, label in zip(self.views, self.labels, strict=True))


Drawings = tuple[Views, Tensor]  # good pictures that were drawn on, and where: (S, 1, h, w) of 0 and 1


@dataclass(frozen=True)
class TrainingImages:
    """Pictures at the detector's size, as raw pixel values, and what people said of them."""

    pixels: np.ndarray  # (n, C, H, W), uint8 or uint16
    labels: np.ndarray  # (n,), 1 bad, 0 good
    marked: Mapping[int, np.ndarray] = field(default_factory=dict)  # by number, (H, W) bool, where the defect is
    ignored: np.ndarray | None = None  # (H, W) bool, where nothing is looked at on any picture: whole cells
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

    @cached_property
    def lie_any_way(self) -> bool:
        """Whether good pictures may be turned by a quarter: square, and changing as much along rows as along columns.

        Parts that lie turned are alike both ways; a brushed surface, bars or streaks are not.
        """
        height, width = self.pixels.shape[2:]
        good = (image.astype(np.float32) for image in self.pixels[self.labels == 0])
        changes = [[np.square(np.diff(image, axis=axis)).mean() for axis in (1, 2)] for image in good]
        down, across = np.mean(changes, axis=0) if changes else (0.0, 0.0)
        return bool(height == width and max(down, across) <= ALIKE * min(down, across))

    def seen(self, views: Views, device: str | torch.device = "cpu") -> Tensor:
        """Views of pictures → (B, C, H, W) float32, channels last, on the device, where the pictures then stay."""
        pixels = self._on(torch.device(device))
        shown = [pixels[v.index] if v.drawn is None else torch.from_numpy(v.drawn).to(device) for v in views]
        images = torch.stack([_seen(image, view, self.mean, self.std) for image, view in zip(shown, views)])
        return images.contiguous(memory_format=torch.channels_last)

    def part(self, indices: np.ndarray) -> "TrainingImages":
        """Only these pictures, in that order."""
        marked = {new: self.marked[old] for new, old in enumerate(indices.tolist()) if old in self.marked}
        return TrainingImages(self.pixels[indices], self.labels[indices], marked, self.ignored)

    def _on(self, device: torch.device) -> Tensor:
        if device not in self._by_device:
            self._by_device[device] = torch.from_numpy(self.pixels).to(device)
        return self._by_device[device]


def endless_batches(
    pairs: Iterator[Views],
    pairs_a_step: int,
    drawings: Iterator[Drawings] | None,
    images: TrainingImages,
    device: str,
) -> Iterator[Batch]:
    """Batches of so many pairs each, marked pictures of the pairs beside what is drawn for a step."""
    labels = torch.from_numpy(images.labels.astype(np.float32)).to(device)
    while True:
        of_pairs = [view for pair in islice(pairs, pairs_a_step) for view in pair]
        views = tuple(view for view in of_pairs if view.index not in images.marked)
        marked = tuple(view for view in of_pairs if view.index in images.marked)
        drawn, drawn_cells = next(drawings) if drawings else ((), torch.zeros(0))
        known = [*(_marked_cells(images.marked[view.index], view) for view in marked), *drawn_cells]
        known_cells = torch.stack(known).to(device) if known else None
        all_views, of_views = views + marked + drawn, torch.stack([labels[view.index] for view in views])
        yield Batch(all_views, of_views, known_cells, _ignored_cells(images.ignored, all_views, device))


def endless_pairs(
    labels: np.ndarray, seed: tuple[int, ...], copies: int, jitter: float = 0.0, shift: int = 0, start: int = 0
) -> Iterator[Views]:
    """Pairs of a bad and a good view, from the `start`-th on; a list is drawn without repetition, then reshuffled.

    Where there are no bad pictures, the good view is all of a pair. labels: (n,), 1 bad, 0 good; copies:
    of a picture, 1, 4 mirrored ones, or 8 turned ones too; jitter: contrast
    varies by this share, brightness by this many deviations, evenly both ways; shift: pixels at most. Raises
    TrainingError where no picture is good: there is nothing to draw.
    """
    bad, good = (np.flatnonzero(labels == label) for label in (1, 0))
    if not len(good):
        raise TrainingError(f"{len(bad)} bad and no good pictures to draw from; needed is at least one good one")
    lists = [bad, good] if len(bad) else [good]
    return islice(_pairs(lists, np.random.default_rng(seed), copies, jitter, shift), start, None)


def _pairs(
    lists: list[np.ndarray], rng: np.random.Generator, copies: int, jitter: float, shift: int
) -> Iterator[Views]:
    endless = [_endless(indices, rng) for indices in lists]
    while True:
        yield tuple(_view(next(indices), rng, copies, jitter, shift) for indices in endless)


def turned(pairs: Iterator[Views], pairs_a_step: int, seed: tuple[int, ...], start: int = 0) -> Iterator[Views]:
    """The pairs, from the `start`-th on, turned by quarters; all of a step alike, for a batch has one shape."""
    for number, pair in enumerate(pairs, start):
        quarter = np.random.default_rng((*seed, TURNING, number // pairs_a_step)).choice(QUARTERS)
        yield tuple(replace(view, mirror=int(quarter)) for view in pair)


def endless_drawings(
    images: TrainingImages, size: int, seed: tuple[int, ...], copies: int, jitter: float, shift: int, start: int = 0
) -> Iterator[Drawings]:
    """For each step, from the `start`-th on, `size` good pictures with a defect drawn on each, and its cells.

    copies, jitter, shift: as of pairs. A step has a generator of its own, so that a stopped training draws the same.
    """
    good = np.flatnonzero(images.labels == 0)
    others = [images.pixels[index] for index in good]
    for step in count(start):
        rng = np.random.default_rng((*seed, DRAWING, step))
        views = [_view(index, rng, copies, jitter, shift) for index in rng.choice(good, size).tolist()]
        drawn, cells = zip(*(_drawn_on(view, images, others, rng) for view in views))
        yield drawn, torch.stack(cells)


def with_defects(images: TrainingImages, seed: int) -> TrainingImages:
    """The good pictures, in order, with a defect drawn on each, the same for a seed; no training draws these."""
    good = images.pixels[images.labels == 0]
    generators = [np.random.default_rng((seed, PROVING, index)) for index in range(len(good))]
    drawn = [
        draw_defect(image, rng, images.std, good, images.ignored).image
        for image, rng in zip(good, generators, strict=True)
    ]
    return TrainingImages(np.stack(drawn), np.ones(len(drawn), int), ignored=images.ignored)


def _drawn_on(
    view: View, images: TrainingImages, others: list[np.ndarray], rng: np.random.Generator
) -> tuple[View, Tensor]:
    """The view with a defect on it, drawn after the shift, and its cells (1, h, w) of 0 and 1, mirrored as it is."""
    ignored = None if images.ignored is None else _shifted(images.ignored[None], view.shift)[0]
    defect = draw_defect(_shifted(images.pixels[view.index], view.shift), rng, images.std, others, ignored)
    # before it is cut into cells, for the last ones may be parts of cells
    seen = mirrored(torch.from_numpy(defect.seen), view.mirror).numpy()
    cells = torch.from_numpy(cells_of(seen).astype(np.float32))[None]
    return replace(view, drawn=defect.image), cells


def _marked_cells(mark: np.ndarray, view: View) -> Tensor:
    """The cells that a mark (H, W) touches where its picture is shown so: (1, h, w) of 0 and 1."""
    seen = mirrored(_shifted(torch.from_numpy(mark.astype(np.float32))[None], view.shift), view.mirror)
    height, width = mark.shape
    return F.max_pool2d(F.pad(seen, (0, -width % CELL, 0, -height % CELL)), CELL)


def _ignored_cells(ignored: np.ndarray | None, views: Views, device: str) -> Tensor | None:
    """The cells of which at least half is ignored where pictures are shown so: (B, 1, h, w) bool."""
    if ignored is None:
        return None
    mask = torch.from_numpy(ignored.astype(np.float32))[None]
    shown = torch.stack([mirrored(_shifted(mask, view.shift), view.mirror) for view in views])
    height, width = ignored.shape
    whole = F.pad(shown, (0, -width % CELL, 0, -height % CELL), mode="replicate")
    return (F.avg_pool2d(whole, CELL) >= 0.5).to(device)


def mirrored(maps: Tensor, mirror: int) -> Tensor:
    """A picture or map (..., H, W) mirrored as the sum says: 1 left–right, 2 up–down, 4 along the diagonal (H = W)."""
    maps = maps.transpose(-1, -2) if mirror & 4 else maps
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if mirror & bit]
    return torch.flip(maps, axes) if axes else maps


def _view(index: int, rng: np.random.Generator, copies: int, jitter: float, shift: int) -> View:
    mirror = int(rng.integers(copies)) if copies > 1 else 0
    contrast, brightness = rng.uniform(-jitter, jitter, 2).tolist() if jitter else (0.0, 0.0)
    down, right = rng.integers(-shift, shift + 1, 2).tolist() if shift else (0, 0)
    return View(index, mirror, 1 + contrast, brightness, (down, right))


def _endless(indices: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(indices).tolist()


def _shifted(image: Any, shift: tuple[int, int]) -> Any:
    """A picture (C, H, W), array or tensor, moved down and to the right; its mirror image comes after it."""
    rows, columns = (_places(side, by) for side, by in zip(image.shape[-2:], shift, strict=True))
    return image[:, rows[:, None], columns]


def _places(side: int, by: int) -> np.ndarray:
    """For each place along a side the one that is shown there."""
    return np.asarray(side - 1 - np.abs(side - 1 - np.abs(np.arange(side) - by)))


def _seen(image: Tensor, view: View, mean: float, std: float) -> Tensor:
    shifted = any(view.shift) and view.drawn is None
    seen = mirrored(_shifted(image.float(), view.shift) if shifted else image.float(), view.mirror)
    if view.contrast == 1 and view.brightness == 0:
        return seen
    return (seen - mean) * view.contrast + (mean + view.brightness * std)
