"""`weakspot watch`, killed NUMBER times at random moments, reports each whole picture once, as it was written.

Another process writes pictures meanwhile, in each of the ways of `soaks/writer.py`.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import weakspot.jobs.watch  # noqa: F401 (before the first fork, so that a start takes no second)
from soaks.processes import ENVIRONMENT, fork, sha256
from tests.inspection.conftest import made_model
from weakspot.inspection.model_file import write_model_file

ROOT = Path(__file__).resolve().parents[1]


def run(number: int) -> dict[str, Any]:
    """Kill and start again while pictures arrive; what the written and the reported ones say when held together."""
    rng, killed_at = random.Random(2), []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "new").mkdir()
        write_model_file(place / "made.weakspot", made_model())
        writer = subprocess.Popen([sys.executable, "-m", "soaks.writer", folder], cwd=ROOT, env=ENVIRONMENT)
        for _ in range(number):
            watcher = start_watch(place, *rng.choice(([], ["--move-to", str(place / "done")])))
            wait = rng.uniform(0, 2)
            time.sleep(wait)
            os.kill(watcher, signal.SIGKILL)
            assert os.WIFSIGNALED(os.waitpid(watcher, 0)[1]), "it ended before it was killed"
            killed_at.append(round(wait, 2))
            if len(killed_at) % 10 == 0:
                print(f"kill {len(killed_at)} of {number}", flush=True)
        (place / "stop").touch()
        assert writer.wait() == 0
        assert os.waitpid(start_watch(place, "--once"), 0)[1] == 0
        written, results = (
            [json.loads(line) for line in (place / name).read_text().splitlines()]
            for name in ("written.jsonl", "out/results.jsonl")
        )
        with open(place / "out" / "results.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        moved = [sha256(path) for path in (place / "done").glob("*.*") if path.name != ".lock"]
        found = check(written, results, rows, moved)
        return {
            "kills": number, "written": len(written), "reported": len(results), "moved": len(moved),
            "ways": Counter(each["way"] for each in written),
            "not_inspected": sum(each["decision"] == "not inspected" for each in results),
            **found, "seconds_to_kill": killed_at,
        }  # fmt: skip


def went_well(record: dict[str, Any]) -> bool:
    """Whether nothing of what may not happen did."""
    return not any(record[kind] for kind in ("lost", "doubled", "altered", "torn"))


def start_watch(place: Path, *more: str) -> int:
    """`weakspot watch` in a fork of this process; its number."""
    words = ["watch", str(place / "made.weakspot"), str(place / "new"), "-o", str(place / "out"), "--quiet", *more]
    return fork([*words, *"--every 0.02 --patience 0.3 --runtime onnxruntime --threads 1".split()], silent=1)


def check(written: list[dict], results: list[dict], rows: list[dict], moved: list[str]) -> dict[str, list[str]]:
    """What is wrong, by kind; a picture that was written over before it was reported may be missing.

    lost: whole and never reported, or moved without; doubled: reported twice; altered: reported otherwise than it was
    written; torn: in one table only.
    """
    last = {each["name"]: each["sha256"] for each in written}
    decisions = {(each["name"], each["sha256"]): each["decision"] for each in written}
    reported = [
        (Path(each["image"]["path"]).name, each["image"]["sha256"], each["decision"])
        for each in results
        if each["decision"] != "not inspected"
    ]
    counts = Counter((name, digest) for name, digest, _ in reported)
    ids = [each["id"] for each in results], [each["id"] for each in rows]
    return {
        "lost": [name for name, digest in last.items() if (name, digest) not in counts]
        + sorted(set(moved) - {digest for _, digest in counts}),
        "doubled": [name for (name, _), count in counts.items() if count > 1],
        "altered": [name for name, digest, decision in reported if decisions.get((name, digest)) != decision],
        "torn": sorted(set(ids[0]) ^ set(ids[1])) or (["order"] if ids[0] != ids[1] else []),
    }
