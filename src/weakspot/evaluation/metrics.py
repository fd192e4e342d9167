"""How well scores tell bad pictures from good ones: plain functions of labels and scores.

What labels and scores don't define is an error, never a number.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu
from sklearn.metrics import average_precision_score, roc_auc_score

from weakspot.errors import MetricError

Labels = NDArray[np.int64]  # (N,), 1 bad, 0 good
Scores = NDArray[np.float64]  # (N,), higher is worse; raw scores, for sigmoids tie at 1.0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What two thresholds make of labelled pictures."""

    bad: int
    good: int
    escapes: int  # bad, called good
    bad_in_review: int
    caught: int  # bad, called bad
    false_alarms: int  # good, called bad
    good_in_review: int
    passed: int  # good, called good

    @property
    def errors(self) -> dict[str, tuple[int, int]]:
        """Escapes of the bad pictures, false alarms of the good ones: k of n."""
        return {"escapes": (self.escapes, self.bad), "false_alarms": (self.false_alarms, self.good)}

    @property
    def promised(self) -> dict[str, list[int]]:
        """What these counts let one expect of other pictures, as plain values; a kind without pictures promises
        nothing."""
        return {name: [k, n] for name, (k, n) in self.errors.items() if n}

    def as_dict(self) -> dict[str, int]:
        """The counts as plain numbers, with those sent to review in one."""
        return {**asdict(self), "review": self.bad_in_review + self.good_in_review}


def checked(labels: ArrayLike, scores: ArrayLike, both: bool = True) -> tuple[Labels, Scores]:
    """Labels and scores as arrays (N,); MetricError for unequal lengths, other labels than 0 and 1, NaN or infinity,
    and (`both`) a missing class."""
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or not len(y):
        shapes = f"labels of shape {y.shape} and scores of shape {s.shape}"
        raise MetricError(f"{shapes}; needed is one score for each of at least one label")
    if not np.isin(y, (0, 1)).all():
        raise MetricError(f"labels hold {sorted(set(y.tolist()) - {0, 1})[:3]}; needed are 1 for bad and 0 for good")
    if not np.isfinite(s).all():
        raise MetricError(
            f"{int((~np.isfinite(s)).sum())} of {len(s)} scores are NaN or infinite; the others must not stand for them"
        )
    bad = int(y.sum())
    if both and bad in (0, len(y)):
        raise MetricError(
            f"{bad} bad and {len(y) - bad} good pictures: a ranking needs both; add pictures of the missing kind"
        )
    return y.astype(np.int64), s


def average_precision(labels: Labels, scores: Scores) -> float:
    """The mean over bad pictures of the precision at their score: sum of (R_i − R_i−1) · P_i, not interpolated, ties as
    one step. 1 is perfect."""
    y, s = checked(labels, scores)
    return float(average_precision_score(y, s))


def auroc(labels: Labels, scores: Scores) -> float:
    """The share of pairs of a bad and a good picture that are ranked right, ties counting half. 1 is perfect, 0.5 is
    chance."""
    y, s = checked(labels, scores)
    return float(roc_auc_score(y, s))


def better_than_chance(labels: ArrayLike, scores: ArrayLike, groups: Sequence[Hashable] | None = None) -> float:
    """How likely labels drawn by chance rank at least as well (one-sided p-value of Mann and Whitney 1947).

    Exact for few pictures without ties, by the normal distribution else. Below 0.05 the scores tell bad from good.
    groups: (N,), the physical part of each picture: pictures of one part count once, by their mean score, since chance
    moves them together.
    """
    y, s = checked(labels, scores)
    if groups is not None:
        members: dict[tuple[Hashable, int], list[float]] = defaultdict(list)
        for group, label, score in zip(groups, y.tolist(), s.tolist(), strict=True):
            members[group, label].append(score)
        y, s = np.array([label for _, label in members]), np.array([np.mean(each) for each in members.values()])
    return float(mannwhitneyu(s[y == 1], s[y == 0], alternative="greater").pvalue)


def quick_average_precision(labels: Labels, scores: Scores) -> float:
    """`average_precision` without scikit-learn's checks, many times faster: for the draws of a bootstrap."""
    true, false = counts_at_cuts(labels, scores, np.unique(scores)[::-1])
    return float((np.diff(true, prepend=0) * true / (true + false)).sum() / true[-1])


def quick_auroc(labels: Labels, scores: Scores) -> float:
    """`auroc` without scikit-learn's checks, many times faster: for the draws of a bootstrap."""
    true, false = counts_at_cuts(labels, scores, np.unique(scores)[::-1])
    bad_below = true[-1] - true + np.diff(true, prepend=0) / 2  # bad pictures below each good one, ties half
    return float(1 - (np.diff(false, prepend=0) * bad_below).sum() / (true[-1] * false[-1]))


def cuts(scores: Scores) -> Scores:
    """Every threshold that separates the scores differently, rising: below all, between neighbours, above all. (M + 1,)
    for M distinct scores."""
    seen = np.unique(scores)
    middle = seen[:-1] + np.diff(seen) / 2
    middle = np.where(middle > seen[:-1], middle, seen[1:])  # neighbouring floats have no number between them
    return np.concatenate([[seen[0] - 0.5], middle, [seen[-1] + 0.5]])


def counts_at_cuts(labels: Labels, scores: Scores, at: Scores) -> tuple[Labels, Labels]:
    """How many bad and how many good pictures score at or above each cut: two arrays like `at`."""
    bad, good = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    return len(bad) - np.searchsorted(bad, at), len(good) - np.searchsorted(good, at)


def image_metrics(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Everything a ranking of pictures says, under its name in records, in the field and in the factory.

    labels: (N,), 1 bad, 0 good; scores: (N,), higher is worse. The best F1 is looked up on these very pictures, as
    everywhere in print: a threshold chosen beforehand does not reach it. Raises MetricError where a class is missing or
    a score is not finite.
    """
    y, s = checked(labels, scores)
    figures: dict[str, float] = {"average_precision": average_precision(y, s), "auroc": auroc(y, s), **_best_f1(y, s)}
    figures["false_positives_at_full_recall"] = _false_positives_at_recall(y, s, 1.0)
    good = int((y == 0).sum())
    for recall in (95, 99):
        figures[f"true_negative_rate_at_recall_{recall}"] = 1 - _false_positives_at_recall(y, s, recall / 100) / good
    return {**figures, **_other_names(figures)}


def at_thresholds(labels: ArrayLike, scores: ArrayLike, bad_from: float, good_below: float) -> Counts:
    """Counts of the decisions that `bad_from` and `good_below` make of raw scores. One class alone may be counted."""
    y, s = checked(labels, scores, both=False)
    if not good_below <= bad_from:
        raise MetricError(
            f"good_below = {good_below} above bad_from = {bad_from}; scores between them would be good and bad at once"
        )
    bad, good = s[y == 1], s[y == 0]
    escapes, caught = int((bad < good_below).sum()), int((bad >= bad_from).sum())
    passed, alarms = int((good < good_below).sum()), int((good >= bad_from).sum())
    return Counts(
        bad=len(bad),
        good=len(good),
        escapes=escapes,
        bad_in_review=len(bad) - escapes - caught,
        caught=caught,
        false_alarms=alarms,
        good_in_review=len(good) - passed - alarms,
        passed=passed,
    )


def _best_f1(y: Labels, s: Scores) -> dict[str, float]:
    """The highest F1 of one threshold; where several reach it, the lowest, which misses fewest."""
    at = cuts(s)[:-1]
    true, false = counts_at_cuts(y, s, at)
    f1 = 2 * true / (true + false + y.sum())
    best = int(np.argmax(f1 >= f1.max() - 1e-12))
    tp, fp = int(true[best]), int(false[best])
    return {
        "best_f1": float(f1[best]),
        "best_f1_threshold": float(at[best]),
        "true_positives": tp,
        "false_positives": fp,
        "true_negatives": int((y == 0).sum()) - fp,
        "false_negatives": int(y.sum()) - tp,
    }


def _false_positives_at_recall(y: Labels, s: Scores, recall: float) -> int:
    """How many good pictures score as high as the bad one that must still be found to reach `recall`; a tie counts
    against the detector."""
    bad = np.sort(s[y == 1])[::-1]
    must_find = ceil(recall * len(bad) - 1e-9)
    return int((s[y == 0] >= bad[must_find - 1]).sum())


def _other_names(figures: dict[str, Any]) -> dict[str, float]:
    return {
        "image_AP": figures["average_precision"],
        "image_AUROC": figures["auroc"],
        "image_F1Max": figures["best_f1"],
        "false_alarms_at_zero_escapes": figures["false_positives_at_full_recall"],
    }
