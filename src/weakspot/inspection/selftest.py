"""The picture that a model file carries to test itself: already at the detector's size, kept as PNG without loss."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakspot.settings import Size

# signature, then the header chunk: width, height, bits, colour type, and three methods
_PNG_START = struct.Struct(">8sI4sIIBBBBB")
_COLOUR_TYPES = {1: 0, 3: 2}  # by channels: grey, RGB


def encode_selftest(image: NDArray[Any]) -> bytes:
    """(C, h, w) uint8 or uint16, C 1 or 3, as `fit_image` gives it → PNG."""
    from imagecodecs import png_encode

    assert image.shape[0] in (1, 3), image.shape
    assert image.dtype in (np.uint8, np.uint16), image.dtype
    rows = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    return bytes(png_encode(np.ascontiguousarray(rows)))


def decode_selftest(png: bytes, size: Size, channels: int, bit_depth: int) -> NDArray[Any]:
    """PNG → (C, h, w) uint8 or uint16. Raises ValueError unless its header tells of that size and depth."""
    from imagecodecs import png_decode

    check_selftest(png, size, channels, bit_depth)
    try:
        pixels = np.asarray(png_decode(png))
    except RuntimeError as error:  # imagecodecs' own errors are of this kind
        raise ValueError(f"the self-test picture cannot be decoded ({error})") from None
    return np.ascontiguousarray(pixels.reshape(*size, channels).transpose(2, 0, 1))


def check_selftest(png: bytes, size: Size, channels: int, bit_depth: int) -> None:
    """Whether a PNG's header tells of this size, these channels and this depth. Raises ValueError."""
    height, width = size
    expected = (b"\x89PNG\r\n\x1a\n", 13, b"IHDR", width, height, bit_depth, _COLOUR_TYPES[channels], 0, 0, 0)
    if len(png) < _PNG_START.size or _PNG_START.unpack_from(png) != expected:
        raise ValueError("the self-test picture is not of the detector's size and depth")
