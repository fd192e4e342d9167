"""Cues: single numbers of a picture that tell its label without the defect, such as good parts saved as PNG and bad
ones as JPEG.

A detector learns whatever tells the labels apart in the data; if the file's size does, it may never look at the part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import mannwhitneyu

SURE = 0.01  # a p-value below is taken for no accident
TELLING, STRONG = (
    0.75,
    0.9,
)  # AUC, or one minus it, from which a cue is mentioned, and from which it gives the label away
FROM_FILE, FROM_LIGHT, FROM_BOTH = "file", "light", "file and light"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is kept of one readable picture; means and deviations as shares of the full range, lengths in pixels."""

    label: int
    format: str
    width: int
    height: int
    bit_depth: int
    kind: str
    n_bytes: int
    mean: float
    std: float
    border_mean: float
    largest: float
    has_exif: bool


@dataclass(frozen=True)
class Cue:
    """How well one number tells bad from good.

    auc: share of (bad, good) pairs in which the bad picture's number is larger (ties half); p_value: two-sided
    Mann–Whitney; source: "file", which can say nothing about a part, "light", which may show the defect itself, or
    "file and light"; verdict: "", "leans" or "gives the label away".
    """

    name: str
    source: str
    auc: float
    p_value: float
    good_median: float
    bad_median: float
    verdict: str


NUMBERS: tuple[tuple[str, str, Callable[[Facts], float]], ...] = (
    ("width", FROM_FILE, lambda f: f.width),
    ("height", FROM_FILE, lambda f: f.height),
    ("bit depth", FROM_FILE, lambda f: f.bit_depth),
    ("file bytes", FROM_BOTH, lambda f: f.n_bytes),
    ("EXIF data", FROM_FILE, lambda f: f.has_exif),
    ("mean", FROM_LIGHT, lambda f: f.mean),
    ("standard deviation", FROM_LIGHT, lambda f: f.std),
    ("border mean", FROM_LIGHT, lambda f: f.border_mean),
)


def find_cues(facts: Sequence[Facts]) -> list[Cue]:
    """Every number's AUC against the label, the most telling first; formats and kinds of picture, where they differ, as
    0 or 1."""
    labels = np.array([f.label for f in facts])
    if len(set(labels.tolist())) < 2:
        return []
    columns = [(name, source, [float(number(f)) for f in facts]) for name, source, number in NUMBERS]
    for name, values in (("format", [f.format for f in facts]), ("kind", [f.kind for f in facts])):
        if len(set(values)) > 1:
            columns += [
                (f"{name} {one}", FROM_FILE, [float(value == one) for value in values]) for one in sorted(set(values))
            ]
    cues = [_cue(name, source, np.array(values), labels) for name, source, values in columns]
    return sorted(cues, key=lambda cue: -abs(cue.auc - 0.5))


def measure(pixels: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard deviation and mean of the outermost fiftieth on each side, of the full range."""
    full = float(np.iinfo(pixels.dtype).max)
    rows, columns = max(1, pixels.shape[0] // 50), max(1, pixels.shape[1] // 50)
    border = np.concatenate(
        [part.ravel() for part in (pixels[:rows], pixels[-rows:], pixels[:, :columns], pixels[:, -columns:])]
    )
    return float(pixels.mean()) / full, float(pixels.std(dtype=np.float32)) / full, float(border.mean()) / full


def _cue(name: str, source: str, values: np.ndarray, labels: np.ndarray) -> Cue:
    good, bad = values[labels == 0], values[labels == 1]
    if values.min() == values.max():
        auc, p_value = 0.5, 1.0
    else:
        result = mannwhitneyu(bad, good)  # type: ignore[no-untyped-call, unused-ignore]
        auc, p_value = float(result.statistic) / (len(bad) * len(good)), float(result.pvalue)
    strength = max(auc, 1 - auc)
    verdict = "" if p_value >= SURE or strength < TELLING else "leans" if strength < STRONG else "gives the label away"
    return Cue(name, source, auc, p_value, float(np.median(good)), float(np.median(bad)), verdict)
