"""Geometry of the report's charts in per cent of their box, so that lines stretch with the page while text keeps its
size. No markup, no colours."""

from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from weakspot.evaluation.metrics import Labels, Scores, precision_recall
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
    """Raw scores of good and of bad pictures in two rows on one axis; the rows have scales of their own. Places in per
    cent."""

    good: tuple[Bar, ...]
    bad: tuple[Bar, ...]
    tallest_good: int
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
    """Precision over recall as steps whose area is the average precision: SVG path data in a box of 100 × 100, y
    downwards."""

    path: str
    area: str


def histogram(labels: Labels, scores: Scores, thresholds: Thresholds) -> Histogram:
    """Bins of equal width counted from bad_from, split at good_below, so that no bar holds pictures of two decisions.
    labels, scores: (N,)."""
    low, high = _span(scores, thresholds)
    step = (high - low) / BINS
    grid = thresholds.bad_from + step * np.arange(
        floor((low - thresholds.bad_from) / step), ceil((high - thresholds.bad_from) / step) + 1
    )
    edges = np.unique(np.append(grid, thresholds.good_below))
    start, width = edges[0], edges[-1] - edges[0]
    rows = {}
    for label in (0, 1):
        counts = np.diff(np.searchsorted(np.sort(scores[labels == label]), edges))
        rows[label] = _bars(counts, edges, start, width), int(counts.max(initial=0))
    ticks = tuple(
        Tick(at=100 * (value - start) / width, text=number(value)) for value in round_values(start, edges[-1], 6)
    )
    at = [100 * float(value - start) / float(width) for value in (thresholds.good_below, thresholds.bad_from)]
    return Histogram(
        good=rows[0][0],
        bad=rows[1][0],
        tallest_good=rows[0][1],
        tallest_bad=rows[1][1],
        ticks=ticks,
        low=float(start),
        high=float(edges[-1]),
        good_below=at[0],
        bad_from=at[1],
    )


def precision_recall_curve(labels: Labels, scores: Scores) -> Curve:
    """The curve of one score; both classes must be there. labels, scores: (N,)."""
    recall, precision = precision_recall(labels, scores)
    reached, steps = 0.0, [f"M0 {_down(precision[0])}"]
    for r, p in zip(recall.tolist(), precision.tolist(), strict=True):
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


def _span(scores: Scores, thresholds: Thresholds) -> tuple[float, float]:
    seen = [*scores.tolist(), thresholds.good_below, thresholds.bad_from]
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
