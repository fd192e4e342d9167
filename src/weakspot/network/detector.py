"""The detector: shared layers, localization and decision (Xu et al. 2020, tables 1 to 3), with normalization inside.

No loss, no training.

Shapes, for a batch of B images of H × W pixels, C channels, h = ⌈H/8⌉ and w = ⌈W/8⌉ cells:
    images (B, C, H, W) → features (B, 128, h, w) → heat (B, 1, h, w), logits → decision (B,), logits.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weakspot.network.blocks import Chain, ConvBlock
from weakspot.settings import CELL, NetworkSettings

IGNORED = -1000.0  # logit of an ignored cell: its heat is 0
PARTS = ("shared", "localization", "decision")
Parts = tuple[nn.Module, nn.Module, nn.Module]  # in that order
PartsOf = Callable[[NetworkSettings], Parts]


class Logits(NamedTuple):
    """What the network says of a batch: raw score (B,), the heat's own score (B,), heat map (B, 1, h, w)."""

    raw_score: Tensor
    heat_score: Tensor
    heat: Tensor


def top_means(heat: Tensor, fractions: tuple[float, ...], ignored: Tensor | None = None) -> Tensor:
    """For each of the fractions, the mean of the largest ⌈fraction × cells⌉ values of each map.

    (B, 1, h, w) → (B, fractions). ignored: bool (h, w) or (B, 1, h, w), cells that are none of them. Sorted and
    weighted rather than cut: so an exported graph takes maps of any size.
    """
    kept = heat if ignored is None else heat.masked_fill(ignored, IGNORED)
    ordered = kept.flatten(1).float().sort(dim=1, descending=True).values
    places = torch.arange(ordered.shape[1], device=heat.device)
    cells: int | Tensor = ordered.shape[1]
    if ignored is not None:
        cells = (1 - ignored.float()).expand_as(heat).flatten(1).sum(dim=1, keepdim=True).clamp(min=1)
    chosen = [(places < fraction * cells).float() for fraction in fractions]
    return torch.stack([(ordered * share).sum(dim=1) / share.sum(dim=-1) for share in chosen], dim=1)


def heat_score(heat: Tensor, fractions: tuple[float, ...], ignored: Tensor | None = None) -> Tensor:
    """The heat's own score, a logit: its top means, averaged over the fractions. (B, 1, h, w) → (B,)."""
    return top_means(heat, fractions, ignored).mean(1)


class DecisionNetwork(nn.Module):
    """From features and heat to one logit per image, in two steps, the first of which has no weights."""

    def forward(self, features: Tensor, heat: Tensor) -> Tensor:
        """features (B, F, …), heat logits (B, 1, h, w) → logits (B,)."""
        return self.decide(self.attended(features, heat), heat)

    def attended(self, features: Tensor, heat: Tensor) -> Tensor:
        """What of the features is looked at. Nothing here learns: frozen parts' can be kept."""
        raise NotImplementedError

    def decide(self, attended: Tensor, heat: Tensor) -> Tensor:
        """What `attended` gave, and heat logits (B, 1, h, w) → logits (B,)."""
        raise NotImplementedError


class Decision(DecisionNetwork):
    """The decision network as printed (Xu et al. 2020, table 3)."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        pool = nn.MaxPool2d(2, ceil_mode=True)
        self.layers = Chain(
            ConvBlock(128, 64, 3),
            ConvBlock(64, 64, 3),
            pool,
            ConvBlock(64, 64, 3),
            pool,
            ConvBlock(64, 128, 3),
            pool,
            ConvBlock(128, 256, 3),
        )
        self.dense = nn.Sequential(nn.Linear(257, 266), nn.ReLU(), nn.Linear(266, 1))

    def attended(self, features: Tensor, heat: Tensor) -> Tensor:
        """The features (B, 128, h, w) as the heat weighs them."""
        mask = heat.sigmoid()
        weighed = features * mask if self.settings.attention == "mask_only" else features * mask + features
        return weighed.to(features.dtype)

    def decide(self, attended: Tensor, heat: Tensor) -> Tensor:
        """Attended features (B, 128, h, w), heat logits (B, 1, h, w) → logits (B,)."""
        maps = self.layers(attended).float()
        pooled = maps.mean((2, 3)) if self.settings.decision_pooling == "mean" else _log_mean_exp(maps)
        values = torch.cat([pooled, heat.sigmoid().mean((2, 3))], dim=1)
        return self.dense(values).float().squeeze(1)  # type: ignore[no-any-return]


def own_parts(settings: NetworkSettings) -> Parts:
    """The parts of `sharp` and `paper`."""
    shared, localization = (narrow if settings.body == "narrow" else _printed)(settings)
    return shared, localization, nn.Identity() if settings.decision == "heat" else Decision(settings)


def _printed(settings: NetworkSettings) -> tuple[Chain, Chain]:
    """Shared layers and localization (Xu et al. 2020, tables 1 and 2)."""
    pool = nn.MaxPool2d(2, ceil_mode=True)  # ceil: the last row and column of an odd size are seen too
    shared = Chain(
        ConvBlock(settings.channels, 32, 3), ConvBlock(32, 32, 3), pool,
        ConvBlock(32, 64, 3), ConvBlock(64, 64, 3), pool,
        ConvBlock(64, 128, 3), ConvBlock(128, 128, 3), pool,
        ConvBlock(128, 128, 3),
    )  # fmt: skip
    blocks = ConvBlock(128, 64, 5), ConvBlock(64, 64, 5), ConvBlock(64, 512, settings.third_kernel)
    return shared, Chain(*blocks, nn.Conv2d(512, 1, 1), nn.BatchNorm2d(1))


def narrow(settings: NetworkSettings) -> tuple[Chain, Chain]:
    """Ours (LOG.md): a cell sees so little around it that the heat lies on the defect by itself."""
    pool = nn.MaxPool2d(2, ceil_mode=True)
    shared = Chain(
        ConvBlock(4 * settings.channels, 32, 3), ConvBlock(32, 32, 3), pool,
        ConvBlock(32, 64, 3), ConvBlock(64, 64, 3), pool,
        ConvBlock(64, 128, 3), ConvBlock(128, 128, 3),
    )  # fmt: skip
    blocks = ConvBlock(128, 128, 1), ConvBlock(128, 256, 1)
    return shared, Chain(*blocks, nn.Conv2d(256, 1, 1), nn.BatchNorm2d(1))


class Detector(nn.Module):
    """The whole network. Takes raw pixel values of any integer or float type and normalizes them itself."""

    # added to a picture's own deviation, in training deviations, so that a blank picture's noise is not blown up
    LEAST_CONTRAST = 0.1

    mean: Tensor
    std: Tensor
    ignored: Tensor | None  # (h, w), 1 where a cell of a picture at the detector's size is ignored, else 0

    def __init__(
        self,
        settings: NetworkSettings,
        mean: float = 0.0,
        std: float = 1.0,
        parts_of: PartsOf = own_parts,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("mean", torch.tensor(float(mean)))  # raw pixel units
        self.register_buffer("std", torch.tensor(float(std)))
        self.register_buffer("ignored", None)
        self.shared, self.localization, self.decision = parts_of(settings)

    def features(self, images: Tensor) -> Tensor:
        """images (B, C, H, W), raw pixels → features (B, 128, ⌈H/8⌉, ⌈W/8⌉)."""
        assert images.shape[1] == self.settings.channels, images.shape
        return self.shared(self.normalized(images))  # type: ignore[no-any-return]

    def normalized(self, images: Tensor) -> Tensor:
        """What the shared layers see of images (B, C, H, W), raw pixels.

        (B, C, H, W), or for the narrow body (B, 4 C, ⌈H/2⌉, ⌈W/2⌉).
        """
        mean, deviation = self._statistics(images.float())
        maps = (images.float() - mean) / deviation
        return _halved(maps) if self.settings.body == "narrow" else maps

    def heat(self, features: Tensor) -> Tensor:
        """features (B, 128, h, w) → heat logits (B, 1, h, w), fp32: a sigmoid in bf16 has too few steps to rank by."""
        return self.localization(features).float()  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Logits:
        """images (B, C, H, W), raw pixels → Logits."""
        if self.ignored is not None:
            return self._forward_without(images.float(), self.ignored)
        features = self.features(images)
        heat = self.heat(features)
        score = heat_score(heat, self.settings.top_fractions)
        return Logits(score if self.settings.decision == "heat" else self.decision(features, heat), score, heat)

    def _forward_without(self, images: Tensor, ignored: Tensor) -> Logits:
        """The same where some cells are ignored: their pixels get the mean of the others, and their heat is 0."""
        assert self.settings.decision == "heat", "a decision network looks at all cells"
        height, width = ignored.shape
        pixels = ignored[:, None, :, None].expand(height, CELL, width, CELL).reshape(height * CELL, width * CELL)
        pixels = pixels[: images.shape[-2], : images.shape[-1]]
        mean = _mean(images * (1 - pixels)) / _mean((1 - pixels)[None, None])
        heat = self.heat(self.features(torch.where(pixels > 0, mean, images)))
        cells = ignored[: heat.shape[-2], : heat.shape[-1]] > 0
        score = heat_score(heat, self.settings.top_fractions, cells)
        return Logits(score, score, heat.masked_fill(cells, IGNORED))

    def _statistics(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation that normalize images (B, C, H, W), raw units.

        Of all training pictures, or of each picture itself, (B, 1, 1, 1).
        """
        if self.settings.normalization == "training":
            return self.mean, self.std
        mean = _mean(images)
        return mean, _mean((images - mean).square()).sqrt() + self.LEAST_CONTRAST * self.std


def _mean(images: Tensor) -> Tensor:
    """Of each image by itself, (B, C, H, W) → (B, 1, 1, 1).

    In an exported graph axis by axis: ONNX Runtime adds up three axes at once so that millions of values are off by
    more than the parity allows.
    """
    if torch.onnx.is_in_onnx_export():
        return images.mean(3, keepdim=True).mean(2, keepdim=True).mean(1, keepdim=True)
    return images.mean((1, 2, 3), keepdim=True)


def _halved(maps: Tensor) -> Tensor:
    """Each 2 × 2 pixels as one of four times the channels; an odd size is extended by its edge first.

    (B, C, H, W) → (B, 4 C, ⌈H/2⌉, ⌈W/2⌉). Extended always and cut, so that an exported graph takes maps of any size.
    """
    height, width = ((side + 1) // 2 * 2 for side in maps.shape[-2:])
    even = F.pad(maps, (0, 1, 0, 1), mode="replicate")[..., :height, :width]
    return F.pixel_unshuffle(even, 2).contiguous(memory_format=torch.channels_last)


def _log_mean_exp(maps: Tensor) -> Tensor:
    """By way of the mean, since a count of cells would be baked into an exported graph."""
    flat = maps.flatten(2)
    largest = flat.amax(2, keepdim=True)
    return (flat - largest).exp().mean(2).log() + largest.squeeze(2)
