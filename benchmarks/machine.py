"""What this machine can do at best: multiply-adds and copied bytes a second, the yardstick of `speed.py`."""

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

SIDE = 2048  # of the matrices multiplied
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def rates(threads: int) -> dict[str, float]:
    """Multiply-adds a second in fp32 and bf16, the better of a large matrix product and a 3 × 3 convolution, and bytes a second read and written."""
    torch.set_num_threads(threads)
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    found = {"copy": 2 * source.nbytes / seconds(lambda: target.copy_(source))}
    for name, dtype in DTYPES.items():
        a, b = (torch.ones(SIDE, SIDE, dtype=dtype) for _ in range(2))
        maps = torch.ones(2, 64, 130, 130, dtype=dtype).to(memory_format=torch.channels_last)
        kernel = torch.ones(64, 64, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
        product = SIDE**3 / seconds(lambda a=a, b=b: a @ b)
        convolution = 2 * 128**2 * 64**2 * 9 / seconds(lambda maps=maps, kernel=kernel: F.conv2d(maps, kernel))
        found[name] = max(product, convolution)
    return found


def seconds(run: Callable[[], object], rounds: int = 5) -> float:
    """Median of a few runs after one to warm up."""
    run()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def processor() -> str:
    """Its name and the instructions that count, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    instructions = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in values.get("flags", "").split()]
    return f"{values.get('model name', platform.machine())}, {' '.join(instructions)}"


def others_load() -> float:
    """Processes that wanted to run during the last minute: above 0.5 before a measurement, somebody else is at work."""
    path = Path("/proc/loadavg")
    return float(path.read_text().split()[0]) if path.exists() else 0.0
