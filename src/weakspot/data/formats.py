"""What decoders of PNG, JPEG, TIFF and BMP share: recognition by content, limits, transparency, EXIF orientation.

They raise ImageError without the picture's name; `reading` adds it. Nothing here scales pixels by what they look like.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from weakspot.errors import ImageError

# The way out for a picture of too many pixels, where nobody puts another one in its place.
ALLOW_MORE = "raise max_megapixels under [read] in the training's --settings FILE.toml, which a model file keeps"
ALLOWED = "weakspot reads PNG, JPEG, BMP and TIFF"
SUFFIXES = {
    "PNG": (".png",), "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "BMP": (".bmp", ".dib"), "TIFF": (".tif", ".tiff"),
}  # fmt: skip
SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8", "JPEG"), (b"BM", "BMP"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),
)  # fmt: skip
OTHERS = (
    (b"GIF8", "a GIF"), (b"%PDF", "a PDF"), (b"%!PS", "an EPS"), (b"<", "a text (HTML, XML or SVG)"),
    (b"\0\0\1\0", "an ICO"), (b"PK\3\4", "a zip"), (b"\0\0\0\x0cjP", "a JPEG 2000"), (b"8BPS", "a Photoshop file"),
    (b"RIFF", "a WebP or other RIFF file"), (b"\x80\x04", "a pickle"),
)  # fmt: skip


@dataclass(frozen=True)
class Decoded:
    """Pixels as the file declares them.

    pixels: (H, W) or (H, W, 3), uint8 over its full range, or uint16 of which only `bits` may be used; bits: declared
    for each value; kind: "grey", "colour", "palette" or "bilevel"; orientation: EXIF 1 to 8, or None where the file
    has one that cannot be read.
    """

    pixels: np.ndarray
    bits: int
    kind: str
    orientation: int | None = None
    has_exif: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Banded:
    """The same of a picture whose rows are decoded as they are asked for, from the top: (rows, W) or (rows, W, 3)."""

    height: int
    width: int
    bits: int
    bands: Iterator[np.ndarray]
    has_exif: bool = False


def recognise(data: bytes) -> str:
    """The format by its first bytes, whatever the name says: "PNG", "JPEG", "BMP" or "TIFF"."""
    if not data:
        raise ImageError(f"the file is empty; {ALLOWED}: copy or export it again")
    for signature, kind in SIGNATURES:
        if data.startswith(signature):
            return kind
    start = data[:64].lstrip()
    found = next((what for signature, what in OTHERS if start.startswith(signature)), "not a picture of a known kind")
    raise ImageError(f"{found} (it begins with {data[:8].hex(' ')}); {ALLOWED}: export it as one of them")


def check_size(width: int, height: int, max_megapixels: float) -> None:
    """Refuse, before anything is decoded, a header that declares no pixels or too many."""
    if width < 1 or height < 1:
        raise ImageError(f"the header says {width} × {height} pixels; at least 1 × 1 is needed: export it again")
    if width * height > max_megapixels * 1e6:
        says = f"the header says {width} × {height} pixels ({width * height / 1e6:.0f} megapixels)"
        raise ImageError(f"{says}, allowed are {max_megapixels:g}; take a smaller picture, or {ALLOW_MORE}")


def check_content(stored: int, needed: int, most_shrunk: int) -> None:
    """Refuse, before memory is set aside for it, a picture that its few bytes cannot hold."""
    if stored * most_shrunk < needed:
        raise ImageError(f"cut short: {stored} bytes cannot hold what the header announces; copy it again")


def without_alpha(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 2 or 4) → (H, W) or (H, W, 3); ImageError unless every pixel is opaque: what is behind?"""
    alpha = pixels[..., -1]
    hidden = int(np.count_nonzero(alpha != np.iinfo(pixels.dtype).max))
    if hidden:
        raise ImageError(f"{hidden} of {alpha.size} pixels are transparent; save the picture without an alpha channel")
    return pixels[..., 0] if pixels.shape[-1] == 2 else pixels[..., :3]


def from_palette(indices: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(H, W) indices and (n, 3) colours → (H, W) where all colours are grey, else (H, W, 3)."""
    highest = int(indices.max())
    if highest >= len(colours):
        wrong = f"a pixel has colour number {highest}, but the palette holds {len(colours)}"
        raise ImageError(f"{wrong}; export it again as grey or RGB")
    grey = (colours == colours[:, :1]).all()
    return np.asarray((colours[:, 0] if grey else colours)[indices])


def exif_orientation(exif: bytes) -> int | None:
    """Orientation (1 to 8) from a TIFF-structured EXIF block; 1 where it has none, None where it cannot be read.

    Ours, since Pillow's reader takes what is broken for upright.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None or struct.unpack_from(f"{order}H", exif, 2)[0] != 42:
            return None
        start = struct.unpack_from(f"{order}I", exif, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", exif, start)[0]):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * entry)
            if tag == 0x0112:
                return int(value) if kind == 3 and count == 1 and 1 <= value <= 8 else None
    except struct.error:
        return None
    return 1
