"""Defects drawn on good images, so that the heat can be taught cell by cell. Knows no files, no labels and no torch.

A defect is a shape (defect_shapes.py) and a fill (defect_fills.py), of any size that real ones have, put where the part
is. All randomness comes from the generator that is given, so a training that is gone on with draws the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, log, sqrt
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from weakspot.settings import CELL
from weakspot.training.defect_fills import FILLS, Fill, Pixels, Scene, Window
from weakspot.training.defect_shapes import SHAPES, Shape, Values

Cells = NDArray[np.bool_]

LEAST_PIXELS = 3  # of a cell, visibly changed, from which the cell is bad
SMALLEST = 0.0002  # share of the part, or of the image that it fills
ANYWHERE = 0.2  # of the defects, since a plain surface with one feature looks like a part on its background
TRIES = 12  # drawings thrown away as hardly visible before the image is left as it is
SHOWN = 0.5  # share of a shape that must be seen; below it, the drawing is thrown away
SHOWN_COPIED = 0.15  # the same for a piece of surface put elsewhere, of which a moved outline may be all that shows
SEEN = 0.2  # deviations by which a place must change to be seen on a surface without grain
ABOVE_GRAIN = 1.75  # by how many deviations of what the surface itself changes from place to place a place must change
# the same for a piece of surface put elsewhere: a grain in another grain's place differs by the rest anyway
ABOVE_GRAIN_COPIED = 3.0
ROUGHER = 0.4  # share by which a place's roughness must change to be seen by that alone
COARSE = 5  # pixels, side of the square over which a shape is looked at, from which roughness can be told
AROUND = 12  # pixels around a defect from which the surface's own changes are told
PROBE = 72  # pixels, side of the largest piece of surface that is looked at for that


@dataclass(frozen=True)
class Drawn:
    """A good image with a defect on it."""

    image: Pixels  # (C, H, W), as the good one
    seen: Cells  # (H, W), True where the defect can be seen; nowhere if no drawing could be
    shape: str  # names, for whoever looks at it; "none" where nothing was drawn
    fill: str

    @property
    def cells(self) -> Cells:
        """The bad cells, (⌈H/8⌉, ⌈W/8⌉)."""
        return cells_of(self.seen)


def cells_of(seen: Cells) -> Cells:
    """Pixels where a defect is seen (H, W) → bad cells (⌈H/8⌉, ⌈W/8⌉)."""
    height, width = seen.shape
    whole = np.pad(seen, ((0, -height % CELL), (0, -width % CELL)))
    rows, columns = (side // CELL for side in whole.shape)
    return np.asarray(whole.reshape(rows, CELL, columns, CELL).sum((1, 3)) >= LEAST_PIXELS)


def draw_defect(
    image: Pixels, rng: Generator, std: float, others: Sequence[Pixels] = (), ignored: Cells | None = None
) -> Drawn:
    """A defect drawn on a good image, and where it can be seen.

    image: (C, H, W), uint8 or uint16, left as it is; std: deviation of the good images' pixels, raw units, > 0; others:
    good images of the same channels and dtype, of any size, to take patches from; ignored: (H, W), where nothing is
    drawn. What can hardly be seen is drawn again: it would teach false alarms.
    """
    assert image.ndim == 3 and image.dtype in (np.uint8, np.uint16) and std > 0, (image.shape, image.dtype, std)
    anywhere = rng.random() < ANYWHERE
    part = _left(None if anywhere else part_of(image, std), ignored)
    scene = Scene(image, others if len(others) else (image,), std, part, rng)
    for _ in range(0 if ignored is not None and ignored.all() else TRIES):
        shape, fill = _pick(SHAPES, rng), _pick(FILLS, rng)
        window = _placed(SHAPES[shape], FILLS[fill], scene)
        if ignored is not None:
            window = replace(window, share=window.share * ~ignored[window.rows, window.columns])
        after = _blended(scene, window, FILLS[fill])
        seen = np.zeros(image.shape[1:], bool)
        seen[window.rows, window.columns] = _seen(scene, window, after, FILLS[fill].copied)
        enough = (SHOWN_COPIED if FILLS[fill].copied else SHOWN) * (window.share > 0.5).sum()
        if cells_of(seen).any() and seen.sum() >= enough:
            drawn = image.copy()
            drawn[:, window.rows, window.columns] = after
            return Drawn(drawn, seen, shape, fill)
    return Drawn(image.copy(), np.zeros(image.shape[1:], bool), "none", "none")


def _left(part: Cells | None, ignored: Cells | None) -> Cells | None:
    """What of the part is not ignored; where nothing of it is left, whatever is not ignored."""
    if ignored is None:
        return part
    return part & ~ignored if part is not None and (part & ~ignored).any() else ~ignored


def part_of(image: Pixels, std: float) -> Cells | None:
    """Where on an image (C, H, W) the part lies, (H, W); None where it fills the image or nothing tells.

    Surroundings are smooth all along the image's border; a part is what lies, along rows and along columns, between
    places that differ from the border's level or have an outline. std: raw units.
    """
    step = max(1, min(image.shape[1:]) // 64)
    small = image[:, ::step, ::step].mean(0, dtype=np.float32)
    uneven = ndimage.maximum_filter(small, 3) - ndimage.minimum_filter(small, 3)
    border, smooth = _border(small), float(np.median(_border(uneven)))
    spread = 1.48 * float(np.median(np.abs(border - np.median(border))))
    other = (np.abs(small - np.median(border)) > max(4 * spread, 0.25 * std)) | (uneven > max(4 * smooth, 0.5 * std))
    other = ndimage.uniform_filter(other.astype(np.float32), 3) > 0.4
    part = ndimage.binary_closing(_between(other) & _between(other.T).T, iterations=2) | other
    if smooth > 0.15 * std or _border(other).mean() > 0.3 or not 0.03 < part.mean() < 0.9:
        return None
    height, width = image.shape[1:]
    return np.asarray(part.repeat(step, 0).repeat(step, 1)[:height, :width], bool)


def _border(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _between(marked: Cells) -> Cells:
    """Places of each column that have a marked one at or above them and another at or below."""
    return np.asarray(np.maximum.accumulate(marked) & np.maximum.accumulate(marked[::-1])[::-1])


def contact_sheet(
    images: Sequence[Pixels],
    rng: Generator,
    std: float,
    count: int = 24,
    columns: int = 6,
    ignored: Cells | None = None,
) -> NDArray[np.uint8]:
    """What is taught, for a person to see: `count` drawn defects, their cells outlined, in rows → (H, W, 3).

    images: good ones, (C, H, W), all of one size; reduced or enlarged by whole numbers to about 200 pixels a side.
    """
    drawn = [draw_defect(images[int(rng.integers(len(images)))], rng, std, images, ignored) for _ in range(count)]
    tiles = [np.pad(_outlined(one), ((2, 2), (2, 2), (0, 0))) for one in drawn]
    tiles += [np.zeros_like(tiles[0])] * (-count % columns)
    return np.concatenate([np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)])


def _pick(choices: Mapping[str, Any], rng: Generator) -> str:
    weights = np.array([choice.weight for choice in choices.values()])
    return list(choices)[int(rng.choice(len(choices), p=weights / weights.sum()))]


def _placed(shape: Shape, fill: Fill, scene: Scene) -> Window:
    """A shape, softened, at a place of the part; cut off where it hangs over the image, and mostly over the part."""
    rng, (height, width) = scene.rng, scene.image.shape[1:]
    pixels = height * width if scene.part is None else int(scene.part.sum())
    area = max(4.0, exp(rng.uniform(log(SMALLEST), log(shape.largest))) * pixels)
    share = _softened(shape.draw(area, (height, width), rng), rng)
    row, column = _centre(scene, fill.at_edge)
    top, left = row - share.shape[0] // 2, column - share.shape[1] // 2
    rows = slice(max(0, top), min(height, top + share.shape[0]))
    columns = slice(max(0, left), min(width, left + share.shape[1]))
    inside = share[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    if scene.part is not None and rng.random() < 0.7:
        inside = inside * scene.part[rows, columns]
    return Window(rows, columns, inside)


def _softened(share: Values, rng: Generator) -> Values:
    """Edges blurred, mostly by a pixel, thin shapes kept as strong as they were."""
    softness = rng.uniform(0.3, 1.5) if rng.random() < 0.7 else rng.uniform(0.5, 1 + 0.06 * sqrt(share.size))
    soft = ndimage.gaussian_filter(np.pad(share, ceil(2 * softness)), softness, truncate=2.5)
    return np.asarray(soft * np.float32(min(4.0, 1 / max(float(soft.max()), 1e-6))))


def _centre(scene: Scene, at_edge: bool) -> tuple[int, int]:
    """A place of the part or, for what belongs to an edge, of the outermost few pixels of it."""
    rng, (height, width) = scene.rng, scene.image.shape[1:]
    if scene.part is None:
        row, column = int(rng.integers(height)), int(rng.integers(width))
        if at_edge and rng.random() < 0.5:
            row, column = ((0, column), (height - 1, column), (row, 0), (row, width - 1))[int(rng.integers(4))]
        return row, column
    places = scene.part & ~ndimage.binary_erosion(scene.part, iterations=3) if at_edge else scene.part
    inside = np.flatnonzero(places)
    row, column = divmod(int(inside[int(rng.integers(len(inside)))]), width)
    return row, column


def _blended(scene: Scene, window: Window, fill: Fill) -> Pixels:
    before, opacity = scene.values(window), np.float32(scene.rng.uniform(0.5, 1))
    after = before + window.share * opacity * (fill.make(scene, window) - before)
    return np.asarray(np.rint(np.clip(after, 0, np.iinfo(scene.image.dtype).max)).astype(scene.image.dtype))


def _seen(scene: Scene, window: Window, after: Pixels, copied: bool) -> Cells:
    """The window's pixels whose level or roughness changed so that one sees it, (h, w).

    Both are looked at as coarsely as the defect is: a grain in another grain's place changes every pixel and shows
    nothing; a shade far below the grain is plain to see where it is large.
    """
    before, side, least = scene.values(window), _coarseness(window.share), np.float32(SEEN * scene.std)
    limit = (ABOVE_GRAIN_COPIED if copied else ABOVE_GRAIN) * _own_changes(scene, window, side)
    seen = np.abs(_evened(after - before, side)) > np.maximum(least, limit)
    if side >= COARSE:
        rough, rougher = _roughness(before, side), _roughness(after.astype(np.float32), side)
        seen |= np.abs(rougher - rough) > np.maximum(least / 2, np.float32(ROUGHER) * np.maximum(rough, rougher))
    return np.asarray(seen.any(0) & (window.share > 0.05))


def _coarseness(share: Values) -> int:
    """Side of the square over which a shape is looked at, odd: about two thirds of its thickness, at most 11 pixels."""
    inside = share > 0.5
    crossed = max(1, int((inside[1:] != inside[:-1]).sum()), int((inside[:, 1:] != inside[:, :-1]).sum()))
    return int(np.clip(2 * inside.sum() / crossed / 3, 0, 5)) * 2 + 1


def _evened(values: Values, side: int) -> Values:
    return values if side == 1 else np.asarray(ndimage.uniform_filter(values, (0, side, side)))


def _roughness(values: Values, side: int) -> Values:
    """Deviation of the values around each place."""
    return np.sqrt(_evened(np.square(values - _evened(values, side)), side))


def _own_changes(scene: Scene, window: Window, side: int) -> Values:
    """How far the surface around differs from itself a few pixels further: a deviation by channel, (C, 1, 1)."""
    rows, columns = _probe(window.rows, scene.image.shape[1]), _probe(window.columns, scene.image.shape[2])
    around = _evened(scene.image[:, rows, columns].astype(np.float32), side)
    further = 3 + side
    differences = [
        np.abs(around[:, further:] - around[:, :-further]),
        np.abs(around[:, :, further:] - around[:, :, :-further]),
    ]
    medians = [np.median(difference, axis=(1, 2)) for difference in differences if difference.size]
    # 1.05: 1.48 from a median to a deviation, over √2 for one of two
    return np.asarray(1.05 * np.mean(medians, axis=0), np.float32)[:, None, None]


def _probe(window: slice, length: int) -> slice:
    """A window and what is around it, or the middle of that where it is large."""
    start, stop = max(0, window.start - AROUND), min(length, window.stop + AROUND)
    spare = max(0, stop - start - PROBE) // 2
    return slice(start + spare, stop - spare)


def _outlined(drawn: Drawn) -> NDArray[np.uint8]:
    """A drawn image as colour, about 200 pixels a side, its bad cells outlined in red."""
    bytes_ = drawn.image if drawn.image.dtype == np.uint8 else drawn.image // 257
    colour = (bytes_ if len(bytes_) == 3 else bytes_[[0, 0, 0]]).transpose(1, 2, 0).astype(np.uint8)
    height, width = colour.shape[:2]
    bad = drawn.cells.repeat(CELL, 0).repeat(CELL, 1)[:height, :width]
    smaller, larger = max(1, max(height, width) // 200), max(1, 200 // max(height, width))
    colour, bad = _scaled(colour, smaller, larger), _scaled(bad, smaller, larger)
    line = bad & ~ndimage.binary_erosion(bad, border_value=1)
    return np.where(line[..., None], np.array([255, 0, 0], np.uint8), colour)


def _scaled(view: NDArray[Any], smaller: int, larger: int) -> NDArray[Any]:
    return view[::smaller, ::smaller].repeat(larger, 0).repeat(larger, 1)
