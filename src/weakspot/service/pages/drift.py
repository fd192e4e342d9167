"""Whether the scores of some days lie as they did before: counts in the same bins, compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstwobign
from sqlalchemy import Row

from weakspot.inspection.drift import CERTAIN, FEWEST_TOGETHER

Counts = NDArray[np.integer[Any]]
LARGE = 0.25  # of the stability index: commonly called a large change
BANDS = 10  # of the index, each of about as many of the earlier scores


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What was compared with what. n, means: of now and then; index, distance, chance: None where they are too few.

    distance: the largest of the two cumulative distributions, over bins (Kolmogorov–Smirnov); chance: of so much where
    nothing has changed and pictures are independent.
    """

    these: str
    those: str
    n: tuple[int, int]
    means: tuple[float, float]
    index: float | None = None
    distance: float | None = None
    chance: float | None = None

    @property
    def state(self) -> Literal["changed", "not changed", "not known"]:
        """A large change beyond chance, or none."""
        if self.index is None or self.chance is None:
            return "not known"
        return "changed" if self.index > LARGE and self.chance < CERTAIN else "not changed"


def drift_of(
    now: Row[Any], binned: Counts, then: Row[Any], of_then: Counts, training: Sequence[float],
    edges: NDArray[np.floating[Any]], bad: Counts,
) -> Drift:  # fmt: skip
    """Against the week before, by the same model; where that has too few, against the good training pictures.

    now, then: n and mean of all scores; binned, of_then, bad: counts between the edges, bad those judged bad.
    """
    if then.n < FEWEST_TOGETHER <= len(training):
        held = np.bincount(np.clip(np.searchsorted(edges, training, "right") - 1, 0, len(bad) - 1), minlength=len(bad))
        middles = (edges[:-1] + edges[1:]) / 2
        mine = binned - bad
        mean = float(mine @ middles / max(1, mine.sum()))
        words = "scores not judged bad", "good training pictures, each scored by a detector that had not seen it"
        return _compared(words, mine, held, (mean, float(np.mean(training))))
    words = "scores shown above", "of the 7 days before, by the same model"
    return _compared(words, binned, of_then, (now.mean, then.mean or 0.0))


def _compared(words: tuple[str, str], now: Counts, then: Counts, means: tuple[float, float]) -> Drift:
    n, m = int(now.sum()), int(then.sum())
    told: dict[str, Any] = {"these": words[0], "those": words[1], "n": (n, m), "means": means}
    if min(n, m) < FEWEST_TOGETHER:
        return Drift(**told)
    distance = float(np.abs(np.cumsum(now) / n - np.cumsum(then) / m).max())
    chance = float(kstwobign.sf(distance * sqrt(n * m / (n + m))))
    return Drift(**told, index=_stability_index(now, then), distance=distance, chance=chance)


def _stability_index(now: Counts, then: Counts) -> float:
    """PSI over bands that hold about a tenth of the earlier ones each."""
    before = np.cumsum(then) - then
    band = np.minimum(BANDS * before // then.sum(), BANDS - 1).astype(int)
    shares = [np.bincount(band, counts, BANDS) + 0.5 for counts in (now, then)]
    mine, earlier = (counts / counts.sum() for counts in shares)
    return float(((mine - earlier) * np.log(mine / earlier)).sum())
