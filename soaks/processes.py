"""Commands of weakspot in processes of their own, which a long test may kill."""

import os
import sys
from pathlib import Path

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
