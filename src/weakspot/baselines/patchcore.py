"""PatchCore (Roth et al. 2022) on shared layers of ours: a cell is as bad as it is far from all that good ones show.

As published: features averaged over 3 × 3 cells, a greedy coreset as memory, the distance to its nearest member as
heat, the largest as score. Not as published: the layers are trained here, by the search of `sharp` on drawn defects,
and not elsewhere; a bank of a fixed size; squared distances, which rank alike; no weight by the neighbours' neighbours.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weakspot.network.detector import Detector, Parts, narrow
from weakspot.settings import NetworkSettings
from weakspot.training.batches import TrainingImages, View

WIDTH = 128  # channels of the features
BANK = 1024  # cells that are remembered
STEEPNESS = 4.0  # heat at no distance at all 0.02, at the largest of good pictures 0.5
LEAST = 0.01  # of the bank's own variance: what is nearer is not told apart
MOST_CELLS = 100_000  # of the good pictures, drawn at random, among which the coreset is chosen


class MemoryBank(nn.Module):
    """Heat from distances to remembered cells; while it learns, from the layers of the search."""

    bank: Tensor
    middle: Tensor
    largest: Tensor

    def __init__(self, search: nn.Module) -> None:
        super().__init__()
        self.search = search
        self.register_buffer("bank", torch.zeros(BANK, WIDTH))
        self.register_buffer("middle", torch.zeros(WIDTH))  # what cells are measured from: small numbers are exact ones
        self.register_buffer("largest", torch.tensor(1.0))  # squared distance, of good pictures

    def forward(self, features: Tensor) -> Tensor:
        """features (B, 128, h, w) → heat logits (B, 1, h, w)."""
        if self.training:
            return self.search(features)  # type: ignore[no-any-return]
        return STEEPNESS * (self._distances(features) / self.largest - 1)

    def _distances(self, features: Tensor) -> Tensor:
        """Squared distances to the nearest of the bank, (B, 1, h, w)."""
        cells = smoothed(features) - self.middle[:, None, None]
        lengths, to_each = self.bank.square().sum(1), -2 * self.bank[:, :, None, None]
        nearest = F.conv2d(cells, to_each, lengths).amin(1, keepdim=True)
        return cells.square().sum(1, keepdim=True) + nearest


class Hottest(nn.Module):
    """The hottest cell as the raw score."""

    def forward(self, features: Tensor, heat: Tensor) -> Tensor:
        """heat logits (B, 1, h, w) → logits (B,)."""
        return heat.flatten(1).amax(1)


def patchcore(settings: NetworkSettings) -> Parts:
    """The narrow network's shared layers, a memory that is empty, and the largest distance as the decision."""
    shared, search = narrow(settings)
    return shared, MemoryBank(search), Hottest()


@torch.no_grad()
def remember(detector: Detector, images: TrainingImages, seed: int) -> None:
    """Fill the memory with a coreset of the good pictures' cells, and scale distances by good pictures' own.

    Logit 0 is the largest distance of a good picture's cell to what the others show.
    """
    memory = detector.eval().localization
    assert isinstance(memory, MemoryBank)
    rng, good = np.random.default_rng(seed), np.flatnonzero(images.labels == 0)
    share = -(-MOST_CELLS // len(good))
    some = [cells[rng.permutation(len(cells))[:share]] for cells in _cells(detector, images, good)]
    owners = torch.cat([torch.full((len(cells),), number) for number, cells in enumerate(some)])
    chosen = coreset(torch.cat(some), BANK)
    bank = torch.cat(some)[chosen]
    of_others = [
        _hottest(cells, bank[owners[chosen] != number]) for number, cells in enumerate(_cells(detector, images, good))
    ]
    memory.middle.copy_(bank.mean(0))
    memory.bank.copy_(bank - memory.middle)
    memory.largest.fill_(max(*of_others, LEAST * float(memory.bank.square().sum(1).mean()), 1e-6))


def coreset(cells: Tensor, count: int) -> Tensor:
    """Numbers (count,) of cells that cover all (n, F): each the one farthest from those before; again from too few."""
    chosen = torch.zeros(count, dtype=torch.long)
    nearest = (cells - cells[0]).square().sum(1)
    for place in range(1, count):
        farthest = nearest.argmax()
        chosen[place] = farthest
        nearest = torch.minimum(nearest, (cells - cells[farthest]).square().sum(1))
    return chosen


def smoothed(features: Tensor) -> Tensor:
    """The mean over 3 × 3 cells (PatchCore's neighbourhood), fewer at the border."""
    return F.avg_pool2d(features.float(), 3, 1, 1, count_include_pad=False)


def _cells(detector: Detector, images: TrainingImages, numbers: np.ndarray) -> Iterator[Tensor]:
    """Of each picture its cells, (h · w, 128), as inspection sees them."""
    device = detector.mean.device
    for number in numbers.tolist():
        features = smoothed(detector.features(images.seen((View(number),), device)))
        yield features[0].flatten(1).T


def _hottest(cells: Tensor, bank: Tensor) -> float:
    """The largest squared distance of cells (n, F) to a bank; zero where no other picture is remembered."""
    return float(torch.cdist(cells, bank).amin(1).square().max()) if len(bank) else 0.0
