"""BMP → pixels, uncompressed. Pillow decodes it once the file is as long as its header says."""

import io
import struct

import numpy as np
from PIL import BmpImagePlugin

from weakspot.data.formats import Decoded, check_size, from_palette, without_alpha
from weakspot.errors import ImageError

UNCOMPRESSED, BIT_FIELDS = 0, 3
WAY_OUT = "save it as PNG or as an uncompressed BMP of 8 or 24 bits"


def decode_bmp(data: bytes, max_megapixels: float) -> Decoded:
    """A whole, uncompressed BMP of 1 to 32 bits."""
    bits, colours = _check_header(data, max_megapixels)
    image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))  # the class: no other format can answer; the limit is ours
    pixels = np.asarray(image)
    if image.mode == "1":
        pixels = pixels.astype(np.uint8) * 255
    elif image.mode == "P":
        pixels = from_palette(pixels, np.array(image.getpalette(), np.uint8).reshape(-1, 3)[:colours])
    elif image.mode == "L" and bits <= 8 and int(pixels.max()) >= colours:
        raise ImageError(f"a pixel has colour number {pixels.max()}, but the palette holds {colours}; {WAY_OUT}")
    elif image.mode == "RGBA":
        pixels = without_alpha(pixels)
    kind = {"1": "bilevel", "P": "palette", "L": "grey"}.get(image.mode, "colour")
    return Decoded(np.ascontiguousarray(pixels), min(bits, 8), kind, 1)


def _check_header(data: bytes, max_megapixels: float) -> tuple[int, int]:
    """Bits per pixel and colours in the palette; refused unless all the pixels that the header declares are there."""
    if len(data) < 26:
        raise ImageError(f"cut short after {len(data)} bytes; copy it again")
    offset, header = struct.unpack_from("<II", data, 10)
    if header not in (12, 40, 52, 56, 64, 108, 124) or 14 + header > len(data):
        raise ImageError(f"damaged: a BMP header of {header} bytes; {WAY_OUT}")
    if header == 12:
        (width, height, _, bits), compression, used = struct.unpack_from("<HHHH", data, 18), UNCOMPRESSED, 0
    else:
        width, height, _, bits, compression, _, _, _, used = struct.unpack_from("<iiHHIIiiI", data, 18)
    check_size(width, abs(height), max_megapixels)
    if bits not in (1, 4, 8, 16, 24, 32) or compression not in (UNCOMPRESSED, BIT_FIELDS):
        raise ImageError(f"a BMP of {bits} bits with compression {compression}; {WAY_OUT}")
    needed = offset + (width * bits + 31) // 32 * 4 * abs(height)
    if needed > len(data):
        sizes = f"{needed} bytes are needed for {width} × {abs(height)} pixels, {len(data)} are there"
        raise ImageError(f"cut short: {sizes}; copy it again")
    return bits, min(used or 1 << bits, 1 << bits) if bits <= 8 else 0
