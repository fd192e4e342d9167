"""Pictures too large to be computed whole, looked at in tiles: heat and raw score as of the whole.

Tiles overlap by what a cell sees beyond itself, so that only the picture's own border is mirrored. The raw score is the
mean of the hottest cells of all of them.
"""

from collections.abc import Iterator
from math import ceil, isqrt
from typing import Any, NamedTuple

import numpy as np

from weakspot.errors import ModelFileError, SettingsError, quoted, shown
from weakspot.inspection.heat_graph import HeatGraph, heat_graph, with_graph
from weakspot.inspection.ignore_mask import Cells, own_cells, pixels_of
from weakspot.inspection.inspection import HeatMap
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.runtimes import Answer, Memory, Pixels, Precision, Runtime, open_runtime
from weakspot.settings import CELL

MAX_MEMORY = 1000.0  # megabytes that an inspection may take where nothing else is said
WHOLE, TILE = 0.5, 0.25  # shares of it that a picture computed whole, and a tile, may take
SMALLEST_TILE = 128  # pixels a side; graphs are exported for any size from there on
_BAND = 256  # rows of a picture whose statistics are summed at a time


class Window(NamedTuple):
    """Pixels of one side that a tile is computed from, and those of them whose cells are taken.

    It begins with a cell; where the side is no whole number of cells, only the last window ends with one.
    """

    start: int
    stop: int
    kept_from: int
    kept_to: int


class TiledRuntime:
    """The model's heat in tiles, in fp32, and the raw score from its hottest cells. Usable from several threads.

    max_memory: megabytes; ignored: (⌈h/8⌉, ⌈w/8⌉) bool, cells that neither score nor show heat, beside those that the
    model ignores by itself. Raises SettingsError where the model's raw score is no function of the heat, or no cell is
    left.
    """

    precision: Precision = "fp32"

    def __init__(
        self,
        model: ModelFile,
        name: str = "auto",
        threads: int | None = None,
        memory: Memory = "fast",
        max_memory: float = MAX_MEMORY,
        ignored: Cells | None = None,
    ) -> None:
        self._own = own_cells(model)  # whose pixels are blanked, too
        self._ignored = _together(ignored, self._own)
        self._fractions = _fractions(model)
        self._cut, self._weights = heat_graph(model), model.weights
        self._tile = tile_size(model.manifest.size, self._cut, max_memory)
        self._runtime = open_runtime(with_graph(model, self._cut, self._tile), name, threads, "fp32", memory)
        self.name = self._runtime.name

    def run(self, images: Pixels) -> Answer:
        """(N, C, h, w) raw pixels → Answer."""
        logits = [self._logits(image) for image in images]
        scores = np.array([top_mean(each, self._fractions, self._ignored) for each in logits])
        heat = np.stack([(np.tanh(each / 2) + 1) / 2 for each in logits]).astype(np.float32)
        if self._ignored is not None:
            heat[:, self._ignored] = 0
        return Answer(scores, scores.copy(), heat)

    def _logits(self, image: Pixels) -> HeatMap:
        """One picture (C, h, w) → (⌈h/8⌉, ⌈w/8⌉)."""
        height, width = image.shape[1:]
        gone = None if self._own is None else pixels_of(self._own, (height, width))
        mean, deviation, own_mean = self._normalization(image, gone)
        logits = np.empty((-(-height // CELL), -(-width // CELL)), np.float32)
        for down in windows(height, self._tile[0], self._cut.margin):
            for across in windows(width, self._tile[1], self._cut.margin):
                place = slice(down.start, down.stop), slice(across.start, across.stop)
                tile = image[:, *place].astype(np.float32)
                if gone is not None:
                    tile[:, gone[place]] = own_mean
                heat = self._runtime.run(((tile - mean) / deviation)[None]).heat_map[0]
                logits[_cells(down, 0), _cells(across, 0)] = heat[
                    _cells(down, down.start), _cells(across, across.start)
                ]
        return logits

    def _normalization(self, image: Pixels, gone: Cells | None) -> tuple[np.float32, np.float32, float]:
        """Mean and deviation, raw units: the training's, or by a pass over the whole picture its own; and its own mean.

        gone: pixels (h, w) that count as if they had the mean of the others.
        """
        least, left = self._cut.least_deviation, len(image) * (image[0].size if gone is None else int((~gone).sum()))
        known = np.float32(self._weights["mean"]), np.float32(self._weights["std"])
        if not least and gone is None:
            return *known, 0.0
        mean = sum(float(band.sum(dtype=np.float64, where=where)) for band, where in _bands(image, gone)) / left
        squares = sum(float(np.square(band - mean).sum(where=where)) for band, where in _bands(image, gone))
        own = np.float32(mean), np.float32((squares / image.size) ** 0.5 + least)
        return *(own if least else known), mean


def _together(one: Cells | None, other: Cells | None) -> Cells | None:
    if one is None or other is None:
        return other if one is None else one
    if (one | other).all():
        raise SettingsError("--ignore: leaves nothing that the model does not ignore; give another mask, or none")
    return one | other


def open_first(model: ModelFile, name: str = "auto", threads: int | None = None) -> Runtime:
    """A runtime in fp32, the first one present for `auto`, within MAX_MEMORY: in tiles where inspection takes them."""
    if needs_tiles(model, MAX_MEMORY):
        return TiledRuntime(model, name, threads, max_memory=MAX_MEMORY)
    return open_runtime(model, name, threads)


def needs_tiles(model: ModelFile, max_memory: float) -> bool:
    """Whether a picture at the model's size takes too much of so many megabytes to be computed whole."""
    height, width = model.manifest.size
    if not can_be_tiled(model) or min(height, width) < SMALLEST_TILE:
        return False
    return height * width * heat_graph(model).bytes_a_pixel > WHOLE * max_memory * 1e6


def can_be_tiled(model: ModelFile) -> bool:
    """Whether the raw score is a function of the heat alone, of cells of the usual size, as in the recipe `sharp`."""
    network = model.manifest.network
    return bool(network.get("decision") == "heat" and network.get("body", "printed") in ("printed", "narrow"))


def tile_size(size: tuple[int, int], cut: HeatGraph, max_memory: float) -> tuple[int, int]:
    """Height and width of all tiles, pixels: all of a side, or what differs from it by whole cells.

    So they are all of one shape: a runtime keeps memory for each. max_memory: megabytes. Raises SettingsError where not
    even the smallest tile fits into them.
    """
    smallest = max(SMALLEST_TILE, 2 * cut.margin + 8 * CELL)
    least = [min(side, smallest + side % CELL) for side in size]
    pixels = int(min(TILE * max_memory * 1e6 / cut.bytes_a_pixel, size[0] * size[1]))  # it may be infinite
    if pixels < least[0] * least[1]:
        needed = least[0] * least[1] * cut.bytes_a_pixel / TILE / 1e6
        raise SettingsError(f"--max-memory {max_memory:g}: this detector needs at least {ceil(needed)} (megabytes)")
    width = _side(min(max(least[1], isqrt(pixels)), pixels // least[0]), size[1])
    height = _side(pixels // width, size[0])
    return height, _side(pixels // height, size[1])


def windows(length: int, tile: int, margin: int) -> Iterator[Window]:
    """Windows of `tile` pixels that cover a side; each kept pixel has its margin, or the picture's border.

    tile: differs from the length by whole cells; margin: in whole cells.
    """
    start = kept = 0
    while start + tile < length:
        kept_to = (start + tile - margin) // CELL * CELL
        yield Window(start, start + tile, kept, kept_to)
        kept, start = kept_to, min(kept_to - margin, length - tile)
    yield Window(start, length, kept, length)


def top_mean(logits: HeatMap, fractions: tuple[float, ...], ignored: Cells | None) -> float:
    """The mean of the hottest cells, averaged over the fractions; of those that are left where some are ignored."""
    values = np.sort((logits if ignored is None else logits[~ignored]).ravel())[::-1].astype(np.float64)
    counts = [int(np.ceil(np.float32(fraction) * np.float32(len(values)))) for fraction in fractions]
    return float(np.mean([values[:count].mean() for count in counts]))


def refuse_undivided(model: ModelFile, wish: str) -> None:
    """Raise SettingsError where the raw score is more than the heat's hottest cells."""
    if not can_be_tiled(model):
        found = f"model {shown(model.manifest.name)} decides by a network that looks at the whole heat at once"
        raise SettingsError(f"{wish}: {found}; train with --recipe sharp")


def _side(most: int, own: int) -> int:
    """The longest side of a tile up to so many pixels."""
    return own if most >= own else own - -(-(own - most) // CELL) * CELL


def _fractions(model: ModelFile) -> tuple[float, ...]:
    """The shares of cells whose means make the score. Raises ModelFileError where the manifest does not tell them."""
    found = model.manifest.network.get("top_fractions")
    numbers = found if isinstance(found, list | tuple) else ()
    if not numbers or not all(isinstance(each, int | float) and 0 < each <= 1 for each in numbers):
        told = f"model {shown(model.manifest.name)}: top_fractions are {quoted(found)}, not shares of its cells"
        raise ModelFileError(f"{told}; copy it again from where it was made, or train again")
    return tuple(numbers)


def _cells(window: Window, origin: int) -> slice:
    """The cells that are kept, counted from a pixel on."""
    return slice((window.kept_from - origin) // CELL, -(-(window.kept_to - origin) // CELL))


def _bands(image: Pixels, gone: Cells | None) -> Iterator[tuple[Pixels, Any]]:
    """Rows of a picture, and which of their pixels are left: all, or (rows, w)."""
    for top in range(0, image.shape[1], _BAND):
        yield image[:, top : top + _BAND], True if gone is None else ~gone[top : top + _BAND]
