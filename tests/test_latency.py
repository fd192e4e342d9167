"""benchmarks/latency.py measures, and benchmarks/tables.py puts its record into the page."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_latencies_are_measured_and_their_record_becomes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("nncf")
    command = [sys.executable, BENCHMARKS / "latency.py", "--pictures", "3", "--size", "64x64", "--threads", "1"]
    subprocess.run([*command, "--json", tmp_path / "latency.json"], check=True, capture_output=True, timeout=300)
    rows = json.loads((tmp_path / "latency.json").read_text())["latencies"]
    found = {(row["implementation"], row["precision"]) for row in rows}
    assert found >= {
        ("PyTorch", "fp32"),
        *((name, how) for name in ("onnxruntime", "openvino") for how in ("fp32", "int8")),
    }
    assert all(0 < row["p50"] <= row["p95"] <= row["p99"] for row in rows)
    monkeypatch.syspath_prepend(BENCHMARKS)
    import tables

    monkeypatch.setattr(tables, "RECORDS", tmp_path)
    table = tables.latencies()
    assert "| size | implementation | precision | p50, ms | p95, ms | p99, ms |" in table
    assert table.count("| 64 × 64 | ") == len(rows)
