"""What made a file: versions, machine, commit, and the code that shapes a training's numbers."""

import hashlib
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("weakspot", "torch", "numpy", "scipy", "scikit-learn", "onnxruntime", "openvino", "pillow")
SHAPES_NUMBERS = (  # in this package
    "network", "spectral", "training", "baselines", "jobs/learn.py", "jobs/recipes.py", "settings.py",
)  # fmt: skip
HERE = Path(__file__).resolve().parent


def versions() -> dict[str, str]:
    """Versions of what computed, by package."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine(threads: int, instructions: str) -> dict[str, Any]:
    """What the bits may depend on: processor, instruction set, threads. No name of the machine."""
    kind, system = platform.machine(), platform.system()
    return {"processor": kind, "instructions": instructions, "threads": threads, "system": system}


@lru_cache(maxsize=1)
def commit() -> str:
    """The commit of the checkout that this runs from, as it was when first asked; empty for an installed package."""
    checkout = HERE.parents[1]
    if not (checkout / ".git").exists():
        return ""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git here
        return ""


@lru_cache(maxsize=1)
def training_code() -> str:
    """SHA-256 of the code that shapes a training's numbers: trainings of other code are not gone on with."""
    digest = hashlib.sha256()
    for name in SHAPES_NUMBERS:
        for path in sorted((HERE / name).rglob("*.py")) if (HERE / name).is_dir() else [HERE / name]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def time_of_making() -> str:
    """Now, or the time that SOURCE_DATE_EPOCH names, so that a file can be made again bit for bit; RFC 3339 in UTC."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    known = epoch.isdecimal() and len(epoch) <= 11  # later than the year 5000 is no time of making
    made = datetime.fromtimestamp(int(epoch), UTC) if known else datetime.now(UTC)
    return made.isoformat(timespec="milliseconds").replace("+00:00", "Z")
