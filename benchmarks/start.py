"""How long `weakspot inspect` takes from the start of its process to the answer for one image, beside a bare runtime
that does the same.

    python benchmarks/start.py --json results/speed/start.json

Each is a process of its own, in turn; medians. The bare runtime imports itself, opens the plain graph and runs it once
on an image of zeros.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import machine
from PIL import Image
from speed import size_of
from work import Setting, graph, model_file, pixels

from weakspot.inspection.model_file import write_model_file

ROUNDS = 7
BARE = {
    "onnxruntime": "import sys, numpy, onnxruntime\n"
    "image = numpy.zeros((1, 1, int(sys.argv[2]), int(sys.argv[3])), 'uint8')\n"
    "onnxruntime.InferenceSession(sys.argv[1]).run(None, {'image': image})",
    "openvino": "import sys, numpy, openvino\n"
    "model = openvino.Core().read_model(sys.argv[1]); model.reshape([1, 1, int(sys.argv[2]), int(sys.argv[3])])\n"
    "openvino.Core().compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})"
    "({'image': numpy.zeros((1, 1, int(sys.argv[2]), int(sys.argv[3])), 'uint8')})",
}


def main() -> None:
    """Measure, print a row for each runtime, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, nargs="+", default=[(704, 256)])
    parser.add_argument("--kernel", type=int, nargs="+", default=[7, 15])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    notes = {"processor": machine.processor(), "load_before": machine.others_load()}
    rows = [row for kernel in asked.kernel for size in asked.size for row in started(size, kernel)]
    if asked.json:
        asked.json.write_text(json.dumps({"machine": notes, "starts": rows}, indent=1) + "\n")


def started(size: tuple[int, int], kernel: int) -> Iterator[dict[str, Any]]:
    """Rows for one size: seconds of `inspect`, seconds of the bare runtime, and how much more the one is."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        commands = prepared(folder, size, kernel)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                times[name].append(seconds(command, folder))
        medians = {
            name: statistics.median(kept[1:]) for name, kept in times.items()
        }  # the first start fills the disk's cache
    for runtime in BARE:
        row = {
            "work": "start",
            "size": f"{size[0]}x{size[1]}",
            "kernel": kernel,
            "runtime": runtime,
            "seconds": medians[f"weakspot {runtime}"],
        }
        row |= {
            "bare_seconds": medians[f"bare {runtime}"],
            "more": medians[f"weakspot {runtime}"] - medians[f"bare {runtime}"],
        }
        print(row, flush=True)
        yield row


def prepared(folder: Path, size: tuple[int, int], kernel: int) -> dict[str, list[str]]:
    """A model file, the same graph by itself, an image, and the commands that use them."""
    write_model_file(folder / "part.weakspot", model_file(Setting(size, 1, kernel)))
    (folder / "part.onnx").write_bytes(graph(kernel))
    Image.fromarray(pixels(size)[0, 0]).save(folder / "part.png")
    sides = [str(side) for side in size]
    bare = {f"bare {runtime}": [sys.executable, "-c", code, "part.onnx", *sides] for runtime, code in BARE.items()}
    inspect = [
        sys.executable,
        "-m",
        "weakspot",
        "inspect",
        "part.weakspot",
        "part.png",
        "-o",
        "out",
        "--overwrite",
        "--quiet",
    ]
    return bare | {f"weakspot {runtime}": [*inspect, "--runtime", runtime, "--precision", "fp32"] for runtime in BARE}


def seconds(command: list[str], folder: Path) -> float:
    """From the start of a process to its end, which must be a good one."""
    began = time.perf_counter()
    subprocess.run(
        command, cwd=folder, check=True, capture_output=True, env={**os.environ, "XDG_CACHE_HOME": str(folder)}
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
