"""NUMBER pictures of mixed sizes leave the process as large as the first fifth of them.

By the network of `sharp` at two sizes, on each runtime and precision. 10,000 will do; before some 600 buffers are still
being made.
"""

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import theilslopes

from soaks.processes import memory_mb
from soaks.trained import SIZE, train_shortly
from weakspot.inspection.fastest import open_fastest
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import ModelFile, read_model_file
from weakspot.inspection.runtimes import Runtime, offers_bf16, present_runtimes
from weakspot.settings import Size

SIZES = SIZE, (1408, 512)
STEADY_AFTER = 0.2  # of the pictures: until then buffers are still being made
MOST_GROWTH = 1.0  # MB of resident memory in 1,000 pictures, from there on


def run(number: int, sizes: Sequence[Size] = SIZES) -> dict[str, Any]:
    """How this process grows while it judges so many pictures by each detector."""
    runtimes = {}
    with TemporaryDirectory() as folder:
        for height, width in sizes:
            path = Path(folder) / f"{height}x{width}.weakspot"
            train_shortly(path, (height, width))
            model = read_model_file(path)
            for runtime in opened(model):
                name = f"{runtime.name} {runtime.precision}, {height} × {width}"
                runtimes[name] = growth(LoadedDetector(model, runtime), (height, width), number)
    grown = [name for name, each in runtimes.items() if each["mb_per_1000"] > MOST_GROWTH]
    return {"pictures": number, "runtimes": runtimes, "grown": grown}


def opened(model: ModelFile) -> Iterator[Runtime]:
    """Each runtime in fp32, and in bf16, with its second look in fp32, where this processor has it."""
    for name in present_runtimes():
        yield open_fastest(model, name, 1, "fp32")
    if offers_bf16() and model.manifest.bf16_margin is not None:
        yield open_fastest(model, "openvino", 1, "bf16")


def growth(detector: LoadedDetector, size: Size, number: int) -> dict[str, float]:
    """Resident memory after a fifth of so many pictures and at their end; the slope in which half of all pairs lie."""
    rng, seen = np.random.default_rng(4), []
    for done in range(1, number + 1):
        side = rng.uniform(0.5, 1.5) * np.array(size) * rng.uniform(0.9, 1.1, 2)  # proportions that it judges
        content = io.BytesIO()
        shape = np.maximum(64, side.astype(int))
        Image.fromarray(rng.integers(60, 200, shape).astype(np.uint8)).save(content, "BMP")
        detector.inspect(content.getvalue())
        if done > STEADY_AFTER * number:
            seen.append((done, resident_mb()))
    slope = 1000 * theilslopes(*reversed(list(zip(*seen)))).slope
    return {"from_mb": seen[0][1], "to_mb": seen[-1][1], "mb_per_1000": round(float(slope), 4)}


def went_well(record: dict[str, Any]) -> bool:
    """Whether nothing of what may not happen did."""
    return not record["grown"]


def resident_mb() -> float:
    """Of this process."""
    return memory_mb(os.getpid(), "VmRSS")
