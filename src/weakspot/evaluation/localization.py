"""Whether the heat lies on the defect, by masks that no training has seen: in cells of the heat map, and in pixels.

A heat map has (h, w) cells, a mask (H, W) pixels; cells divide the picture evenly. A cell is bad where it overlaps any
pixel of the mask.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from weakspot.errors import MetricError

HeatMap = NDArray[np.float32]  # (h, w) cells in [0, 1]
Mask = NDArray[np.bool_]  # (H, W) pixels
# Of the 23 so many are kept: heat is told apart to 1 part in 4,096 of its distance from 0 or 1, whichever is nearer.
MANTISSA_BITS = 12
SMALLEST_EXPONENT = 127 - 40  # heat nearer to 0 or 1 than 2^-40 counts as 0 or 1
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=int)


def checked_heat(heat: HeatMap) -> HeatMap:
    """The heat map as float32; MetricError where it is not (h, w) or holds a value that is not in [0, 1]."""
    if heat.ndim != 2 or not heat.size or not np.isfinite(heat).all() or heat.min() < 0 or heat.max() > 1:
        found = f"a heat map of shape {heat.shape} with values outside 0 to 1, or none"
        raise MetricError(f"{found}; needed are finite values from 0 to 1 by cell")
    return heat.astype(np.float32, copy=False)


def cells_of_mask(mask: Mask, height: int, width: int) -> Mask:
    """The mask (H, W) on cells (height, width): a cell is bad where it overlaps any mask pixel."""
    return _any_along(_any_along(mask, height).T, width).T


def is_hit(heat: HeatMap, mask: Mask, tolerance_cells: int = 2) -> bool:
    """Whether the hottest cell lies within `tolerance_cells` of a bad cell, along rows and columns.

    Where several cells share the maximum, all of them must: a map that is hot everywhere has found nothing.
    """
    bad = _bad_cells(heat, mask)
    near = ndimage.binary_dilation(bad, structure=np.ones((2 * tolerance_cells + 1,) * 2, dtype=bool))
    return bool(near[heat == heat.max()].all())


def cell_iou_of(heat: HeatMap, mask: Mask, threshold: float) -> float:
    """Intersection over union of the cells at or above `threshold` and the bad cells. In [0, 1]."""
    bad, hot = _bad_cells(heat, mask), heat >= threshold
    return float((bad & hot).sum() / (bad | hot).sum())


def resize_to_picture(heat: HeatMap, height: int, width: int) -> HeatMap:
    """The heat (h, w) on the picture's pixels (height, width), bilinearly, cells' centres kept in place; in [0, 1]."""
    resized = Image.fromarray(checked_heat(heat)).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0, 1)


@dataclass(frozen=True, kw_only=True)
class PixelMetric:
    """A figure over pixels; the exact one lies within `error`, which counting in steps of heat can have cost."""

    value: float
    error: float


class PixelHeat:
    """Counts of good and bad pixels by heat, in a few megabytes however many pictures are added.

    Heat is told apart in about 320,000 steps, finest near 0 and 1 where sigmoids crowd. Each metric says how far the
    exact one can lie away. scikit-learn's metrics would sort all pixels: 85 million of them for KolektorSDD's test.
    """

    def __init__(self) -> None:
        steps = int(_steps(np.ones((1, 1), dtype=np.float32))[0]) + 1
        self.good: NDArray[np.int64] = np.zeros(steps, dtype=np.int64)
        self.bad: NDArray[np.int64] = np.zeros(steps, dtype=np.int64)
        self.overlap: NDArray[np.float64] = np.zeros(steps)  # each bad pixel weighs one over the size of its defect
        self.defects = 0

    def add(self, heat: HeatMap, mask: Mask) -> None:
        """One picture: its heat map (h, w), resized to its mask (H, W); a good picture's mask is empty."""
        steps = _steps(resize_to_picture(heat, *mask.shape))
        flat = mask.ravel()
        bad = steps[flat]
        self.good += np.bincount(steps, minlength=len(self.good)) - np.bincount(bad, minlength=len(self.good))
        if not len(bad):
            return
        self.bad += np.bincount(bad, minlength=len(self.bad))
        defect, defects = ndimage.label(mask, structure=EIGHT_NEIGHBOURS)
        defect = defect.ravel()[flat]
        self.overlap += np.bincount(bad, weights=1 / np.bincount(defect)[defect], minlength=len(self.overlap))
        self.defects += defects

    def auroc(self) -> PixelMetric:
        """The share of pairs of a bad and a good pixel that are ranked right; pairs in one step count half."""
        good, bad = self._from_hottest()
        ties = float((good * bad).sum())
        below = good.sum() - np.cumsum(good)
        pairs = float(good.sum() * bad.sum())
        return PixelMetric(value=(float((bad * below).sum()) + ties / 2) / pairs, error=ties / 2 / pairs)

    def average_precision(self) -> PixelMetric:
        """Average precision over pixels; each step as one tie. The error spans all orders within the steps."""
        good, bad = self._from_hottest()
        true, false = np.cumsum(bad), np.cumsum(good)
        here = bad > 0
        value = (bad * true)[here] / (true + false)[here]
        before = (true - bad)[here]
        lowest = bad[here] * (before + 1) / (before + 1 + false[here])
        highest = (bad * true)[here] / (true + false - good)[here]
        error = max((value - lowest).sum(), (highest - value).sum())
        return PixelMetric(value=float(value.sum() / bad.sum()), error=float(error / bad.sum()))

    def aupro(self, fpr_limit: float = 0.3) -> PixelMetric:
        """Area under the overlap by defect over the share of good pixels called bad (Bergmann et al. 2021).

        The area up to `fpr_limit` is divided by `fpr_limit`. A defect is a connected part of a mask (8 neighbours); all
        weigh the same, whatever their size.
        """
        if not 0 < fpr_limit <= 1:
            raise MetricError(f"fpr_limit = {fpr_limit}; needed is a share above 0 and up to 1, such as 0.3")
        good, _ = self._from_hottest()
        rate = np.concatenate([[0.0], np.cumsum(good) / good.sum()])
        overlap = np.concatenate([[0.0], np.cumsum(self.overlap[::-1]) / self.defects])
        inside = np.minimum(rate, fpr_limit)
        width = np.diff(inside)
        end = overlap[:-1] + np.diff(overlap) * np.divide(
            width, np.diff(rate), out=np.ones_like(width), where=np.diff(rate) > 0
        )
        area = float((width * (overlap[:-1] + end)).sum() / 2 / fpr_limit)
        return PixelMetric(value=area, error=float((width * np.diff(overlap)).sum() / fpr_limit))

    def _from_hottest(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not self.good.any() or not self.bad.any():
            found = f"{self.good.sum():,} good and {self.bad.sum():,} bad pixels"
            raise MetricError(f"{found}: pixel metrics need both; add pictures with masks")
        return self.good[::-1].astype(np.float64), self.bad[::-1].astype(np.float64)


def as_metrics(pixels: PixelHeat, fpr_limit: float = 0.3) -> dict[str, float]:
    """The three pixel metrics by their names in records and in the field."""
    auroc, ap, aupro = pixels.auroc(), pixels.average_precision(), pixels.aupro(fpr_limit)
    plain = {"pixel_auroc": auroc, "pixel_ap": ap, "pixel_aupro": aupro}
    named = {"pixel_AUROC": auroc.value, "pixel_AP": ap.value, "pixel_AUPRO": aupro.value}
    return {k: m.value for k, m in plain.items()} | {f"{k}_error": m.error for k, m in plain.items()} | named


def _steps(heat: HeatMap) -> NDArray[np.int64]:
    """Heat in [0, 1] as whole numbers that rise with it, (H, W) → (H·W,).

    They are the leading bits of the float's distance from the nearer end.
    """
    flat = heat.ravel()
    upper = flat >= 0.5
    distance = np.where(upper, np.float32(1) - flat, flat)  # exact: 1 − x has no rounding for x in [0.5, 1]
    shift = 23 - MANTISSA_BITS
    lowest, highest = SMALLEST_EXPONENT << MANTISSA_BITS, 126 << MANTISSA_BITS  # 126: the exponent of 0.5
    steps = np.maximum((distance.view(np.uint32) >> shift).astype(np.int64) - lowest, 0)
    return np.where(upper, 2 * (highest - lowest) + 1 - steps, steps)


def _bad_cells(heat: HeatMap, mask: Mask) -> Mask:
    bad = cells_of_mask(mask, *checked_heat(heat).shape)
    if not bad.any():
        raise MetricError("the mask of a bad picture marks nothing; leave the mask away, or mark the defect")
    return bad


def _any_along(mask: Mask, cells: int) -> Mask:
    """(N, M) → (cells, M): any over the rows that a cell overlaps; whole numbers, so that edges are exact."""
    n = len(mask)
    first = np.arange(cells) * n // cells
    last = -(-(np.arange(cells) + 1) * n // cells)
    below = np.zeros((n + 1, mask.shape[1]), dtype=np.int64)
    np.cumsum(mask, axis=0, out=below[1:])
    return below[last] > below[first]
