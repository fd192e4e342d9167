"""The charts' geometry: every picture is in a bar, no bar spans two decisions, and the curve's area is the average
precision."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakspot.evaluation import charts
from weakspot.evaluation.metrics import average_precision
from weakspot.inspection.inspection import Thresholds

rows = st.lists(st.tuples(st.integers(0, 1), st.floats(-50, 50)), min_size=1, max_size=40)


@given(rows, st.floats(-60, 60), st.floats(0, 20))
def test_every_picture_is_in_one_bar_of_one_decision(rows, good_below, band):
    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows])
    thresholds = Thresholds(bad_from=good_below + band, good_below=good_below, rule="", chosen_on="")
    drawn = charts.histogram(labels, scores, thresholds)
    assert sum(bar.count for bar in drawn.good) == (labels == 0).sum()
    assert sum(bar.count for bar in drawn.bad) == (labels == 1).sum()
    for bar in (*drawn.good, *drawn.bad):
        assert 0 <= bar.x <= bar.x + bar.width <= 100 + 1e-6
        for cut in (good_below, thresholds.bad_from):
            assert not bar.low + 1e-9 < cut < bar.high - 1e-9
    assert 0 <= drawn.good_below <= drawn.bad_from <= 100


@given(rows.filter(lambda rows: len({label for label, _ in rows}) == 2))
def test_the_area_under_the_drawn_curve_is_the_average_precision(rows):
    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows])
    area, x, y = 0.0, 0.0, 0.0
    for command, value in re.findall(r"([MVH])(?:\d+ )?([\d.]+)", charts.precision_recall_curve(labels, scores).path):
        if command == "H":
            area += (float(value) - x) * (100 - y)
            x = float(value)
        else:
            y = float(value)
    assert area / 1e4 == pytest.approx(average_precision(labels, scores), abs=2e-3)
    assert x == 100


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [(-9.3, 8.2, [-5, 0, 5]), (0.001, 0.0042, [0.001, 0.002, 0.003, 0.004]), (0, 100, [0, 20, 40, 60, 80, 100])],
)
def test_axes_are_labelled_with_round_numbers(low, high, values):
    assert charts.round_values(low, high, 6) == pytest.approx(values)


def test_numbers_have_a_true_minus_sign():
    assert charts.number(-2.345, 2) == "−2.35"
    assert charts.number(5) == "5"
