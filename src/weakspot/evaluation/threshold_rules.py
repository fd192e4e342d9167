"""Rules: scores of labelled pictures → the two thresholds of the decision good / review / bad.

`limits` holds both kinds of error to a limit and leaves what is between to a person. Each other rule chooses one cut.
A review band may then grow from it, in both directions. Downwards it takes in bad pictures that would escape, upwards
good ones that would be false alarms. At most REVIEW_SHARE of either class may fall inside, but always one picture. The
gap between the last picture called good and the first one called bad belongs to the band too, since nobody has seen
what scores there.
"""

from math import floor

import numpy as np

from weakspot.evaluation import intervals
from weakspot.evaluation.metrics import Labels, Scores, counts_at_cuts, cuts
from weakspot.settings import ThresholdSettings

REVIEW_SHARE = 0.1  # of the good pictures, and of the bad ones, that may fall into the review band
EDGE = 0.1  # of the gap between two neighbouring scores that stays with each of them, so that rounding moves no picture
WITHOUT_BAD = ("limits", "false_alarms")  # rules that choose thresholds from good pictures alone


def thresholds_by(y: Labels, s: Scores, settings: ThresholdSettings) -> tuple[float, float]:
    """(good_below, bad_from) by the rule of `settings`.

    y: (N,), at least one good; s: (N,), raw scores. Without bad pictures, which WITHOUT_BAD can do, the limit of false
    alarms is both thresholds.
    """
    if not y.any():
        bad_from = _bad_from(s, settings.max_false_alarm_rate)
        return bad_from, bad_from
    if settings.rule == "limits":
        return _limits(y, s, settings)
    cut = choose_cut(y, s, settings)
    return review_band(y, s, cut, settings) if settings.review == "gap" else (cut, cut)


def choose_cut(y: Labels, s: Scores, settings: ThresholdSettings) -> float:
    """The one threshold of a rule other than `limits`: pictures at or above it are not good.

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


def limits_held(settings: ThresholdSettings, with_bad: bool) -> dict[str, float]:
    """The rates that the rule holds to a limit, each with its limit; with_bad: whether there are bad pictures."""
    alarms = {"false_alarms": settings.max_false_alarm_rate} if settings.rule in WITHOUT_BAD else {}
    return alarms | ({"escapes": settings.max_escape_rate} if settings.rule == "limits" and with_bad else {})


def in_words(settings: ThresholdSettings, with_bad: bool) -> str:
    """The rule as a phrase for reports; with_bad: whether there are bad pictures."""
    of = {
        "false_alarms": "false alarms at most {} of the good pictures",
        "escapes": "escapes at most {} of the bad ones",
    }
    if held := limits_held(settings, with_bad):
        return ", ".join(of[rate].format(intervals.share(limit)) for rate, limit in held.items())
    costs = f"an escape counting {settings.cost_escape:g} and a false alarm {settings.cost_false_alarm:g}"
    rules = {
        "best_f1": "the best F1",
        "no_escapes": f"no missed defect, with a margin of {settings.margin:g} below the lowest bad score",
        "cost": f"least cost, {costs}",
    }
    return rules[settings.rule]


def _limits(y: Labels, s: Scores, settings: ThresholdSettings) -> tuple[float, float]:
    """Bad from where few enough good pictures score, good below where few enough bad ones do.

    Where one cut keeps both limits no picture needs a person, and only the gap around it is for review. Where none does
    and there is to be no review, the limit of false alarms is both thresholds.
    """
    cut = _cut_within_limits(y, s, settings)
    if cut is None:
        bad_from = _bad_from(s[y == 0], settings.max_false_alarm_rate)
        return (_good_below(s[y == 1], settings.max_escape_rate) if settings.review == "gap" else bad_from), bad_from
    if settings.review == "none":
        return cut, cut
    seen = np.unique(s)
    place = int(np.searchsorted(seen, cut))
    return _edges(seen, cut, place, place)


def _cut_within_limits(y: Labels, s: Scores, settings: ThresholdSettings) -> float | None:
    """Of the cuts that keep both limits the one with fewest errors, the middle one of several; None where none does."""
    at = cuts(s)
    true, false = counts_at_cuts(y, s, at)
    escapes, bad, good = y.sum() - true, int(y.sum()), int((y == 0).sum())
    few_escapes = escapes <= _at_most(settings.max_escape_rate, bad)
    keeps = few_escapes & (false <= _at_most(settings.max_false_alarm_rate, good))
    if not keeps.any():
        return None
    errors = (escapes + false)[keeps]
    best = at[keeps][errors == errors.min()]
    return float(best[len(best) // 2])


def _bad_from(good: Scores, rate: float) -> float:
    """The threshold at or above which at most `rate` of the good pictures score."""
    rising = np.sort(good)
    quiet = len(good) - _at_most(rate, len(good))
    return _amid(rising, int(np.searchsorted(rising, rising[quiet - 1], "right")) if quiet else 0)


def _good_below(bad: Scores, rate: float) -> float:
    """The threshold below which at most `rate` of the bad pictures score."""
    rising, allowed = np.sort(bad), _at_most(rate, len(bad))
    return _amid(rising, int(np.searchsorted(rising, rising[allowed])) if allowed < len(bad) else allowed)


def _amid(rising: Scores, below: int) -> float:
    """The middle of the gap above the lowest `below` scores; half a logit beyond the outermost.

    With k of n scores beyond the middle of such a gap, the share of further ones beyond it is distributed about as
    Beta(k + ½, n − k + ½), which is what promises.py expects. Its ends would be half a picture off.
    """
    around = np.concatenate([[rising[0] - 1], rising, [rising[-1] + 1]])
    low, high = around[below], around[below + 1]
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)  # neighbouring floats have no number between them


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
    allowed = _at_most(settings.max_false_alarm_rate, int((y == 0).sum()))
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
    return max(1, _at_most(REVIEW_SHARE, pictures))


def _at_most(rate: float, pictures: int) -> int:
    return floor(rate * pictures + 1e-9)  # 0.07 × 100 must not be 6


def _edges(seen: Scores, cut: float, low: int, high: int) -> tuple[float, float]:
    """The ends of the band that holds seen[low:high]. They lie in the gaps outside of it, EDGE of a gap away from the
    neighbour outside."""
    around = np.concatenate([[seen[0] - 0.5], seen, [seen[-1] + 0.5]])  # half a logit where no score was seen
    below, first, last, above = around[[low, low + 1, high, high + 1]]
    good_below, bad_from = below + EDGE * (first - below), above - EDGE * (above - last)
    good_below = good_below if good_below > below else first  # neighbouring floats have no number between them
    bad_from = bad_from if bad_from > last else above
    return float(min(good_below, cut)), float(max(bad_from, cut))
