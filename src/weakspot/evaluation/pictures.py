"""A report's pictures as data URIs: the picture made small, the heat as a see-through layer, the mask's outline.

Here is also the rule that chooses which pictures a report shows.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from weakspot.data.samples import Sample
from weakspot.errors import ImageError
from weakspot.evaluation.evaluate import ReadMask, Row
from weakspot.evaluation.localization import HeatMap, Mask, cells_of_mask
from weakspot.inspection.overlay import TURBO, strength

ReadPixels = Callable[[Sample], NDArray[np.uint8] | NDArray[np.uint16]]
MOST_SHOWN = 400  # pictures of the gallery
MOST_WORST = 8  # of the misses and of the false alarms shown large
CLOSEST = 4  # of the right decisions nearest to wrong, shown where there are no wrong ones
# Pixels of a picture in a gallery of many, in one of at most FEW, and of one shown large.
SMALL, MIDDLE, LARGE, SHEET = 256 * 256, 400 * 400, 680 * 680, 1000 * 1000
FEW = 200
OUTLINE = 260  # the outline is as thick as this part of the picture's mean side
MOST_BYTES = 10_000_000  # of all data URIs; the gallery ends where they are used up


@dataclass(frozen=True, kw_only=True)
class Layers:
    """One row's picture, heat and outline, all of the same shape on the page. `problem` says why there is none."""

    row: Row
    picture: str = ""
    heat: str = ""
    outline: str = ""
    problem: str = ""

    @property
    def bytes(self) -> int:
        """How much of the report it takes."""
        return len(self.picture) + len(self.heat) + len(self.outline)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a report shows of all rows, and what it left out."""

    misses: tuple[Layers, ...]
    false_alarms: tuple[Layers, ...]
    closest_bad: tuple[Layers, ...]
    closest_good: tuple[Layers, ...]
    gallery: tuple[Layers, ...]
    left_out: int


def select(rows: Sequence[Row], read_pixels: ReadPixels | None, read_mask: ReadMask | None) -> Selection:
    """The worst misses and false alarms large, the closest calls where there are none, and a gallery of the others.

    The gallery ends at MOST_SHOWN or MOST_BYTES. It takes wrong decisions first, then those for review, then bad
    pictures, then good ones by falling score.
    """
    falling = sorted(rows, key=lambda row: -row.inspection.raw_score)
    bad, good = [row for row in falling if row.sample.label], [row for row in falling if not row.sample.label]
    missed = [row for row in reversed(bad) if row.inspection.decision == "good"]
    alarms = [row for row in good if row.inspection.decision == "bad"]

    def large(chosen: list[Row]) -> tuple[Layers, ...]:
        return tuple(layers_of(row, read_pixels, read_mask, LARGE) for row in chosen)

    misses, false_alarms = large(missed[:MOST_WORST]), large(alarms[:MOST_WORST])
    closest_bad, closest_good = large([] if missed else bad[::-1][:CLOSEST]), large([] if alarms else good[:CLOSEST])
    left = MOST_BYTES - sum(item.bytes for item in (*misses, *false_alarms, *closest_bad, *closest_good))
    gallery = _gallery(sorted(falling, key=_interest), read_pixels, read_mask, left)
    return Selection(
        misses=misses,
        false_alarms=false_alarms,
        closest_bad=closest_bad,
        closest_good=closest_good,
        gallery=gallery,
        left_out=len(rows) - len(gallery),
    )


def layers_of(row: Row, read_pixels: ReadPixels | None, read_mask: ReadMask | None, area: int) -> Layers:
    """One row's picture, at most `area` pixels, and its layers. A picture that can no longer be read leaves a note."""
    if read_pixels is None:
        return Layers(row=row, problem="no picture: the report was made without access to the files")
    try:
        pixels = read_pixels(row.sample)
    except ImageError as error:
        return Layers(row=row, problem=str(error))
    small = _small(pixels, area)
    outline = _outline(row, read_mask, pixels.shape[0], pixels.shape[1], small.height, small.width)
    return Layers(row=row, picture=_jpeg(small), heat=heat_layer(row.inspection.heat_map), outline=outline)


def bare_picture(sample: Sample, read_pixels: ReadPixels | None) -> str:
    """A picture without layers, such as one of the training; empty where it cannot be read."""
    try:
        return _jpeg(_small(read_pixels(sample), SMALL)) if read_pixels else ""
    except ImageError:
        return ""


def sheet_picture(sheet: Path) -> str:
    """A contact sheet of drawn defects, as it lies in a run's folder."""
    with Image.open(sheet) as picture:
        return _jpeg(_small(np.asarray(picture), SHEET))


def as_8_bit(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Pixels for the eye, not for judging: 16 bit are stretched, since a 12-bit camera's would be near black."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    low, high = np.quantile(pixels, (0.001, 0.999))
    return np.asarray(np.clip((pixels - low) * (255 / max(high - low, 1)), 0, 255), dtype=np.uint8)


def heat_layer(heat: HeatMap) -> str:
    """The heat map (h, w) as `heat_png` has it, as a URI."""
    return _as_uri(heat_png(heat), "png")


def heat_png(heat: HeatMap) -> bytes:
    """The heat map (h, w) as a PNG of one pixel a cell, in the overlays' colours, as strong as there."""
    steps = np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    layer = Image.fromarray(steps)
    layer.putpalette(TURBO.tobytes())
    opacity = np.rint(255 * strength(np.arange(256) / 255)).astype(np.uint8)
    return _encoded(layer, "png", transparency=opacity.tobytes(), optimize=True)


def outline_layer(mask: Mask) -> str:
    """The mask's outline as a PNG of its size: a white line around it, a dark one around that, the defect bare."""
    thick = max(1, round(sqrt(mask.size) / OUTLINE))
    grown = [ndimage.binary_dilation(mask, iterations=steps * thick) for steps in (1, 2, 3)]
    layer = Image.fromarray((grown[1] & ~grown[0]) + 2 * (grown[2] & ~grown[1]).astype(np.uint8))
    layer.putpalette(bytes((0, 0, 0, 255, 255, 255, 0, 0, 0)))
    return _uri(layer, "png", transparency=bytes((0, 255, 150)), optimize=True)


def _gallery(
    rows: list[Row], read_pixels: ReadPixels | None, read_mask: ReadMask | None, most_bytes: int
) -> tuple[Layers, ...]:
    chosen: list[Layers] = []
    area = MIDDLE if len(rows) <= FEW else SMALL
    for row in rows[:MOST_SHOWN]:
        item = layers_of(row, read_pixels, read_mask, area)
        most_bytes -= item.bytes
        if most_bytes < 0:
            break
        chosen.append(item)
    return tuple(chosen)


def _interest(row: Row) -> int:
    """0 wrong, 1 for review, 2 bad, 3 good: the order in which a gallery fills."""
    decision, label = row.inspection.decision, row.sample.label
    return 1 if decision == "review" else 0 if (decision == "bad") != bool(label) else 3 - label


def _outline(row: Row, read_mask: ReadMask | None, height: int, width: int, to_height: int, to_width: int) -> str:
    if read_mask is None or row.sample.mask is None or not row.sample.label or row.mask_problem:
        return ""
    return outline_layer(cells_of_mask(read_mask(row.sample.mask, height, width), to_height, to_width))


def _small(pixels: NDArray[np.uint8] | NDArray[np.uint16], area: int) -> Image.Image:
    scale = min(1.0, sqrt(area / (pixels.shape[0] * pixels.shape[1])))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return Image.fromarray(as_8_bit(pixels)).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _jpeg(picture: Image.Image) -> str:
    return _uri(picture, "jpeg", quality=82, optimize=True)


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    return _as_uri(_encoded(picture, kind, **options), kind)


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _as_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"
