"""Damaged pictures, model files and graphs, for NUMBER minutes in all, are read, opened or refused in our words."""

import logging
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests import fuzzing
from tests.inspection.conftest import made_model, read_members
from weakspot.inspection.model_file import write_model_file

KEPT = Path(__file__).resolve().parents[1] / "results" / "soak" / "fuzz_inputs"  # at which something went wrong


def run(number: int) -> dict[str, Any]:
    """Damaged inputs, as long for each kind of them; the inputs at which something went wrong are kept."""
    seed = int(time.time())
    logging.getLogger("tifffile").setLevel(
        logging.CRITICAL
    )  # it has a line for each thing that is wrong with each input
    with TemporaryDirectory() as folder:
        place = Path(folder)
        write_model_file(place / "made.weakspot", made_model())
        sharp = fuzzing.small_sharp()
        ways = {
            "pictures": (fuzzing.read_picture, fuzzing.pictures),
            "strips": (fuzzing.read_strips, fuzzing.strips),
            "graphs": (fuzzing.open_graphs(sharp), fuzzing.graphs(sharp.graph)),
            "model_files": (fuzzing.read_model, fuzzing.model_files(read_members(place / "made.weakspot"))),
        }
        seconds = number * 60 / len(ways)
        came = {name: fuzzing.run(*way, seconds, seed, place / name) for name, way in ways.items()}
        for path in place.glob("*/input-*"):
            KEPT.mkdir(parents=True, exist_ok=True)
            (KEPT / path.name).write_bytes(path.read_bytes())
    wrong = {kind: [each for one in came.values() for each in one[kind]] for kind in ("untyped", "slow", "crashed")}
    return {"minutes": number, "inputs": {name: one["inputs"] for name, one in came.items()}, **wrong}


def went_well(record: dict[str, Any]) -> bool:
    """Whether nothing of what may not happen did."""
    return not any(record[kind] for kind in ("untyped", "slow", "crashed"))
