"""Shapes of drawn defects: how far each pixel around a centre belongs to one, (h, w), 0 to 1.

Knows of an image its size alone. A shape takes its area in pixels, the image's height and width, and the generator that
gives all its randomness.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, cos, exp, log, pi, sin, sqrt

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Values = NDArray[np.float32]  # a map (h, w), or one for each channel (C, h, w)
Size = tuple[int, int]  # height, width in pixels
Draw = Callable[[float, Size, Generator], Values]


@dataclass(frozen=True)
class Shape:
    """One kind of shape: how often it is drawn, how, and up to which share of the image."""

    weight: float
    draw: Draw
    largest: float


def blob(area: float, size: Size, rng: Generator) -> Values:
    """An ellipse whose edge is more or less ragged."""
    ratio = exp(rng.uniform(0, log(3)))
    long, short = sqrt(area / pi * ratio), sqrt(area / pi / ratio)
    u, v = _turned_grid(1.5 * long, size, rng.uniform(0, pi))
    waves = np.arange(2, 14)
    heights = rng.uniform(0.05, 0.35) * rng.normal(size=12) / waves ** rng.uniform(0.3, 1.2)
    angles = np.linspace(-pi, pi, 128)
    edge = 1 + (heights[:, None] * np.cos(waves[:, None] * angles + rng.uniform(0, 2 * pi, (12, 1)))).sum(0)
    limit = np.interp(np.arctan2(v / short, u / long), angles, edge).astype(np.float32)
    return _covered((limit - np.hypot(u / long, v / short)) * np.float32(short))


def rectangle(area: float, size: Size, rng: Generator) -> Values:
    """A patch or a band with straight sides, along the image's own or turned."""
    ratio = exp(rng.uniform(0, log(8)))
    long, short = sqrt(area * ratio) / 2, sqrt(area / ratio) / 2
    angle = rng.uniform(0, pi) if rng.random() < 0.5 else pi / 2 * int(rng.integers(2))
    u, v = _turned_grid(1.5 * long, size, angle)
    return _covered(np.minimum(np.float32(long) - np.abs(u), np.float32(short) - np.abs(v)))


def scratch(area: float, size: Size, rng: Generator) -> Values:
    """A line that bends slowly, of uneven width, at times interrupted."""
    width = exp(rng.uniform(log(0.7), log(max(1.5, 0.02 * min(size)))))
    length = float(np.clip(area / width, 8, 0.9 * max(size)))
    step = max(0.7, width / 4)
    points = _walk(ceil(length / step), step, rng)
    radii = width / 2 * (1 + 0.4 * noise((1, len(points)), 12, rng)[0]).clip(0.5, 1.6)
    if rng.random() < 0.3:
        kept = noise((1, len(points)), 10, rng)[0] > -0.5
        points, radii = (points[kept], radii[kept]) if kept.any() else (points, radii)
    return _stamped(points - points.mean(0), radii)


def crack(area: float, size: Size, rng: Generator) -> Values:
    """A jagged line across much of the image, wider in its middle, soft at its sides, stronger here than there.

    Its length and width are its own, whatever the area: a crack is long and thin.
    """
    width = exp(rng.uniform(log(1.2), log(max(2.5, 0.035 * min(size)))))
    length = float(np.clip(exp(rng.uniform(log(0.12), log(0.9))) * max(size), 6 * width, 1.2 * max(size)))
    step = max(0.7, width / 4)
    count = ceil(length / step)
    points = _walk(count, step, rng) + step * np.cumsum(rng.normal(0, 0.12, (count, 2)), axis=0)
    tapered = np.sin(pi * np.linspace(0.02, 0.98, count)) ** rng.uniform(0.2, 0.8)
    radii = width / 2 * tapered * (1 + 0.35 * noise((1, count), 10, rng)[0]).clip(0.4, 1.7)
    drawn = np.pad(_stamped(points - points.mean(0), radii.clip(0.45)), 3)
    soft = ndimage.gaussian_filter(drawn, 0.15 * width + 0.2)
    strength = np.clip(0.8 + 0.3 * noise(drawn.shape, max(4, int(6 * width)), rng), 0.35, 1)
    return np.asarray(soft / max(float(soft.max()), 1e-6) * strength, np.float32)


def specks(area: float, size: Size, rng: Generator) -> Values:
    """One dot or a group of them."""
    count = 1 if rng.random() < 0.4 else int(rng.integers(2, 13))
    spread = rng.uniform(0.02, 0.12) * min(size) if count > 1 else 0.0
    radii = np.sqrt(area / count / pi * rng.uniform(0.4, 1.6, count)).clip(0.8)
    return _stamped(rng.normal(0, 1, (count, 2)) * spread, radii)


SHAPES = {
    "crack": Shape(0.35, crack, 0.03),
    "blob": Shape(0.25, blob, 0.3),
    "scratch": Shape(0.15, scratch, 0.03),
    "specks": Shape(0.15, specks, 0.01),
    "rectangle": Shape(0.1, rectangle, 0.3),
}


def noise(size: Size, coarse: int, rng: Generator) -> Values:
    """Random values of mean 0 and deviation about 1 that change over `coarse` pixels, (h, w)."""
    if coarse <= 1:
        return rng.standard_normal(size, np.float32)
    knots = rng.standard_normal((size[0] // coarse + 2, size[1] // coarse + 2), np.float32)
    rows = _between(knots, size[0], coarse, rng)
    return np.asarray(np.float32(1.5) * _between(rows.T, size[1], coarse, rng).T)


def _between(knots: Values, count: int, coarse: int, rng: Generator) -> Values:
    """Straight lines between rows of knots, `coarse` apart, from a random place on → `count` rows."""
    places = (np.arange(count, dtype=np.float32) + np.float32(rng.uniform(0, coarse))) / coarse
    first = np.minimum(places.astype(int), len(knots) - 2)
    further = (places - first)[:, None]
    return np.asarray(knots[first] * (1 - further) + knots[first + 1] * further)


def _walk(count: int, step: float, rng: Generator) -> NDArray[np.float64]:
    """Points `step` pixels apart along a line that bends slowly, at random and to one side, (count, 2)."""
    bends = np.cumsum(rng.normal(0, rng.uniform(0, 0.15), count)) * sqrt(step) + np.linspace(
        0, rng.normal(0, 0.8), count
    )
    heading = rng.uniform(0, 2 * pi) + bends
    return np.cumsum(np.stack([np.sin(heading), np.cos(heading)], 1) * step, axis=0)


def _turned_grid(reach: float, size: Size, angle: float) -> tuple[Values, Values]:
    """Coordinates along a direction and across it, no further than `reach` or the image's own sides from the centre."""
    high, wide = (min(ceil(reach), side) for side in size)
    y, x = np.mgrid[-high : high + 1, -wide : wide + 1].astype(np.float32)
    along, across = np.float32(cos(angle)), np.float32(sin(angle))
    return x * along + y * across, y * along - x * across


def _covered(inwards: Values) -> Values:
    """Pixels from the edge inwards → the share of the pixel that lies inside."""
    return np.asarray(np.clip(inwards + np.float32(0.5), 0, 1))


def _stamped(points: NDArray[np.float64], radii: NDArray[np.float64]) -> Values:
    """Discs at points (n, 2), rows and columns around 0, of these radii → the smallest map that holds them."""
    reach = ceil(float(radii.max())) + 1
    half = np.ceil(np.abs(points).max(0)).astype(int) + reach
    canvas = np.zeros(2 * half + 1, np.float32)
    near = np.stack(list(np.mgrid[-reach : reach + 1, -reach : reach + 1]), -1).reshape(-1, 2)
    places = np.rint(points).astype(int)[:, None] + near
    inwards = radii[:, None] - np.linalg.norm(places - points[:, None], axis=2)
    np.maximum.at(canvas, tuple((places + half).reshape(-1, 2).T), _covered(inwards.astype(np.float32)).ravel())
    return canvas
