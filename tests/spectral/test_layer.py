"""The spectral form of the large layer against the plain one: answers, gradients, and which is taken when."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from weakspot.network.detector import Detector
from weakspot.settings import NetworkSettings
from weakspot.spectral import layer as layers
from weakspot.spectral.layer import LargeKernelConv, large_layers, spectral_conv, spectral_is_faster
from weakspot.spectral.tiles import Tiling

SHAPES = [(2, 3, 5, 7, 20, 13), (1, 64, 96, 15, 44, 16), (2, 4, 6, 15, 9, 50)]  # images, in, out, kernel, height, width


def draw(images: int, inputs: int, outputs: int, kernel: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    padded = torch.randn(images, inputs, height + kernel - 1, width + kernel - 1).relu().requires_grad_()
    return padded, (torch.randn(outputs, inputs, kernel, kernel) / kernel).requires_grad_()


def relative(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


@pytest.mark.parametrize("shape", SHAPES)
def test_answer_and_gradients_are_those_of_the_plain_layer(shape):
    padded, kernel = draw(*shape)
    expected, found = F.conv2d(padded.double(), kernel.double()), spectral_conv(padded, kernel)
    direction = torch.randn_like(found)
    expected_gradients = torch.autograd.grad(expected, (padded, kernel), direction.double())
    found_gradients = torch.autograd.grad(found, (padded, kernel), direction)
    assert relative(found, expected) < 1e-5
    assert all(relative(f, e) < 1e-5 for f, e in zip(found_gradients, expected_gradients))


@pytest.mark.parametrize("tile", [(10, 11), (16, 9), (26, 25)])
def test_gradients_are_derivatives_for_even_and_odd_tiles(tile):
    padded = torch.randn(1, 2, 26, 25, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(2, 2, 7, 7, dtype=torch.float64, requires_grad=True)
    tiling = Tiling(20, 19, 7, *tile)
    assert torch.autograd.gradcheck(lambda x, w: spectral_conv(x, w, tiling), (padded, kernel), fast_mode=True)


def test_under_autocast_it_is_as_exact_as_the_plain_layer_in_bf16():
    padded, kernel = draw(2, 64, 512, 15, 24, 24)
    exact = F.conv2d(padded, kernel)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        plain, spectral = F.conv2d(padded, kernel), spectral_conv(padded, kernel)
    assert spectral.dtype == torch.bfloat16
    assert relative(spectral, exact) < 3 * relative(plain, exact)


def test_the_layer_is_a_convolution_whichever_form_it_takes():
    torch.manual_seed(1)
    layer = LargeKernelConv(64, 512, 7)
    small, large = torch.randn(1, 64, 12, 12), torch.randn(1, 64, 60, 60)
    with torch.no_grad():
        assert not spectral_is_faster(small, layer.weight)
        assert spectral_is_faster(large, layer.weight)
        assert all(relative(layer(x), F.conv2d(x, layer.weight)) < 1e-5 for x in (small, large))


def test_its_answer_is_channels_last():
    padded, kernel = draw(2, 8, 6, 7, 20, 13)
    assert spectral_conv(padded, kernel).is_contiguous(memory_format=torch.channels_last)


def test_the_kernel_keeps_its_layout_and_its_place_in_a_checkpoint():
    """Taps first in memory, under the usual name and shape; copies, moves and loaded weights stay so."""
    torch.manual_seed(2)
    layer = LargeKernelConv(4, 6, 7)
    strides = layer.weight.stride()
    assert layer.weight.permute(3, 2, 1, 0).is_contiguous()
    assert {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()} == {"weight": (6, 4, 7, 7)}
    other = LargeKernelConv(4, 6, 7).to(memory_format=torch.channels_last)
    other.load_state_dict({"weight": layer.weight.detach().contiguous()})
    assert torch.equal(other.weight, layer.weight)
    assert other.weight.stride() == copy.deepcopy(layer).weight.stride() == strides


def test_the_same_step_gives_the_same_bits():
    padded, kernel = draw(2, 16, 32, 15, 30, 20)
    gradients = [torch.autograd.grad(spectral_conv(padded, kernel).square().mean(), (padded, kernel)) for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(*gradients))


def test_bf16_on_matrix_units_and_graphics_cards_keep_the_plain_layer(monkeypatch):
    padded, kernel = torch.randn(1, 64, 60, 60), torch.randn(512, 64, 7, 7)
    monkeypatch.setattr("weakspot.spectral.layer._has_matrix_units", lambda: True)
    assert spectral_is_faster(padded, kernel)
    with torch.autocast("cpu", torch.bfloat16):
        assert not spectral_is_faster(padded, kernel)
    assert not spectral_is_faster(padded.to("meta"), kernel)


@pytest.fixture
def layer() -> LargeKernelConv:
    torch.manual_seed(0)
    return LargeKernelConv(64, 512, 7).requires_grad_(False)


@pytest.fixture
def spectra(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Grows with each kernel's spectrum that is made."""
    precisions: list[torch.dtype] = []
    make = layers._kernel_spectrum
    monkeypatch.setattr(
        layers, "_kernel_spectrum", lambda kernel, t: [precisions.append(kernel.dtype), make(kernel, t)][1]
    )
    return precisions


def maps(side: int) -> Tensor:
    return torch.randn(1, 64, side, side, generator=torch.Generator().manual_seed(side))


def test_a_frozen_layer_makes_its_spectrum_once_for_a_shape_and_precision(layer, spectra):
    expected = [layer(maps(side)) for side in (60, 70)]
    spectra.clear()
    layer.freeze(True)
    for _ in range(3):
        assert torch.equal(layer(maps(60)), expected[0])
    assert spectra == [torch.float32]
    assert torch.equal(layer(maps(70)), expected[1])
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(maps(70)).dtype == torch.bfloat16
    assert torch.equal(layer(maps(70)), expected[1])
    assert len(spectra) in (3, 4)  # bf16 may be plain here, on matrix units


def test_a_layer_that_may_still_learn_keeps_none(layer, spectra):
    before = layer(maps(60))
    layer.weight.data.mul_(2)
    assert torch.allclose(layer(maps(60)), 2 * before, rtol=1e-3, atol=1e-4)
    assert len(spectra) == 2


def test_a_layer_that_learns_again_forgets_what_was_kept(layer, spectra):
    layer.freeze(True)
    before = layer(maps(60))
    layer.freeze(False)
    layer.weight.data.mul_(2)
    layer.freeze(True)
    assert torch.allclose(layer(maps(60)), 2 * before, rtol=1e-3, atol=1e-4)
    assert len(spectra) == 2


def test_a_plain_layer_makes_none_and_answers_alike(layer, spectra):
    expected = layer(maps(60))
    assert spectral_is_faster(maps(60), layer.weight)
    spectra.clear()
    layer.plain = True
    assert relative(layer(maps(60)), expected) < 1e-5
    assert spectra == []


def test_the_networks_large_layer_is_found():
    assert [layer.kernel_size for layer in large_layers(Detector(NetworkSettings(third_kernel=15)))] == [(15, 15)]
    assert large_layers(Detector(NetworkSettings(third_kernel=5))) == []
