"""A plan ends whatever the clock says, fits or says that it does not, and is the same when it is read again."""

import json
from typing import Any

import numpy as np
import pytest

from weakspot.errors import OutputError
from weakspot.jobs.pictures import Pictures
from weakspot.jobs.plan import Plan, own_size, plan_training, reduction, replanned
from weakspot.settings import SMALLEST, Size, TrainSettings
from weakspot.training.state import Machine

SIZE = (128, 96)


def pictures(*sizes: Size) -> Pictures:
    return Pictures(lambda number: np.zeros(sizes[number]), np.arange(len(sizes)) % 2, list(sizes), 8, 1, 0.0)


def clock(monkeypatch: pytest.MonkeyPatch, seconds_a_megapixel: float, overhead: float = 0.0) -> None:
    def seconds_a_step(recipe: Any, images: Any, machine: Machine) -> dict[str, float]:
        height, width = images.pixels.shape[2:]
        pairs = recipe.stages[0].pairs
        return {stage.name: overhead + seconds_a_megapixel * height * width * pairs / 1e6 for stage in recipe.stages}

    monkeypatch.setattr("weakspot.jobs.plan.seconds_a_step", seconds_a_step)


@pytest.mark.parametrize("own", [(300, 300), (72, 72), (80, 80), (64, 64), (1408, 512), (66, 4000), (5000, 70)])
def test_a_plan_ends_and_fits_or_says_that_it_does_not(own: Size, monkeypatch: pytest.MonkeyPatch):
    for speed in (0.02, 0.7, 30.0):
        clock(monkeypatch, speed, overhead=0.01)
        for minutes in np.geomspace(0.01, 1000, 60):
            plan = plan_training(pictures(*[own] * 20), TrainSettings(minutes=float(minutes)), Machine())
            assert plan.fits == (plan.minutes <= minutes)
            assert plan.fits or max(plan.size) < 1.2 * SMALLEST or min(plan.size) == SMALLEST
            assert all(side % 8 == 0 and side >= SMALLEST for side in plan.size)
            assert "would fit" not in plan.words if plan.fits else "no smaller size would fit" in plan.words


def test_the_size_is_the_largest_that_fits(monkeypatch: pytest.MonkeyPatch):
    clock(monkeypatch, 0.5)
    parts = pictures(*[(704, 256)] * 20)
    whole = plan_training(parts, TrainSettings(minutes=1e6), Machine())
    assert whole.size == (704, 256)
    sizes = [
        plan_training(parts, TrainSettings(minutes=whole.minutes * share), Machine()).size for share in (1, 0.5, 0.1)
    ]
    assert [height for height, _ in sizes] == sorted((height for height, _ in sizes), reverse=True)
    asked = plan_training(parts, TrainSettings(minutes=0.001, size=(704, 256)), Machine())
    assert asked.size == (704, 256) and "would fit" not in asked.words, "no smaller size was asked for"


def test_small_pictures_are_timed_again_at_their_size(monkeypatch: pytest.MonkeyPatch):
    """The time of a step on small pictures is mostly overhead, which no probe of large ones tells."""
    clock(monkeypatch, 0.1, overhead=0.005)
    plan = plan_training(pictures(*[(700, 700)] * 20), TrainSettings(minutes=1.0), Machine())
    true = plan_training(pictures(*[(700, 700)] * 20), TrainSettings(size=plan.size), Machine())
    assert plan.fits and plan.minutes == pytest.approx(true.minutes, rel=0.05)


def test_a_plan_that_is_read_again_is_the_same(monkeypatch: pytest.MonkeyPatch):
    clock(monkeypatch, 0.1)
    plan = plan_training(pictures(*[(128, 96)] * 4), TrainSettings(), Machine("cpu", True, False, 2))
    assert Plan.read(json.loads(json.dumps(plan.plain()))) == plan


@pytest.mark.parametrize(("recipe", "factor"), [("sharp", 1.0), ("paper", 0.5)])
def test_folds_are_planned_for_as_long_as_the_recipe_trains_them(
    recipe: str, factor: float, monkeypatch: pytest.MonkeyPatch
):
    clock(monkeypatch, 0.1)

    def minutes(**settings: Any) -> float:
        return plan_training(
            pictures(*[SIZE] * 8), TrainSettings(recipe=recipe, size=SIZE, **settings), Machine()
        ).minutes

    assert minutes() == minutes(fold_schedule=factor) != minutes(fold_schedule=0.2)
    assert minutes(schedule=1000) / minutes(schedule=1000, folds=0) == pytest.approx(1 + 3 * factor, rel=1e-3)


def test_own_size_is_the_median_in_whole_cells():
    assert own_size([(704, 256), (712, 260), (704, 256)]) == (704, 256)


def test_a_plan_that_is_damaged_is_an_error_in_one_line():
    with pytest.raises(OutputError, match="begin a new run"):
        Plan.read({"size": 3})


def test_a_plan_is_made_anew_where_steps_take_longer(monkeypatch: pytest.MonkeyPatch):
    clock(monkeypatch, 0.5)
    settings = TrainSettings(minutes=10)
    plan = plan_training(pictures(*[(704, 704)] * 20), settings, Machine())
    assert plan.fits and replanned(plan, settings, 1.1 * plan.step_seconds) == plan
    slower = replanned(plan, settings, 3 * plan.step_seconds)
    assert slower.fits and slower.minutes == pytest.approx(10, rel=0.1)
    assert slower.size[0] * slower.size[1] == pytest.approx(plan.size[0] * plan.size[1] / 3, rel=0.1)
    assert replanned(plan, TrainSettings(minutes=10, size=plan.size), 3 * plan.step_seconds) == plan, (
        "its size was named"
    )
    smallest = replanned(plan, settings, 1e6 * plan.step_seconds)
    assert smallest.size == (SMALLEST, SMALLEST) and not smallest.fits
    assert replanned(smallest, settings, 10 * smallest.step_seconds) == smallest


def test_what_a_size_costs_is_told():
    assert reduction(pictures((700, 700), (700, 700), (100, 100)), (112, 112), "stretch") == pytest.approx(6.25)
    assert reduction(pictures((1000, 200)), (256, 256), "keep") == pytest.approx(4, rel=0.05)
    assert reduction(pictures((64, 64)), (128, 128), "keep") == pytest.approx(0.5)
