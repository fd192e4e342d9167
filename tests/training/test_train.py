"""Trainings change what they should, repeat to the bit, and go on after a stop as if nothing had been."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.toys import toy_images
from weakspot.errors import TrainingError
from weakspot.settings import TrainSettings
from weakspot.training.cells import bad_cells
from weakspot.training.images import TrainingImages
from weakspot.training.loop import StageState, Step
from weakspot.training.pairs import endless_pairs
from weakspot.training.resume import TrainingStopped, train_resumably
from weakspot.training.stages import Recipe, learning_rate, recipe
from weakspot.training.train import Machine, Training, run_training, scores, start_training

MACHINE = Machine()
IMAGES = toy_images()


def tiny(name: str = "sharp", steps: int = 3) -> Recipe:
    """The recipe's stages at a few steps each, on a small third kernel."""
    whole = recipe(TrainSettings(recipe=name, third_kernel=7, top_fractions=(0.05,)), channels=1)
    stages = tuple(
        replace(stage, iterations=steps, find_first=min(stage.find_first, steps), warm_up=min(stage.warm_up, 1))
        for stage in whole.stages
    )
    return replace(whole, stages=stages)


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.detector.state_dict().items()}


def ignore(told: Step | list[Step]) -> None:
    return None


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["sharp", "paper"])
def test_a_stage_changes_only_the_parts_it_trains(name: str):
    for stage in tiny(name).stages:
        training = start_training(replace(tiny(name), stages=(stage,)), IMAGES, 0, MACHINE)
        training.cells = torch.zeros(len(IMAGES.labels), 1, 8, 8)
        before = weights(training)
        run_training(training, ignore)
        after = weights(training)
        changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
        assert changed == set(stage.trains), "batch norms of frozen parts count too"


@pytest.mark.parametrize("name", ["sharp", "paper"])
def test_two_runs_with_one_seed_have_the_same_bits_and_another_seed_has_others(name: str):
    one, two, other = (start_training(tiny(name), IMAGES, seed, MACHINE) for seed in (1, 1, 2))
    for training in (one, two, other):
        run_training(training, ignore)
    assert same_bits(weights(one), weights(two))
    assert not same_bits(weights(one), weights(other))


class StopAt:
    """Asks to stop at the given steps, counted over all stages."""

    def __init__(self, *steps: int) -> None:
        self.steps, self.seen = steps, 0

    def __call__(self) -> bool:
        self.seen += 1
        return self.seen in self.steps


def run_here(
    folder: Path, stop: Callable[[], bool] = lambda: False, name: str = "sharp", identity: str = "same"
) -> Training:
    training = start_training(tiny(name), IMAGES, 1, MACHINE)
    train_resumably(training, folder, identity, ignore, stop, lambda text: None)
    return training


@pytest.mark.parametrize("name", ["sharp", "paper"])
@pytest.mark.parametrize("at", [1, 3, 4, 7, 8])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path, at: int, name: str):
    with pytest.raises(TrainingStopped, match="--resume"):
        run_here(tmp_path / "stopped", StopAt(at), name)
    torch.rand(3)  # whatever happened between
    resumed, unbroken = run_here(tmp_path / "stopped", name=name), run_here(tmp_path / "unbroken", name=name)
    assert same_bits(weights(resumed), weights(unbroken))


def test_a_training_that_is_done_is_only_read_again(tmp_path: Path):
    done = run_here(tmp_path)
    again = run_here(tmp_path, StopAt(1))
    assert same_bits(weights(done), weights(again))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done")
    run_here(folder)
    return folder


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("detector.safetensors", lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "altered"),
        ("detector.safetensors", lambda data: b"", "cut short"),
        ("detector.json", lambda data: data[:20], "nothing tells which training it is of"),
        ("detector.json", lambda data: data.replace(b"same", b"other"), "other pictures or settings"),
        ("detector.json", None, "nothing tells which training it is of"),
    ],
)
def test_weights_that_are_damaged_or_of_another_training_are_told_and_trained_again(
    done: Path, tmp_path: Path, file: str, damage: Callable[[bytes], bytes] | None, said: str
):
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    if damage:
        (tmp_path / file).write_bytes(damage((tmp_path / file).read_bytes()))
    else:
        (tmp_path / file).unlink()
    notes: list[str] = []
    again = start_training(tiny(), IMAGES, 1, MACHINE)
    train_resumably(again, tmp_path, "same", ignore, lambda: False, notes.append)
    assert len(notes) == 1
    assert "detector.safetensors: " in notes[0] and said in notes[0] and "trained again" in notes[0]
    assert same_bits(weights(run_here(done)), weights(again))
    assert same_bits(weights(run_here(tmp_path, StopAt(1))), weights(again)), "what was trained again is kept"


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path):
    for at in (2, 3):  # each run stops later than the one before and leaves a checkpoint more
        with pytest.raises(TrainingStopped):
            run_here(tmp_path, StopAt(at))
    newest = max(tmp_path.glob("checkpoint-*"), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    said: list[str] = []
    training = start_training(tiny(), IMAGES, 1, MACHINE)
    train_resumably(training, tmp_path, "same", ignore, lambda: False, said.append)
    assert len(said) == 1
    assert newest.name in said[0]
    assert "altered" in said[0]
    assert same_bits(weights(training), weights(run_here(tmp_path / "unbroken")))


def test_a_checkpoint_of_other_pictures_is_not_used(tmp_path: Path):
    with pytest.raises(TrainingStopped):
        run_here(tmp_path, StopAt(2))
    said: list[str] = []
    training = start_training(tiny(), IMAGES, 1, MACHINE)
    train_resumably(training, tmp_path, "other", ignore, lambda: False, said.append)
    assert "other pictures or settings" in said[0]


def test_pairs_use_up_each_list_before_they_begin_again_and_can_be_skipped_into():
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    stream = endless_pairs(labels, (0, 0), mirrored=True)
    first = [next(stream) for _ in range(12)]
    assert sorted(pair.bad.index for pair in first[:3]) == [0, 1, 2]
    assert sorted(pair.good.index for pair in first[:4]) == [3, 4, 5, 6]
    skipped = endless_pairs(labels, (0, 0), mirrored=True, start=5)
    assert [next(skipped) for _ in range(7)] == first[5:]


def test_the_search_keeps_its_rate_until_it_has_found_something():
    search = recipe(TrainSettings(), 1).stages[0]
    assert (
        learning_rate(search, 100, None) == learning_rate(search, search.find_first - 1, None) == search.learning_rate
    )
    assert learning_rate(search, 100 + search.iterations // 2, 100) == pytest.approx(search.learning_rate / 2)
    assert learning_rate(search, 100 + search.iterations, 100) == pytest.approx(0, abs=1e-9)
    assert not StageState(step=search.longest - 1).finished(search)
    assert StageState(step=search.longest).finished(search)
    assert StageState(step=100 + search.iterations, found_at=100).finished(search)


def test_a_loss_that_is_no_number_is_an_error():
    training = start_training(tiny(), IMAGES, 0, MACHINE)
    training.detector.std.fill_(float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan"):
        run_training(training, ignore)


def test_the_search_tells_toy_defects_apart_and_its_pixels_lie_on_them():
    stages = recipe(TrainSettings(third_kernel=7), 1, 0.05).stages
    quick = replace(tiny(), stages=(replace(stages[0], find_first=60, iterations=40),))
    training = start_training(quick, IMAGES, 0, MACHINE)
    run_training(training, ignore)
    _, heat_scores, _ = scores(training.detector, IMAGES, MACHINE)
    assert heat_scores[IMAGES.labels == 1].min() > heat_scores[IMAGES.labels == 0].max()
    cells = bad_cells(training.detector, IMAGES, 0.05, 0, MACHINE.autocast)
    assert cells[IMAGES.labels == 0].sum() == 0
    for index in np.flatnonzero(IMAGES.labels == 1):
        blot = IMAGES.pixels[index, 0].reshape(8, 8, 8, 8).mean((1, 3)).argmax()
        assert cells[index, 0].flatten()[blot] == 1


def test_pictures_are_normalized_each_by_itself_where_light_differs_and_the_recipe_is_ours():
    def chosen(light_share: float, **settings: object) -> str:
        return recipe(TrainSettings(**settings), 1, light_share=light_share).network.normalization

    assert (chosen(0.1), chosen(0.5), chosen(0.5, recipe="paper")) == ("training", "picture", "training")
    assert (chosen(0.1, normalization="picture"), chosen(0.5, normalization="training")) == ("picture", "training")


def test_the_share_of_light_is_what_lies_between_pictures():
    noise = np.random.default_rng(0).integers(0, 20, (8, 1, 64, 64)).astype(np.uint8)
    lit = noise + np.arange(0, 160, 20, dtype=np.uint8)[:, None, None, None]
    assert TrainingImages(noise, np.arange(8) % 2).light_share < 0.01
    assert TrainingImages(lit, np.arange(8) % 2).light_share > 0.9
