"""The short forms of long tests; `scripts/soak` runs them for as long as one likes."""

import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

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
    loader = SourceFileLoader("soak", str(SOAK))
    soak = module_from_spec(spec_from_loader("soak", loader))  # type: ignore[arg-type]
    loader.exec_module(soak)
    grown = iter(range(1000))
    monkeypatch.setattr(soak, "resident_mb", lambda: 0.01 * next(grown))
    record = soak.memory(50)
    assert "onnxruntime" in record["grown"] and not soak.went_well(record)
