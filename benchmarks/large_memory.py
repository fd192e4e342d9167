"""The largest resident memory of `weakspot inspect` on line-scan pictures, each time in a process of its own: with
overlays and heat maps, and all else as it is by default.

    python benchmarks/large_memory.py --json results/speed/large_memory.json
    python benchmarks/large_memory.py --json results/speed/large_memory.json --missing
    python benchmarks/tables.py

The second measures the rows alone that the record does not have yet. Pictures are made up, two of each kind, since the
next one is read while one is judged. Memory is no timing: other work on the machine does no harm.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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

SMALL, LARGE = (4000, 8000), (8000, 16000)  # height, width of pictures, pixels
SIZES = (500, 1000), (2000, 4000), (4000, 8000)  # at which the detector looks
ODD = (2100, 4100), (2500, 5000)  # no whole number of cells
UNTILED = 1390, 2790  # the largest that is still computed whole
ROWS = 16  # of a strip
Row = tuple[tuple[int, int], str, tuple[int, int]]  # of a picture its size and file, and the detector's size


@dataclass(frozen=True)
class File:
    """How pictures are written."""

    png: bool = False
    one_strip: bool = False
    bits: int = 8
    noise: bool = False  # of a sensor: such a PNG is nearly as large as its pixels


FILES = {
    "TIFF in strips": File(),
    "PNG": File(png=True),
    "TIFF of 16 bits in one strip": File(one_strip=True, bits=16),
    "PNG with noise": File(png=True, noise=True),
    "PNG of 16 bits with noise": File(png=True, bits=16, noise=True),
}
ALL: tuple[Row, ...] = (
    *product((SMALL, LARGE), ("TIFF in strips", "PNG"), SIZES),
    *product((SMALL,), ("TIFF in strips",), (*ODD, UNTILED)),
    *product((LARGE,), ("TIFF of 16 bits in one strip", "PNG with noise", "PNG of 16 bits with noise"), SIZES[:1]),
)


def main() -> None:
    """Measure, print a row for each, write them as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", nargs="+", type=size_of, help="HEIGHTxWIDTH, pixels, of rows other than usual")
    parser.add_argument("--files", nargs="+", choices=FILES, default=list(FILES), help="of those rows")
    parser.add_argument("--size", nargs="+", type=size_of, default=SIZES, help="of their detector, HEIGHTxWIDTH")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--missing", action="store_true", help="keep what --json has, and measure the other rows alone")
    asked = parser.parse_args()
    wanted = ALL if asked.pictures is None else tuple(product(asked.pictures, asked.files, asked.size))
    kept = json.loads(asked.json.read_text())["peaks"] if asked.missing and asked.json.exists() else []
    found: dict[Row, int] = {_row(each): each["peak_mb"] for each in kept}
    with TemporaryDirectory() as name:
        for row in wanted:
            if row not in found:
                found[row] = measured(Path(name), row)
                print(*row, found[row], flush=True)
                if asked.json:
                    write(asked.json, {each: found[each] for each in (*wanted, *found) if each in found})


def _row(plain: dict[str, Any]) -> Row:
    return tuple(plain["picture"]), plain["file"], tuple(plain["size"])


def write(path: Path, found: dict[Row, int]) -> None:
    """The record, in the order of the rows."""
    peaks = [{"picture": a, "file": b, "size": c, "peak_mb": peak_mb} for (a, b, c), peak_mb in found.items()]
    record = {"machine": {"processor": machine.processor()}, "peaks": peaks}
    path.write_text(json.dumps(record, indent=1) + "\n")


def measured(folder: Path, row: Row) -> int:
    """The peak of a row, megabytes."""
    picture, file, size = row
    write_pictures(folder / "new", picture, FILES[file])
    return peak(folder, picture, size)


def peak(folder: Path, picture: tuple[int, int], size: tuple[int, int]) -> int:
    """Of one inspection of what lies in `new`, megabytes."""
    write_detector(folder / "part.weakspot", picture, size)
    maps = "--overlays", "--heat-maps"
    return peak_mb(folder, "inspect", "part.weakspot", "new", "-o", "out", *maps, "--overwrite", "--quiet")


def write_pictures(folder: Path, size: tuple[int, int], file: File) -> None:
    """Two grey ones of coarse noise, in place of those that lie there."""
    folder.mkdir(exist_ok=True)
    for before in folder.iterdir():
        before.unlink()
    for number in range(2):
        rng, kind = np.random.default_rng(number), np.dtype(f"u{file.bits // 8}")
        step = 1 if file.bits == 8 else 200
        coarse = rng.integers(60 * step, 200 * step, (-(-size[0] // 8), -(-size[1] // 8)), kind)
        pixels = coarse.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
        if file.noise:
            pixels += rng.integers(0, 40 * step, size, kind)
        if file.png:
            Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=1)
        else:
            tifffile.imwrite(folder / f"{number}.tif", pixels, rowsperstrip=size[0] if file.one_strip else ROWS)


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
