"""Commands of weakspot in processes of their own, which a long test may kill, and what is measured of processes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.cli import main as weakspot
from weakspot.inspection.container import file_sha256

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "1700000000"}


def fork(words: list[str], silent: int) -> int:
    """A command in a fork of this process, which has what it needs imported; its number. silent: 1 stdout, 2 stderr."""
    process = os.fork()
    if process:
        return process
    sys.argv = ["weakspot", *words]
    os.dup2(os.open(os.devnull, os.O_WRONLY), silent)
    try:
        weakspot()
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    finally:
        os._exit(70)


def sha256(path: Path) -> str:
    """Of what a file holds, in hexadecimal."""
    with open(path, "rb") as file:
        return file_sha256(file)


def memory_mb(process: int, what: str) -> float:
    """Of a process, as the system tells. what: VmRSS, resident now; VmHWM, the most that was."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def in_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Below which half of some times lie, 95 and 99 of 100; empty where there are none."""
    if not seconds:
        return {}
    values = 1000 * np.percentile(seconds, (50, 95, 99))
    return dict(zip(("p50", "p95", "p99"), (round(float(value), 1) for value in values), strict=True))


def compared(rows: Sequence[tuple[str, str, float, float | None]]) -> list[dict[str, Any]]:
    """Targets as a record has them. rows: what, >= or <=, what was aimed at, what was found, None for nothing."""
    return [
        {
            "what": what, "target": f"{sign} {round(aim, 2)}", "found": found if found is None else round(found, 3),
            "met": None if found is None else found >= aim if sign == ">=" else found <= aim,
        }
        for what, sign, aim, found in rows
    ]  # fmt: skip
