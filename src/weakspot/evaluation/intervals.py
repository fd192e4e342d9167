"""What a count proves: exact intervals for promises, Wilson's for charts, a bootstrap over groups for rankings. Plain
functions of numbers."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Literal

import numpy as np
from scipy.stats import beta, norm

from weakspot.errors import MetricError
from weakspot.evaluation.metrics import Labels, Scores

Interval = tuple[float, float]
State = Literal["shown", "not shown yet", "failed"]
FEWEST_GROUPS = 5  # with bad pictures, and with good ones: a bootstrap over fewer says nothing


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """The exact two-sided interval of a rate of which k in n were seen (Clopper and Pearson 1934)."""
    tail = (1 - confidence) / 2
    return one_sided_lower(k, n, 1 - tail), one_sided_upper(k, n, 1 - tail)


def one_sided_upper(k: int, n: int, confidence: float = 0.95) -> float:
    """The largest rate under which k or fewer in n are still seen with probability 1 − confidence; for k = 0 that is 1
    − (1 − confidence)^(1/n)."""
    _check_count(k, n)
    return 1.0 if k == n else float(beta.ppf(confidence, k + 1, n - k))


def one_sided_lower(k: int, n: int, confidence: float = 0.95) -> float:
    """The smallest rate under which k or more in n would still be seen with probability 1 − confidence."""
    _check_count(k, n)
    return 0.0 if k == 0 else float(beta.ppf(1 - confidence, k, n - k + 1))


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval: closer to the stated confidence on average than the exact one, which never falls short
    of it; for charts."""
    _check_count(k, n)
    z = float(norm.ppf(1 - (1 - confidence) / 2))
    rate, spread = k / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = z * sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def needed_without_miss(limit: float, missed: int = 0, confidence: float = 0.95) -> int:
    """How many parts must be tested, `missed` of them missed, before the rate is shown to be at most `limit`
    (one-sided)."""
    if not 0 < limit < 1:
        raise MetricError(
            f"a limit of {limit} cannot be shown by counting; needed is a share above 0 and below 1, such as 0.01"
        )
    low, high = missed, missed + 1
    while one_sided_upper(missed, high, confidence) > limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one_sided_upper(missed, middle, confidence) > limit else (low, middle)
    return high


@dataclass(frozen=True, kw_only=True)
class LimitCheck:
    """Whether a count shows that a rate keeps a limit; `more_needed` further parts without another miss would show it
    (0 where shown or failed)."""

    limit: float
    state: State
    more_needed: int
    sentence: str


def against_limit(
    k: int, n: int, limit: float, what: str = "bad pictures without a miss", confidence: float = 0.95
) -> LimitCheck:
    """A limit is shown when the upper bound lies inside it, failed when the lower bound lies outside, and not shown yet
    between them."""
    needed = max(0, needed_without_miss(limit, k, confidence) - n)
    if needed == 0:
        state: State = "shown"
        sentence = f"at most {share(limit)}: shown"
    elif one_sided_lower(k, n, confidence) > limit:
        state, needed = "failed", 0
        sentence = f"at most {share(limit)}: failed, the rate is above {at_least(one_sided_lower(k, n, confidence))}"
    else:
        state = "not shown yet"
        sentence = f"at most {share(limit)}: not shown yet, needs {needed:,} more {what}"
    return LimitCheck(limit=limit, state=state, more_needed=needed, sentence=sentence)


def proves(k: int, n: int, missed: str = "missed", rate: str = "escapes", confidence: float = 0.95) -> str:
    """'0 missed of 10: escapes below 26 % (one-sided 95 %)'; the bound is rounded up, so that the sentence stays
    true."""
    upper = one_sided_upper(k, n, confidence)
    if k == n:
        return f"{k} {missed} of {n}: no bound on {rate}"
    return f"{k} {missed} of {n}: {rate} below {at_most(upper)} (one-sided {share(confidence)})"


def bootstrap_interval(
    metric: Callable[[Labels, Scores], float],
    labels: Labels,
    scores: Scores,
    groups: Sequence[Hashable],
    seed: int = 0,
    draws: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of a ranking metric when whole groups (parts) are drawn with replacement, seeded.

    labels, scores, groups: (N,). Draws with one class only are left out. A ranking without a fault has the interval (1,
    1) whatever the number of pictures: it says nothing there, and the exact interval of the counts must speak. Raises
    MetricError for fewer than FEWEST_GROUPS of a class.
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
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
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


def _check_count(k: int, n: int) -> None:
    if not 0 <= k <= n or n == 0:
        raise MetricError(
            f"a rate of {k} in {n} does not exist; needed are at least one part and no more misses than parts"
        )
