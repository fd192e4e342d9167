"""benchmarks/large_memory.py measures what `weakspot inspect` takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def measure(record: Path, *arguments: str) -> list[dict]:
    command = [sys.executable, ROOT / "benchmarks" / "large_memory.py", "--json", record, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(record.read_text())["peaks"]


def test_peaks_of_large_pictures_are_measured_and_added_to(tmp_path: Path):
    record, asked = tmp_path / "a.json", ("--pictures", "300x400", "--size", "160x200", "--files")
    (first,) = measure(record, *asked, "PNG of 16 bits with noise")
    assert (first["picture"], first["size"]) == ([300, 400], [160, 200])
    assert 100 < first["peak_mb"] < 1000
    record.write_text(json.dumps({"peaks": [{**first, "peak_mb": 1}]}))  # as if it had been another day
    rows = measure(record, "--missing", *asked, "TIFF of 16 bits in one strip", "PNG of 16 bits with noise")
    assert [row["file"] for row in rows] == ["TIFF of 16 bits in one strip", "PNG of 16 bits with noise"]
    assert 100 < rows[0]["peak_mb"] < 1000
    assert rows[1]["peak_mb"] == 1, "not measured again"
