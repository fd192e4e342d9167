"""DeepLab v3+ (Chen et al. 2018, figures 2 and 4) with the decision network of Tabernik et al. 2019 on top.

As published: Xception-65 with separable layers throughout, output stride 16, pyramid rates 6, 12 and 18, decoder at
stride 4. Not as published: no batch norm in the branch of the whole picture's mean, which is a single cell, and one
logit that the largest of 2 × 2 places gives to their cell.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weakspot.baselines.segdec import SegDecDecision, segmentation
from weakspot.network.detector import Parts
from weakspot.settings import CELL, NetworkSettings

RATES = (6, 12, 18)  # of the pyramid, at output stride 16
WIDTH = 256  # channels of pyramid and decoder
LOW = 48  # channels of the early features in the decoder
MIDDLE = 16  # blocks of the middle flow
DECODED = 4  # pixels along a side of what the decoder gives


class Separable(nn.Sequential):
    """A 3 × 3 layer of each channel by itself, then a 1 × 1 layer, each with batch norm; ReLU before, or after both."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, rate: int = 1, relu_first: bool = True) -> None:
        alone = nn.Conv2d(inputs, inputs, 3, stride, rate, rate, groups=inputs, bias=False), nn.BatchNorm2d(inputs)
        across = nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        super().__init__(*((nn.ReLU(), *alone, *across) if relu_first else (*alone, nn.ReLU(), *across, nn.ReLU())))


class Block(nn.Module):
    """Three separable layers beside a shortcut; the last has the stride."""

    def __init__(self, inputs: int, outputs: tuple[int, int, int], stride: int = 1) -> None:
        super().__init__()
        first, second, third = outputs
        self.start = nn.Sequential(Separable(inputs, first), Separable(first, second))
        self.end = Separable(second, third, stride)
        shortcut = nn.Conv2d(inputs, third, 1, stride, bias=False), nn.BatchNorm2d(third)
        self.shortcut = nn.Identity() if inputs == third and stride == 1 else nn.Sequential(*shortcut)

    def forward(self, maps: Tensor) -> Tensor:
        return self.end(self.start(maps)) + self.shortcut(maps)  # type: ignore[no-any-return]


class Xception65(nn.Module):
    """Pictures (B, C, H, W) → features (B, 2048, ⌈H/16⌉, ⌈W/16⌉) and early ones (B, 256, ⌈H/4⌉, ⌈W/4⌉)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_layer(channels, 32, 3, stride=2), *_layer(32, 64, 3))
        self.first, self.second, self.third = (
            Block(inputs, (outputs,) * 3, 2) for inputs, outputs in ((64, 128), (128, 256), (256, 728))
        )
        self.middle = nn.Sequential(*(Block(728, (728,) * 3) for _ in range(MIDDLE)), Block(728, (728, 1024, 1024)))
        pairs = pairwise((1024, 1536, 1536, 2048))
        self.exit = nn.Sequential(*(Separable(*pair, rate=2, relu_first=False) for pair in pairs))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        quarter = self.first(self.stem(images))
        early = self.second.start(quarter)
        eighth = self.second.end(early) + self.second.shortcut(quarter)
        return self.exit(self.middle(self.third(eighth))), early


class DeepLab(nn.Module):
    """Pictures (B, C, H, W) → features (B, 256, ⌈H/4⌉, ⌈W/4⌉)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.backbone = Xception65(channels)
        atrous = (Separable(2048, WIDTH, rate=rate, relu_first=False) for rate in RATES)
        self.pyramid = nn.ModuleList([nn.Sequential(*_layer(2048, WIDTH, 1)), *atrous])
        self.whole = nn.Sequential(nn.Conv2d(2048, WIDTH, 1), nn.ReLU())
        self.joined = nn.Sequential(*_layer(WIDTH * (len(RATES) + 2), WIDTH, 1))
        self.early = nn.Sequential(*_layer(256, LOW, 1))
        self.decoder = nn.Sequential(
            Separable(WIDTH + LOW, WIDTH, relu_first=False), Separable(WIDTH, WIDTH, relu_first=False)
        )

    def forward(self, images: Tensor) -> Tensor:
        maps, early = self.backbone(images)
        branches = [branch(maps) for branch in self.pyramid]
        whole = self.whole(maps.mean((2, 3), keepdim=True)).expand_as(branches[0])
        joined = self.joined(torch.cat([*branches, whole], dim=1))
        enlarged = F.interpolate(joined, early.shape[-2:], mode="bilinear", align_corners=False)
        return self.decoder(torch.cat([enlarged, self.early(early)], dim=1))  # type: ignore[no-any-return]


def deeplab(settings: NetworkSettings) -> Parts:
    """DeepLab v3+ as shared layers, a logit a cell, and the decision network."""
    cell = CELL // DECODED
    return DeepLab(settings.channels), segmentation(WIDTH, cell), SegDecDecision(WIDTH, cell)


def _layer(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()
