"""What a count proves, always at 95 %: exact intervals of rates, a bootstrap over groups for rankings, and both in
words. Plain functions of numbers."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

import numpy as np
from scipy.stats import binomtest

from weakspot.errors import MetricError
from weakspot.evaluation.metrics import Labels, Scores

Interval = tuple[float, float]
State = Literal["shown", "not shown yet", "failed"]
CONFIDENCE = 0.95
FEWEST_GROUPS = 5  # with bad pictures, and with good ones: a bootstrap over fewer says nothing


def clopper_pearson(k: int, n: int) -> Interval:
    """The exact two-sided interval of a rate of which k in n were seen (Clopper and Pearson 1934)."""
    return _exact(k, n, "two-sided")


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """k of n."""

    k: int
    n: int

    @property
    def interval(self) -> Interval:
        """Exact, 95 %. Raises MetricError where n is 0."""
        return clopper_pearson(self.k, self.n)


def one_sided_upper(k: int, n: int) -> float:
    """The largest rate under which k or fewer in n are still seen once in twenty times; 1 − 0.05^(1/n) for k = 0."""
    return _exact(k, n, "less")[1]


def one_sided_lower(k: int, n: int) -> float:
    """The smallest rate under which k or more in n are still seen once in twenty times."""
    return _exact(k, n, "greater")[0]


def needed_without_miss(limit: float, missed: int = 0) -> int:
    """How many parts must be tested, `missed` of them missed, before the rate is shown to be at most `limit`."""
    if not 0 < limit < 1:
        cannot = f"a limit of {limit} cannot be shown by counting"
        raise MetricError(f"{cannot}; needed is a share above 0 and below 1, such as 0.01")
    low, high = missed, missed + 1
    while one_sided_upper(missed, high) > limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one_sided_upper(missed, middle) > limit else (low, middle)
    return high


@dataclass(frozen=True, kw_only=True)
class LimitCheck:
    """Whether a count shows that a rate keeps a limit; `more_needed` further parts without another miss would show it
    (0 where shown or failed)."""

    limit: float
    state: State
    more_needed: int
    sentence: str


def against_limit(k: int, n: int, limit: float, what: str = "bad pictures without a miss") -> LimitCheck:
    """A limit is shown when the upper bound lies inside it, failed when the lower bound lies outside, and not shown yet
    between them."""
    needed, lower = max(0, needed_without_miss(limit, k) - n), one_sided_lower(k, n)
    state: State = "shown" if needed == 0 else "failed" if lower > limit else "not shown yet"
    more = {
        "shown": "",
        "failed": f", the rate is above {at_least(lower)}",
        "not shown yet": f", needs {needed:,} more {what}",
    }
    sentence = f"at most {share(limit)}: {state}{more[state]}"
    return LimitCheck(limit=limit, state=state, more_needed=0 if state == "failed" else needed, sentence=sentence)


def proves(k: int, n: int, missed: str = "missed", rate: str = "escapes") -> str:
    """'0 missed of 10: escapes below 26 % (one-sided 95 %)'; the bound is rounded up, so that the sentence stays
    true."""
    if k == n:
        return f"{k} {missed} of {n}: no bound on {rate}"
    return f"{k} {missed} of {n}: {rate} below {at_most(one_sided_upper(k, n))} (one-sided {share(CONFIDENCE)})"


def bootstrap_interval(
    metric: Callable[[Labels, Scores], float],
    labels: Labels,
    scores: Scores,
    groups: Sequence[Hashable],
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """Percentile interval of a ranking metric when whole groups (parts) are drawn with replacement, seeded.

    labels, scores, groups: (N,). Draws with one class only are left out. A ranking without a fault has the interval
    (1, 1) whatever the number of pictures: it says nothing there, and the exact interval of the counts must speak.
    Raises MetricError for fewer than FEWEST_GROUPS of a class. (scipy's bootstrap draws single pictures, no groups.)
    """
    names, member = np.unique(np.asarray([str(group) for group in groups]), return_inverse=True)
    for label, word in ((1, "bad"), (0, "good")):
        found = len(np.unique(member[labels == label]))
        if found < FEWEST_GROUPS:
            raise MetricError(f"{found} parts with {word} pictures; an interval over parts needs {FEWEST_GROUPS}")
    members = [np.flatnonzero(member == g) for g in range(len(names))]
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        drawn = np.concatenate([members[g] for g in generator.integers(0, len(names), len(names))])
        if 0 < labels[drawn].sum() < len(drawn):
            values.append(metric(labels[drawn], scores[drawn]))
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def share(value: float) -> str:
    """A share in per cent as people write it: '26 %', '5.6 %', '0.04 %'."""
    return _percent(value, round)


def at_most(value: float) -> str:
    """As `share`, rounded up: for an upper bound."""
    return _percent(value, ceil)


def at_least(value: float) -> str:
    """As `share`, rounded down: for a lower bound."""
    return _percent(value, floor)


def between(interval: Interval) -> str:
    """'0 to 31 %': an interval, rounded outwards."""
    low, high = at_least(interval[0]), at_most(interval[1])
    return f"{low.removesuffix(' %')} to {high}"


def _percent(value: float, rounded: Callable[[float], int]) -> str:
    percent = 100 * value
    decimals = 0 if percent >= 10 or percent == 0 else 1 if percent >= 0.1 else 2
    cleaned = round(percent * 10**decimals, 6)  # 0.01 · 100 · 10 must not be rounded up to the next step
    return f"{rounded(cleaned) / 10**decimals:.{decimals}f}".removesuffix(".0").removesuffix(".00") + " %"


def _exact(k: int, n: int, side: str) -> Interval:
    if not 0 <= k <= n or n == 0:
        needed = "at least one part and no more misses than parts"
        raise MetricError(f"a rate of {k} in {n} does not exist; needed are {needed}")
    bounds = binomtest(k, n, alternative=side).proportion_ci(CONFIDENCE, "exact")
    return float(bounds.low), float(bounds.high)
