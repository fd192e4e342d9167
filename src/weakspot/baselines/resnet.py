"""ResNet-18 (He et al. 2016, table 1) as a classifier whose class activation map is the heat (Lin et al. 2018).

As published: the network, and a map of the last layer's features weighed by the classifier. Not as published: one
logit instead of two classes, and random weights where no file gives others. Names are those of torchvision's files.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from weakspot.errors import SettingsError, shown
from weakspot.network.detector import Parts
from weakspot.settings import CELL, NetworkSettings

WIDTHS = (64, 128, 256, 512)  # of the four layers, each of two blocks
CLASSIFIER = ("fc.weight", "fc.bias")  # of a file: it knows other classes
COUNTS = "num_batches_tracked"


class Block(nn.Module):
    """Two 3 × 3 layers beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(*shortcut) if stride > 1 else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu()))
        return (inner + self.downsample(maps)).relu()  # type: ignore[no-any-return]


class ResNet18(nn.Module):
    """Pictures (B, C, H, W) → features (B, 512, ⌈H/8⌉, ⌈W/8⌉), enlarged from a quarter of that.

    Enlarging the features or the map that a 1 × 1 layer makes of them is the same, and keeps its mean where sides are
    multiples of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        for number, (inputs, outputs) in enumerate(zip((64, *WIDTHS), WIDTHS, strict=False), start=1):
            blocks = Block(inputs, outputs, 1 if number == 1 else 2), Block(outputs, outputs, 1)
            self.add_module(f"layer{number}", nn.Sequential(*blocks))

    def forward(self, images: Tensor) -> Tensor:
        maps = F.max_pool2d(self.bn1(self.conv1(images)).relu(), 3, 2, 1)
        for number in range(1, len(WIDTHS) + 1):
            maps = getattr(self, f"layer{number}")(maps)
        height, width = images.shape[-2:]
        cells = (height + CELL - 1) // CELL, (width + CELL - 1) // CELL
        return F.interpolate(maps, cells, mode="bilinear", align_corners=False)


def resnet18_cam(settings: NetworkSettings) -> Parts:
    """ResNet-18, the classifier at each place, and no decision network: the mean of the map is the raw score."""
    trunk = ResNet18(settings.channels)
    if settings.weights_from is not None:
        load_weights(trunk, Path(settings.weights_from))
    return trunk, nn.Sequential(nn.Conv2d(WIDTHS[-1], 1, 1)), nn.Identity()


def load_weights(trunk: ResNet18, path: Path) -> None:
    """Weights of a safetensors file with torchvision's names; for grey pictures the first layer's colours add up.

    Batch norm's counts of batches, which older files lack, decide nothing. Raises SettingsError for a file that cannot
    be read or is of another network.
    """
    try:
        given = {name: value for name, value in load_file(path).items() if name not in CLASSIFIER}
    except (OSError, SafetensorError) as error:
        raise SettingsError(f"weights_from {shown(path)}: cannot be read ({error}); give a safetensors file") from None
    own = trunk.state_dict()
    given = {name: value for name, value in own.items() if name.endswith(COUNTS)} | given
    if own["conv1.weight"].shape[1] == 1 and _shape(given, "conv1.weight") == (64, 3, 7, 7):
        given["conv1.weight"] = given["conv1.weight"].sum(1, keepdim=True)
    different = [name for name in sorted({*own, *given}) if _shape(own, name) != _shape(given, name)]
    if different:
        what = f"{len(different)} tensors are not those of ResNet-18, such as {shown(different[0])}"
        raise SettingsError(
            f"weights_from {shown(path)}: {what}; give a file with torchvision's names, or leave it out"
        )
    trunk.load_state_dict(given)


def _shape(tensors: dict[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None
