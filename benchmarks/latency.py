"""How long one picture takes, and how long the slowest ones: p50, p95 and p99 of the network of `sharp` on each runtime
and precision, beside plain PyTorch.

    python benchmarks/latency.py --json results/speed/latency.json
    python benchmarks/tables.py

Pictures are made up, raw pixels in memory at the detector's size; reading is not in it. One is asked at a time, each
implementation all of them in turn; rows are written as they are measured. Some seven minutes, by the count of
multiply-adds, on two idle cores. Run it on a quiet machine: the load is printed and recorded.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import machine
import numpy as np
import onnxruntime
import openvino
import torch
from speed import size_of
from work import Setting, model_file

from weakspot.inspection.processor import usable_cores
from weakspot.inspection.runtimes import offers_bf16, open_runtime
from weakspot.jobs.quantize import quantized
from weakspot.jobs.recipes import recipe
from weakspot.network.detector import Detector
from weakspot.settings import TrainSettings
from weakspot.training.export import export_graph

SIZES = (704, 256), (1408, 512)
DIFFERENT = 16  # pictures that are asked in turn
WARM = 10  # that are not timed
Ask = Callable[[np.ndarray], object]  # (1, 1, h, w) raw pixels


def main() -> None:
    """Measure, print a row for each, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000, help="that are timed; default: 1000")
    parser.add_argument("--size", nargs="+", type=size_of, default=SIZES, help="HEIGHTxWIDTH, pixels")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    about = {
        "processor": machine.processor(),
        "load_before": machine.others_load(),
        "threads": asked.threads,
        "pictures": asked.pictures,
        "versions": versions | {"openvino": openvino.__version__.split("-")[0]},
    }
    print(about, "" if about["load_before"] < 0.2 else "NOT A QUIET MACHINE: others are at work", sep="\n")
    rows = []
    for size in asked.size:
        for name, precision, ask in implementations(size, asked.threads):
            row = {"size": f"{size[0]}x{size[1]}", "implementation": name, "precision": precision}
            rows.append(row | percentiles(ask, pictures(size, DIFFERENT), asked.pictures))
            print(rows[-1], flush=True)
            if asked.json:
                asked.json.write_text(json.dumps({"machine": about, "latencies": rows}, indent=1) + "\n")


def implementations(size: tuple[int, int], threads: int) -> Iterator[tuple[str, str, Ask]]:
    """What computes and how precisely; int8 is what `weakspot export --precision int8` makes of the same graph."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = Detector(recipe(TrainSettings(), channels=1).network, mean=128, std=60).eval()
    model = replace(model_file(Setting(size, threads)), graph=export_graph(network, *size, 8))
    int8 = replace(model, graph=quantized(model.graph, list(pictures(size, DIFFERENT)[:, 0])))
    yield "PyTorch", "fp32", torch_asks(network)
    for name in ("onnxruntime", "openvino"):
        yield name, "fp32", open_runtime(model, name, threads).run
        yield name, "int8", open_runtime(int8, name, threads).run
    if offers_bf16():
        yield "openvino", "bf16", open_runtime(model, "openvino", threads, "bf16").run


def torch_asks(network: Detector) -> Ask:
    """Plain PyTorch, layer by layer."""

    @torch.inference_mode()
    def ask(image: np.ndarray) -> object:
        return network(torch.from_numpy(image))

    return ask


def pictures(size: tuple[int, int], number: int) -> np.ndarray:
    """(number, 1, 1, H, W) uint8."""
    return np.random.default_rng(0).integers(60, 200, (number, 1, 1, *size), dtype=np.uint8)


def percentiles(ask: Ask, images: np.ndarray, number: int) -> dict[str, float]:
    """Milliseconds of one picture."""
    for index in range(WARM):
        ask(images[index % len(images)])
    times = []
    for index in range(number):
        began = time.perf_counter()
        ask(images[index % len(images)])
        times.append(1000 * (time.perf_counter() - began))
    return {f"p{share}": round(float(np.percentile(times, share)), 2) for share in (50, 95, 99)}


if __name__ == "__main__":
    main()
