"""The short forms of long tests; `scripts/soak` runs them for as long as one likes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from soaks import memory

SOAK = Path(__file__).parents[1] / "scripts" / "soak"


def test_memory_stays_flat_over_pictures_of_mixed_sizes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SOAK, "memory", "600", tmp_path], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "memory.json").read_text())
    assert (record["pictures"], record["grown"]) == (600, [])
    assert set(record["runtimes"]) >= {"onnxruntime"}


def test_memory_that_grows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = iter(range(1000))
    monkeypatch.setattr(memory, "resident_mb", lambda: 0.01 * next(grown))
    record = memory.run(50)
    assert "onnxruntime" in record["grown"] and not memory.went_well(record)


def test_without_arguments_every_long_test_is_listed_with_what_it_holds() -> None:
    done = subprocess.run([sys.executable, SOAK], capture_output=True, text=True, timeout=60)
    shared = {"__init__", "processes", "writer"}
    names = {path.stem for path in SOAK.parents[1].glob("soaks/*.py")} - shared
    assert done.returncode == 1
    assert all(f"\n{name}: " in done.stderr for name in names), done.stderr
    assert "None" not in done.stderr
