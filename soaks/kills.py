"""One training, killed NUMBER times at random moments and gone on with each time, ends as the undisturbed one.

Without a size; the model files must be the same bit for bit, with nothing left behind.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from soaks.processes import ENVIRONMENT, sha256

# Checkpoints every second instead of every 20: most kills then fall between two of them, as in a training of hours.
COMMAND = "from weakspot.jobs import observe; observe.CHECKPOINT_EVERY = 1; from weakspot.cli import main; main()"
SETTINGS = 'threads = 1\nfolds = 2\nminutes = 600\nunlearned = "keep"\n'  # minutes that any machine keeps at full size


def run(number: int) -> dict[str, Any]:
    """Kill and resume; what came of it."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        draw_parts(place / "parts")
        (place / "settings.toml").write_text(SETTINGS)
        began = time.monotonic()
        assert train(place, "undisturbed").wait() == 0
        seconds, done, killed_at = time.monotonic() - began, 0, []
        rng = random.Random(1)
        while done < number:
            process = train(place, "killed", *(["--resume"] if (place / "killed" / "run.json").exists() else []))
            wait = rng.uniform(1, 3 + 1.5 * seconds / number)  # long enough to get further, short enough to be killed
            try:
                process.wait(wait)
                break  # it ended before it could be killed again
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                done, killed_at = done + 1, [*killed_at, round(wait, 1)]
                print(f"kill {done} of {number} after {wait:.1f} s", flush=True)
        assert train(place, "killed", "--resume").wait() == 0
        models = [sha256(place / run / "model.weakspot") for run in ("undisturbed", "killed")]
        rows = [json.loads(line) for line in (place / "killed" / "history.jsonl").read_text().splitlines()]
        steps = [(row["training"], row["stage"], row["step"]) for row in rows if "stage" in row]
        return {
            "kills": done, "seconds_to_kill": killed_at, "seconds_undisturbed": round(seconds, 1),
            "sha256": models, "same": models[0] == models[1],
            "steps_twice_in_the_history": len(steps) - len(set(steps)),
            "left_behind": [path.name for path in (place / "killed").rglob("*.tmp")],
        }  # fmt: skip


def went_well(record: dict[str, Any]) -> bool:
    """Whether it is the same file, on one way through, with nothing beside it."""
    return record["same"] and not record["steps_twice_in_the_history"] and not record["left_behind"]


def draw_parts(folder: Path) -> None:
    """Ten bad and twenty good surfaces of 136 × 104 pixels, with a bright blot on the bad ones."""
    rng = np.random.default_rng(0)
    for index in range(30):
        pixels, bad = rng.normal(110, 14, (136, 104)), index < 10
        if bad:
            y, x = rng.integers(8, 80, 2)
            pixels[y : y + 12, x : x + 9] += 60
        target = folder / ("bad" if bad else "good") / f"{index:02}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target)


def train(place: Path, run: str, *more: str) -> subprocess.Popen[bytes]:
    """`weakspot train` in a process of its own."""
    words = [
        "train",
        str(place / "parts"),
        "-o",
        str(place / run),
        "--settings",
        str(place / "settings.toml"),
        "--quiet",
    ]
    return subprocess.Popen([sys.executable, "-c", COMMAND, *words, "--schedule", "0.15", *more], env=ENVIRONMENT)
