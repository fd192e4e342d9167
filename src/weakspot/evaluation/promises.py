"""Whether a test kept what the choice of thresholds promised: so many of the pictures that chose them were decided
wrongly, so many of the test's were. Counts only."""

from scipy.stats import betabinom

CONFIDENCE = 0.95
Count = tuple[int, int]  # k of n


def expected(promised: Count, m: int) -> tuple[int, int]:
    """The least and the largest count among `m` further pictures that k of n leave likely: a 95 % predictive interval.

    Beta-binomial with Jeffreys' prior: k + ½ and n − k + ½.
    """
    k, n = promised
    further = betabinom(m, k + 0.5, n - k + 0.5)
    tail = (1 - CONFIDENCE) / 2
    return int(further.ppf(tail)), int(further.ppf(1 - tail))


def is_kept(promised: Count, found: Count) -> bool:
    """Whether the test's count lies where the promise leaves it likely, neither above nor below."""
    least, largest = expected(promised, found[1])
    return least <= found[0] <= largest


def promises(promised: dict[str, Count], found: dict[str, Count]) -> dict[str, dict[str, object]]:
    """For each rate ("escapes", "false_alarms") that was promised and could be counted: both counts, where the test's
    was expected, and whether it lies there. Plain values."""
    return {
        name: {
            "promised": list(promised[name]),
            "found": list(found[name]),
            "expected": list(expected(promised[name], found[name][1])),
            "kept": is_kept(promised[name], found[name]),
        }
        for name in promised
        if name in found and found[name][1]
    }
