"""The loop asks a device what came of its steps once for many of them, and ends where it would have ended otherwise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.test_train import IMAGES, same_bits, tiny, weights
from weakspot.network.detector import PARTS, Detector
from weakspot.settings import NetworkSettings
from weakspot.spectral.layer import large_layers
from weakspot.training.batches import TrainingImages, View
from weakspot.training.loop import train_only
from weakspot.training.stages import Recipe
from weakspot.training.state import Machine, Step, Training
from weakspot.training.train import run_training, start_training

WAITS = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::is_nonzero",
    "aten::equal",
    "aten::masked_select",
    "aten::unique",
}


class Waiting(TorchDispatchMode):
    """Counts the operations for whose answer a device would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.times += operation.name().partition(".")[0] in WAITS
        return operation(*args, **(kwargs or {}))


def trained(recipe: Recipe, every: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Training, list[list[Step]]]:
    monkeypatch.setattr(Machine, "steps_a_report", every)
    training, reports = start_training(recipe, IMAGES, 3, Machine()), []
    training.on_steps = reports.append
    run_training(training)
    return training, reports


@pytest.mark.parametrize("name", ["sharp", "paper"])
def test_steps_reported_in_blocks_are_the_same_steps_and_end_in_the_same_bits(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    (one, told), (other, told_in_blocks) = (trained(tiny(name, 5), every, monkeypatch) for every in (1, 4))
    assert same_bits(weights(one), weights(other))
    assert [len(steps) for steps in told] == [1] * sum(map(len, told))
    assert max(len(steps) for steps in told_in_blocks) == 4
    assert [step for steps in told for step in steps] == [step for steps in told_in_blocks for step in steps]


def test_no_step_waits_for_the_device(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Machine, "steps_a_report", 1000)
    for recipe in (tiny("sharp"), tiny("paper")):
        for stage in recipe.stages:
            training = start_training(replace(recipe, stages=(stage,)), IMAGES, 0, Machine())
            with Waiting() as waiting:
                run_training(training)
            assert waiting.times == 0, stage.name
    with Waiting() as waiting:
        float(torch.ones(1))
    assert waiting.times == 1, "or this test could not fail"


def test_a_part_that_does_not_learn_keeps_its_spectrum():
    detector = Detector(NetworkSettings(third_kernel=7))
    (large,) = large_layers(detector)
    for parts, frozen in (((), True), (("localization",), False), (("decision",), True), (PARTS, False)):
        train_only(detector, parts)
        assert large.frozen is frozen


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_view_is_mirrored_and_its_light_changed(depth: type):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (3, 2, 70, 64)).astype(depth)
    images = TrainingImages(pixels, np.array([1, 0, 0]))
    batch = images.seen((View(2, mirror=3), View(0, contrast=1.5, brightness=0.25)))
    assert batch.dtype == torch.float32 and batch.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(batch[0].numpy(), pixels[2, :, ::-1, ::-1].astype(np.float32))
    expected = (pixels[0].astype(np.float64) - images.mean) * 1.5 + images.mean + 0.25 * images.std
    assert np.allclose(batch[1].numpy(), expected, rtol=0, atol=1e-5 * images.std)
