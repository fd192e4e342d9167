"""How well scores tell bad pictures from good ones: plain functions of labels and scores. What they don't define is an
error, never a number."""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from weakspot.errors import MetricError

Labels = NDArray[np.int64]  # (N,), 1 bad, 0 good
Scores = NDArray[np.float64]  # (N,), higher is worse; raw scores, for sigmoids tie at 1.0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What two thresholds make of labelled pictures. `escapes`: bad ones called good; `false_alarms`: good ones called
    bad."""

    bad: int
    good: int
    escapes: int
    bad_in_review: int
    caught: int
    false_alarms: int
    good_in_review: int
    passed: int

    def as_dict(self) -> dict[str, int]:
        """The counts as plain numbers, with those sent to review in one."""
        return {**asdict(self), "review": self.bad_in_review + self.good_in_review}


def checked(labels: ArrayLike, scores: ArrayLike, both: bool = True) -> tuple[Labels, Scores]:
    """Labels and scores as arrays (N,); MetricError for unequal lengths, other labels than 0 and 1, NaN or infinity,
    and (`both`) a missing class."""
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or not len(y):
        raise MetricError(
            f"labels of shape {y.shape} and scores of shape {s.shape}; needed is one score for each of at least one label"
        )
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


def quick_average_precision(labels: Labels, scores: Scores) -> float:
    """`average_precision` without its checks, many times faster: for the draws of a bootstrap."""
    true, false = counts_at_cuts(labels, scores, np.unique(scores)[::-1])
    return float((np.diff(true, prepend=0) * true / (true + false)).sum() / true[-1])


def quick_auroc(labels: Labels, scores: Scores) -> float:
    """`auroc` without its checks, many times faster: for the draws of a bootstrap."""
    true, false = counts_at_cuts(labels, scores, np.unique(scores)[::-1])
    wrong = np.diff(false, prepend=0) * (
        true[-1] - true + np.diff(true, prepend=0) / 2
    )  # bad ones below each good one, ties half
    return float(1 - wrong.sum() / (true[-1] * false[-1]))


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


def precision_recall(labels: ArrayLike, scores: ArrayLike) -> tuple[Scores, Scores]:
    """The precision–recall curve, one point a distinct score, recall rising: (M,) recall, (M,) precision."""
    y, s = checked(labels, scores)
    true, false = counts_at_cuts(y, s, np.unique(s)[::-1])
    return true / y.sum(), true / (true + false)


def image_metrics(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Everything a ranking of pictures says, under its name in records, in the field and in the factory.

    labels: (N,), 1 bad, 0 good; scores: (N,), higher is worse. The best F1 is looked up on these very pictures, as
    everywhere in print: a threshold chosen beforehand does not reach it. Raises MetricError where a class is missing or
    a score is not finite.
    """
    y, s = checked(labels, scores)
    found: dict[str, float] = {"average_precision": average_precision(y, s), "auroc": auroc(y, s), **_best_f1(y, s)}
    found["false_positives_at_full_recall"] = _false_positives_at_recall(y, s, 1.0)
    good = int((y == 0).sum())
    for recall in (95, 99):
        found[f"true_negative_rate_at_recall_{recall}"] = 1 - _false_positives_at_recall(y, s, recall / 100) / good
    return {**found, **_other_names(found)}


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


def _other_names(found: dict[str, Any]) -> dict[str, float]:
    return {
        "image_AP": found["average_precision"],
        "image_AUROC": found["auroc"],
        "image_F1Max": found["best_f1"],
        "false_alarms_at_zero_escapes": found["false_positives_at_full_recall"],
    }
