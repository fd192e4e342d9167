"""The training pictures in memory, at the detector's size, as raw pixel values. Holds no file names and no masks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from weakspot.training.pairs import Pair, View, mirrored


@dataclass(frozen=True)
class TrainingImages:
    """Pictures and their labels, kept decoded since a training looks at each many times."""

    pixels: np.ndarray  # (n, C, H, W), uint8 or uint16
    labels: np.ndarray  # (n,), 1 bad, 0 good
    _kept: dict[torch.device, Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # the pixels where they were asked for

    def __post_init__(self) -> None:
        assert self.pixels.ndim == 4 and len(self.pixels) == len(self.labels), (self.pixels.shape, self.labels.shape)

    @cached_property
    def mean(self) -> float:
        """Mean of all pixels, in raw units."""
        return float(np.mean([image.mean(dtype=np.float64) for image in self.pixels]))

    @cached_property
    def std(self) -> float:
        """Deviation of all pixels, in raw units; at least one, so that a blank set stays finite."""
        squares = np.mean([np.square(image, dtype=np.float64).mean() for image in self.pixels])
        return max(1.0, float(np.sqrt(max(0.0, squares - self.mean**2))))

    @cached_property
    def light_share(self) -> float:
        """Share of the pixels' variance that lies between the pictures' means, 0 to 1: how far light differs from
        picture to picture."""
        means = np.array([image.mean(dtype=np.float64) for image in self.pixels])
        return float(means.var()) / self.std**2

    def batch(self, views: Sequence[View], device: str | torch.device = "cpu") -> Tensor:
        """Views of pictures → (B, C, H, W) float32, channels last, on the device, where the pictures stay once they are
        asked for there."""
        pixels = self._on(torch.device(device))
        chosen = torch.stack([_seen(pixels[view.index], view, self.mean, self.std) for view in views])
        return chosen.contiguous(memory_format=torch.channels_last)

    def _on(self, device: torch.device) -> Tensor:
        if device not in self._kept:
            self._kept[device] = torch.from_numpy(self.pixels).to(device)
        return self._kept[device]

    def part(self, chosen: np.ndarray) -> "TrainingImages":
        """Only the chosen pictures, in that order."""
        return TrainingImages(self.pixels[chosen], self.labels[chosen])


def views(pairs: Sequence[Pair]) -> tuple[View, ...]:
    """Every view of the pairs, each pair's bad one first."""
    return tuple(view for pair in pairs for view in pair)


def _seen(image: Tensor, view: View, mean: float, std: float) -> Tensor:
    seen = mirrored(image.float(), view.mirror)
    if view.contrast == 1 and view.brightness == 0:
        return seen
    return (seen - mean) * view.contrast + (mean + view.brightness * std)
