"""Training that spares memory: the same weights, less that stays taken."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.training.toys import toy_images
from weakspot.network import large_kernel
from weakspot.settings import TrainSettings
from weakspot.training import machine
from weakspot.training.stages import PAPER
from weakspot.training.train import Machine, run_training, start_training


def trained(small: bool, steps: int = 2) -> Tensor:
    """All weights and statistics after a few steps, at a size where the large layer is spectral unless told
    otherwise."""
    stage = replace(PAPER.stages[0], iterations=steps, learning_rate=0.01)
    recipe = replace(PAPER, stages=(stage,), network=replace(PAPER.network, third_kernel=7))
    training = start_training(recipe, toy_images(bad=1, good=1, side=256), 0, Machine(small=small))
    return torch.cat(
        [tensor.double().flatten() for tensor in run_training(training, lambda _: None).state_dict().values()]
    )


def test_small_memory_gives_the_same_weights_but_for_rounding(monkeypatch):
    made = []
    plain = large_kernel._kernel_spectrum
    monkeypatch.setattr(large_kernel, "_kernel_spectrum", lambda *given: [made.append(given), plain(*given)][1])
    fast, spectra = trained(small=False), len(made)
    small = trained(small=True)
    assert spectra > 0 and len(made) == spectra
    begun = trained(small=False, steps=0)
    assert (small - fast).norm() < 1e-3 * (fast - begun).norm()


@pytest.mark.parametrize(("memory", "keeps"), [("fast", 1), ("small", 0)])
def test_freed_memory_is_kept_unless_it_is_to_be_spared(monkeypatch, memory, keeps):
    """In a stand-in, since it cannot be undone."""
    kept = []
    monkeypatch.setattr(machine, "keep_freed_memory", lambda: kept.append(1))
    threads = torch.get_num_threads()
    chosen = machine.choose_machine(TrainSettings(memory=memory, device="cpu", threads=threads))
    assert (len(kept), chosen.small) == (keeps, memory == "small")
