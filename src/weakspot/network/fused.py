"""Batch norm, pooling, ReLU and mirrored border as one step, for blocks that learn on a processor.

Layer by layer, the map between two convolutions is read or written ten times, forth and back; here five times. Two
things save the rest, neither of which changes a number:
- Pooling comes before ReLU. The largest of four values, cut at zero, is the largest of the four cut at zero, so ReLU
  may see a quarter of the map.
- ReLU writes into the middle of a larger map. The border is then mirrored in place, so that padding copies a few rows
  and columns and not everything.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NormReluMirror(torch.autograd.Function):
    """Batch norm on the batch's own statistics, pooling or none, ReLU, mirrored border."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor, pooled: bool, border: int
    ) -> Tensor:
        """y (N, C, h, w), from a convolution → (N, C, h' + 2 border, w' + 2 border), h' = ⌈h/2⌉ if pooled else h.

        Both channels last in memory. weight, bias: the norm's own, named so that they get gradients. The norm's running
        statistics move on.
        """
        z, mean, deviation = torch.native_batch_norm(
            y, weight, bias, norm.running_mean, norm.running_var, True, norm.momentum or 0.0, norm.eps
        )
        z, chosen = F.max_pool2d(z, 2, ceil_mode=True, return_indices=True) if pooled else (z, None)
        (images, channels, height, width), sides = z.shape, 2 * border
        padded = z.new_empty((images, height + sides, width + sides, channels)).permute(0, 3, 1, 2)
        torch.clamp_min(z, 0, out=_middle(padded, border))
        _mirror(padded, border)
        ctx.save_for_backward(y, weight, mean, deviation, padded, chosen)
        ctx.norm, ctx.border = norm, border
        return padded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient that comes in is changed in place: the next layer made it for this one alone."""
        y, weight, mean, deviation, padded, chosen = ctx.saved_tensors
        norm, border, (gradient,) = ctx.norm, ctx.border, gradients
        _fold(gradient, border)
        gradient = torch.ops.aten.threshold_backward(_middle(gradient, border), _middle(padded, border), 0)
        if chosen is not None:
            window = [2, 2], [2, 2], [0, 0], [1, 1], True  # size, step, border, spread, ceil
            gradient = torch.ops.aten.max_pool2d_with_indices_backward(gradient, y, *window, chosen)
        statistics = norm.running_mean, norm.running_var, mean, deviation, True, norm.eps
        of_y, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, y, weight, *statistics, [True, True, True]
        )
        return of_y, None, of_weight, of_bias, None, None


def _middle(padded: Tensor, border: int) -> Tensor:
    return padded[:, :, border : padded.shape[2] - border, border : padded.shape[3] - border]


def _mirror(padded: Tensor, border: int) -> None:
    """Fill the border, columns after rows, so that corners are mirrored twice."""
    for axis in (2, 3):
        for edge, inside in _edges(padded, axis, border):
            edge.copy_(inside.flip(axis))


def _fold(gradient: Tensor, border: int) -> None:
    """The way back of `_mirror`, in the opposite order: a cell gets what came to its images in the border."""
    for axis in (3, 2):
        for edge, inside in _edges(gradient, axis, border):
            inside.add_(edge.flip(axis))


def _edges(padded: Tensor, axis: int, border: int) -> list[tuple[Tensor, Tensor]]:
    """At either end of an axis the border and the cells inside that it mirrors, in the order in which they lie."""
    length = padded.shape[axis]
    starts = (0, border + 1), (length - border, length - 2 * border - 1)
    return [(padded.narrow(axis, edge, border), padded.narrow(axis, inside, border)) for edge, inside in starts]
