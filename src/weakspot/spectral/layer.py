"""The large layer in torch: plain or spectral, the same answer, chosen by shape and device.

Each step is a product with a constant matrix, whose way back autograd knows: so the gradients of map and kernel are
spectral too. Under autocast the products are bf16 with fp32 sums, like any other layer's. For the network alone.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn

from weakspot.spectral import transforms
from weakspot.spectral.tiles import Tiling, choose_tiling, gain

# The plain layer's way back takes three times its way forth, the spectral one's less than twice. Measured at 8 × 8 to
# 176 × 64 cells: where the count says 0.3, the layer still learns 1.6 times as fast in bf16 and no slower in fp32.
GAIN_TO_LEARN = 0.3
Matrix = Callable[[Tiling], Any]  # a function of `transforms`
SpectrumOf = Callable[[Tensor, Tiling], Tensor]


class LargeKernelConv(nn.Conv2d):
    """A convolution without bias over a map that has its border.

    (N, in, h + k - 1, w + k - 1) → (N, out, h, w). A graph that is being exported gets the plain layer: it is
    rewritten when it is opened (`graph`).
    """

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
        """The form that is the faster one for this shape, here."""
        if self.plain or torch.onnx.is_in_onnx_export() or not spectral_is_faster(padded, self.weight):
            return super().forward(padded)
        return spectral_conv(padded, self.weight, spectrum_of=self._kept_spectrum if self.frozen else None)

    def freeze(self, frozen: bool) -> None:
        """Whether its weights stay as they are, so that the spectrum is made once for maps of a shape and kept."""
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
    """Whether the spectral form is the faster one; the same answer on every call, so that a training repeats.

    Not on graphics cards, nor in bf16 on processors with matrix units: there the plain layer runs near their rate,
    which small products don't reach.
    """
    if padded.device.type != "cpu" or (product_dtype(padded) == torch.bfloat16 and _has_matrix_units()):
        return False
    times = gain(_tiling(padded, kernel), (kernel.shape[1], kernel.shape[0]), len(padded), learns=True)
    return times > (GAIN_TO_LEARN if torch.is_grad_enabled() and kernel.requires_grad else 1)


def spectral_conv(
    padded: Tensor, kernel: Tensor, tiling: Tiling | None = None, spectrum_of: SpectrumOf | None = None
) -> Tensor:
    """The valid correlation of maps (N, in, h + k - 1, w + k - 1) with a kernel (out, in, k, k) → (N, out, h, w).

    Channels last in memory. tiling: by default the one that costs least. spectrum_of: gives the spectrum of a kernel
    that does not learn; by default it is made anew.
    """
    tiling, dtype = tiling or _tiling(padded, kernel), product_dtype(padded)
    with torch.autocast(padded.device.type, enabled=False):
        tiles, taps = _tile_spectra(padded.to(dtype), tiling), kernel.to(dtype)
        spectra = tiles @ spectrum_of(taps, tiling) if spectrum_of else ProductWithKernel.apply(tiles, taps, tiling)  # type: ignore[no-untyped-call]
        return _answer(spectra, tiling, len(padded))


def product_dtype(x: Tensor) -> torch.dtype:
    """As autocast would choose for a convolution of x: its own precision where it is on, but never for fp64."""
    device = x.device.type
    autocast = torch.is_autocast_enabled(device) and x.dtype != torch.float64
    return torch.get_autocast_dtype(device) if autocast else x.dtype


class ProductWithKernel(torch.autograd.Function):
    """Spectra of tiles times the spectrum of a kernel, frequency by frequency.

    The spectrum's gradient, as large as the spectrum, never lies in memory whole: a pair of frequencies at a time is
    made and brought back to the kernel while it is in the processor's cache.
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
        (tiles, spectrum), (gradient,), (for_tiles, for_kernel, _) = ctx.saved_tensors, gradients, ctx.needs_input_grad
        of_tiles = gradient @ spectrum.transpose(1, 2) if for_tiles else None
        of_kernel = _kernel_gradient(tiles, gradient, ctx.kernel_shape, ctx.tiling) if for_kernel else None
        return of_tiles, of_kernel, None


def _tile_spectra(padded: Tensor, t: Tiling) -> Tensor:
    """Maps → (frequencies, 2 P, 2 · in), the real matrix form of P tiles' spectra (`transforms.columns_in`).

    The matrices cut tiles as they transform: the zeros in them cost less than gathering overlapping tiles, forth and
    back.
    """
    _, inputs, height, width = padded.shape
    cells = padded.permute(2, 3, 0, 1).reshape(height, -1)
    by_rows = (_matrix(transforms.tiled_rows_in, t, padded) @ cells).view(t.half, 2, t.down, width, -1)
    by_rows = by_rows.transpose(2, 3).reshape(t.half, 2 * width, -1)
    spectra = _each(_matrix(transforms.tiled_columns_in, t, padded), by_rows).view(t.half, t.columns, 2, 2, -1, inputs)
    return spectra.permute(1, 0, 2, 4, 3, 5).reshape(t.frequencies, -1, 2 * inputs)


def _kernel_spectrum(kernel: Tensor, t: Tiling) -> Tensor:
    """(out, in, k, k) → (frequencies, 2 · in, out), conjugate."""
    (outputs, inputs, k, _), paired = kernel.shape, 2 * t.pairs
    by_columns = _matrix(transforms.kernel_columns_in, t, kernel) @ kernel.permute(3, 2, 1, 0).reshape(k, -1)
    by_columns, spectrum = by_columns.view(t.columns, k, -1), kernel.new_empty(t.columns, 2 * t.half, inputs * outputs)
    pairs = by_columns[:paired].view(t.pairs, 2 * k, -1), spectrum[:paired].view(t.pairs, 4 * t.half, -1)
    _each(_matrix(transforms.kernel_rows_in, t, kernel), *pairs)
    _each(_matrix(transforms.kernel_rows_alone_in, t, kernel), by_columns[paired:], spectrum[paired:])
    return spectrum.view(t.frequencies, 2 * inputs, outputs)


def _kernel_gradient(tiles: Tensor, gradient: Tensor, shape: torch.Size, t: Tiling) -> Tensor:
    """tiles (frequencies, 2 P, 2 · in), gradient of the products (frequencies, 2 P, out) → (out, in, k, k)."""
    (outputs, inputs, k, _), paired = shape, 2 * t.pairs
    pair_back, alone_back = (
        _matrix(rows_in, t, tiles).T for rows_in in (transforms.kernel_rows_in, transforms.kernel_rows_alone_in)
    )
    by_columns = tiles.new_empty(t.columns, k, inputs * outputs)
    for first in range(0, t.columns, 2):
        columns = slice(first, first + 2 if first < paired else t.columns)
        frequencies = slice(first * t.half, columns.stop * t.half)
        of_spectrum = tiles[frequencies].transpose(1, 2) @ gradient[frequencies]
        if first < paired:
            torch.mm(pair_back, of_spectrum.view(4 * t.half, -1), out=by_columns[columns].view(2 * k, -1))
        else:
            _each(alone_back, of_spectrum.view(-1, 2 * t.half, inputs * outputs), by_columns[columns])
    taps = _matrix(transforms.kernel_columns_in, t, tiles).T @ by_columns.view(t.columns, -1)
    return taps.view(k, k, inputs, outputs).permute(3, 2, 1, 0)


def _answer(spectra: Tensor, t: Tiling, images: int) -> Tensor:
    """(frequencies, 2 P, out) → (N, out, h, w)."""
    sums = _matrix(transforms.columns_out, t, spectra) @ spectra.view(t.columns, -1)
    tiles = _each(_matrix(transforms.rows_out, t, spectra), sums.view(t.column_step, 4 * t.half, -1))
    parts = tiles.view(t.column_step, t.row_step, t.across, t.down, images, -1).permute(4, 3, 1, 2, 0, 5)
    maps = parts.reshape(images, t.down * t.row_step, t.across * t.column_step, -1)
    # Cut before the channels move: only so does the cut's way back keep them last.
    return maps[:, : t.height, : t.width].contiguous().permute(0, 3, 1, 2)


def _taps_first(kernel: Tensor) -> Tensor:
    """The same (out, in, k, k) with taps outermost in memory, as its spectrum wants it.

    Turning the printed kernel round at each step cost a tenth to a sixth of a step of `paper`.
    """
    if kernel.device.type != "cpu":
        return kernel
    return kernel.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)


def _each(matrix: Tensor, batch: Tensor, out: Tensor | None = None) -> Tensor:
    """A constant matrix times each of a batch of matrices; a plain `@` would first transpose the batch."""
    return torch.bmm(matrix.expand(len(batch), -1, -1), batch, out=out)


def _matrix(of: Matrix, tiling: Tiling, like: Tensor) -> Tensor:
    return _constant(of, tiling, like.dtype, like.device)


@lru_cache(maxsize=64)
def _constant(of: Matrix, tiling: Tiling, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # it is kept, and may be needed for gradients later
        return torch.from_numpy(of(tiling)).to(device, dtype)


def _tiling(padded: Tensor, kernel: Tensor) -> Tiling:
    (outputs, inputs, k, _), (images, _, height, width) = kernel.shape, padded.shape
    return _chosen_tiling(height - k + 1, width - k + 1, k, (inputs, outputs), images)


@lru_cache(maxsize=64)
def _chosen_tiling(height: int, width: int, kernel: int, channels: tuple[int, int], images: int) -> Tiling:
    return choose_tiling(height, width, kernel, channels, images, learns=True)


@lru_cache(maxsize=1)
def _has_matrix_units() -> bool:
    """Whether this processor multiplies bf16 matrices in units of their own (Intel's AMX)."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
