"""Trainings change what they should, repeat to the bit, and go on after a stop as if nothing had been."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

from tests.training.toys import toy_images
from weakspot.errors import SettingsError, TrainingError
from weakspot.jobs.recipes import recipe
from weakspot.settings import TrainSettings
from weakspot.training.batches import (
    Batch,
    Drawings,
    TrainingImages,
    View,
    _drawn_on,
    endless_batches,
    endless_drawings,
    endless_pairs,
)
from weakspot.training.checkpoint import Shelf
from weakspot.training.looks import look_of
from weakspot.training.loop import _batches
from weakspot.training.stages import Recipe, learning_rate
from weakspot.training.state import Machine, Step, Training
from weakspot.training.synthetic import cells_of, draw_defect
from weakspot.training.train import run_training, scores, start_training

MACHINE = Machine()
IMAGES = toy_images()


def tiny(name: str = "sharp", steps: int = 3) -> Recipe:
    """The recipe's stages at a few steps each; of `paper` the third kernel is small."""
    kernel = 7 if name == "paper" else None
    whole = recipe(TrainSettings(recipe=name, third_kernel=kernel, top_fractions=(0.05,), pairs=1), 1)
    stages = tuple(replace(stage, iterations=steps, warm_up=min(stage.warm_up, 1)) for stage in whole.stages)
    return replace(whole, stages=stages)


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.detector.state_dict().items()}


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["sharp", "paper"])
def test_a_stage_changes_only_the_parts_it_trains(name: str):
    for stage in tiny(name).stages:
        training = start_training(replace(tiny(name), stages=(stage,)), IMAGES, 0, MACHINE)
        before = weights(training)
        run_training(training)
        after = weights(training)
        changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
        assert changed == set(stage.trains), "batch norms of frozen parts count too"


@pytest.mark.parametrize("name", ["sharp", "paper"])
def test_two_runs_with_one_seed_have_the_same_bits_and_another_seed_has_others(name: str):
    one, two, other = (start_training(tiny(name), IMAGES, seed, MACHINE) for seed in (1, 1, 2))
    for training in (one, two, other):
        run_training(training)
    assert same_bits(weights(one), weights(two))
    assert not same_bits(weights(one), weights(other))


class StopAt:
    """Asks to stop at the given steps, counted over all stages."""

    def __init__(self, *steps: int) -> None:
        self.steps, self.seen = steps, 0

    def __call__(self) -> bool:
        self.seen += 1
        return self.seen in self.steps


class Stopped(Exception):
    pass


def run_here(folder: Path, stop: Callable[[], bool] = lambda: False, name: str = "sharp", identity: str = "same"):
    """A training kept in a folder, begun or gone on with, saved and left where `stop` says so → it and its shelf."""
    training, shelf = start_training(tiny(name), IMAGES, 1, MACHINE), Shelf(folder, identity)

    def look_on(steps: list[Step]) -> None:
        if stop():
            shelf.save_checkpoint(training)
            raise Stopped

    training.on_steps = look_on
    if not shelf.load_weights(training.detector):
        shelf.restore(training)
        run_training(training)
        shelf.save_weights(training.detector)
    return training, shelf


@pytest.mark.parametrize(
    ("name", "at"), [("sharp", 1), ("sharp", 2), ("paper", 1), ("paper", 3), ("paper", 4), ("paper", 8)]
)
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path, at: int, name: str):
    with pytest.raises(Stopped):
        run_here(tmp_path / "stopped", StopAt(at), name)
    torch.rand(3)  # whatever happened between
    (resumed, _), (unbroken, _) = (run_here(tmp_path / where, name=name) for where in ("stopped", "unbroken"))
    assert same_bits(weights(resumed), weights(unbroken))


def test_a_training_that_is_done_is_only_read_again_and_its_checkpoints_are_gone(tmp_path: Path):
    with pytest.raises(Stopped):
        run_here(tmp_path, StopAt(2))
    done, _ = run_here(tmp_path)
    again, _ = run_here(tmp_path, StopAt(1))
    assert same_bits(weights(done), weights(again))
    assert [path.name for path in tmp_path.iterdir()] == ["detector.bin"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done")
    run_here(folder)
    return folder


@pytest.mark.parametrize(
    ("damage", "identity", "said"),
    [
        (lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "same", "altered"),
        (lambda data: b"", "same", "cut short"),
        (lambda data: data[: len(data) // 2], "same", "cut short"),
        (lambda data: data, "other", "other pictures, groups, settings, or another version"),
    ],
)
def test_weights_that_are_damaged_or_of_another_training_are_named_and_trained_again(
    done: Path, tmp_path: Path, damage: Callable[[bytes], bytes], identity: str, said: str
):
    weights_file = tmp_path / "detector.bin"
    weights_file.write_bytes(damage((done / "detector.bin").read_bytes()))
    again, shelf = run_here(tmp_path, identity=identity)
    (complaint,) = shelf.complaints
    assert "detector.bin: " in complaint and said in complaint and "not used" in complaint
    assert same_bits(weights(run_here(done)[0]), weights(again))
    kept, shelf = run_here(tmp_path, StopAt(1), identity=identity)
    assert same_bits(weights(kept), weights(again)) and not shelf.complaints, "what was trained again is kept"


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path):
    for at in (2, 3):  # each run stops later than the one before and leaves a checkpoint more
        with pytest.raises(Stopped):
            run_here(tmp_path, StopAt(at), "paper")
    newest = max(tmp_path.glob("checkpoint-*"), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    training, shelf = run_here(tmp_path, name="paper")
    (complaint,) = shelf.complaints
    assert newest.name in complaint and "altered" in complaint
    assert same_bits(weights(training), weights(run_here(tmp_path / "unbroken", name="paper")[0]))


def test_what_a_killed_save_left_is_removed(tmp_path: Path):
    (tmp_path / ".weakspot-0123456789abcdef.tmp").write_bytes(b"half a checkpoint")
    Shelf(tmp_path, "same")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("labels", [[1, 1], []])
def test_nothing_is_drawn_for_ever_from_an_empty_list(labels: list[int]):
    with pytest.raises(TrainingError, match=f"{len(labels)} bad and no good pictures"):
        endless_pairs(np.array(labels), (0, 0), copies=1)


def test_without_bad_pictures_a_step_has_more_drawn_ones_and_trains():
    good = IMAGES.part(np.flatnonzero(IMAGES.labels == 0))
    training = start_training(tiny(), good, 0, MACHINE)
    stage, before = training.recipe.stages[0], weights(training)
    of_pairs, of_good = (
        next(_batches(start_training(training.recipe, images, 0, MACHINE), stage)) for images in (IMAGES, good)
    )
    assert len(of_good.views) == len(of_pairs.views) == 2 * stage.pairs + stage.synthetic
    assert of_good.labels.tolist() == [0.0] * stage.pairs
    assert len(of_good.known_cells) == stage.pairs + stage.synthetic
    seen: list[Step] = []
    training.on_steps = seen.extend
    run_training(training)
    assert not same_bits(before, weights(training))
    assert all(step.bad_heat > 0 and step.good_heat > 0 for step in seen), "drawn ones count as bad"


def computed_anew(machine: Machine, decide: Recipe, views: tuple[View, ...], monkeypatch: pytest.MonkeyPatch) -> int:
    """Of views that were seen before, how many are computed again where three may be kept."""
    training = start_training(decide, IMAGES, 0, machine)
    training.detector.eval()
    features = training.detector.features
    monkeypatch.setattr("weakspot.training.looks.MOST_KEPT_SMALL", 3 * features(IMAGES.seen(views[:1])).nbytes)
    look = look_of(training, decide.stages[0])
    look(views)
    asked: list[int] = []
    monkeypatch.setattr(training.detector, "features", lambda images: asked.append(1) or features(images))
    look(views)
    return len(asked)


def test_little_memory_keeps_no_more_features_than_it_allows(monkeypatch: pytest.MonkeyPatch):
    whole = tiny("paper")
    decide = replace(whole, stages=tuple(stage for stage in whole.stages if stage.trains == ("decision",)))
    views = [view for pair in islice(endless_pairs(IMAGES.labels, (0, 0), copies=4), 8) for view in pair]
    assert computed_anew(Machine(), decide, tuple(views), monkeypatch) == 0
    first = list(dict.fromkeys(views))[:3]
    assert computed_anew(Machine(small=True), decide, tuple(views), monkeypatch) == sum(v not in first for v in views)


def test_pairs_use_up_each_list_before_they_begin_again_and_can_be_skipped_into():
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    stream = endless_pairs(labels, (0, 0), copies=4)
    first = [next(stream) for _ in range(12)]
    assert sorted(bad.index for bad, _ in first[:3]) == [0, 1, 2]
    assert sorted(good.index for _, good in first[:4]) == [3, 4, 5, 6]
    skipped = endless_pairs(labels, (0, 0), copies=4, start=5)
    assert [next(skipped) for _ in range(7)] == first[5:]


DRAWN = (1, 0), 4, 0.1, 8  # seed, copies, jitter, shift


def test_drawings_can_be_skipped_into_and_are_not_those_of_another_seed():
    stream = endless_drawings(IMAGES, 2, *DRAWN)
    first = [next(stream) for _ in range(4)]
    skipped, other = endless_drawings(IMAGES, 2, *DRAWN, start=2), endless_drawings(IMAGES, 2, (2, 0), *DRAWN[1:])
    for (views, cells), (again, same_cells) in zip(first[2:], skipped):
        assert views == again and torch.equal(cells, same_cells) and cells.shape == (2, 1, 8, 8)
        assert all(np.array_equal(one.drawn, two.drawn) for one, two in zip(views, again))
    assert not np.array_equal(first[0][0][0].drawn, next(other)[0][0].drawn)
    assert all(IMAGES.labels[view.index] == 0 for views, _ in first for view in views)


def test_pairs_are_the_same_whether_something_is_drawn_beside_them_or_not():
    def batches(drawings: Iterator[Drawings] | None) -> list[Batch]:
        pairs = endless_pairs(IMAGES.labels, *DRAWN)
        return list(islice(endless_batches(pairs, 2, drawings, IMAGES, "cpu"), 4))

    for plain, drawn in zip(batches(None), batches(endless_drawings(IMAGES, 3, *DRAWN))):
        assert plain.views == drawn.views[:4] and torch.equal(plain.labels, drawn.labels)
        assert len(drawn.views) == 7 and drawn.known_cells.shape == (3, 1, 8, 8) and plain.known_cells is None


def test_a_drawn_defect_lies_in_its_cells_however_the_view_is_mirrored():
    blank = TrainingImages(np.full((5, 1, 64, 64), 100, np.uint8), np.array([1, 0, 0, 0, 0]))
    inside, anywhere, mirrors = 0, 0, set()
    for views, cells in islice(endless_drawings(blank, 4, (0, 0), 8, 0.0, 8), 20):
        changed = (blank.seen(views) != 100).reshape(4, 1, 8, 8, 8, 8).sum((3, 5))
        inside, anywhere = inside + changed[cells > 0].sum(), anywhere + changed.sum()
        mirrors |= {view.mirror for view in views}
    assert inside > 0.95 * anywhere and mirrors == set(range(8))


@pytest.mark.parametrize("side", [96, 100])
def test_cells_that_are_parts_of_cells_are_mirrored_with_their_pixels(side: int):
    """Of 100 pixels the last cell has four: mirrored, they come first, and all others move by half a cell."""
    images = TrainingImages(np.random.default_rng(0).integers(90, 110, (3, 1, side, side), np.uint8), np.zeros(3, int))
    others = list(images.pixels)
    for seed in range(10):
        seen = draw_defect(images.pixels[0], np.random.default_rng(seed), images.std, others).seen
        _, cells = _drawn_on(View(0, mirror=3), images, others, np.random.default_rng(seed))
        assert seen.any() and np.array_equal(cells[0].numpy() > 0, cells_of(seen[::-1, ::-1]))


def test_only_parts_that_lie_any_way_are_turned():
    """Grain changes alike both ways, streaks do not; a picture that is not square cannot be turned."""
    grain, labels = np.random.default_rng(0).integers(0, 255, (4, 1, 64, 64), np.uint8), np.array([1, 0, 0, 0])
    streaks = np.repeat(grain[:, :, :, ::8], 8, axis=3)
    for pixels, turned in ((grain, True), (streaks, False), (streaks.swapaxes(2, 3), False), (grain[:, :, :56], False)):
        images = TrainingImages(pixels, labels)
        assert images.lie_any_way == turned
        training = start_training(tiny("sharp"), images, 0, MACHINE)
        batches = islice(_batches(training, training.recipe.stages[0]), 40)
        assert {view.mirror for batch in batches for view in batch.views} == set(range(8 if turned else 4))


def marked_images(side: int = 64) -> TrainingImages:
    """Blank pictures, two bad ones with a square of another grey; the first one's is marked."""
    pixels, mark = np.full((5, 1, side, side), 100, np.uint8), np.zeros((side, side), bool)
    mark[10:21, 30:33] = True
    pixels[:2, 0, mark] = 250
    return TrainingImages(pixels, np.array([1, 1, 0, 0, 0]), {0: mark})


@pytest.mark.parametrize("side", [64, 70])
def test_marked_cells_follow_their_picture_however_it_is_shown(side: int):
    images, mirrors, shifts = marked_images(side), set(), set()
    pairs = endless_pairs(images.labels, (0, 0), 8, 0.0, 8)
    cells = -(-side // 8)
    for batch in islice(endless_batches(pairs, 2, None, images, "cpu"), 40):
        assert len(batch.views) == 4 and batch.labels.sum() + len(batch.known_cells) == 2, "the other bad one's is not"
        for view, known in zip(batch.views[len(batch.labels) :], batch.known_cells, strict=True):
            lit = np.pad(images.seen((view,))[0, 0].numpy() > 200, ((0, -side % 8), (0, -side % 8)))
            assert np.array_equal(known[0].numpy() > 0, lit.reshape(cells, 8, cells, 8).any((1, 3)))
            mirrors, shifts = mirrors | {view.mirror}, shifts | {view.shift}
    assert mirrors == set(range(8)) and len(shifts) > 10


def test_marked_pictures_come_before_drawn_ones_and_train_with_them():
    images, recipe_ = marked_images(), tiny()
    drawings = endless_drawings(images, 2, *DRAWN)
    batch = next(endless_batches(endless_pairs(images.labels, *DRAWN), 2, drawings, images, "cpu"))
    assert len(batch.views) == 6 and [view.drawn is None for view in batch.views] == [True] * 4 + [False] * 2
    assert len(batch.known_cells) == 3 and sorted(batch.labels.tolist()) == [0.0, 0.0, 1.0]
    plain = TrainingImages(images.pixels, images.labels)
    both = [start_training(recipe_, each, 0, MACHINE) for each in (images, plain)]
    for training in both:
        run_training(training)
    assert not same_bits(*map(weights, both))


def test_a_part_of_the_pictures_keeps_its_marks():
    images = marked_images()
    assert set(images.part(np.array([3, 0])).marked) == {1} and not images.part(np.array([1, 2])).marked


def test_a_shifted_view_moves_over_its_mirrored_border():
    column = TrainingImages(np.arange(5, dtype=np.uint8).reshape(1, 1, 5, 1).repeat(3, 3), np.array([0]))
    for shift, expected in (((2, 0), [2, 1, 0, 1, 2]), ((-1, 1), [1, 2, 3, 4, 3])):
        assert column.seen((View(0, shift=shift),))[0, 0, :, 1].tolist() == expected


def test_a_recipe_without_a_third_kernel_refuses_one():
    with pytest.raises(SettingsError, match="third_kernel = 7; the recipe sharp has none"):
        recipe(TrainSettings(third_kernel=7), 1)


def test_a_rate_that_is_held_falls_along_a_cosine_afterwards():
    (stage,) = recipe(TrainSettings(), 1).stages
    rates = [learning_rate(stage, step) for step in (0, 20, 600, 800, 1000)]
    assert rates == pytest.approx([0.001, 0.02, 0.02, 0.01, 0.0])
    assert (stage.iterations, stage.weight_decay, stage.pairs, stage.synthetic) == (1000, 0.002, 2, 2)


def test_pairs_that_are_asked_for_make_every_step_and_others_are_the_recipes():
    def pairs(**settings: object) -> set[int]:
        return {stage.pairs for stage in recipe(TrainSettings(**settings), 1).stages}

    assert (pairs(), pairs(recipe="paper"), pairs(pairs=3), pairs(recipe="paper", pairs=3)) == ({2}, {1}, {3}, {3})


def test_the_papers_decision_learns_at_a_tenth_of_its_rate_from_half_way_on():
    decision = recipe(TrainSettings(recipe="paper", schedule=0.1), 1).stages[1]
    assert [learning_rate(decision, step) for step in (0, 59, 60, 119)] == pytest.approx([0.01, 0.01, 0.001, 0.001])


def test_a_loss_that_is_no_number_is_an_error():
    training = start_training(tiny(), IMAGES, 0, MACHINE)
    training.detector.std.fill_(float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan"):
        run_training(training)


def test_the_search_tells_toy_defects_apart_and_is_hottest_where_they_lie():
    quick = recipe(TrainSettings(schedule=0.15, top_fractions=(0.05,), pairs=1), 1)
    training = start_training(quick, IMAGES, 0, MACHINE)
    run_training(training)
    found = scores(training.detector, IMAGES)
    assert found.heat[IMAGES.labels == 1].min() > found.heat[IMAGES.labels == 0].max()
    bad = np.flatnonzero(IMAGES.labels == 1)
    blots = [maximum_filter(IMAGES.pixels[n, 0].reshape(8, 8, 8, 8).mean((1, 3)), 3).flatten() > 150 for n in bad]
    on_blot = [blot[found.heat_maps[n].argmax()] for n, blot in zip(bad, blots, strict=True)]
    assert np.mean(blots) < 0.2 and np.mean(on_blot) > 0.6, "100 brighter; the next cell counts"


def test_pictures_are_normalized_each_by_itself_where_light_differs_and_the_recipe_is_ours():
    def chosen(light_share: float, **settings: object) -> str:
        return recipe(TrainSettings(**settings), 1, light_share).network.normalization

    assert (chosen(0.1), chosen(0.5), chosen(0.5, recipe="paper")) == ("training", "picture", "training")
    assert (chosen(0.1, normalization="picture"), chosen(0.5, normalization="training")) == ("picture", "training")


def test_scores_are_fp32_whatever_the_training_computed_in():
    training = start_training(tiny(), IMAGES, 0, Machine(bf16=True))
    run_training(training)
    found = scores(training.detector, IMAGES)
    with torch.no_grad():
        alone = [training.detector(IMAGES.seen((View(index),))).raw_score.item() for index in range(len(IMAGES.labels))]
    assert found.raw.tolist() == alone
    assert len(set(found.raw.tolist())) == len(alone), "bf16 has too few steps to part them"
