"""Geometry of the report's charts in per cent of their box: lines stretch with the page, text keeps its size. No
markup, no colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
from sklearn.metrics import precision_recall_curve as points_of_curve

from weakspot.evaluation.metrics import Labels, Scores
from weakspot.inspection.inspection import Thresholds

BINS = 44  # of the histogram, before the thresholds split some
LOWEST_BAR = 3.0  # per cent of the row: a single picture among hundreds stays visible


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bin of the histogram: its place in per cent, and what it holds."""

    x: float
    width: float
    height: float
    count: int
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A label on an axis: where, in per cent, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Raw scores of good and of bad pictures in two rows on one axis. Places in per cent."""

    good: tuple[Bar, ...]
    bad: tuple[Bar, ...]
    tallest_good: int  # pictures: each row has a scale of its own
    tallest_bad: int
    ticks: tuple[Tick, ...]
    low: float  # raw scores at the axis' ends
    high: float
    good_below: float
    bad_from: float

    def at(self, score: float) -> float:
        """Where a raw score stands on the axis, in per cent."""
        return round(100 * (score - self.low) / (self.high - self.low), 2)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Precision over recall as steps whose area is the average precision: SVG paths in a box of 100 × 100, y down."""

    path: str
    area: str


def histogram(labels: Labels, scores: Scores, thresholds: Thresholds) -> Histogram:
    """The bins of `edges_of` with the pictures that are in them. labels, scores: (N,)."""
    edges = edges_of([*scores.tolist()], thresholds)
    good, bad = (np.diff(np.searchsorted(np.sort(scores[labels == label]), edges)) for label in (0, 1))
    return histogram_of(good, bad, edges, thresholds)


def edges_of(scores: Sequence[float], thresholds: Thresholds) -> Scores:
    """Of bins of equal width counted from bad_from, split at good_below: no bar holds pictures of two decisions.

    scores: the smallest and the largest must be among them.
    """
    low, high = _span(scores, thresholds)
    step, origin = (high - low) / BINS, thresholds.bad_from
    grid = origin + step * np.arange(floor((low - origin) / step), ceil((high - origin) / step) + 1)
    return np.unique(np.append(grid, thresholds.good_below))


def histogram_of(good: Labels, bad: Labels, edges: Scores, thresholds: Thresholds) -> Histogram:
    """Two rows of counts, one fewer each than there are edges."""
    start, width = float(edges[0]), float(edges[-1] - edges[0])

    def at(value: float) -> float:
        return 100 * (value - start) / width

    return Histogram(
        good=_bars(good, edges, start, width),
        bad=_bars(bad, edges, start, width),
        tallest_good=int(good.max()),
        tallest_bad=int(bad.max()),
        ticks=tuple(Tick(at=at(value), text=number(value)) for value in round_values(start, float(edges[-1]), 6)),
        low=start,
        high=float(edges[-1]),
        good_below=at(thresholds.good_below),
        bad_from=at(thresholds.bad_from),
    )


def precision_recall_curve(labels: Labels, scores: Scores) -> Curve:
    """The curve of one score; both classes must be there. labels, scores: (N,)."""
    falling = points_of_curve(labels, scores)[:2]
    precision, recall = (values[-2::-1].tolist() for values in falling)  # the last point is none of these pictures'
    reached, steps = 0.0, [f"M0 {_down(precision[0])}"]
    for r, p in zip(recall, precision, strict=True):
        if r > reached:  # a good picture alone lowers the precision of the next step, it draws none
            steps.append(f"V{_down(p)}H{100 * r:.2f}")
            reached = r
    path = "".join(steps)
    return Curve(path=path, area=f"{path}V100H0Z")


def round_values(low: float, high: float, about: int) -> list[float]:
    """Round numbers inside [low, high], about so many, evenly spaced by 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** floor(log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough - 1e-12)
    return [round(step * i, 10) for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def number(value: float, digits: int | None = None) -> str:
    """A number with a true minus sign; digits: after the point, None as few as it needs."""
    text = f"{value:g}" if digits is None else f"{value:.{digits}f}"
    return text.replace("-", "−")


def _span(scores: Sequence[float], thresholds: Thresholds) -> tuple[float, float]:
    seen = [*scores, thresholds.good_below, thresholds.bad_from]
    margin = 0.03 * (max(seen) - min(seen)) or 0.5
    return min(seen) - margin, max(seen) + margin


def _bars(counts: Labels, edges: Scores, start: float, width: float) -> tuple[Bar, ...]:
    tallest = counts.max(initial=0)
    bars = []
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            x, w = 100 * float(low - start) / width, 100 * float(high - low) / width
            height = max(LOWEST_BAR, 100 * int(count) / int(tallest))
            bars.append(Bar(x=x, width=w, height=height, count=int(count), low=float(low), high=float(high)))
    return tuple(bars)


def _down(precision: float) -> str:
    return f"{100 * (1 - precision):.2f}"
