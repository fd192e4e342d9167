"""The segmentation-decision network (Tabernik et al. 2019, table 1), and its decision network for other segmentations.

As published: layers, kernels, channels, pooling, and what the decision sees. Not as published: mirrored borders instead
of zeros, batch norm over a pair instead of a norm over each picture by itself, and no picture of a fixed size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weakspot.network.blocks import Chain, ConvBlock
from weakspot.network.detector import DecisionNetwork, Parts
from weakspot.settings import NetworkSettings

FEATURES = 1024  # channels that the 15 × 15 layer gives


class SegDecDecision(DecisionNetwork):
    """Features and heat, pooled and convolved, then the largest and the mean of all of it → one logit.

    No gradient flows back into features or heat (Božič et al. 2021, section III-B): in two stages they are frozen
    anyway. inputs: channels of the features; cell: pixels of the feature map along a cell's side.
    """

    def __init__(self, inputs: int, cell: int = 1) -> None:
        super().__init__()
        self.cell = cell
        pool = nn.MaxPool2d(2, ceil_mode=True)
        blocks = ConvBlock(inputs + 1, 8, 5), pool, ConvBlock(8, 16, 5), pool, ConvBlock(16, 32, 5)
        self.layers = Chain(pool, *blocks)
        self.dense = nn.Linear(66, 1)

    def attended(self, features: Tensor, heat: Tensor) -> Tensor:
        """Features (B, inputs, cell · h, cell · w), at most, beside the heat logits (B, 1, h, w) → (B, inputs + 1, …).

        The largest of a cell's features stands for it.
        """
        cells = F.max_pool2d(features, self.cell, ceil_mode=True) if self.cell > 1 else features
        return torch.cat([cells.detach(), heat.detach().to(cells.dtype)], dim=1)

    def decide(self, attended: Tensor, heat: Tensor) -> Tensor:
        """attended (B, inputs + 1, h, w), heat logits (B, 1, h, w) → logits (B,)."""
        maps = self.layers(attended).float(), heat.detach()
        pooled = [values for each in maps for values in (each.amax((2, 3)), each.mean((2, 3)))]
        return self.dense(torch.cat(pooled, dim=1)).float().squeeze(1)  # type: ignore[no-any-return]


def segdec(settings: NetworkSettings) -> Parts:
    """Shared layers up to the 15 × 15 one, the 1 × 1 layer of the segmentation, and the decision network."""
    pool = nn.MaxPool2d(2, ceil_mode=True)
    shared = Chain(
        ConvBlock(settings.channels, 32, 5), ConvBlock(32, 32, 5), pool,
        ConvBlock(32, 64, 5), *(ConvBlock(64, 64, 5) for _ in range(2)), pool,
        *(ConvBlock(64, 64, 5) for _ in range(4)), pool,
        ConvBlock(64, FEATURES, 15),
    )  # fmt: skip
    return shared, segmentation(FEATURES), SegDecDecision(FEATURES)


def segmentation(inputs: int, cell: int = 1) -> nn.Sequential:
    """From features to heat: a logit a place, of which the largest stands for its cell of `cell` × `cell` places."""
    layers = nn.Conv2d(inputs, 1, 1), nn.BatchNorm2d(1)
    return nn.Sequential(*layers, nn.MaxPool2d(cell, ceil_mode=True)) if cell > 1 else nn.Sequential(*layers)
