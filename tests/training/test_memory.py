"""Training that spares memory: the same weights, less that stays taken."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.training.toys import toy_images
from weakspot.settings import TrainSettings
from weakspot.training import machine
from weakspot.training.stages import PAPER
from weakspot.training.state import Machine
from weakspot.training.train import run_training, start_training


def trained(small: bool, steps: int = 2) -> Tensor:
    """All weights and statistics after a few steps."""
    stage = replace(PAPER.stages[0], iterations=steps, learning_rate=0.01)
    recipe = replace(PAPER, stages=(stage,), network=replace(PAPER.network, third_kernel=7))
    training = start_training(recipe, toy_images(bad=1, good=1, side=128), 0, Machine(small=small))
    return torch.cat([tensor.double().flatten() for tensor in run_training(training).state_dict().values()])


def test_small_memory_gives_the_same_weights_but_for_rounding():
    fast, small, begun = trained(small=False), trained(small=True), trained(small=False, steps=0)
    assert (small - fast).norm() < 1e-3 * (fast - begun).norm()


@pytest.mark.parametrize(("memory", "keeps"), [("fast", 1), ("small", 0)])
def test_freed_memory_is_kept_unless_it_is_to_be_spared(monkeypatch, memory, keeps):
    """In a stand-in, since a whole process would change."""
    calls = []
    monkeypatch.setattr(machine, "keep_freed_memory", lambda: calls.append(1))
    chosen = machine.choose_machine(TrainSettings(memory=memory, device="cpu", threads=torch.get_num_threads()))
    machine.prepare(chosen)
    assert (len(calls), chosen.small) == (keeps, memory == "small")
