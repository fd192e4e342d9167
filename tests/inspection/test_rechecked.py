"""bf16 that decides as fp32 does."""

import threading
from typing import Any

import numpy as np
import pytest

from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.rechecked import MARGIN, Rechecked
from weakspot.inspection.runtimes import Answer

THRESHOLDS = Thresholds(bad_from=1.0, good_below=-1.0, rule="best_f1", chosen_on="nothing")


class Adds:
    """Says of a picture that its raw score is its first pixel, and so much more."""

    name = "openvino"

    def __init__(self, precision: str, more: float) -> None:
        self.precision, self.more, self.asked = precision, more, 0

    def run(self, images: np.ndarray) -> Answer:
        self.asked += len(images)
        scores = images[:, 0, 0, 0].astype(np.float64) + self.more
        return Answer(scores, scores + 10, np.full((len(images), 8, 12), self.more, np.float32))


def rechecked(more: float = 0.5 * MARGIN) -> tuple[Rechecked, Adds, Adds, list[int]]:
    """The runtime, its two halves, and a list that grows each time the exact one is opened."""
    quick, exact, opened = Adds("bf16", more), Adds("fp32", 0.0), list[int]()

    def open_exact() -> Adds:
        opened.append(1)
        return exact

    return Rechecked(quick, open_exact, THRESHOLDS), quick, exact, opened


def images(*values: float) -> np.ndarray:
    return np.stack([np.full((1, 64, 96), value) for value in values])


@pytest.mark.parametrize("threshold", [-1, 1])
@pytest.mark.parametrize("beside", [-0.5, -0.01, 0, 0.01, 0.5])
@pytest.mark.parametrize("error", [-0.4, 0.4])
def test_near_a_threshold_the_answer_is_that_of_fp32(threshold: int, beside: float, error: float) -> None:
    score = threshold + beside * MARGIN
    answer = rechecked(error * MARGIN)[0].run(images(score))
    assert answer.raw_score[0] == score
    assert answer.heat_score[0] == score + 10
    assert (answer.heat_map == 0).all()


def test_no_decision_is_another_one_as_long_as_bf16_errs_by_less_than_the_margin() -> None:
    scores = np.linspace(-2, 2, 401)
    for error in np.linspace(-0.99 * MARGIN, 0.99 * MARGIN, 7):
        answer = rechecked(error)[0].run(images(*scores))
        for threshold in (THRESHOLDS.bad_from, THRESHOLDS.good_below):
            assert np.array_equal(answer.raw_score >= threshold, scores >= threshold)


def test_far_from_the_thresholds_fp32_is_not_even_opened() -> None:
    runtime, quick, exact, opened = rechecked()
    assert runtime.run(images(-3, 0, 3)).raw_score.tolist() == [-3 + quick.more, quick.more, 3 + quick.more]
    assert (opened, exact.asked) == ([], 0)


def test_of_several_pictures_those_near_a_threshold_are_computed_again_and_fp32_is_opened_once() -> None:
    runtime, quick, exact, opened = rechecked()
    for _ in range(3):
        answer = runtime.run(images(-3, 1, 0, -1))
        assert answer.raw_score.tolist() == [-3 + quick.more, 1, quick.more, -1]
    assert (opened, exact.asked) == ([1], 6)


def test_a_score_that_is_no_number_is_computed_again() -> None:
    runtime, quick, *_ = rechecked()
    quick.more = np.nan
    assert runtime.run(images(3)).raw_score.tolist() == [3]


def test_several_threads_share_one_fp32() -> None:
    runtime, _, _, opened = rechecked()
    threads = [threading.Thread(target=runtime.run, args=(images(1),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [1]


def test_it_goes_by_the_name_of_what_computes() -> None:
    runtime: Any = rechecked()[0]
    assert (runtime.name, runtime.precision) == ("openvino", "bf16")
