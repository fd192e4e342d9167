"""`weakspot inspect` with the network of today's default beside the one before it, in one run, and the multiply-adds
of both.

    python benchmarks/default.py --json results/speed/default_beside_before.json
    python benchmarks/tables.py

Both are inspected by today's code in fp32, from a PNG in memory to an Inspection, on weights of seed 0. All take turns,
round after round; medians. Under three minutes on a quiet machine: the load is printed and recorded.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import machine
import openvino
import torch
from speed import size_of
from work import Setting, convolution_work, model_file, png

from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.processor import usable_cores
from weakspot.inspection.runtimes import open_runtime, present_runtimes
from weakspot.network.detector import Detector
from weakspot.provenance import commit
from weakspot.settings import NetworkSettings
from weakspot.training.export import export_graph
from weakspot.training.stages import SHARP

# The network that `sharp` trained up to commit 8d6032a. Its decision corrected the heat's score there and replaces it
# here: a sum and a tanh less.
BEFORE = NetworkSettings(body="printed", third_kernel=7, attention="mask_only", decision="replace")
NETWORKS = {"before": BEFORE, "default": SHARP.network}
ROUNDS = 15


def main() -> None:
    """Measure, print a row for each, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, default=(1408, 512), help="HEIGHTxWIDTH, pixels")
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, usable_cores()}))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    about = {
        "processor": machine.processor(), "load_before": machine.others_load(), "rounds": asked.rounds,
        "versions": {"torch": torch.__version__, "openvino": openvino.__version__.split("-")[0]}, "commit": commit(),
    }  # fmt: skip
    print(about, "" if about["load_before"] < 0.2 else "NOT A QUIET MACHINE: others are at work", sep="\n")
    rows = [row for threads in asked.threads for row in measured(Setting(asked.size, threads), asked.rounds)]
    record = {"machine": about, "size": "{}x{}".format(*asked.size), "multiply_adds": multiply_adds(asked.size)}
    if asked.json:
        asked.json.write_text(json.dumps(record | {"inspections": rows}, indent=1) + "\n")


def multiply_adds(size: tuple[int, int]) -> dict[str, int]:
    """Of all convolutions, as written down: the spectral form of the former third layer needs fewer."""
    return {name: round(convolution_work(Detector(network), size)[0]) for name, network in NETWORKS.items()}


def measured(setting: Setting, rounds: int) -> list[dict[str, Any]]:
    """A row for each runtime: median seconds of both, and how many times as fast the default is."""
    names = [(runtime, name) for runtime in present_runtimes() for name in NETWORKS]
    works = {key: inspects(setting, *key) for key in names}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in names}
    for _ in range(rounds + 1):
        for key, work in works.items():
            began = time.perf_counter()
            work()
            times[key].append(time.perf_counter() - began)
    rows = []
    for runtime in present_runtimes():
        before, default = (statistics.median(times[runtime, name][1:]) for name in NETWORKS)
        seconds = {"before_seconds": before, "default_seconds": default, "times_as_fast": before / default}
        rows.append({"runtime": runtime, "threads": setting.threads} | seconds)
        print(rows[-1], flush=True)
    return rows


def inspects(setting: Setting, runtime: str, network: str) -> Callable[[], object]:
    """One inspection of the made-up picture."""
    torch.manual_seed(0)
    detector = Detector(NETWORKS[network], mean=128, std=60).eval()
    model = replace(model_file(setting), graph=export_graph(detector, *setting.size, 8))
    return partial(LoadedDetector(model, open_runtime(model, runtime, setting.threads)).inspect, png(setting))


if __name__ == "__main__":
    main()
