"""The large convolution, 15 × 15 from 64 to 512 channels as printed: plain or spectral, same answer, chosen by shape
and device.

How the spectral form works, and its matrices: `weakspot.inspection.spectral`. Here each step is one product, which
autograd knows the way back through, so the gradients of map and kernel are spectral too. Under autocast the products
are bf16 with fp32 sums, like any other layer's.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn

from weakspot.inspection.spectral import Tiling, Transforms, choose_tiling, plain_cost, spectral_cost
from weakspot.network.precision import product_dtype

# The plain layer's way back takes three times its way forth, the spectral one's less than twice. Measured at 8 × 8 to
# 176 × 64 cells: where the count says 0.3, the layer still learns 1.6 times as fast in bf16 and no slower in fp32.
GAIN_TO_LEARN = 0.3
SpectrumOf = Callable[[Tensor, Tiling], Tensor]


class LargeKernelConv(nn.Conv2d):
    """A convolution without bias over a map whose border is already there: (N, in, h + k - 1, w + k - 1) → (N, out, h,
    w)."""

    plain = False  # True: never in the spectral form, whose kernel's spectrum takes 120 to 240 MB
    frozen = False  # set by `freeze`

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, bias=False)
        self.weight.data = _taps_first(self.weight.data)
        self._spectrum: tuple[object, Tensor] | None = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Keeps the kernel's layout when the other layers get theirs, as by `.to(memory_format=...)`."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.weight.data = _taps_first(self.weight.data)
        return self

    def forward(self, padded: Tensor) -> Tensor:
        """Spectral where that is faster; in a graph that is being exported, plain: it is rewritten when it is
        loaded."""
        if self.plain or torch.onnx.is_in_onnx_export() or not spectral_is_faster(padded, self.weight):
            return super().forward(padded)
        return spectral_conv(padded, self.weight, spectrum_of=self._kept_spectrum if self.frozen else None)

    def freeze(self, frozen: bool) -> None:
        """Whether its weights will stay as they are, so that the spectrum is made once for maps of a shape and kept."""
        self.frozen, self._spectrum = frozen, None

    def _kept_spectrum(self, kernel: Tensor, tiling: Tiling) -> Tensor:
        """The last one that was made, if it was for this tiling and precision."""
        made_for = tiling, kernel.dtype
        if self._spectrum is None or self._spectrum[0] != made_for:
            self._spectrum = made_for, _kernel_spectrum(kernel, tiling)
        return self._spectrum[1]


def large_layers(network: nn.Module) -> list[LargeKernelConv]:
    """The large layers of a network, wherever they are."""
    return [layer for layer in network.modules() if isinstance(layer, LargeKernelConv)]


def spectral_is_faster(padded: Tensor, kernel: Tensor) -> bool:
    """Whether the spectral form is the faster one here; the same answer on every call, so that a training repeats to
    the bit."""
    if padded.device.type != "cpu" or (product_dtype(padded) == torch.bfloat16 and _has_matrix_units()):
        # graphics cards and matrix units: the plain layer runs near their rate, which small products don't reach
        return False
    (outputs, inputs, k, _), (images, _, height, width) = kernel.shape, padded.shape
    shape = height - k + 1, width - k + 1, k, (inputs, outputs), images
    gain = plain_cost(*shape) / spectral_cost(_tiling(*shape), (inputs, outputs), images, learns=True)
    return gain > (GAIN_TO_LEARN if torch.is_grad_enabled() and kernel.requires_grad else 1)


def spectral_conv(
    padded: Tensor, kernel: Tensor, tiling: Tiling | None = None, spectrum_of: SpectrumOf | None = None
) -> Tensor:
    """The valid correlation of maps (N, in, h + k - 1, w + k - 1) with a kernel (out, in, k, k) → (N, out, h, w),
    channels last in memory.

    spectrum_of: gives the spectrum of a kernel that does not learn; else it is made anew.
    """
    (outputs, inputs, k, _), (images, _, height, width) = kernel.shape, padded.shape
    tiling = tiling or _tiling(height - k + 1, width - k + 1, k, (inputs, outputs), images)
    dtype = product_dtype(padded)
    with torch.autocast(padded.device.type, enabled=False):
        tiles, taps = _tile_spectra(padded.to(dtype), tiling), kernel.to(dtype)
        spectra = tiles @ spectrum_of(taps, tiling) if spectrum_of else ProductWithKernel.apply(tiles, taps, tiling)  # type: ignore[no-untyped-call]
        return _answer(spectra, tiling, images)


class ProductWithKernel(torch.autograd.Function):
    """Spectra of tiles times the spectrum of a kernel, frequency by frequency, with the way from the kernel to its
    spectrum and back.

    The spectrum's gradient, as large as the spectrum, never lies in memory whole: a pair of frequencies across the tile
    at a time is made and brought back to the kernel while it is in the processor's cache.
    """

    @staticmethod
    def forward(ctx: Any, tiles: Tensor, kernel: Tensor, tiling: Tiling) -> Tensor:
        """tiles (frequencies, 2 P, 2 · in), kernel (out, in, k, k) → (frequencies, 2 P, out)."""
        spectrum = _kernel_spectrum(kernel, tiling)
        ctx.save_for_backward(tiles, spectrum)
        ctx.kernel_shape, ctx.tiling = kernel.shape, tiling
        return tiles @ spectrum

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the tiles' spectra and of the kernel."""
        (tiles, spectrum), (gradient,) = ctx.saved_tensors, gradients
        of_tiles = gradient @ spectrum.transpose(1, 2) if ctx.needs_input_grad[0] else None
        of_kernel = (
            _kernel_gradient(tiles.transpose(1, 2), gradient, ctx.kernel_shape, ctx.tiling)
            if ctx.needs_input_grad[1]
            else None
        )
        return of_tiles, of_kernel, None


def _tile_spectra(padded: Tensor, tiling: Tiling) -> Tensor:
    """(N, in, h + k - 1, w + k - 1) → (frequencies, 2 P, 2 · in), the real matrix form of P tiles' spectra (see
    `Transforms.columns_in`).

    The matrices cut tiles as they transform: the zeros that this multiplies cost less than gathering overlapping tiles,
    forth and back.
    """
    t, (_, inputs, height, width) = tiling, padded.shape
    cells = padded.permute(2, 3, 0, 1).reshape(height, -1)
    by_rows = (_matrix("tiled_rows_in", tiling, padded) @ cells).view(t.half, 2, t.down, width, -1)
    by_rows = by_rows.transpose(2, 3).reshape(t.half, 2 * width, -1)
    spectra = _each(_matrix("tiled_columns_in", tiling, padded), by_rows).view(t.half, t.columns, 2, 2, -1, inputs)
    return spectra.permute(1, 0, 2, 4, 3, 5).reshape(t.frequencies, -1, 2 * inputs)


def _kernel_spectrum(kernel: Tensor, tiling: Tiling) -> Tensor:
    """(out, in, k, k) → (frequencies, 2 · in, out), conjugate."""
    (outputs, inputs, k, _), t = kernel.shape, tiling
    paired = 2 * t.pairs
    by_columns = (_matrix("kernel_columns_in", tiling, kernel) @ kernel.permute(3, 2, 1, 0).reshape(k, -1)).view(
        t.columns, k, -1
    )
    spectrum = kernel.new_empty(t.columns, 2 * t.half, inputs * outputs)
    _each(
        _matrix("kernel_rows_in", tiling, kernel),
        by_columns[:paired].view(t.pairs, 2 * k, -1),
        spectrum[:paired].view(t.pairs, 4 * t.half, -1),
    )
    _each(_matrix("kernel_rows_alone_in", tiling, kernel), by_columns[paired:], spectrum[paired:])
    return spectrum.view(t.frequencies, 2 * inputs, outputs)


def _kernel_gradient(tiles: Tensor, gradient: Tensor, shape: torch.Size, tiling: Tiling) -> Tensor:
    """tiles (frequencies, 2 · in, 2 P), gradient of the products (frequencies, 2 P, out) → gradient of the kernel,
    (out, in, k, k)."""
    (outputs, inputs, k, _), t = shape, tiling
    rows_back, alone_back = (_matrix(name, tiling, tiles).T for name in ("kernel_rows_in", "kernel_rows_alone_in"))
    by_columns = tiles.new_empty(t.columns, k, inputs * outputs)
    for first in range(0, t.columns, 2):
        columns = slice(first, first + 2 if first < 2 * t.pairs else t.columns)
        of_spectrum = tiles[first * t.half : columns.stop * t.half] @ gradient[first * t.half : columns.stop * t.half]
        if first < 2 * t.pairs:
            torch.mm(rows_back, of_spectrum.view(4 * t.half, -1), out=by_columns[columns].view(2 * k, -1))
        else:
            _each(alone_back, of_spectrum.view(-1, 2 * t.half, inputs * outputs), by_columns[columns])
    taps = _matrix("kernel_columns_in", tiling, tiles).T @ by_columns.view(t.columns, -1)
    return taps.view(k, k, inputs, outputs).permute(3, 2, 1, 0)


def _answer(spectra: Tensor, tiling: Tiling, images: int) -> Tensor:
    """(frequencies, 2 P, out) → (N, out, h, w)."""
    t, outputs = tiling, spectra.shape[2]
    sums = _matrix("columns_out", tiling, spectra) @ spectra.view(t.columns, -1)
    tiles = _each(_matrix("rows_out", tiling, spectra), sums.view(t.column_step, 4 * t.half, -1))
    whole = tiles.view(t.column_step, t.row_step, t.across, t.down, images, outputs).permute(4, 3, 1, 2, 0, 5)
    maps = whole.reshape(images, t.down * t.row_step, t.across * t.column_step, outputs)
    return (
        maps[:, : t.height, : t.width].contiguous().permute(0, 3, 1, 2)
    )  # cut first: the cut's way back keeps channels last only then


def _taps_first(kernel: Tensor) -> Tensor:
    """The same (out, in, k, k) with taps outermost in memory, as its spectrum wants it: moving 29 MB forth and back
    took a quarter of the layer."""
    if kernel.device.type != "cpu":
        return kernel
    return kernel.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)


def _each(matrix: Tensor, batch: Tensor, out: Tensor | None = None) -> Tensor:
    """A constant matrix times each of a batch of matrices; a plain `@` would first transpose the batch."""
    return torch.bmm(matrix.expand(len(batch), -1, -1), batch, out=out)


def _matrix(name: str, tiling: Tiling, like: Tensor) -> Tensor:
    return _constant(name, tiling, like.dtype, like.device)


@lru_cache(maxsize=64)
def _constant(name: str, tiling: Tiling, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # it is kept, and may be needed for gradients later
        return torch.from_numpy(getattr(Transforms(tiling), name)).to(device, dtype)


@lru_cache(maxsize=64)
def _tiling(height: int, width: int, kernel: int, channels: tuple[int, int], images: int) -> Tiling:
    return choose_tiling(height, width, kernel, channels, images, learns=True)


@lru_cache(maxsize=1)
def _has_matrix_units() -> bool:
    """Whether this processor multiplies bf16 matrices in units of their own (Intel's AMX), eight times as fast as in
    vectors."""
    supported: Any = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return bool(supported())
