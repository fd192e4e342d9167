"""The large layer where its weights no longer change, and where memory is to be spared."""

import pytest
import torch

from weakspot.network import large_kernel
from weakspot.network.detector import Detector
from weakspot.network.large_kernel import LargeKernelConv, large_layers, spectral_is_faster
from weakspot.settings import NetworkSettings


@pytest.fixture
def layer() -> LargeKernelConv:
    torch.manual_seed(0)
    return LargeKernelConv(64, 512, 7).requires_grad_(False)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Grows with each spectrum that is made."""
    precisions: list[torch.dtype] = []
    plain = large_kernel._kernel_spectrum
    monkeypatch.setattr(
        large_kernel,
        "_kernel_spectrum",
        lambda kernel, tiling: [precisions.append(kernel.dtype), plain(kernel, tiling)][1],
    )
    return precisions


def maps(side: int) -> torch.Tensor:
    return torch.randn(1, 64, side, side, generator=torch.Generator().manual_seed(side))


def test_a_frozen_layer_makes_its_spectrum_once_for_a_shape_and_precision(layer, made):
    expected = [layer(maps(side)) for side in (60, 70)]
    made.clear()
    layer.freeze(True)
    for _ in range(3):
        assert torch.equal(layer(maps(60)), expected[0])
    assert made == [torch.float32]
    assert torch.equal(layer(maps(70)), expected[1])
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(maps(70)).dtype == torch.bfloat16
    assert torch.equal(layer(maps(70)), expected[1])
    assert len(made) in (3, 4)  # bf16 may be plain here, on matrix units


def test_a_layer_that_may_still_learn_keeps_none(layer, made):
    before = layer(maps(60))
    layer.weight.data.mul_(2)
    assert torch.allclose(layer(maps(60)), 2 * before, rtol=1e-3, atol=1e-4)
    assert len(made) == 2


def test_a_layer_that_learns_again_forgets_what_was_kept(layer, made):
    layer.freeze(True)
    before = layer(maps(60))
    layer.freeze(False)
    layer.weight.data.mul_(2)
    layer.freeze(True)
    assert torch.allclose(layer(maps(60)), 2 * before, rtol=1e-3, atol=1e-4)
    assert len(made) == 2


def test_a_plain_layer_makes_none_and_answers_alike(layer, made):
    expected = layer(maps(60))
    assert spectral_is_faster(maps(60), layer.weight)
    made.clear()
    layer.plain = True
    assert float((layer(maps(60)) - expected).abs().max() / expected.abs().max()) < 1e-5
    assert made == []


def test_the_networks_large_layer_is_found() -> None:
    assert [layer.kernel_size for layer in large_layers(Detector(NetworkSettings(third_kernel=15)))] == [(15, 15)]
    assert large_layers(Detector(NetworkSettings(third_kernel=5))) == []
