"""What this machine can do at best: multiply-adds and copied bytes a second, the yardstick of `speed.py`."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch.nn import functional as F

SIDE = 2048  # of the matrices multiplied
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def rates(threads: int, precisions: Iterable[str] = DTYPES) -> dict[str, float]:
    """Multiply-adds a second in each precision, and bytes a second read and written ("copy").

    The better of a large matrix product and a 3 × 3 convolution.
    """
    torch.set_num_threads(threads)
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    found = {"copy": 2 * source.nbytes / seconds(lambda: target.copy_(source))}
    for name in precisions:
        dtype = DTYPES[name]
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
    instructions = [
        name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in values.get("flags", "").split()
    ]
    return f"{values.get('model name', platform.machine())}, {' '.join(instructions)}"


def peak_mb() -> int:
    """Largest resident memory of this process so far. `getrusage` would begin with that of the process that started it;
    0 where it is not told."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def others_load(watched: float = 3.0) -> float:
    """Cores that others keep busy, on average over a few seconds in which this process sleeps: above 0.2, somebody else
    is at work."""
    before = _busy_seconds()
    time.sleep(watched)
    return round((_busy_seconds() - before) / watched, 2)


def _busy_seconds() -> float:
    """Processor time that all cores have spent on work so far; 0 where the system does not tell."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    ticks = [int(number) for number in path.read_text().split("\n", 1)[0].split()[1:]]
    return (sum(ticks[:8]) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and waiting for disks
