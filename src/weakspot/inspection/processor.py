"""Which processor this is, which of its instructions count for speed, and how much of it this process may use."""

import math
import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")  # as Linux names them


class Processor(NamedTuple):
    """Its name, and those of INSTRUCTIONS that it has; none where the system does not say."""

    name: str
    instructions: tuple[str, ...]


@lru_cache(maxsize=1)
def processor() -> Processor:
    """The first processor of this machine."""
    path = Path("/proc/cpuinfo")
    lines = [line.partition(":") for line in path.read_text(errors="replace").splitlines()] if path.exists() else []
    values = {key.strip(): value.strip() for key, _, value in reversed(lines)}
    flags = (values.get("flags") or values.get("Features") or "").split()
    name = values.get("model name") or platform.processor() or platform.machine()
    return Processor(name, tuple(name for name in INSTRUCTIONS if name in flags))


def usable_cores(root: Path = Path("/")) -> int:
    """How many threads are worth starting: the cores this process may run on, or fewer by its container's quota.

    A quota of 1.5 cores counts as 2. root: where the files of Linux lie that tell the quota.
    """
    # joblib.cpu_count takes 0.24 s to import, longer than a picture takes, and sees the quota of the root group alone.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """Cores granted to each control group that holds this process, from the innermost outwards."""
    quotas = []
    for line in _text(root / "proc/self/cgroup").splitlines() or ["0::/"]:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        # in a container the path may be the host's, of which only the root is to be seen
        inner = top / path.strip("/")
        for group in {top, *(each for each in (inner, *inner.parents) if top in each.parents)}:
            v2, v1 = _text(group / "cpu.max"), _text(group / "cpu.cfs_quota_us")
            quota, _, period = (v2 or f"{v1} {_text(group / 'cpu.cfs_period_us')}").partition(" ")
            if quota.isdigit() and period.isdigit() and int(period):  # "max" and -1: no limit
                quotas.append(int(quota) / int(period))
    return quotas


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
