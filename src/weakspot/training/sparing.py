"""The detector as it learns where memory is scarce: less is kept for the way back, and computed again there."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from weakspot.network.blocks import Chain
from weakspot.network.detector import Detector, PartsOf, own_parts
from weakspot.settings import NetworkSettings
from weakspot.spectral.layer import large_layers


class SparingDetector(Detector):
    """A detector whose shared layers, where they are a chain and learn, keep only what lies between poolings.

    Its large layer is plain: the kernel's spectrum is several times as large as the kernel.
    """

    def __init__(
        self, settings: NetworkSettings, mean: float = 0.0, std: float = 1.0, parts_of: PartsOf = own_parts
    ) -> None:
        super().__init__(settings, mean, std, parts_of)
        for layer in large_layers(self):
            layer.plain = True

    def features(self, images: Tensor) -> Tensor:
        """images (B, C, H, W), raw pixels → features (B, 128, ⌈H/8⌉, ⌈W/8⌉)."""
        if not (isinstance(self.shared, Chain) and self.shared.training and torch.is_grad_enabled()):
            return super().features(images)
        maps = self.normalized(images)
        for part in _up_to_each_pooling(self.shared):
            maps = checkpoint(
                part, maps, use_reentrant=False, preserve_rng_state=False, context_fn=partial(_contexts, part)
            )
        return maps


def _contexts(part: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds a part's way forth, and its repetition: there the batch norms have had their batch."""
    return nullcontext(), _statistics_held(part)


@contextmanager
def _statistics_held(part: nn.Module) -> Iterator[None]:
    before = [buffer.clone() for buffer in part.buffers()]
    try:
        yield
    finally:
        for buffer, value in zip(part.buffers(), before, strict=True):
            buffer.copy_(value)


def _up_to_each_pooling(chain: Chain) -> list[Chain]:
    """The same layers in shorter chains."""
    parts: list[list[nn.Module]] = [[]]
    for layer in chain:
        parts[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            parts.append([])
    return [Chain(*layers) for layers in parts]
