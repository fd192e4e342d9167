"""Endless pairs of a bad and a good picture, each in a view of its own. Holds indices, not pixels; a stream can be
skipped into."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class View:
    """A picture as it is shown once: mirrored, a little brighter or darker, with a little more or less contrast."""

    index: int
    mirror: int = 0  # 0 none, 1 left–right, 2 up–down, 3 both
    contrast: float = 1.0  # factor about the training mean
    brightness: float = 0.0  # added, in training deviations


class Pair(NamedTuple):
    """One view of a bad and one of a good picture."""

    bad: View
    good: View


def endless_pairs(
    labels: np.ndarray, seed: tuple[int, ...], mirrored: bool, jitter: float = 0.0, start: int = 0
) -> Iterator[Pair]:
    """Pairs drawn without repetition until a list is used up, then reshuffled; from the `start`-th on, as if the
    earlier ones had been drawn.

    labels: (n,), 1 bad, 0 good; both must occur. jitter: contrast varies by this share, brightness by this many
    deviations, evenly both ways.
    """
    rng = np.random.default_rng(seed)
    lists = [_endless(np.flatnonzero(labels == label), rng) for label in (1, 0)]
    drawn = 0
    while True:
        pair = Pair(*(_view(next(indices), rng, mirrored, jitter) for indices in lists))
        drawn += 1
        if drawn > start:
            yield pair


def mirrored(maps: Tensor, mirror: int) -> Tensor:
    """A picture or map (..., H, W) mirrored left–right (1), up–down (2), both (3) or not (0)."""
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if mirror & bit]
    return torch.flip(maps, axes) if axes else maps


def _view(index: int, rng: np.random.Generator, mirrored: bool, jitter: float) -> View:
    mirror = int(rng.integers(4)) if mirrored else 0
    contrast, brightness = rng.uniform(-jitter, jitter, 2).tolist() if jitter else (0.0, 0.0)
    return View(index, mirror, 1 + contrast, brightness)


def _endless(indices: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        for index in rng.permutation(indices):
            yield int(index)
