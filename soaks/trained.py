"""A detector after a training that is much too short, as large and as slow as any other, and pictures for it."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from weakspot.inspection.model_file import write_model_file
from weakspot.jobs.passing import fit_arrays
from weakspot.settings import Size, TrainSettings

SIZE = (704, 256)  # as in docs/performance.md
BAD, GOOD = 4, 6
SHORT = TrainSettings(schedule=0.01, folds=0, unlearned="keep", threads=1)


def train_shortly(path: Path, size: Size = SIZE, seed: int = 0) -> None:
    """Train on a few drawn surfaces and write the model file; another seed, another detector."""
    pictures = [surface(number, size) for number in range(BAD + GOOD)]
    detector = fit_arrays(pictures, [1] * BAD + [0] * GOOD, replace(SHORT, size=size, seed=seed))
    write_model_file(path, detector.model)


def surface(number: int, size: Size) -> NDArray[np.uint8]:
    """Noise (H, W) about a grey, with a bright blot on the first ones."""
    rng = np.random.default_rng(number)
    pixels = rng.normal(110, 14, size)
    if number < BAD:
        y, x = rng.integers(8, size[0] - 24), rng.integers(8, size[1] - 24)
        pixels[y : y + 12, x : x + 9] += 60
    return pixels.clip(0, 255).astype(np.uint8)


def pngs(number: int, size: Size = SIZE) -> list[bytes]:
    """So many surfaces as PNG files."""
    files = []
    for each in range(number):
        content = io.BytesIO()
        Image.fromarray(surface(each, size)).save(content, "PNG")
        files.append(content.getvalue())
    return files
