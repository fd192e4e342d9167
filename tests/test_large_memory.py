"""benchmarks/large_memory.py measures what `weakspot inspect` takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_peaks_of_large_pictures_are_measured(tmp_path: Path):
    command = [sys.executable, ROOT / "benchmarks" / "large_memory.py", "--pictures", "300x400", "--size", "160x200"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([*command, "--json", tmp_path / "a.json"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "a.json").read_text())["peaks"]
    assert [(row["picture"], row["file"], row["size"]) for row in rows] == [
        ([300, 400], form, [160, 200]) for form in ("TIFF in strips", "PNG")
    ]
    assert all(100 < row["peak_mb"] < 1000 for row in rows)
