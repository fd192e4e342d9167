"""What the choice of thresholds promises, and whether a test keeps it."""

import numpy as np
import pytest

from weakspot.evaluation.promises import expected, is_kept, promises


def test_a_test_like_the_choice_keeps_the_promise_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    for rate in (0.02, 0.1, 0.4):
        kept = [is_kept((generator.binomial(60, rate), 60), (generator.binomial(150, rate), 150)) for _ in range(300)]
        assert np.mean(kept) > 0.91


@pytest.mark.parametrize(
    ("promised", "m", "interval"), [((12, 30), 156, (35, 93)), ((0, 31), 18, (0, 2)), ((8, 294), 294, (2, 18))]
)
def test_the_interval_of_known_records(promised, m, interval):
    assert expected(promised, m) == interval


def test_a_promise_is_broken_in_either_direction():
    assert is_kept((8, 294), (2, 294))
    assert not is_kept((8, 294), (0, 294))
    assert not is_kept((2, 30), (95, 197))


def test_what_was_not_promised_or_cannot_be_counted_stands_apart():
    found = promises({"escapes": (1, 31), "false_alarms": (7, 216)}, {"escapes": (0, 0), "false_alarms": (0, 118)})
    assert found == {"false_alarms": {"promised": [7, 216], "found": [0, 118], "expected": [0, 10], "kept": True}}
    assert promises({}, {"escapes": (0, 3)}) == {}
