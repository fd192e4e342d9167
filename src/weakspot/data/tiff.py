"""TIFF → pixels: one page, grey, palette or RGB, 1 to 16 bits, uncompressed or compressed without loss.

Everything is checked against the file's own length before a pixel is decoded: tifffile fills strips that are missing
with zeros. tifffile decodes; LZW and CCITT go through libtiff, for imagecodecs' own LZW decoder can bring the process
down on damaged data (about 1 in 25,000 such strips, in version 2026.3.6).
"""

import io
import math
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np
import tifffile

from weakspot.data.formats import Banded, Decoded, check_content, check_size, from_palette, without_alpha
from weakspot.errors import ImageError

CCITT, LZW, DEFLATE, PACKBITS = (2, 3, 4), 5, (8, 32946), 32773
COMPRESSIONS = (1, *CCITT, LZW, *DEFLATE, PACKBITS)  # 1: none
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = 0, 1, 2, 3
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
MOST_SEGMENTS = 200_000
MOST_SHRUNK = 1500  # no LZW, deflate or PackBits stream holds more bytes for each of its own
BAND = 1 << 23  # bytes of decoded rows that are handed on together, at least
WAY_OUT = "save it as a TIFF or PNG of 8 or 16 bits, grey or RGB"


def decode_tiff(data: bytes, max_megapixels: float) -> Decoded:
    """A whole TIFF with one page; ImageError says what else it is."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if not isinstance(page, tifffile.TiffPage):
            raise ImageError(f"damaged: its first page cannot be read; {WAY_OUT}")
        _refuse_more_pages(lambda place, count: data[place : place + count], len(data), file, page)
        check_size(page.imagewidth, page.imagelength, max_megapixels)
        _check_kind(page)
        _check_segments(page, len(data))
        values = np.asarray(imagecodecs.tiff_decode(data) if page.compression in (*CCITT, LZW) else page.asarray())
        pixels, kind = _as_pixels(page, values, page.imagelength)
        orientation = page.tags.valueof(274, 1)
    valid = isinstance(orientation, int) and 1 <= orientation <= 8
    orientation = int(orientation) if valid else None
    return Decoded(np.ascontiguousarray(pixels), page.bitspersample, kind, orientation, 274 in page.tags)


def tiff_bands(file: BinaryIO, length: int, max_megapixels: float) -> Banded | None:
    """The same picture, its strips read and decoded as they are asked for; None where it must be decoded whole.

    file: stays open for as long as bands are asked for; length: bytes. Raises ImageError, from the bands too.
    """
    file.seek(0)
    tiff = tifffile.TiffFile(file, name="tiff")  # its own is a number, which tifffile cannot take
    page = tiff.pages.first
    assert isinstance(page, tifffile.TiffPage), page
    _refuse_more_pages(lambda place, count: _at(file, place, count), length, tiff, page)
    check_size(page.imagewidth, page.imagelength, max_megapixels)
    _check_kind(page)
    _check_segments(page, length)
    turned, planes = page.tags.valueof(274, 1) != 1, page.planarconfig == 2 and page.samplesperpixel > 1
    if page.is_tiled or turned or planes or page.compression in (*CCITT, LZW) or page.photometric == PALETTE:
        return None
    bands = _bands(file, page)
    return Banded(page.imagelength, page.imagewidth, page.bitspersample, bands, 274 in page.tags)


def _bands(file: BinaryIO, page: tifffile.TiffPage) -> Iterator[np.ndarray]:
    """Rows in order, several strips together where they are small."""
    waiting: list[np.ndarray] = []
    held = 0  # bytes of them
    for rows in _strips(file, page):
        waiting.append(rows)
        held += rows.nbytes
        if held >= BAND:
            yield np.concatenate(waiting)
            waiting, held = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _strips(file: BinaryIO, page: tifffile.TiffPage) -> Iterator[np.ndarray]:
    """Rows of each strip; of one that is stored as it is, no more than a band at a time: it may be all of a picture."""
    stored = page.bitspersample in (8, 16) and page.compression == page.predictor == page.fillorder == 1
    row = page.imagewidth * page.samplesperpixel * page.bitspersample // 8  # bytes
    strip = page.rowsperstrip or page.imagelength
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        rows = min(strip, page.imagelength - index * strip)
        if not stored or count < rows * row:
            values, _, shape = page.decode(_at(file, offset, count), index)
            yield _as_pixels(page, np.asarray(values), shape[1])[0]
            continue
        step = max(1, BAND // row)
        for top in range(0, rows, step):
            some = min(step, rows - top)
            kind = np.dtype(f"{page.parent.byteorder}u{page.bitspersample // 8}")
            values = np.frombuffer(_at(file, offset + top * row, some * row), kind)
            yield _as_pixels(page, values.astype(kind.newbyteorder("="), copy=False), some)[0]


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _refuse_more_pages(
    at: Callable[[int, int], bytes], length: int, file: tifffile.TiffFile, page: tifffile.TiffPage
) -> None:
    """Read where the next page is said to lie, and go no further: a chain of pages may be endless.

    at: so many bytes from a place on; length: of the file.
    """
    form = file.tiff
    count = struct.unpack(form.tagnoformat, at(page.offset, form.tagnosize))[0]
    place = page.offset + form.tagnosize + count * form.tagsize
    if place + form.offsetsize > length:
        raise ImageError("cut short: the list of its tags is incomplete; copy it again")
    following = struct.unpack(form.offsetformat, at(place, form.offsetsize))[0]
    if following == page.offset:
        raise ImageError("damaged: its page list runs in a circle; export it again")
    if following:
        raise ImageError("more than one page; one picture a file is needed: export the page that counts")


def _check_kind(page: tifffile.TiffPage) -> None:
    if page.compression not in COMPRESSIONS:
        compression = getattr(page.compression, "name", page.compression)
        raise ImageError(f"a TIFF compressed with {compression}; save it uncompressed, or with LZW or deflate")
    if page.sampleformat != UNSIGNED or not 1 <= page.bitspersample <= 16:
        kind = {SIGNED: "signed", FLOAT: "floating-point"}.get(page.sampleformat, "unsigned")  # no range is declared
        raise ImageError(f"a TIFF of {page.bitspersample}-bit {kind} numbers; {WAY_OUT}")
    if page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE):
        space = getattr(page.photometric, "name", page.photometric)
        raise ImageError(f"a TIFF in the colour space {space}; {WAY_OUT}")
    allowed = {RGB: (3, 4), PALETTE: (1,)}.get(page.photometric, (1, 2))
    if page.imagedepth != 1 or page.samplesperpixel not in allowed:
        raise ImageError(f"a TIFF of {page.samplesperpixel} channels and depth {page.imagedepth}; {WAY_OUT}")


def _check_segments(page: tifffile.TiffPage, length: int) -> None:
    """Every strip or tile must be listed and lie inside the file."""
    strip = min(page.rowsperstrip or page.imagelength, page.imagelength), page.imagewidth
    tile = (page.tilelength, page.tilewidth) if page.is_tiled else strip
    if min(tile) < 1:
        raise ImageError(f"damaged: strips or tiles of {tile[0]} × {tile[1]} pixels; {WAY_OUT}")
    needed = math.ceil(page.imagelength / tile[0]) * math.ceil(page.imagewidth / tile[1])
    needed *= page.samplesperpixel if page.planarconfig == 2 else 1
    if len(page.dataoffsets) != needed or len(page.databytecounts) != needed or needed > MOST_SEGMENTS:
        listed = f"{needed} strips or tiles are needed, {len(page.dataoffsets)} are listed"
        raise ImageError(f"damaged: {listed}; export it again")
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if offset < 8 or count < 1 or offset + count > length:
            raise ImageError(f"cut short: a strip of {count} bytes at {offset}, in a file of {length}; copy it again")
    if page.compression not in CCITT:  # a row of a white fax takes a single bit, however long it is
        shrunk = 1 if page.compression == 1 else MOST_SHRUNK
        check_content(sum(page.databytecounts), _stored_bytes(page, tile, needed), shrunk)


def _stored_bytes(page: tifffile.TiffPage, tile: tuple[int, int], segments: int) -> int:
    samples = 1 if page.planarconfig == 2 else page.samplesperpixel
    row = (tile[1] * samples * page.bitspersample + 7) // 8
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    return int(row * tile[0] * segments if page.is_tiled else row * page.imagelength * planes)


def _as_pixels(page: tifffile.TiffPage, values: np.ndarray, rows: int) -> tuple[np.ndarray, str]:
    """tifffile's array of so many rows → (rows, W) or (rows, W, 3) at full range; 9 to 15 bits stay as they are."""
    bits, samples = page.bitspersample, page.samplesperpixel
    if page.planarconfig == 2 and samples > 1:
        values = np.moveaxis(values, 0, -1)
    if page.photometric == PALETTE:
        if page.colormap is None:
            raise ImageError(f"damaged: its palette is missing; {WAY_OUT}")
        colours = (np.asarray(page.colormap).T >> 8).astype(np.uint8)  # 16 bits each, made from 8
        return from_palette(values.reshape(rows, page.imagewidth).astype(np.intp), colours), "palette"
    pixels = _spread(values.reshape(rows, page.imagewidth, samples), bits)
    pixels = without_alpha(pixels) if samples in (2, 4) else pixels[..., 0] if samples == 1 else pixels
    if page.photometric == WHITE_IS_ZERO:
        pixels = pixels.dtype.type(255 if bits <= 8 else (1 << bits) - 1) - pixels
    return pixels, "bilevel" if bits == 1 else "grey" if pixels.ndim == 2 else "colour"


def _spread(values: np.ndarray, bits: int) -> np.ndarray:
    """Values of 1 to 7 bits over the whole of uint8; others unchanged."""
    if values.dtype == np.bool_ or bits < 8:
        return (values.astype(np.uint16) * 255 // ((1 << bits) - 1)).astype(np.uint8)
    return values
