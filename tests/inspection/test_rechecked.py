"""bf16 that decides as fp32 does."""

import threading
from typing import Any

import numpy as np
import pytest

from weakspot.inspection import rechecked as rechecked_module
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.rechecked import SAFETY, Rechecked, measure_bf16_margin
from weakspot.inspection.runtimes import Answer, open_runtime

MARGIN = 0.25
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

    return Rechecked(quick, open_exact, THRESHOLDS, MARGIN), quick, exact, opened


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


@pytest.mark.parametrize(
    ("errors", "margin"), [((0.01, -0.05), SAFETY * 0.05), ((0.0, 0.0), None), ((0.01, np.nan), None), ((), None)]
)
def test_the_margin_is_taken_from_the_models_own_pictures(model, monkeypatch, errors, margin) -> None:
    class Errs(Adds):
        def run(self, images: np.ndarray) -> Answer:
            answer = super().run(images)
            return answer._replace(raw_score=answer.raw_score + (errors if self.precision == "bf16" else 0))

    monkeypatch.setattr(rechecked_module, "offers_bf16", lambda: True)
    monkeypatch.setattr(
        rechecked_module,
        "open_runtime",
        lambda _, name, threads, precision: Errs(precision, 0) if threads == 3 else None,
    )
    pictures = [np.full((1, 64, 96), value, np.uint8) for value in range(len(errors))]
    found = measure_bf16_margin(model, pictures, threads=3)
    assert found == (margin if margin is None else pytest.approx(margin))


def test_without_bf16_units_there_is_no_margin(model, make_pixels, monkeypatch) -> None:
    monkeypatch.setattr(rechecked_module, "offers_bf16", lambda: False)
    assert measure_bf16_margin(model, [make_pixels()[None]]) is None


def test_a_measured_margin_holds_for_other_pictures_of_the_kind(model, make_pixels) -> None:
    """On what is here: with bf16 units the decisions near a threshold are those of fp32."""
    margin = measure_bf16_margin(model, [make_pixels(level, seed=level)[None] for level in range(60, 200, 20)])
    if margin is None:
        pytest.skip("nothing here computes in bf16")
    pictures = np.stack([make_pixels(level, seed=level + 1)[None] for level in range(60, 200, 5)])
    quick, exact = (
        open_runtime(model, "openvino", precision=precision).run(pictures) for precision in ("bf16", "fp32")
    )
    assert np.abs(quick.raw_score - exact.raw_score).max() < margin
