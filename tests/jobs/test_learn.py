"""From pictures to a detector and its scores: every training once, lost ones again, and the way to the loss short."""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.toys import toy_images
from weakspot.jobs.learn import STARTS, learn
from weakspot.jobs.observe import Observer
from weakspot.network.detector import Detector
from weakspot.runs import Run
from weakspot.settings import TrainSettings
from weakspot.training.batches import TrainingImages
from weakspot.training.state import Machine, Training
from weakspot.training.train import Scores

QUICK = TrainSettings(schedule=0.02, fold_schedule=1.0, folds=2, top_fractions=(0.05,), size=(64, 64), pairs=1)
IMAGES = toy_images(bad=6, good=8)
FOLDS = np.arange(14) % 2


def learned(
    settings: TrainSettings = QUICK,
    folds: np.ndarray | None = FOLDS,
    observer: Observer | None = None,
    images: TrainingImages = IMAGES,
):
    return learn(images, folds, settings, Machine(), 0.0, observer or Observer(None, None))


def test_learning_gives_a_detector_that_tells_held_out_toys_apart(tmp_path: Path):
    found = learned(replace(QUICK, schedule=0.1, pairs=2), observer=Observer(Run(tmp_path), None))
    assert found.held_out.heat[:6].mean() > found.held_out.heat[6:].mean()
    assert found.scores.heat[:6].min() > found.scores.heat[6:].max()
    assert found.recipe.network.top_fractions == (0.05,)
    assert {path.name for path in (tmp_path / "trainings").iterdir()} >= {"final", "fold-0", "fold-1"}


def test_a_lost_search_starts_again_with_another_seed_and_the_last_start_is_checked_too(
    monkeypatch: pytest.MonkeyPatch,
):
    begun: list[tuple[str, int]] = []
    monkeypatch.setattr("weakspot.jobs.learn.LOST_BELOW", 1.1)  # so that every start is lost
    observer = Observer(None, None)
    monkeypatch.setattr(observer, "begin", lambda name, training, identity: begun.append((name, training.seed)))
    found = learned(folds=None, observer=observer)
    assert begun == [("final", 0), ("final, start 2", 1000), ("final, start 3", 2000)][:STARTS]
    assert found.lost == ("final",)


def test_a_fold_that_has_no_bad_picture_is_not_lost_for_that(monkeypatch: pytest.MonkeyPatch):
    """Six pictures of one bad part are held out together: what trains there is good alone, and drawn defects tell."""
    monkeypatch.setattr("weakspot.jobs.learn.LOST_BELOW", -1.0)  # so that no start is lost that can be judged at all
    folds = np.where(IMAGES.labels == 1, 0, np.arange(14) % 2)
    assert learned(replace(QUICK, schedule=0.005), folds=folds).lost == ()


def test_each_detector_is_asked_for_its_training_pictures_once(monkeypatch: pytest.MonkeyPatch):
    from weakspot.jobs import learn as module

    real, asked = module.scores, []
    monkeypatch.setattr(
        module, "scores", lambda detector, images: asked.append(len(images.labels)) or real(detector, images)
    )
    monkeypatch.setattr(module, "LOST_BELOW", 0.0)
    learned()
    assert asked == [7, 7, 7, 7, 14]


def test_a_few_bad_pictures_that_it_does_not_find_lose_no_search_that_finds_drawn_ones(monkeypatch: pytest.MonkeyPatch):
    from weakspot.jobs import learn as module

    real = module.scores

    def drawn_ones_found(detector: Detector, images: TrainingImages) -> Scores:
        answers = real(detector, images)
        return answers._replace(heat=answers.heat * 0 + (len(images.labels) > 0 and bool(images.labels.all())))

    few = IMAGES.part(np.array([0, *range(6, 14)]))
    settings = replace(QUICK, schedule=0.002)
    monkeypatch.setattr(module, "scores", drawn_ones_found)
    found = learned(settings, np.arange(9) % 2, images=few)
    assert not found.lost and found.drawn.shape == (8,)
    monkeypatch.setattr(module, "scores", lambda *what: real(*what)._replace(heat=real(*what).heat * 0))
    assert learned(settings, None, images=few).lost == ("final",)


def identities(
    monkeypatch: pytest.MonkeyPatch,
    settings: TrainSettings = QUICK,
    folds: np.ndarray = FOLDS,
    images: TrainingImages = IMAGES,
) -> list[str]:
    seen: list[str] = []
    observer = Observer(None, None)

    def begin(name: str, training: Training, identity: str) -> bool:
        seen.append(identity)
        return True

    monkeypatch.setattr(observer, "begin", begin)
    monkeypatch.setattr("weakspot.jobs.learn.LOST_BELOW", 0.0)
    learned(settings, folds, observer, images)
    return seen


def test_everything_that_shapes_a_training_is_in_its_identity(monkeypatch: pytest.MonkeyPatch):
    before = identities(monkeypatch)
    assert identities(monkeypatch) == before and len(set(before)) == 3
    regrouped = identities(monkeypatch, folds=(np.arange(14) // 2) % 2)
    assert not set(regrouped[:2]) & set(before) and regrouped[2] == before[2], "the final training has not changed"
    for settings in (replace(QUICK, seed=1), replace(QUICK, schedule=0.03), replace(QUICK, top_fractions=(0.1,))):
        assert not set(identities(monkeypatch, settings)) & set(before)
    assert identities(monkeypatch, replace(QUICK, hold_out=0.5)) == before, "who is tested shapes no weights here"
    marks = [{0: np.eye(64, dtype=bool)}, {0: np.eye(64, k=9, dtype=bool)}, {1: np.eye(64, dtype=bool)}]
    marked = [identities(monkeypatch, images=replace(IMAGES, marked=mark)) for mark in marks]
    assert len({name for names in (before, *marked) for name in names}) == 12, "where a mask marks counts"
    with monkeypatch.context() as patch:
        patch.setattr("weakspot.jobs.learn.training_code", lambda: "other code")
        assert not set(identities(patch)) & set(before)
    with monkeypatch.context() as patch:
        from weakspot.jobs import recipes

        (search,) = recipes.SHARP.stages
        other = replace(recipes.SHARP, stages=(replace(search, clip=0.4),))
        patch.setitem(recipes.RECIPES, "sharp", other)
        assert not set(identities(patch)) & set(before), "a recipe's constants count"


def test_the_loss_lies_five_frames_below_the_verb_in_a_fold_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from tests.jobs.test_train import write_parts
    from weakspot import cli
    from weakspot.training import loop

    class Reached(Exception):
        pass

    def loss(*what: object) -> None:
        names = [Path(frame.filename).stem for frame in inspect.stack() if "/src/weakspot/" in frame.filename]
        raise Reached(*names)

    monkeypatch.setattr("weakspot.jobs.plan.seconds_a_step", lambda recipe, *what: {"search": 0.001})
    monkeypatch.setattr(loop, "_loss", loss)
    monkeypatch.setattr(
        "sys.argv",
        [
            "weakspot",
            "train",
            str(write_parts(tmp_path / "parts")),
            "-o",
            str(tmp_path / "run"),
            "--size",
            "64x64",
            "--quiet",
        ],
    )
    with pytest.raises(Reached) as reached:
        cli.main()
    assert reached.value.args == ("loop", "train", "learn", "train", "training", "entry")  # main() itself
