"""From pictures to thresholds: folds keep parts together, and what was not learned is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.toys import toy_images
from weakspot.errors import TrainingError
from weakspot.jobs.learn import _warn_of_unlearned, learn
from weakspot.jobs.observe import Observer
from weakspot.jobs.out_of_fold import OutOfFold, auroc_error, fold_numbers
from weakspot.jobs.plan import own_size, plan_training
from weakspot.settings import TrainSettings
from weakspot.training.train import Machine

QUICK = TrainSettings(schedule=0.1, fold_schedule=1.0, folds=2, third_kernel=7, top_fractions=(0.05,), size=(64, 64))


def test_learning_gives_a_detector_that_tells_held_out_toys_apart(tmp_path: Path):
    images = toy_images(bad=6, good=8)
    names = [f"part{index}" for index in range(14)]
    learned = learn(images, names, names, QUICK, Machine(), tmp_path, Observer(None, None))
    assert learned.held_out is not None
    assert learned.held_out.auroc() > 0.9
    assert learned.recipe.network.top_fractions == (0.05,)
    assert "out-of-fold" in learned.choice.thresholds.chosen_on
    assert {path.name for path in tmp_path.iterdir()} >= {"final", "fold-0", "fold-1"}


def test_a_group_is_held_out_whole_and_bad_pictures_are_spread():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    groups = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "f"]
    numbers = fold_numbers(labels, groups, 2, seed=0)
    assert all(len(set(numbers[[i for i, g in enumerate(groups) if g == group]])) == 1 for group in set(groups))
    assert {int(labels[numbers == fold].sum()) for fold in (0, 1)} == {2}


@pytest.mark.parametrize(("bad", "good", "how"), [(0.5, 0.5, "same for good and bad"), (0.001, 0.001, "all dark")])
def test_what_was_not_learned_is_never_a_quiet_success(bad: float, good: float, how: str):
    labels = np.array([1, 1, 0, 0])
    heat = np.array([bad, bad, good, good])[:, None, None] * np.ones((4, 2, 2))
    held_out = OutOfFold(np.zeros(4), np.array([0.0, 1.0, 0.0, 1.0]), heat, labels)
    assert held_out.auroc() == 0.5
    with pytest.raises(TrainingError, match=how) as error:
        _warn_of_unlearned(labels, held_out.heat_scores, heat, held_out, QUICK)
    assert "Try:" in str(error.value)
    (warning,) = _warn_of_unlearned(labels, held_out.heat_scores, heat, held_out, replace(QUICK, unlearned="keep"))
    assert warning.startswith("the training did not learn")


def test_a_heat_that_is_upside_down_is_called_so():
    labels = np.array([1, 1, 0, 0])
    held_out = OutOfFold(np.zeros(4), np.array([0.0, 0.1, 1.0, 2.0]), np.ones((4, 2, 2)), labels)
    with pytest.raises(TrainingError, match="upside down"):
        _warn_of_unlearned(labels, held_out.heat_scores, np.ones((4, 2, 2)), held_out, QUICK)


def test_the_error_of_an_auroc_shrinks_with_more_pictures():
    assert auroc_error(0.8, 10, 50) > auroc_error(0.8, 40, 200) > 0


def test_the_size_is_the_pictures_own_unless_time_is_short():
    sizes = [(704, 256), (712, 260), (704, 256)]
    assert own_size(sizes) == (704, 256)
    machine = Machine()
    whole = plan_training(sizes, 1, 8, 50, TrainSettings(minutes=1e6), machine)
    limit = whole.minutes / 4
    short = plan_training(sizes, 1, 8, 50, TrainSettings(minutes=limit), machine)
    assert whole.size == (704, 256)
    assert short.size[0] < 704 and short.size[0] % 8 == short.size[1] % 8 == 0
    assert short.minutes <= limit
    assert plan_training(sizes, 1, 8, 50, TrainSettings(minutes=0.001, size=(704, 256)), machine).size == (704, 256)
