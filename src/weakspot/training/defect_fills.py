"""What stands in a drawn defect's place: each fill gives the new pixels of a window, (C, h, w), raw units.

Knows nothing of cells. After NSA (Schlüter et al. 2022: patches of other images), DRÆM (Zavrtanik et al. 2021: foreign
textures) and CutPaste (Li et al. 2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, exp, log, pi, sin

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from weakspot.training.defect_shapes import Size, Values, noise

Pixels = NDArray[np.uint8] | NDArray[np.uint16]  # (C, H, W)


@dataclass(frozen=True)
class Window:
    """A rectangle of an image around a defect, and how far each of its pixels belongs to the defect."""

    rows: slice
    columns: slice
    share: Values  # (h, w), 0 to 1

    @property
    def size(self) -> Size:
        """Height and width, pixels."""
        return self.share.shape[0], self.share.shape[1]


@dataclass(frozen=True)
class Scene:
    """What a fill may take its pixels from."""

    image: Pixels
    others: Sequence[Pixels]
    std: float  # deviation of the good images' pixels, raw units
    part: NDArray[np.bool_] | None  # (H, W), where the part is; None: everywhere
    rng: Generator

    def values(self, window: Window) -> Values:
        """The window's pixels, (C, h, w)."""
        return self.image[:, window.rows, window.columns].astype(np.float32)


Make = Callable[[Scene, Window], Values]


@dataclass(frozen=True)
class Fill:
    """One kind of fill: how often it is taken, how it is made, and whether it is made of the surface itself."""

    weight: float
    make: Make
    copied: bool = False  # then it must differ more to be seen than by grain in another grain's place
    at_edge: bool = False  # it belongs to the part's edge


def shade(scene: Scene, window: Window) -> Values:
    """The surface darker or, less often, lighter, with a grain of its own; a tint where there is colour."""
    rng, here = scene.rng, scene.values(window)
    strength = _between(0.5, 4.0, rng) * scene.std * rng.choice((-1, 1), p=(0.65, 0.35))
    tint = 1 + 0.4 * rng.normal(size=len(here)) if len(here) > 1 else np.ones(1)
    grain = np.float32(rng.uniform(0, 0.4)) * noise(window.size, int(rng.integers(1, 4)), rng)
    return np.asarray(here + (strength * tint).astype(np.float32)[:, None, None] * (1 + grain))


def relief(scene: Scene, window: Window) -> Values:
    """A dent or a ridge: light on one side, dark on the other."""
    rng, here = scene.rng, scene.values(window)
    smooth = ndimage.gaussian_filter(np.pad(window.share, 1), rng.uniform(0.7, 1 + 0.05 * max(window.size)))
    down, right = (slope[1:-1, 1:-1] for slope in np.gradient(smooth))
    angle = rng.uniform(0, 2 * pi)
    slope = np.float32(sin(angle)) * down + np.float32(cos(angle)) * right
    return np.asarray(
        here + np.float32(_between(0.8, 4.0, rng) * scene.std / max(float(np.abs(slope).max()), 1e-6)) * slope
    )


def patch(scene: Scene, window: Window) -> Values:
    """A piece of this image or of another good one, mirrored or turned; half of them brighter or darker."""
    rng, (height, width) = scene.rng, window.size
    source = scene.image if rng.random() < 0.4 else scene.others[int(rng.integers(len(scene.others)))]
    turned = rng.random() < 0.5
    piece = _piece(source, (width, height) if turned else (height, width), rng)
    piece = piece.swapaxes(1, 2) if turned else piece
    piece = piece[:, :: int(rng.choice((-1, 1))), :: int(rng.choice((-1, 1)))]
    return np.asarray(piece + np.float32(rng.choice((0.0, 1.0)) * rng.uniform(-1.5, 1.5) * scene.std))


def foreign(scene: Scene, window: Window) -> Values:
    """A texture that no image has, smooth or coarse, streaked or not, at the place's own level or another."""
    rng, (height, width) = scene.rng, window.size
    level = scene.values(window).mean((1, 2), keepdims=True) + np.float32(rng.normal(0, 1.0) * scene.std)
    coarse, squeezed = (int(_between(1, most, rng)) for most in (max(2, min(height, width) // 2), 4))
    texture = noise((height, width * squeezed), coarse * squeezed, rng)[:, ::squeezed]
    return np.asarray(level + np.float32(rng.uniform(0.3, 1.5) * scene.std) * texture)


def warped(scene: Scene, window: Window) -> Values:
    """The surface itself, pushed aside: what bends, dents and bulges do to a pattern or an outline."""
    rng, shorter = scene.rng, min(window.size)
    reach = np.float32(rng.uniform(2, 4 + 0.15 * shorter))
    shifts = np.stack([reach * noise(window.size, max(4, shorter // 3), rng) for _ in range(2)])
    places = np.indices(window.size, np.float32) + shifts
    return np.stack([ndimage.map_coordinates(plane, places, order=1, mode="mirror") for plane in scene.values(window)])


def smeared(scene: Scene, window: Window) -> Values:
    """The surface rubbed along one direction, or out of focus."""
    rng, here = scene.rng, scene.values(window)
    if rng.random() < 0.3:
        return np.asarray(ndimage.gaussian_filter(here, (0, *(rng.uniform(1.5, 5),) * 2)))
    return np.asarray(
        ndimage.uniform_filter1d(here, int(rng.integers(5, 40)), axis=int(rng.integers(1, 3)), mode="nearest")
    )


def missing(scene: Scene, window: Window) -> Values:
    """What lies behind the part; where the part fills the image, one of its darkest or lightest values."""
    sparse, part = scene.image[:, ::4, ::4], None if scene.part is None else scene.part[::4, ::4]
    if part is None or part.all():
        level, grain = np.quantile(sparse, scene.rng.choice((0.005, 0.995)), axis=(1, 2)), 0.1 * scene.std
    else:
        behind = sparse[:, ~part]
        level, grain = np.median(behind, axis=1), min(float(behind.std()), 0.2 * scene.std)
    return np.asarray(level.astype(np.float32)[:, None, None] + np.float32(grain) * noise(window.size, 1, scene.rng))


FILLS = {
    "shade": Fill(0.45, shade),
    "patch": Fill(0.1, patch, copied=True),
    "foreign": Fill(0.12, foreign),
    "relief": Fill(0.12, relief),
    "warped": Fill(0.06, warped, copied=True),
    "smeared": Fill(0.05, smeared, copied=True),
    "missing": Fill(0.1, missing, at_edge=True),
}


def _between(least: float, most: float, rng: Generator) -> float:
    """Evenly over magnitudes."""
    return exp(rng.uniform(log(least), log(most)))


def _piece(source: Pixels, size: Size, rng: Generator) -> Values:
    """A random piece of an image, (C, h, w), mirrored at the border where it is larger than the image."""
    rows, columns = (_run(side, wanted, rng) for side, wanted in zip(source.shape[1:], size))
    return source[:, rows[:, None], columns].astype(np.float32)


def _run(side: int, wanted: int, rng: Generator) -> NDArray[np.int64]:
    """`wanted` places in a row along a side, there and back where it is too short."""
    places = (int(rng.integers(max(1, side - wanted + 1))) + np.arange(wanted)) % (2 * side)
    return np.minimum(places, 2 * side - 1 - places)
