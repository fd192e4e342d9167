"""Batch norm, pooling, ReLU and mirrored border with less memory traffic, for blocks that learn on a processor.

Between two convolutions a map is gone through five times forth and five times back when each layer does its own work;
here it is three and two. Pooling comes before ReLU, with which it commutes, so that ReLU sees a quarter of the map; and
ReLU writes into the middle of a map with room for the mirrored border, so that padding copies a few rows and columns
and not everything.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NormReluMirror(torch.autograd.Function):
    """Batch norm on the batch's own statistics, pooling or none, ReLU, mirrored border, in one step of the graph."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor, pooled: bool, border: int
    ) -> Tensor:
        """y (N, C, h, w), channels last, what a convolution gave → (N, C, h' + 2 border, w' + 2 border), h' = ⌈h/2⌉ if
        pooled else h.

        weight, bias: the norm's own, named so that they get gradients. Its running statistics move on.
        """
        z, mean, deviation = torch.native_batch_norm(
            y, weight, bias, norm.running_mean, norm.running_var, True, norm.momentum or 0.0, norm.eps
        )
        z, chosen = F.max_pool2d(z, 2, ceil_mode=True, return_indices=True) if pooled else (z, None)
        padded = _room_for(z, border)
        torch.clamp_min(z, 0, out=_middle(padded, border))
        _mirror(padded, border)
        ctx.save_for_backward(y, weight, mean, deviation, padded, chosen)
        ctx.norm, ctx.border = norm, border
        return padded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient that comes in is changed in place: it was made for this layer alone."""
        y, weight, mean, deviation, padded, chosen = ctx.saved_tensors
        (gradient,) = gradients
        _fold(gradient, ctx.border)
        gradient = torch.ops.aten.threshold_backward(_middle(gradient, ctx.border), _middle(padded, ctx.border), 0)
        if chosen is not None:
            gradient = torch.ops.aten.max_pool2d_with_indices_backward(
                gradient, y, [2, 2], [2, 2], [0, 0], [1, 1], True, chosen
            )
        norm: nn.BatchNorm2d = ctx.norm
        statistics = (norm.running_mean, norm.running_var, mean, deviation, True, norm.eps, [True, True, True])
        of_y, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(gradient, y, weight, *statistics)
        return of_y, None, of_weight, of_bias, None, None


def _room_for(z: Tensor, border: int) -> Tensor:
    images, channels, height, width = z.shape
    shape = images, channels, height + 2 * border, width + 2 * border
    return torch.empty(shape, dtype=z.dtype, device=z.device, memory_format=torch.channels_last)


def _middle(padded: Tensor, border: int) -> Tensor:
    return padded[:, :, border : padded.shape[2] - border, border : padded.shape[3] - border]


def _mirror(padded: Tensor, border: int) -> None:
    """Fill the border, columns after rows, so that corners are mirrored twice."""
    for axis in (2, 3):
        for edge, inside in _edges(padded, axis, border):
            edge.copy_(_turned(inside, axis))


def _fold(gradient: Tensor, border: int) -> None:
    """The way back of `_mirror`, in the opposite order: add what came to the border to the cells that it mirrors."""
    for axis in (3, 2):
        for edge, inside in _edges(gradient, axis, border):
            inside.add_(_turned(edge, axis))


def _edges(padded: Tensor, axis: int, border: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """At either end of an axis the border and the cells inside that it mirrors, in the order in which they lie."""
    length = padded.shape[axis]
    starts = (0, border + 1), (length - border, length - 2 * border - 1)
    first, last = ((padded.narrow(axis, edge, border), padded.narrow(axis, inside, border)) for edge, inside in starts)
    return first, last


def _turned(cells: Tensor, axis: int) -> Tensor:
    return cells.flip(axis) if cells.shape[axis] > 1 else cells
