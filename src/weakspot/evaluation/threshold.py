"""Rules that choose the decision good / review / bad from scores of pictures that the scoring detector had not seen.

A rule chooses one cut. A review band may then grow from it, in both directions. Downwards it takes in bad pictures that
would escape, upwards good ones that would be false alarms. At most REVIEW_SHARE of either class may fall inside, but
always one picture. The gap between the last picture called good and the first one called bad belongs to the band too,
since nobody has seen what scores there.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from weakspot.errors import MetricError, amount
from weakspot.evaluation import intervals
from weakspot.evaluation.label_doubts import label_doubts
from weakspot.evaluation.metrics import Counts, Labels, Scores, at_thresholds, checked, counts_at_cuts, cuts
from weakspot.inspection.inspection import Thresholds
from weakspot.settings import ThresholdSettings

REVIEW_SHARE = 0.1  # of the good pictures, and of the bad ones, that may fall into the review band
MOST_DECIDING = 20  # pictures named in the evidence
EDGE = 0.1  # of the gap between two neighbouring scores that stays with each of them, so that rounding moves no picture


@dataclass(frozen=True, kw_only=True)
class ThresholdChoice:
    """The thresholds, and what the pictures that chose them say."""

    thresholds: Thresholds
    evidence: dict[str, Any]  # counts, exact intervals, promises, sentences, doubted labels; plain values only


def choose_thresholds(
    labels: ArrayLike,
    scores: ArrayLike,
    settings: ThresholdSettings,
    groups: Sequence[Hashable] | None = None,
    ids: Sequence[str] | None = None,
    chosen_on: str = "out-of-fold scores of the training pictures",
    held_out: bool = True,
) -> ThresholdChoice:
    """Two thresholds on raw scores by the rule of `settings`.

    labels: (N,), 1 bad, 0 good; scores: (N,), raw; groups: (N,), the physical part of each; ids: (N,), names for the
    evidence; chosen_on: in words, kept with the thresholds; held_out: whether the scores come from detectors that had
    not seen the picture, else they promise nothing and doubt no label. Raises MetricError where a class is missing.
    """
    y, s = checked(labels, scores)
    for what, given in (("groups", groups), ("ids", ids)):
        if given is not None and len(given) != len(y):
            raise MetricError(f"{len(given)} {what} for {len(y)} pictures; needed is one for each")
    cut = choose_cut(y, s, settings)
    good_below, bad_from = review_band(y, s, cut, settings) if settings.review == "gap" else (cut, cut)
    thresholds = Thresholds(bad_from=bad_from, good_below=good_below, rule=settings.rule, chosen_on=chosen_on)
    names = [f"picture {i}" for i in range(len(y))] if ids is None else [str(each) for each in ids]
    evidence = _evidence(y, s, groups, names, thresholds, cut, settings)
    if held_out:
        evidence["label_doubts"] = label_doubts(y, s, names, groups)
    else:
        evidence |= {"promised": {}, "label_doubts": {"pictures": [], "sentences": []}}
    return ThresholdChoice(thresholds=thresholds, evidence=evidence)


def choose_cut(y: Labels, s: Scores, settings: ThresholdSettings) -> float:
    """The one threshold of a rule: pictures at or above it are not good.

    It lies between observed scores, but for no_escapes with a margin.
    """
    rules = {"best_f1": _best_f1, "no_escapes": _no_escapes, "false_alarms": _false_alarms, "cost": _cost}
    return rules[settings.rule](y, s, settings)


def review_band(y: Labels, s: Scores, cut: float, settings: ThresholdSettings) -> tuple[float, float]:
    """(good_below, bad_from) around a cut: of all bands that REVIEW_SHARE allows the one with the least cost outside.

    An escape weighs `cost_escape`, a false alarm `cost_false_alarm`; of equal bands that with the fewest pictures.
    Where the classes' scores lie apart it is the gap between them and holds no picture.
    """
    seen = np.unique(s)
    bad, good = _counts_below(s[y == 1], seen), _counts_below(s[y == 0], seen)
    middle = int(np.searchsorted(seen, cut))
    escaping, alarming = np.unique(s[(y == 1) & (s < cut)]), np.unique(s[(y == 0) & (s >= cut)])
    lows = np.array([middle, *np.searchsorted(seen, escaping)[::-1]])  # a band starts with such a bad picture
    highs = np.array([middle, *(np.searchsorted(seen, alarming) + 1)])  # and ends with such a good one
    bad_inside, good_inside = bad[highs] - bad[lows][:, None], good[highs] - good[lows][:, None]
    fits = (bad_inside <= _allowed(bad[-1])) & (good_inside <= _allowed(good[-1]))
    cost = settings.cost_escape * bad[lows][:, None] + settings.cost_false_alarm * (good[-1] - good[highs])
    _, _, low, high = min(zip(cost[fits], (bad_inside + good_inside)[fits], *np.nonzero(fits), strict=True))
    return _edges(seen, cut, int(lows[low]), int(highs[high]))


def in_words(settings: ThresholdSettings) -> str:
    """The rule as a sentence for reports."""
    costs = f"an escape counting {settings.cost_escape:g} and a false alarm {settings.cost_false_alarm:g}"
    rules = {
        "best_f1": "the best F1",
        "no_escapes": f"no missed defect, with a margin of {settings.margin:g} below the lowest bad score",
        "false_alarms": f"false alarms at most {intervals.share(settings.max_false_alarm_rate)} of the good pictures",
        "cost": f"least cost, {costs}",
    }
    return rules[settings.rule]


def _best_f1(y: Labels, s: Scores, settings: ThresholdSettings) -> float:
    at = cuts(s)[:-1]
    true, false = counts_at_cuts(y, s, at)
    f1 = 2 * true / (true + false + y.sum())
    return float(at[f1 >= f1.max() - 1e-12][0])  # the lowest of several misses fewest


def _no_escapes(y: Labels, s: Scores, settings: ThresholdSettings) -> float:
    lowest_bad = float(s[y == 1].min())
    if settings.margin > 0:
        return lowest_bad - settings.margin
    return float(cuts(s)[np.searchsorted(np.unique(s), lowest_bad)])


def _false_alarms(y: Labels, s: Scores, settings: ThresholdSettings) -> float:
    """Of the cuts that keep the limit one that finds most bad pictures, with the fewest false alarms: a limit is no
    budget."""
    allowed = floor(settings.max_false_alarm_rate * (y == 0).sum() + 1e-9)
    at = cuts(s)
    true, false = counts_at_cuts(y, s, at)
    at, true = at[false <= allowed], true[false <= allowed]
    return float(at[true == true.max()][-1])


def _cost(y: Labels, s: Scores, settings: ThresholdSettings) -> float:
    at = cuts(s)
    true, false = counts_at_cuts(y, s, at)
    cost = settings.cost_escape * (y.sum() - true) + settings.cost_false_alarm * false
    return float(at[np.argmin(cost)])  # the first of several misses fewest


def _counts_below(scores: Scores, seen: Scores) -> Labels:
    """(M + 1,): how many scores lie below seen[0], seen[1], …, and how many there are."""
    return np.append(np.searchsorted(np.sort(scores), seen), len(scores))


def _allowed(pictures: int) -> int:
    return max(1, floor(REVIEW_SHARE * pictures + 1e-9))


def _edges(seen: Scores, cut: float, low: int, high: int) -> tuple[float, float]:
    """The ends of the band that holds seen[low:high]. They lie in the gaps outside of it, EDGE of a gap away from the
    neighbour outside."""
    around = np.concatenate([[seen[0] - 0.5], seen, [seen[-1] + 0.5]])  # half a logit where no score was seen
    below, first, last, above = around[[low, low + 1, high, high + 1]]
    good_below, bad_from = below + EDGE * (first - below), above - EDGE * (above - last)
    good_below = good_below if good_below > below else first  # neighbouring floats have no number between them
    bad_from = bad_from if bad_from > last else above
    return float(min(good_below, cut)), float(max(bad_from, cut))


def _evidence(
    y: Labels,
    s: Scores,
    groups: Sequence[Hashable] | None,
    ids: Sequence[str],
    thresholds: Thresholds,
    cut: float,
    settings: ThresholdSettings,
) -> dict[str, Any]:
    counts = at_thresholds(y, s, thresholds.bad_from, thresholds.good_below)
    bad_groups = None if groups is None else {group for group, label in zip(groups, y, strict=True) if label}
    return {
        "rule": settings.rule,
        "rule_in_words": in_words(settings),
        "review": settings.review,
        "chosen_on": thresholds.chosen_on,
        "cut": cut,
        "bad_from": thresholds.bad_from,
        "good_below": thresholds.good_below,
        "score_range_good": [float(s[y == 0].min()), float(s[y == 0].max())],
        "score_range_bad": [float(s[y == 1].min()), float(s[y == 1].max())],
        "counts": counts.as_dict(),
        "promised": {"escapes": [counts.escapes, counts.bad], "false_alarms": [counts.false_alarms, counts.good]},
        "escapes_interval": list(intervals.clopper_pearson(counts.escapes, counts.bad)),
        "escapes_at_most": intervals.one_sided_upper(counts.escapes, counts.bad),
        "false_alarms_interval": list(intervals.clopper_pearson(counts.false_alarms, counts.good)),
        "false_alarms_at_most": intervals.one_sided_upper(counts.false_alarms, counts.good),
        "parts": None if groups is None else len(set(groups)),
        "bad_parts": None if bad_groups is None else len(bad_groups),
        "sentences": _sentences(counts, counts.bad if bad_groups is None else len(bad_groups)),
        "warnings": _warnings(counts),
        "deciding": _deciding(y, s, ids, thresholds, cut),
    }


def _sentences(counts: Counts, bad_parts: int) -> list[str]:
    said = [
        intervals.proves(counts.escapes, counts.bad),
        intervals.proves(counts.false_alarms, counts.good, missed="called bad", rate="false alarms"),
        "counted on the pictures that chose the thresholds, which flatters: "
        "only pictures that had no part in the choice can test it",
    ]
    if bad_parts < counts.bad:
        best_case = intervals.at_most(intervals.one_sided_upper(0, bad_parts))
        by_part = f"by part, even no miss would show no more than escapes below {best_case}"
        said.append(f"the {counts.bad} bad pictures show {amount(bad_parts, 'part')}; {by_part}")
    return said


def _warnings(counts: Counts) -> list[str]:
    said = []
    if counts.caught == 0:
        said.append(f"none of {counts.bad} bad pictures reaches bad_from: nothing would be called bad")
    if counts.passed < counts.good / 2:
        said.append(f"only {counts.passed} of {counts.good} good pictures would be called good")
    if counts.escapes > counts.bad / 2:
        said.append(f"{counts.escapes} of {counts.bad} bad pictures would be called good")
    return said


def _deciding(y: Labels, s: Scores, ids: Sequence[str], thresholds: Thresholds, cut: float) -> list[dict[str, Any]]:
    """The pictures on which the choice hangs, by falling score: those in the review band and their neighbours.

    Of more than MOST_DECIDING the bad ones come first, then the nearest to the cut.
    """
    lowest = s[s < thresholds.good_below].max(initial=-np.inf)
    highest = s[s >= thresholds.bad_from].min(initial=np.inf)
    near = np.flatnonzero((s >= lowest) & (s <= highest))
    chosen = near[np.lexsort((np.abs(s[near] - cut), -y[near]))][:MOST_DECIDING]
    falling = sorted(chosen.tolist(), key=lambda i: -s[i])
    return [{"picture": ids[i], "label": int(y[i]), "raw_score": float(s[i])} for i in falling]
