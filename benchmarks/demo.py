"""How long the README's first command takes in a fresh clone, installation and demonstration apart, and what its
detector reaches.

    python benchmarks/demo.py -o results/demo.json [ARGUMENTS OF scripts/demo …]
    python benchmarks/tables.py

What is committed is cloned into an empty folder, without pip's cache or ours: the registry is asked. Run it on a quiet
machine: the load is printed and recorded.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import machine

from weakspot.inspection.processor import usable_cores

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = "VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "CI"  # of whoever runs this, which a stranger has not


def main() -> None:
    """Clone, run, write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--clone", default=ROOT, help="the repository; default: this one")
    asked, arguments = parser.parse_known_args()
    about = {"processor": machine.processor(), "cores": usable_cores(), "load_before": machine.others_load()}
    print(about, "" if about["load_before"] < 0.2 else "NOT A QUIET MACHINE: others are at work", sep="\n")
    record = {"machine": about, "arguments": arguments} | measured(asked.clone, arguments)
    print(record)
    asked.output.write_text(json.dumps(record, indent=1) + "\n")


def measured(repository: Path | str, arguments: list[str]) -> dict[str, Any]:
    """Seconds of the installation and of the demonstration after it, and what came of the latter."""
    with TemporaryDirectory() as name:
        place, clone = Path(name), Path(name) / "a folder" / "clone"
        subprocess.run(["git", "clone", "-q", str(repository), str(clone)], check=True)
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, check=True, capture_output=True, text=True)
        caches = {"PIP_CACHE_DIR": str(place / "pip"), "XDG_CACHE_HOME": str(place / "xdg"), "PYTHONNOUSERSITE": "1"}
        stranger = {key: value for key, value in os.environ.items() if key not in HIDDEN} | caches
        seconds = {}
        for what, words in (("installation", ["scripts/setup"]), ("demo", ["scripts/demo", *arguments])):
            began = time.perf_counter()
            subprocess.run(words, cwd=clone, env=stranger, check=True)
            seconds[what] = round(time.perf_counter() - began, 1)
        (run,) = (clone / "runs").iterdir()
        return {"commit": commit.stdout.strip(), "seconds": seconds} | found(run)


def found(run: Path) -> dict[str, Any]:
    """What the run's own records say."""
    plan = json.loads((run / "run.json").read_text())["plan"]
    metrics = json.loads((run / "metrics.json").read_text())
    parts = metrics["background"]["parts"]
    reached = {name: metrics["metrics"].get(name) for name in ("average_precision", "auroc", "escapes", "false_alarms")}
    return {"size": plan["size"], "bf16": plan["machine"]["bf16"], "pictures": parts, "reached": reached}


if __name__ == "__main__":
    main()
