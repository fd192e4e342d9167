"""NUMBER pictures of mixed sizes on each runtime leave the process as large as the first fifth of them.

10,000 will do; before some 600 buffers are still being made.
"""

import io
import os
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import theilslopes

from soaks.processes import memory_mb
from tests.inspection.conftest import made_model
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.runtimes import open_runtime, present_runtimes

STEADY_AFTER = 0.2  # of the pictures: until then buffers are still being made
MOST_GROWTH = 1.0  # MB of resident memory in 1,000 pictures, from there on


def run(number: int) -> dict[str, Any]:
    """How this process grows while it judges pictures, by runtime: the slope in which half of all pairs lie."""
    runtimes: dict[str, dict[str, float]] = {}
    for name in present_runtimes():
        detector = LoadedDetector(made_model(), open_runtime(made_model(), name, threads=1))
        rng, seen = np.random.default_rng(4), []
        for done in range(1, number + 1):
            size = rng.integers((64, 96), (256, 384))
            size[1] = np.clip(size[1], size[0], 2 * size[0])  # proportions that the detector judges
            content = io.BytesIO()
            Image.fromarray(rng.integers(60, 200, size).astype(np.uint8)).save(content, "BMP")
            detector.inspect(content.getvalue())
            if done > STEADY_AFTER * number:
                seen.append((done, resident_mb()))
        slope = 1000 * theilslopes(*reversed(list(zip(*seen)))).slope
        runtimes[name] = {"from_mb": seen[0][1], "to_mb": seen[-1][1], "mb_per_1000": round(float(slope), 4)}
    grown = [name for name, each in runtimes.items() if each["mb_per_1000"] > MOST_GROWTH]
    return {"pictures": number, "runtimes": runtimes, "grown": grown}


def went_well(record: dict[str, Any]) -> bool:
    """Whether nothing of what may not happen did."""
    return not record["grown"]


def resident_mb() -> float:
    """Of this process."""
    return memory_mb(os.getpid(), "VmRSS")
