"""Heat over its picture, for people to look at, and the raw map as PNG.

The colours run from 0 to 1 on every picture alike, as the legend below it says, and are never stretched.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from weakspot.data.large import LONGEST
from weakspot.data.reading import fit_image
from weakspot.inspection.inspection import HeatMap, Inspection
from weakspot.settings import CELL, Size

Rgb = NDArray[np.uint8]  # (H, W, 3)
# Turbo (A. Mikhailov, 2019, Apache-2.0) at 33 places evenly spaced from end to end, sampled from matplotlib; straight
# lines between them stay within 3 of 255 of the original.
_TURBO = (
    "30123b 392a73 4040a2 4456c7 466be3 4680f6 4293ff 37a7fa 28bbec 1dccd9 18dcc3 "
    "1ee8b0 31f299 4cf97e 6bfe64 8aff4c a2fc3c b8f735 cced34 dee037 edd03a f7c03a "
    "fdad35 fe982c fb8022 f56818 ec520f e14109 d23105 c12302 ac1701 950d01 7a0403"
)
COLD, HOT = 0.4, 0.5  # heat up to which the picture stays as it is, and from which a place is coloured in full
OPACITY = 0.5  # of hot places


def colour(heat: NDArray[np.floating[Any]]) -> Rgb:
    """Heat in [0, 1] of any shape (…) → its colour (…, 3)."""
    knots = np.frombuffer(bytes.fromhex(_TURBO), np.uint8).reshape(-1, 3)
    places = np.linspace(0, 1, len(knots))
    return np.stack([np.interp(heat, places, knots[:, channel]).round() for channel in range(3)], axis=-1).astype(
        np.uint8
    )


def strength(heat: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Heat of any shape → how strongly it is coloured, 0 to 1."""
    return np.asarray(np.clip((heat - COLD) / (HOT - COLD), 0, 1))


TURBO = colour(np.linspace(0, 1, 256))  # (256, 3), for palettes


def render(pixels: NDArray[Any], inspection: Inspection) -> Rgb:
    """The picture with its heat, and below it a strip with decision, score and legend → (h + strip, w, 3).

    pixels: as read, (H, W) or (H, W, 3). A picture whose longer side exceeds LONGEST pixels is reduced to it.
    """
    scale = min(1.0, LONGEST / max(pixels.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    if scale < 1 and pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)  # before it is reduced, which would take 16 bits through float
    picture = fit_image(pixels, (height, width), 3, 8).transpose(1, 2, 0).astype(np.float32)
    heat = heat_on_picture(inspection.heat_map, height, width, inspection.seen)
    share = OPACITY * strength(heat)[..., None]
    blended = (picture + share * (colour(heat) - picture)).round().astype(np.uint8)
    texts = f"{inspection.decision} {inspection.score_text(3)}", inspection.decision
    return np.concatenate([blended, _strip(width, height, texts)])


def overlay_png(pixels: NDArray[Any], inspection: Inspection) -> bytes:
    """`render` as a PNG file."""
    return _png(Image.fromarray(render(pixels, inspection)))


def heat_map_png(heat_map: HeatMap) -> bytes:
    """The raw map (h, w), one pixel a cell, as a 16-bit grey PNG file: 0 is heat 0, 65535 is heat 1."""
    return _png(Image.fromarray((np.clip(heat_map, 0, 1) * 65535).round().astype(np.uint16)))


def heat_on_picture(heat_map: HeatMap, height: int, width: int, seen: Size | None = None) -> HeatMap:
    """The heat (h, w) on the picture's pixels (height, width), bilinearly. seen: as in `find_regions`."""
    down, across = (side / CELL for side in seen) if seen else heat_map.shape  # cells, the last of them maybe in part
    resized = Image.fromarray(np.ascontiguousarray(heat_map, np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR, (0, 0, across, down)
    )
    return np.clip(np.asarray(resized, np.float32), 0, 1)


def _strip(width: int, height: int, texts: tuple[str, ...]) -> Rgb:
    """The first of the texts for which there is room on the left, and the colour scale with its ends on the right."""
    size = int(np.clip(min(width, height) // 24, 11, 40))
    strip = Image.new("RGB", (width, 2 * size), "black")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size)
    left = min(width - 2 * size, max(width // 2, width - 12 * size))
    text = next((text for text in texts if draw.textlength(text, font) < left - 2 * size), "")
    if text:
        draw.text((size // 2, size), text, "white", font, anchor="lm")
    else:
        left = 2 * size
    scale = colour(np.linspace(0, 1, max(1, width - left - 2 * size)))
    strip.paste(Image.fromarray(np.repeat(scale[None], size, axis=0)), (left, size // 2))
    draw.text((left - size // 3, size), "0", "white", font, anchor="rm")
    draw.text((width - 2 * size + size // 3, size), "1", "white", font, anchor="lm")
    return np.asarray(strip)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
