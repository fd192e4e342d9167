"""What the pictures that chose the thresholds say: counts, exact intervals, promises, and what too few pictures leave
open. Plain values and sentences; chooses nothing."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np

from weakspot.errors import amount
from weakspot.evaluation import intervals
from weakspot.evaluation.metrics import Counts, Labels, Scores, at_thresholds
from weakspot.evaluation.threshold_rules import in_words, limits_held, thresholds_by
from weakspot.inspection.inspection import Thresholds
from weakspot.settings import ThresholdSettings

NO_ADVICE_FROM = 0.5  # max_escape_rate: a detector that may miss every other bad picture is of no use
MOST_DECIDING = 20  # pictures named in the evidence


def evidence_of(
    y: Labels,
    s: Scores,
    groups: Sequence[Hashable] | None,
    ids: Sequence[str],
    thresholds: Thresholds,
    settings: ThresholdSettings,
) -> dict[str, Any]:
    """The evidence for `thresholds`, by name; what only bad pictures can say is left out where there is none.

    y: (N,), 1 bad, 0 good, at least one good; s: (N,), raw; groups: (N,), physical parts; ids: (N,), names.
    """
    counts = at_thresholds(y, s, thresholds.bad_from, thresholds.good_below)
    parts = {label: _parts(y, groups, label) for label in (0, 1)}
    return {
        "rule": settings.rule,
        "rule_in_words": in_words(settings, bool(counts.bad)),
        "review": settings.review,
        "limits": limits_held(settings, bool(counts.bad)),
        "chosen_on": thresholds.chosen_on,
        "bad_from": thresholds.bad_from,
        "good_below": thresholds.good_below,
        "score_range_good": _range(s[y == 0]),
        "score_range_bad": _range(s[y == 1]) if counts.bad else None,
        "counts": counts.as_dict(),
        "promised": counts.promised,
        **{f"{name}_interval": list(intervals.clopper_pearson(*error)) for name, error in counts.promised.items()},
        **{f"{name}_at_most": intervals.one_sided_upper(*error) for name, error in counts.promised.items()},
        "parts": None if groups is None else len(set(groups)),
        "bad_parts": None if groups is None else parts[1],
        "sentences": _sentences(counts, parts[1], settings),
        "warnings": [
            *_warnings(counts, settings),
            *_relief(y, s, counts, settings),
            *_unshown(counts, parts, settings),
        ],
        "deciding": _deciding(y, s, ids, thresholds),
    }


def _parts(y: Labels, groups: Sequence[Hashable] | None, label: int) -> int:
    """Physical parts with a picture of this label; where they are not known each picture counts as one."""
    if groups is None:
        return int((y == label).sum())
    return len({group for group, one in zip(groups, y, strict=True) if one == label})


def _range(scores: Scores) -> list[float]:
    return [float(scores.min()), float(scores.max())]


def _sentences(counts: Counts, bad_parts: int, settings: ThresholdSettings) -> list[str]:
    """What was counted and what it proves."""
    said = [intervals.proves(counts.escapes, counts.bad)] if counts.bad else []
    said.append(intervals.proves(counts.false_alarms, counts.good, missed="called bad", rate="false alarms"))
    if counts.good_in_review + counts.bad_in_review:
        of_bad = f" and {counts.bad_in_review} of {counts.bad} bad ones" if counts.bad else ""
        said.append(f"for review: {counts.good_in_review} of {counts.good} good pictures{of_bad}")
    said.append(
        "counted on the pictures that chose the thresholds, which flatters: "
        "only pictures that had no part in the choice can test it"
    )
    if bad_parts < counts.bad and settings.rule != "limits":  # which says it beside its limits
        best_case = intervals.at_most(intervals.one_sided_upper(0, bad_parts))
        by_part = f"by part, even no miss would show no more than escapes below {best_case}"
        said.append(f"the {counts.bad} bad pictures show {amount(bad_parts, 'part')}; {by_part}")
    return said


def _warnings(counts: Counts, settings: ThresholdSettings) -> list[str]:
    """In what the thresholds would be of little use."""
    if not counts.bad:
        unknown = "no bad picture was there, so nothing is known about escapes"
        return [f"{unknown}: add bad pictures to learn how many there are"]
    said = []
    if settings.rule == "limits" and counts.escapes > settings.max_escape_rate * counts.bad + 1e-9:
        broken = f"escapes lie above {intervals.share(settings.max_escape_rate)}"
        said.append(f'with review = "none" only the limit of false alarms is kept: {broken}')
    if counts.caught == 0:
        said.append(f"none of {counts.bad} bad pictures reaches bad_from: nothing would be called bad")
    if counts.passed < counts.good / 2 and settings.rule != "limits":  # which says it with a way out
        said.append(f"only {counts.passed} of {counts.good} good pictures would be called good")
    if counts.escapes > counts.bad / 2:
        said.append(f"{counts.escapes} of {counts.bad} bad pictures would be called good")
    return said


def _relief(y: Labels, s: Scores, counts: Counts, settings: ThresholdSettings) -> list[str]:
    """Where the limits let few good pictures pass: whether a single bad one is the cause, and the way out."""
    if settings.rule != "limits" or counts.passed >= counts.good / 2:
        return []
    said = f"only {counts.passed} of {counts.good} good pictures would be called good"
    rate = ceil(1000 * (counts.escapes + 1) / counts.bad - 1e-9) / 1000 if counts.bad else 1.0  # up, to be typed
    if rate < NO_ADVICE_FROM:
        good_below, bad_from = thresholds_by(y, s, replace(settings, max_escape_rate=rate))
        passed = at_thresholds(y, s, bad_from, good_below).passed
        if passed >= counts.good / 2:
            return [f"{said}; were one more bad picture let through (max_escape_rate = {rate:g}), {passed} would"]
    return [f"{said}: the scores of good and bad ones overlap too far for these limits"]


def _unshown(counts: Counts, parts: dict[int, int], settings: ThresholdSettings) -> list[str]:
    """The limits that so few parts could not show to be kept, even without an error."""
    limits, said = limits_held(settings, bool(counts.bad)), []
    if "escapes" in limits:
        said.append(_best_case(parts[1], counts.bad, "bad", "escapes", "missed", limits["escapes"]))
    if "false_alarms" in limits:
        said.append(_best_case(parts[0], counts.good, "good", "false alarms", "called bad", limits["false_alarms"]))
    return [text for text in said if text]


def _best_case(parts: int, pictures: int, word: str, rate: str, wrong: str, limit: float) -> str:
    """What so few parts can promise at best, and how many the limit takes; empty where they suffice."""
    bound = intervals.one_sided_upper(0, parts)
    if bound <= limit:
        return ""
    who, unit = amount(pictures, f"{word} picture"), ""
    if parts < pictures:
        who, unit = f"{who} of {amount(parts, 'part')}", " parts"
    needed = "no number shows 0 %"
    if limit:
        needed = f"{intervals.share(limit)} takes {intervals.needed_without_miss(limit):,}{unit}"
    at_best = f"can promise no better than {intervals.at_most(bound)} {rate} (95 %)"
    return f"{who} {at_best}, even if none is {wrong}: {needed}"


def _deciding(y: Labels, s: Scores, ids: Sequence[str], thresholds: Thresholds) -> list[dict[str, Any]]:
    """The pictures on which the choice hangs, by falling score: those in the review band and their neighbours.

    Of more than MOST_DECIDING the bad ones come first, then the nearest to a threshold.
    """
    lowest = s[s < thresholds.good_below].max(initial=-np.inf)
    highest = s[s >= thresholds.bad_from].min(initial=np.inf)
    near = np.flatnonzero((s >= lowest) & (s <= highest))
    away = np.minimum(np.abs(s[near] - thresholds.good_below), np.abs(s[near] - thresholds.bad_from))
    chosen = near[np.lexsort((away, -y[near]))][:MOST_DECIDING]
    falling = sorted(chosen.tolist(), key=lambda i: -s[i])
    return [{"picture": ids[i], "label": int(y[i]), "raw_score": float(s[i])} for i in falling]
