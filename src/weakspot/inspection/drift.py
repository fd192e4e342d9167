"""Whether pictures still look like the training's good ones: each by itself, and many together.

Four figures of a picture at the detector's size: brightness, contrast, sharpness, and likeness to the mean of the good
training pictures. None of them knows a defect: what is unlike in them was never learned, so it must not be called good.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from weakspot.inspection.manifest import Usual

SIDE = 16  # cells of the small picture that layouts are compared by
MOST_VALUES = 500  # of each figure that a model file keeps, evenly from the smallest to the largest
# How far a figure may lie outside the training's range: this share of the range, and at least so much (LOG.md; what
# comes of it: results/drift.json).
SPREAD = 0.2
SLACK = {"brightness": 0.02, "contrast": 0.01, "sharpness": 0.1, "likeness": 0.05}
FEWEST = 5  # good training pictures from which a range is told
FEWEST_TOGETHER = 30  # pictures from which a stream is compared
CERTAIN = 1e-6  # chance by which a stream of independent pictures may be told to have changed that has not
FAR = 0.8  # Kolmogorov–Smirnov distance besides: pictures of few parts lie up to 0.8 from all, and nothing has changed


class Change(NamedTuple):
    """How a figure of many pictures differs from the training's: Kolmogorov–Smirnov, and the stability index."""

    figure: str
    distance: float  # largest distance of the two cumulative distributions, 0 to 1
    chance: float  # of such a distance where nothing has changed
    stability_index: float  # PSI over the training's deciles; above 0.25 is commonly called a large change
    pictures: int


def usual_of(images: Iterable[NDArray[np.generic]]) -> Usual | None:
    """What the good training pictures (C, h, w) look like; None where they are too few to tell."""
    pictures = list(images)
    if len(pictures) < FEWEST:
        return None
    layout, more = np.mean([_layout(image) for image in pictures], axis=0), 1 / (len(pictures) - 1)
    others = (layout + more * (layout - _layout(image)) for image in pictures)  # without the picture itself
    rows = [figures(image, other) for image, other in zip(pictures, others, strict=True)]
    values = {name: np.sort([row[name] for row in rows]) for name in SLACK}
    places = np.linspace(0, len(pictures) - 1, min(MOST_VALUES, len(pictures))).round().astype(int)
    return Usual(layout=layout.tolist(), figures={name: found[places].tolist() for name, found in values.items()})


def figures(image: NDArray[np.generic], layout: NDArray[np.floating]) -> dict[str, float]:
    """The four figures of a picture (C, h, w), uint8 or uint16. layout: of the training, (SIDE * SIDE,).

    Brightness and contrast as shares of full scale; sharpness the logarithm of the mean step between neighbours over
    the contrast; likeness a correlation.
    """
    full = 255.0 if image.dtype == np.uint8 else 65535.0
    grey = image.mean(axis=0, dtype=np.float32) / full
    contrast = float(grey.std())
    step = float((np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2)
    mine = _layout(image)
    return {
        "brightness": float(grey.mean()),
        "contrast": contrast,
        "sharpness": float(np.log((step + 1e-4) / (contrast + 1e-4))),
        "likeness": float(mine @ layout / max(1e-9, np.linalg.norm(mine) * np.linalg.norm(layout))),
    }


def limits_of(usual: Usual) -> dict[str, tuple[float, float]]:
    """The smallest and the largest value of each figure that is not unlike the training's; none is too like."""
    limits = {}
    for name, values in usual.figures.items():
        low, high = values[0], 1.0 if name == "likeness" else values[-1]
        allowed = SLACK[name] + SPREAD * (values[-1] - low)
        limits[name] = (low - allowed, high + allowed)
    return limits


def unlike(found: dict[str, float], usual: Usual) -> tuple[str, ...]:
    """In which figures a picture lies far outside the training's, in words."""
    limits, known = limits_of(usual), usual.figures
    outside = [name for name, value in found.items() if not limits[name][0] <= value <= limits[name][1]]
    return tuple(f"{name} {found[name]:.2f}, there {known[name][0]:.2f} to {known[name][-1]:.2f}" for name in outside)


def changes(rows: list[dict[str, float]], usual: Usual) -> list[Change]:
    """The figures in which many pictures together differ from the training's beyond chance; few tell nothing."""
    if len(rows) < FEWEST_TOGETHER:
        return []
    from scipy.stats import ks_2samp  # takes longer to import than a picture to inspect

    found = []
    for name, values in usual.figures.items():
        mine = np.array([row[name] for row in rows])
        test = ks_2samp(mine, values)
        index = _stability_index(mine, np.array(values))
        found.append(Change(name, float(test.statistic), float(test.pvalue), index, len(rows)))
    return [change for change in found if change.chance < CERTAIN and change.distance >= FAR]


def _stability_index(mine: NDArray[np.floating], usual: NDArray[np.floating]) -> float:
    edges = np.quantile(usual, np.linspace(0, 1, 11))[1:-1]
    shares = [np.bincount(np.searchsorted(edges, values), minlength=10) + 0.5 for values in (mine, usual)]
    now, then = (counts / counts.sum() for counts in shares)
    return float(((now - then) * np.log(now / then)).sum())


def _layout(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """A small picture, its mean taken off: (SIDE * SIDE,)."""
    grey = Image.fromarray(image.mean(axis=0, dtype=np.float32))
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64).ravel()
    return np.asarray(small - small.mean())
