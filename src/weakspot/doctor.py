"""What is installed, which runtime would inspect, and how fast this machine is. Works without torch, and opens no
connection."""

import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.inspection.fastest import kept_here, measure
from weakspot.inspection.model_file import read_model_file
from weakspot.inspection.processor import processor
from weakspot.inspection.runtimes import present_runtimes, usable_cores
from weakspot.inspection.timings import Timing

PACKAGES = (
    "weakspot",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "tifffile",
    "imagecodecs",
    "simplejpeg",
    "pydantic",
    "typer",
    "rich",
    "onnxruntime",
)
EXTRAS = {"train": ("torch", "onnx", "onnxscript", "tensorboard"), "openvino": ("openvino",), "demo": ("elpv-dataset",)}
SIDE = 1536  # of the matrices multiplied: large enough for the full rate, small enough for a tenth of a second
COPY_BYTES = 128 * 2**20
SECONDS = 0.3  # for each measurement


def examine(model: Path | None = None, with_speed: bool = True) -> dict[str, Any]:
    """Everything that is found, as plain values: packages, extras, runtimes, machine and, in under three seconds, its
    speed.

    model: a model file, for which each runtime is timed now. Raises ModelFileError.
    """
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "extras": {extra: {name: version(name) for name in names} for extra, names in EXTRAS.items()},
        "runtimes": runtimes(model),
        "machine": machine(),
    }
    return found | ({"speed": speed()} if with_speed else {})


def version(name: str) -> str | None:
    """The installed version of a package, None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def runtimes(model: Path | None = None) -> dict[str, Any]:
    """Which runtimes are present, which one makes figures, and how long each took: for `model`, timed now, or for all
    that is remembered."""
    present = present_runtimes()
    timings = [measure(read_model_file(model))] if model else kept_here()
    return {
        "present": list(present),
        "first": next(iter(present), None),
        "timings": [_plain(timing) for timing in timings],
    }


def _plain(timing: Timing) -> dict[str, Any]:
    setting, milliseconds = timing.setting, timing.milliseconds
    of = {
        "size": list(setting.size),
        "channels": setting.channels,
        "third_kernel": setting.third_kernel,
        "threads": setting.threads,
    }
    return of | {"milliseconds": dict(sorted(milliseconds.items(), key=lambda item: item[1]))}


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory in GiB, and the instructions that count for speed."""
    name, instructions = processor()
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": name,
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "instructions": list(instructions),
        "gpu": _gpu(),
    }


def speed() -> dict[str, float]:
    """Matrix products in GFLOP/s, fp32 by numpy and, with torch, both precisions by torch; copying in GB/s (bytes read
    and written)."""
    a = np.ones((SIDE, SIDE), np.float32)
    source, target = np.ones(COPY_BYTES, np.uint8), np.empty(COPY_BYTES, np.uint8)
    found = {
        "numpy_fp32_gflops": _gflops(lambda: a @ a),
        "copy_gb_per_s": 2 * COPY_BYTES / _seconds(lambda: np.copyto(target, source)) / 1e9,
    }
    if util.find_spec("torch") is not None:
        import torch  # here alone: everything else of this page works without it

        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            b = torch.ones(SIDE, SIDE, dtype=dtype)
            found[f"torch_{name}_gflops"] = _gflops(lambda b=b: b @ b)  # type: ignore[misc]
    return {name: round(value, 1) for name, value in found.items()}


def _gflops(product: Callable[[], object]) -> float:
    return 2 * SIDE**3 / _seconds(product) / 1e9


def _seconds(work: Callable[[], object]) -> float:
    """The shortest of as many runs as fit SECONDS, after one to warm up."""
    work()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while True:
        began = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - began)
        if now >= end:
            return best


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _gpu() -> str | None:
    """The name of the first graphics card that torch can use, if torch is there."""
    if util.find_spec("torch") is None or sys.platform == "darwin":
        return None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
