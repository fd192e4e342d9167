"""Toy pictures for tests of training: grey noise, and on the bad ones a bright blot at a known place."""

import numpy as np

from weakspot.training.batches import TrainingImages

SIDE = 64  # pixels


def toy_images(bad: int = 4, good: int = 6, seed: int = 0, side: int = SIDE) -> TrainingImages:
    """(bad + good, 1, side, side) uint8, bad ones first; the blot lies in the upper left quarter."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(100, 12, (bad + good, 1, side, side))
    for index in range(bad):
        y, x = rng.integers(4, side // 2 - 12, 2)
        pixels[index, 0, y : y + 10, x : x + 10] += 100
    return TrainingImages(pixels.clip(0, 255).astype(np.uint8), np.array([1] * bad + [0] * good))
