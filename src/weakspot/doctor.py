"""What is installed, which runtime would inspect, and how fast this machine is. Needs no torch and no connection."""

import os
import platform
import sys
import timeit
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from weakspot.inspection.fastest import measure, timings_of_this_machine
from weakspot.inspection.model_file import read_model_file
from weakspot.inspection.processor import processor, usable_cores
from weakspot.inspection.runtimes import broken_runtimes, present_runtimes
from weakspot.inspection.timings import Timing

PACKAGES = (
    "weakspot numpy scipy scikit-learn pillow tifffile imagecodecs simplejpeg pydantic typer rich onnxruntime".split()
)
EXTRAS = {
    "train": ("torch", "onnx", "onnxscript", "tensorboard"), "openvino": ("openvino",), "demo": ("elpv-dataset",),
    "cluster": ("ray", "pyarrow", "fsspec", "s3fs"),
}  # fmt: skip
SIDE = 1536  # of the matrices multiplied: large enough for the full rate, small enough for a tenth of a second
COPY_BYTES = 128 * 2**20
RUNS = 6  # of each measurement, of which the shortest counts


def examine(model: Path | None = None, threads: int | None = None) -> dict[str, Any]:
    """Everything that is found, as plain values: packages, extras, runtimes, machine and, in a few seconds, its speed.

    model: a model file, for which each runtime is timed now. threads: None for as many as this process may use. Raises
    ModelFileError.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "extras": {extra: {name: version(name) for name in names} for extra, names in EXTRAS.items()},
        "runtimes": runtimes(model, threads),
        "machine": machine(),
        "speed": speed(threads or usable_cores()),
    }


def version(name: str) -> str | None:
    """The installed version of a package, None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def runtimes(model: Path | None, threads: int | None) -> dict[str, Any]:
    """Which runtimes are present, which are broken and why, which one makes figures, and how long each took.

    The times are those of `model`, measured now, or else all that are remembered.
    """
    present = present_runtimes()
    timings = [measure(read_model_file(model), threads)] if model else timings_of_this_machine()
    return {
        "present": list(present),
        "broken": broken_runtimes(),
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


def speed(threads: int) -> dict[str, float]:
    """Matrix products in GFLOP/s by numpy in fp32 and, where it is, by torch in both precisions; copying in GB/s.

    Copying counts bytes read and written.
    """
    products: dict[str, Any] = {"numpy_fp32_gflops": np.ones((SIDE, SIDE), np.float32)}
    if util.find_spec("torch") is not None:
        import torch  # here alone: everything else of this page works without it

        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            products[f"torch_{name}_gflops"] = torch.ones(SIDE, SIDE, dtype=dtype)
    source, target = np.ones(COPY_BYTES, np.uint8), np.empty(COPY_BYTES, np.uint8)
    with threadpool_limits(threads):
        found = {name: _gflops(matrix) for name, matrix in products.items()}
        found["copy_gb_per_s"] = 2 * COPY_BYTES / _seconds(lambda: np.copyto(target, source)) / 1e9
    return {name: round(value, 1) for name, value in found.items()}


def _gflops(matrix: Any) -> float:
    return 2 * SIDE**3 / _seconds(lambda: matrix @ matrix) / 1e9


def _seconds(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, number=1, repeat=RUNS))


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
