"""`weakspot inspect --ray local`, of which NUMBER times a worker or the driver is killed, ends with the same bytes.

That is those which one process writes, part by part.
"""

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

import numpy as np
from PIL import Image

from soaks.processes import ENVIRONMENT, sha256
from soaks.writer import LEVELS
from tests.inspection.conftest import made_model
from tests.inspection.test_many_ray import done, workers_of
from weakspot.inspection.cluster import How, inspect_many
from weakspot.inspection.model_file import write_model_file

PICTURES = 120


def run(number: int) -> dict[str, Any]:
    """Kill workers and drivers at random moments, always start again; what is there in the end, part by part."""
    rng, killed, rounds = random.Random(4), Counter({"worker": 0, "driver": 0}), []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        write_model_file(place / "made.weakspot", made_model())
        draw_new(place / "new", PICTURES, (512, 768))
        how = How(runtime="onnxruntime", precision="fp32", threads=1, images_a_piece=1)
        inspect_many(place / "made.weakspot", [str(place / "new")], str(place / "whole"), how)
        while killed.total() < number:
            output = begin_round(place, f"out{len(rounds)}")
            while not (output / "manifest.json").exists():
                driver = start_inspect(place, output)
                while driver.poll() is None and killed.total() < number:
                    if victim := kill_one(driver, output, rng):
                        killed[victim] += 1
                        print(f"kill {killed.total()} of {number}: a {victim}, {done(output)} pieces", flush=True)
                driver.wait()
            rounds.append(held_together(output, place / "whole"))
    wrong = {kind: [name for each in rounds for name in each[kind]] for kind in rounds[0]}
    return {"kills": killed.total(), "of": killed, "rounds": len(rounds), "pictures": PICTURES, **wrong}


def went_well(record: dict[str, Any]) -> bool:
    """Whether nothing of what may not happen did."""
    return not any(record[kind] for kind in ("lost", "doubled", "altered", "torn"))


def kill_one(driver: subprocess.Popen[bytes], output: Path, rng: random.Random) -> str:
    """Wait until a piece more is done and up to a second longer; then kill a worker, or now and then the driver."""
    before = done(output)
    while driver.poll() is None and done(output) <= before:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 1))
    workers = workers_of(driver.pid) if driver.poll() is None else []
    if not workers:
        return ""
    victim = "worker" if rng.random() < 0.7 else "driver"
    os.kill(rng.choice(workers) if victim == "worker" else driver.pid, signal.SIGKILL)
    if victim == "driver":
        driver.wait()
    return victim


def draw_new(folder: Path, number: int, size: tuple[int, int]) -> None:
    """Surfaces of the three decisions in turn, whose cells differ."""
    folder.mkdir(parents=True)
    for index in range(number):
        cells = np.random.default_rng(index).integers(-30, 31, (size[0] // 8, size[1] // 8))
        pixels = np.kron((list(LEVELS.values())[index % 3] + cells).clip(0, 255), np.ones((8, 8)))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:04}.png")


def begin_round(place: Path, name: str) -> Path:
    """A folder with nothing but the plan of the inspection that one process has done, so that its bytes must come."""
    (place / name).mkdir()
    for each in ("plan.jsonl", "model.weakspot"):
        (place / name / each).write_bytes((place / "whole" / each).read_bytes())
    return place / name


def start_inspect(place: Path, output: Path, workers: int = 2, *more: str) -> subprocess.Popen[bytes]:
    """`weakspot inspect` on Ray, in a process of its own."""
    words = ["inspect", place / "made.weakspot", place / "new", "-o", output, "--ray", "local", "--workers", workers]
    words = [sys.executable, "-m", "weakspot", *words, "--threads", 1, "--quiet", *more]
    return subprocess.Popen(
        list(map(str, words)), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def held_together(output: Path, whole: Path) -> dict[str, list[str]]:
    """What is wrong, by kind.

    lost: not in the manifest; doubled: twice in it; altered: a part of other bytes; torn: a record beside its part.
    """
    parts = json.loads((output / "manifest.json").read_text())["parts"]
    expected = {path.name: sha256(path) for path in (whole / "parts").iterdir()}
    names = Counter(Path(part["file"]).name for part in parts)
    found = {path.name: sha256(path) for path in (output / "parts").iterdir()}
    return {
        "lost": sorted(expected.keys() - names.keys()), "doubled": [name for name, count in names.items() if count > 1],
        "altered": sorted(name for name in found if found[name] != expected.get(name)),
        "torn": [part["file"] for part in parts if part["sha256"] != found.get(Path(part["file"]).name)],
    }  # fmt: skip
