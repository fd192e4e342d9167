"""U-Net (Ronneberger et al. 2015, figure 1) with the decision network of Tabernik et al. 2019 on top.

As published: four poolings, 64 to 1024 channels, two 3 × 3 layers each, 2 × 2 up-convolutions, joined by copies. Not
as published: batch norm, mirrored borders at each layer instead of maps that shrink, and one logit that the largest of
8 × 8 pixels gives to their cell.
"""

import torch
from torch import Tensor, nn

from weakspot.baselines.segdec import SegDecDecision, segmentation
from weakspot.network.blocks import Chain, ConvBlock
from weakspot.network.detector import Parts
from weakspot.settings import CELL, NetworkSettings

CHANNELS = (64, 128, 256, 512, 1024)


class UNet(nn.Module):
    """Pictures (B, C, H, W) → features (B, 64, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inputs = (channels, *CHANNELS)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.down = nn.ModuleList(_two_layers(given, made) for given, made in zip(inputs, CHANNELS, strict=False))
        rising = list(zip(CHANNELS[:0:-1], CHANNELS[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(given, made, 2, stride=2) for given, made in rising)
        self.up = nn.ModuleList(_two_layers(given, made) for given, made in rising)

    def forward(self, maps: Tensor) -> Tensor:
        copies: list[Tensor] = []
        for layers in self.down:
            maps = layers(self.pool(maps) if copies else maps)
            copies.append(maps)
        for enlarge, layers, copy in zip(self.enlarge, self.up, copies[-2::-1], strict=True):
            height, width = copy.shape[-2:]
            maps = layers(torch.cat([copy, enlarge(maps)[..., :height, :width]], dim=1))
        return maps


def unet(settings: NetworkSettings) -> Parts:
    """U-Net as shared layers, a logit a cell, and the decision network."""
    width = CHANNELS[0]
    return UNet(settings.channels), segmentation(width, CELL), SegDecDecision(width, CELL)


def _two_layers(inputs: int, outputs: int) -> Chain:
    return Chain(ConvBlock(inputs, outputs, 3), ConvBlock(outputs, outputs, 3))
