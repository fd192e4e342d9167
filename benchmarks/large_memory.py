"""The largest resident memory of `weakspot inspect` on line-scan pictures, each time in a process of its own: with
overlays and heat maps, and all else as it is by default.

    python benchmarks/large_memory.py --json results/speed/large_memory.json
    python benchmarks/tables.py

Pictures are made up, two of each kind, since the next one is read while one is judged. Memory is no timing: other work
on the machine does no harm.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import machine
import numpy as np
import tifffile
import torch
from memory import peak_mb
from PIL import Image
from speed import size_of
from work import Setting, model_file

from weakspot.inspection.manifest import ImageSizes
from weakspot.inspection.model_file import write_model_file
from weakspot.jobs.recipes import recipe
from weakspot.network.detector import Detector
from weakspot.settings import ReadSettings, TrainSettings
from weakspot.training.export import export_graph

PICTURES = (4000, 8000), (8000, 16000)  # height, width, pixels
SIZES = (500, 1000), (2000, 4000), (4000, 8000)  # at which the detector looks
ROWS = 16  # of a strip


def main() -> None:
    """Measure, print a row for each, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", nargs="+", type=size_of, default=PICTURES, help="HEIGHTxWIDTH, pixels")
    parser.add_argument("--size", nargs="+", type=size_of, default=SIZES, help="of the detector, HEIGHTxWIDTH, pixels")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        for picture in asked.pictures:
            for form in ("TIFF in strips", "PNG"):
                write_pictures(folder / "new", picture, form)
                for size in asked.size:
                    rows.append(
                        {"picture": picture, "file": form, "size": size, "peak_mb": peak(folder, picture, size)}
                    )
                    print(rows[-1], flush=True)
    if asked.json:
        record = {"machine": {"processor": machine.processor()}, "peaks": rows}
        asked.json.write_text(json.dumps(record, indent=1) + "\n")


def peak(folder: Path, picture: tuple[int, int], size: tuple[int, int]) -> int:
    """Of one inspection of what lies in `new`, megabytes."""
    write_detector(folder / "part.weakspot", picture, size)
    maps = "--overlays", "--heat-maps"
    return peak_mb(folder, "inspect", "part.weakspot", "new", "-o", "out", *maps, "--overwrite", "--quiet")


def write_pictures(folder: Path, size: tuple[int, int], form: str) -> None:
    """Two 8-bit grey ones of coarse noise, in place of those that lie there."""
    folder.mkdir(exist_ok=True)
    for before in folder.iterdir():
        before.unlink()
    for number in range(2):
        coarse = np.random.default_rng(number).integers(60, 200, (-(-size[0] // 8), -(-size[1] // 8)), np.uint8)
        pixels = coarse.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
        if form == "PNG":
            Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=1)
        else:
            tifffile.imwrite(folder / f"{number}.tif", pixels, rowsperstrip=ROWS)


def write_detector(path: Path, picture: tuple[int, int], size: tuple[int, int]) -> None:
    """The network of `sharp` with random weights, which takes such pictures."""
    torch.manual_seed(0)
    settings = replace(recipe(TrainSettings(), channels=1).network, normalization="picture")
    network = Detector(settings, mean=128, std=60).eval()
    model = model_file(Setting(size, 1))
    about = {
        "network": asdict(settings),
        "image_sizes": ImageSizes(min=picture, max=picture),
        "read": ReadSettings(max_megapixels=200),
    }
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    graph = export_graph(network, 128, 128, 8)
    write_model_file(
        path, replace(model, graph=graph, weights=weights, manifest=model.manifest.model_copy(update=about))
    )


if __name__ == "__main__":
    main()
