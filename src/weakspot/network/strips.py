"""A convolution whose kernel learns from strips of the map, each small enough to stay in the processor's cache.

The kernel's gradient goes over map and gradient many times. Where one image's map is larger than a core's cache, each
time comes from memory: a quarter of that gradient at 704 × 256 and 32 channels. A strip's rows overlap the next one's
by the kernel's border, so the sum is the same.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from weakspot.spectral.layer import product_dtype

WHOLE = 2**20  # bytes of one image's map up to which it is not cut
STRIP = 2**18  # bytes of a strip's map that are aimed at; anything from a half to twice that took the same time


def convolve(padded: Tensor, kernel: Tensor) -> Tensor:
    """The valid correlation of maps (N, in, h + k - 1, w + k - 1) with a kernel (out, in, k, k) → (N, out, h, w).

    In autocast's precision, as the plain layer's.
    """
    dtype = product_dtype(padded)
    with torch.autocast(padded.device.type, enabled=False):
        return ConvolveInStrips.apply(padded.to(dtype), kernel.to(dtype))  # type: ignore[no-any-return, no-untyped-call]


class ConvolveInStrips(torch.autograd.Function):
    """The plain convolution, with the kernel's gradient from strips where that is faster."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, kernel: Tensor) -> Tensor:
        """padded (N, in, h + k - 1, w + k - 1), kernel (out, in, k, k) → (N, out, h, w)."""
        ctx.save_for_backward(padded, kernel)
        return F.conv2d(padded, kernel)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of map and kernel."""
        (padded, kernel), (gradient,), (of_map, of_kernel) = ctx.saved_tensors, gradients, ctx.needs_input_grad
        rows = strip_rows(gradient.shape[2], padded[0, :, 0].nbytes)
        if rows is None or not of_kernel:
            return _backward(gradient, padded, kernel, of_map, of_kernel)
        from_map = _backward(gradient, padded, kernel, True, False)[0] if of_map else None
        return from_map, kernel_gradient(gradient, padded, kernel, rows)


def kernel_gradient(gradient: Tensor, padded: Tensor, kernel: Tensor, rows: int) -> Tensor | None:
    """The kernel's gradient (out, in, k, k), from strips of so many rows of the gradient (N, out, h, w).

    rows: a divisor of h.
    """
    images, outputs, height, width = gradient.shape
    strips = gradient.permute(0, 2, 3, 1).reshape(images * height // rows, rows, width, outputs)
    # Copied, with the rows of the border twice; the gradient is not, where its channels are last in memory.
    seen = padded.permute(0, 2, 3, 1).unfold(1, rows + kernel.shape[2] - 1, rows).permute(0, 1, 4, 2, 3).flatten(0, 1)
    return _backward(strips.permute(0, 3, 1, 2), seen.permute(0, 3, 1, 2), kernel, False, True)[1]


@lru_cache(maxsize=64)
def strip_rows(height: int, row_bytes: int) -> int | None:
    """Rows of a strip: the divisor of the height that comes nearest to what is aimed at.

    None where strips gain nothing or no divisor is near. row_bytes: of one row of one image's map.
    """
    if height * row_bytes <= WHOLE:
        return None
    near = [rows for rows in range(1, height) if height % rows == 0 and STRIP / 2 <= rows * row_bytes <= 3 * STRIP]
    return min(near, key=lambda rows: abs(rows * row_bytes - STRIP), default=None)


def _backward(
    gradient: Tensor, padded: Tensor, kernel: Tensor, of_map: bool, of_kernel: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Both gradients, each where it is asked for."""
    where = [0], [1, 1], [0, 0], [1, 1], False, [0, 0], 1  # bias, step, border, spread, transposed, …, groups
    found = torch.ops.aten.convolution_backward(gradient, padded, kernel, *where, [of_map, of_kernel, False])
    return found[0], found[1]
