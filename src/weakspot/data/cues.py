"""Cues: single numbers of a picture that tell its label without the defect, as where good ones are PNG and bad JPEG.

A detector learns whatever tells the labels apart in the data; if the file's size does, it may never look at the part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import mannwhitneyu

SURE = 0.01  # a p-value below is taken for no accident
TELLING = 0.75  # AUC, or one minus it, from which a cue is mentioned
STRONG = 0.9  # and from which it gives the label away
FROM_FILE, FROM_LIGHT, FROM_BOTH = "file", "light", "file and light"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of one readable picture.

    label: 1 bad, 0 good; sha256: of the file; width, height: in pixels; bit_depth: declared, the pixels are uint16 from
    9 on; coloured: whether the channels differ anywhere; mean, std, border_mean, largest: as shares of the full range.
    """

    label: int
    sha256: str
    format: str
    width: int
    height: int
    bit_depth: int
    kind: str
    coloured: bool
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


NUMBERS = (
    ("width", FROM_FILE, "width"), ("height", FROM_FILE, "height"), ("bit depth", FROM_FILE, "bit_depth"),
    ("file bytes", FROM_BOTH, "n_bytes"), ("EXIF data", FROM_FILE, "has_exif"), ("mean", FROM_LIGHT, "mean"),
    ("standard deviation", FROM_LIGHT, "std"), ("border mean", FROM_LIGHT, "border_mean"),
)  # fmt: skip


def find_cues(facts: Sequence[Facts]) -> list[Cue]:
    """Every number's AUC against the label, the most telling first; formats and kinds, where they differ, as 0 or 1."""
    labels = np.array([f.label for f in facts])
    if len(set(labels.tolist())) < 2:
        return []
    columns = [(name, source, [float(getattr(f, of)) for f in facts]) for name, source, of in NUMBERS]
    for name, values in (("format", [f.format for f in facts]), ("kind", [f.kind for f in facts])):
        different = sorted(set(values)) if len(set(values)) > 1 else []
        columns += [(f"{name} {one}", FROM_FILE, [float(value == one) for value in values]) for one in different]
    cues = [_cue(name, source, np.array(values), labels) for name, source, values in columns]
    return sorted(cues, key=lambda cue: -abs(cue.auc - 0.5))


def measure(pixels: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard deviation and mean of the outermost fiftieth on each side, of the full range."""
    full = float(np.iinfo(pixels.dtype).max)
    rows, columns = max(1, pixels.shape[0] // 50), max(1, pixels.shape[1] // 50)
    edges = pixels[:rows], pixels[-rows:], pixels[:, :columns], pixels[:, -columns:]
    border = np.concatenate([edge.ravel() for edge in edges])
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
