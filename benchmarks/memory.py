"""The largest resident memory of `weakspot train` and `weakspot inspect` at the printed size, each in a process of its
own.

    python benchmarks/memory.py --json results/speed/memory.json

The images are made up; the training has its recipe's stages at a few steps each, then exports and checks the graph as
every training does.
"""

import argparse
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import machine
import numpy as np
from PIL import Image
from speed import size_of
from work import Setting, model_file

from weakspot.inspection.model_file import write_model_file

MEMORY = "fast", "small"
IMAGES = 6  # of each label
# What the system says of this process alone: the figure that `getrusage` gives begins with that of the process that
# started it.
VERB = """
import atexit, sys
def tell():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("PEAK", int(line.split()[1]) // 1024, file=sys.stderr)
atexit.register(tell)
sys.argv = ["weakspot", *sys.argv[1:]]
from weakspot.cli import main
main()
"""


def main() -> None:
    """Measure, print a row for each, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, default=(1408, 512))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with TemporaryDirectory() as name:
        rows = []
        for row in (*inspections(Path(name), asked.size), *trainings(Path(name), asked.size)):
            rows.append(row)
            print(row, flush=True)
    if asked.json:
        asked.json.write_text(
            json.dumps({"machine": {"processor": machine.processor()}, "peaks": rows}, indent=1) + "\n"
        )


def inspections(folder: Path, size: tuple[int, int]) -> list[dict[str, Any]]:
    """`weakspot inspect` on a folder of ten images."""
    pictures(folder / "new", 10, size)
    rows = []
    for kernel, (runtime, precision), memory in product(
        (7, 15), (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")), MEMORY
    ):
        write_model_file(folder / "part.weakspot", model_file(Setting(size, 2, kernel)))
        how = ["--runtime", runtime, "--precision", precision, "--memory", memory]
        peak = peak_mb(folder, "inspect", "part.weakspot", "new", "-o", "out", "--overwrite", "--quiet", *how)
        rows.append(
            {"verb": "inspect", "kernel": kernel, "how": f"{runtime} {precision}", "memory": memory, "peak_mb": peak}
        )
    return rows


def trainings(folder: Path, size: tuple[int, int]) -> list[dict[str, Any]]:
    """`weakspot train` with a hundredth of the steps, on a few images."""
    for label in ("good", "bad"):
        pictures(folder / "parts" / label, IMAGES, size, brighter=60 if label == "bad" else 0)
    rows = []
    for (recipe, kernel), memory in product((("sharp", None), ("paper", 7), ("paper", 15)), MEMORY):
        short = f"size = {list(size)}\nfolds = 0\nschedule = 0.01\nhold_out = 0\n"
        names = f'recipe = "{recipe}"\nmemory = "{memory}"\nunlearned = "keep"\n'
        names += f"third_kernel = {kernel}\n" if kernel else ""
        (folder / "settings.toml").write_text(short + names)
        output = f"run-{recipe}-{kernel}-{memory}"
        peak = peak_mb(folder, "train", "parts", "-o", output, "--settings", "settings.toml", "--quiet")
        rows.append(
            {"verb": "train", "kernel": kernel, "how": f"{recipe}, precision auto", "memory": memory, "peak_mb": peak}
        )
    return rows


def pictures(folder: Path, number: int, size: tuple[int, int], brighter: int = 0) -> None:
    """Noise, in `bad` ones with a brighter square."""
    folder.mkdir(parents=True)
    for index in range(number):
        image = np.random.default_rng([brighter, index]).integers(60, 140, size, dtype=np.uint8)
        image[200:260, 100:160] += np.uint8(brighter)
        Image.fromarray(image).save(folder / f"{index}.png")


def peak_mb(folder: Path, *arguments: str) -> int:
    """Of the verb, which must end well."""
    done = subprocess.run(
        [sys.executable, "-c", VERB, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stderr.split("PEAK")[-1])


if __name__ == "__main__":
    main()
