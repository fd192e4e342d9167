"""A kernel's gradient from strips of the map against the plain one."""

import pytest
import torch
from torch.nn import functional as F

from weakspot.network import strips
from weakspot.network.strips import STRIP, WHOLE, convolve, kernel_gradient, strip_rows


@pytest.mark.parametrize(("kernel", "rows"), [(3, 1), (3, 4), (5, 6), (5, 12)])
def test_strips_give_the_whole_maps_gradient(kernel: int, rows: int):
    torch.manual_seed(0)
    padded = torch.randn(2, 3, 24 + kernel - 1, 10 + kernel - 1, dtype=torch.float64).to(
        memory_format=torch.channels_last
    )
    weight = torch.randn(5, 3, kernel, kernel, dtype=torch.float64, requires_grad=True)
    answer = F.conv2d(padded, weight)
    gradient = torch.randn_like(answer)
    (expected,) = torch.autograd.grad(answer, weight, gradient)
    assert torch.allclose(kernel_gradient(gradient, padded, weight, rows), expected)


@pytest.mark.parametrize("of_map", [True, False])
def test_the_layer_learns_as_the_plain_one_whether_it_is_cut_or_not(monkeypatch: pytest.MonkeyPatch, of_map: bool):
    torch.manual_seed(1)
    padded = torch.randn(2, 4, 26, 18, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_(of_map)
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    learns = [tensor for tensor in (padded, weight) if tensor.requires_grad]
    expected = torch.autograd.grad(F.conv2d(padded, weight).square().sum(), learns)
    for whole in (WHOLE, 0):
        monkeypatch.setattr(strips, "WHOLE", whole)
        monkeypatch.setattr(strips, "STRIP", 4 * 18 * 4 * 8)  # four rows
        strip_rows.cache_clear()
        found = torch.autograd.grad(convolve(padded, weight).square().sum(), learns)
        assert all(torch.allclose(f, e) for f, e in zip(found, expected, strict=True))
        assert strip_rows(24, 18 * 4 * 8) == (None if whole else 4)
    strip_rows.cache_clear()


def test_large_maps_are_cut_into_equal_strips_and_small_ones_are_not():
    assert strip_rows(704, 256 * 32 * 2) == 16
    assert strip_rows(88, 32 * 64 * 2) is None, "fits into the cache whole"
    assert strip_rows(709, 256 * 32 * 2) is None, "a prime height has no equal strips"
    for height in range(100, 1500, 7):
        rows = strip_rows(height, 2**15)
        assert rows is None or (height % rows == 0 and STRIP / 2 <= rows * 2**15 <= 3 * STRIP)
    assert WHOLE > STRIP


def test_under_autocast_its_products_are_bf16_and_the_kernel_keeps_its_precision():
    padded, weight = torch.randn(1, 8, 20, 20), torch.randn(8, 8, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        answer = convolve(padded, weight)
        assert torch.equal(answer, F.conv2d(padded, weight))
    answer.sum().backward()
    assert answer.dtype == torch.bfloat16 and weight.grad.dtype == torch.float32
