"""A report's pictures as data URIs: the picture made small, the heat as a see-through layer, the mask's outline; and
the rule that chooses them."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from weakspot.data.samples import Sample
from weakspot.errors import ImageError
from weakspot.evaluation.evaluate import ReadMask, Row
from weakspot.evaluation.localization import HeatMap, Mask, cells_of_mask
from weakspot.inspection.overlay import TURBO

ReadPixels = Callable[[Sample], NDArray[np.uint8] | NDArray[np.uint16]]
MOST_SHOWN = 400  # pictures of the gallery
MOST_WORST = 8  # of the misses and of the false alarms shown large
CLOSEST = 4  # of the right decisions nearest to wrong, shown where there are no wrong ones
SMALL, MIDDLE, LARGE = (
    256 * 256,
    400 * 400,
    680 * 680,
)  # pixels of a picture in a gallery of many, of at most FEW, and of one shown large
FEW = 200
OUTLINE = 260  # the outline is as thick as this part of the picture's mean side
MOST_BYTES = 10_000_000  # of all data URIs; the gallery ends where they are used up
# heat from which a cell is coloured in full, as overlays have it; below it fades, so that a dark map leaves the picture
# bare
SEEN_FROM = 0.4


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One row and its layers, all of the same shape on the page. `problem` says why there is no picture."""

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

    misses: tuple[Shown, ...]
    false_alarms: tuple[Shown, ...]
    closest_bad: tuple[Shown, ...]
    closest_good: tuple[Shown, ...]
    gallery: tuple[Shown, ...]
    left_out: int


def select(rows: Sequence[Row], read_pixels: ReadPixels | None, read_mask: ReadMask | None) -> Selection:
    """The worst misses and false alarms large (or the closest calls, where there are none), and a gallery of at most
    MOST_SHOWN and MOST_BYTES.

    Of more pictures the gallery takes the wrong ones first, then those for review, then bad ones, then good ones by
    falling score.
    """
    falling = sorted(rows, key=lambda row: -row.inspection.raw_score)
    bad, good = [row for row in falling if row.sample.label], [row for row in falling if not row.sample.label]
    missed = [row for row in reversed(bad) if row.inspection.decision == "good"]
    alarms = [row for row in good if row.inspection.decision == "bad"]

    def large(chosen: list[Row]) -> tuple[Shown, ...]:
        return tuple(show(row, read_pixels, read_mask, LARGE) for row in chosen)

    worst = large(missed[:MOST_WORST]), large(alarms[:MOST_WORST])
    closest = large([] if missed else bad[::-1][:CLOSEST]), large([] if alarms else good[:CLOSEST])
    left = MOST_BYTES - sum(item.bytes for items in (*worst, *closest) for item in items)
    gallery = _gallery(sorted(falling, key=_interest), read_pixels, read_mask, left)
    return Selection(
        misses=worst[0],
        false_alarms=worst[1],
        closest_bad=closest[0],
        closest_good=closest[1],
        gallery=gallery,
        left_out=len(rows) - len(gallery),
    )


def show(row: Row, read_pixels: ReadPixels | None, read_mask: ReadMask | None, area: int) -> Shown:
    """One row's picture, at most `area` pixels, and its layers. A picture that can no longer be read leaves a note."""
    if read_pixels is None:
        return Shown(row=row, problem="no picture: the report was made without access to the files")
    try:
        pixels = read_pixels(row.sample)
    except ImageError as error:
        return Shown(row=row, problem=str(error))
    height, width = _fitted(pixels.shape[0], pixels.shape[1], area)
    small = Image.fromarray(as_8_bit(pixels)).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    outline = _outline(row, read_mask, pixels.shape[0], pixels.shape[1], height, width)
    return Shown(row=row, picture=_jpeg(small), heat=heat_layer(row.inspection.heat_map), outline=outline)


def as_8_bit(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Pixels for the eye, not for judging: 16 bit are stretched to the picture's own range, since a 12-bit camera's
    would be near black."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    low, high = np.quantile(pixels, (0.001, 0.999))
    return np.asarray(np.clip((pixels - low) * (255 / max(high - low, 1)), 0, 255), dtype=np.uint8)


def heat_layer(heat: HeatMap) -> str:
    """The heat map (h, w) as a PNG of one pixel a cell, in the overlays' colours on the fixed scale 0 to 1, fading out
    below SEEN_FROM."""
    steps = np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    layer = Image.fromarray(steps)
    layer.putpalette(TURBO.tobytes())
    opacity = np.rint(255 * np.clip(np.arange(256) / 255 / SEEN_FROM, 0, 1)).astype(np.uint8)
    return _uri(layer, "png", transparency=opacity.tobytes(), optimize=True)


def outline_layer(mask: Mask) -> str:
    """The mask's outline as a PNG of its size: a white line a little around it, a dark one around that; the defect
    itself stays bare."""
    thick = max(1, round(sqrt(mask.size) / OUTLINE))
    grown = [ndimage.binary_dilation(mask, iterations=steps * thick) for steps in (1, 2, 3)]
    layer = Image.fromarray((grown[1] & ~grown[0]) + 2 * (grown[2] & ~grown[1]).astype(np.uint8))
    layer.putpalette(bytes((0, 0, 0, 255, 255, 255, 0, 0, 0)))
    return _uri(layer, "png", transparency=bytes((0, 255, 150)), optimize=True)


def _gallery(
    rows: list[Row], read_pixels: ReadPixels | None, read_mask: ReadMask | None, most_bytes: int
) -> tuple[Shown, ...]:
    chosen: list[Shown] = []
    area = MIDDLE if len(rows) <= FEW else SMALL
    for row in rows[:MOST_SHOWN]:
        item = show(row, read_pixels, read_mask, area)
        most_bytes -= item.bytes
        if most_bytes < 0:
            break
        chosen.append(item)
    return tuple(chosen)


def _interest(row: Row) -> int:
    """0 wrong, 1 for review, 2 bad, 3 good: the order in which a gallery fills."""
    wrong = {(1, "good"): 0, (0, "bad"): 0}
    return wrong.get(
        (row.sample.label, row.inspection.decision), 1 if row.inspection.decision == "review" else 3 - row.sample.label
    )


def _outline(row: Row, read_mask: ReadMask | None, height: int, width: int, to_height: int, to_width: int) -> str:
    if read_mask is None or row.sample.mask is None or not row.sample.label or row.mask_problem:
        return ""
    return outline_layer(cells_of_mask(read_mask(row.sample.mask, height, width), to_height, to_width))


def _fitted(height: int, width: int, area: int) -> tuple[int, int]:
    scale = min(1.0, sqrt(area / (height * width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _jpeg(picture: Image.Image) -> str:
    return _uri(picture, "jpeg", quality=82, optimize=True)


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{b64encode(buffer.getvalue()).decode('ascii')}"
