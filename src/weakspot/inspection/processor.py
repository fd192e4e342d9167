"""Which processor this is, and which of its instructions count for speed; nothing is measured here."""

import platform
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")  # as Linux names them


class Processor(NamedTuple):
    """Its name, and those of INSTRUCTIONS that it has; none where the system does not tell them."""

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
