"""PNG → pixels. Every checksum is verified, and only what makes pixels reaches a decoder: no text, profile or time.

imagecodecs (libpng) decodes, because it reads 16-bit colour as it is and refuses a stream that is short or damaged,
whatever another library in this process has set (Pillow's LOAD_TRUNCATED_IMAGES is global, and Pillow cuts 16-bit
colour to 8).
"""

import struct
import zlib

import imagecodecs
import numpy as np

from weakspot.data.formats import Decoded, check_content, check_size, exif_orientation, from_palette, without_alpha
from weakspot.errors import ImageError, amount, shown

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
MOST_SHRUNK = 1050  # deflate holds at most 1032 bytes for each of its own
MOST_CHUNKS = 200_000
MOST_TEXT = 16 << 20  # bytes that a file's texts and profiles may inflate to, all together
Chunks = dict[bytes, list[memoryview]]


def decode_png(data: bytes, max_megapixels: float) -> Decoded:
    """A whole PNG with one frame; ImageError says what else it is."""
    chunks, end = _chunks(data)
    width, height, depth, colour = _header(chunks)
    check_size(width, height, max_megapixels)
    check_content(sum(map(len, chunks[b"IDAT"])), height * ((width * depth * SAMPLES[colour] + 7) // 8), MOST_SHRUNK)
    _refuse_animation(chunks)
    _refuse_bombs(chunks)
    if colour == PALETTE:
        pixels = _palette_pixels(chunks, depth)
    else:
        plain = end == len(data) and chunks.keys() == {b"IHDR", b"IDAT", b"IEND"}
        pixels = np.asarray(imagecodecs.png_decode(data if plain else _stream(chunks, colour)))
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        pixels = without_alpha(pixels)
    exif = bytes(chunks[b"eXIf"][0]) if b"eXIf" in chunks else b""
    orientation = exif_orientation(exif) if exif else 1
    kind = "palette" if colour == PALETTE else "bilevel" if depth == 1 else "grey" if pixels.ndim == 2 else "colour"
    trailing = len(data) - end
    remarks = [f"{amount(trailing, 'byte')} after the picture's end ignored"] if trailing else []
    return Decoded(pixels, depth, kind, orientation, bool(exif), remarks)


def _chunks(data: bytes) -> tuple[Chunks, int]:
    """Chunks by type, and where the picture ends. Refuses a wrong checksum, a cut, and a file without its end."""
    view, position, chunks = memoryview(data), len(SIGNATURE), Chunks()
    for _ in range(MOST_CHUNKS):
        if position + 12 > len(data):
            raise ImageError(f"cut short after {len(data)} bytes, its end is missing; copy it again")
        length, name = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if body + length + 4 > len(data):
            there = max(0, len(data) - body - 4)
            raise ImageError(f"cut short: a part of {length} bytes is announced, {there} are there; copy it again")
        if zlib.crc32(view[position + 4 : body + length]) != struct.unpack_from(">I", data, body + length)[0]:
            raise ImageError(
                f"damaged: the checksum of its part {shown(name.decode('latin-1'))} is wrong; copy it again"
            )
        chunks.setdefault(name, []).append(view[body : body + length])
        position = body + length + 4
        if name == b"IEND":
            return chunks, position
    raise ImageError(f"more than {MOST_CHUNKS} parts; export it again")


def _header(chunks: Chunks) -> tuple[int, int, int, int]:
    """Width, height, bits per value and colour type, all checked against what PNG allows."""
    sizes = [len(body) for body in chunks.get(b"IHDR", [])]
    if next(iter(chunks)) != b"IHDR" or sizes != [13] or b"IDAT" not in chunks:
        raise ImageError("damaged: its header or its pixels are missing; export it again")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"][0])
    if depth not in DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        says = f"its header says depth {depth}, colour type {colour}, which PNG does not have"
        raise ImageError(f"damaged: {says}; export it again")
    unknown = [name for name in chunks if not name[0] & 0x20 and name not in (b"IHDR", b"PLTE", b"IDAT", b"IEND")]
    if unknown:
        raise ImageError(
            f"needs a part that PNG does not define ({shown(unknown[0].decode('latin-1'))}); export it again"
        )
    return width, height, depth, colour


def _refuse_animation(chunks: Chunks) -> None:
    if b"acTL" in chunks and len(chunks[b"acTL"][0]) == 8:
        frames = struct.unpack_from(">I", chunks[b"acTL"][0])[0]
        if frames > 1:
            needed = "one picture a file is needed"
            raise ImageError(f"an animation of {frames} frames; {needed}: export the frame that counts")


def _refuse_bombs(chunks: Chunks) -> None:
    """Raise ImageError where texts and profiles inflate without end: no decoder gets them, but it shows what came."""
    left = MOST_TEXT
    for name in (b"zTXt", b"iCCP", b"iTXt"):
        for body in chunks.get(name, []):
            inflater = zlib.decompressobj()
            try:
                left -= len(inflater.decompress(_compressed(name, bytes(body)), left + 1))
            except zlib.error:
                continue
            if left < 0:
                found = f"its texts or colour profile inflate to more than {MOST_TEXT >> 20} MB"
                raise ImageError(f"{found}; export it again without metadata")


def _compressed(name: bytes, body: bytes) -> bytes:
    """What follows the keyword and the method's byte; in iTXt a flag comes first, and two more texts stand between."""
    rest = body.partition(b"\0")[2]
    if name != b"iTXt":
        return rest[1:]
    return rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""


def _stream(chunks: Chunks, colour: int) -> bytes:
    """The smallest PNG with the same pixels, decoded as colour type `colour`; put together once, as it may be large."""
    header = bytearray(chunks[b"IHDR"][0])
    header[9] = colour
    parts: list[tuple[bytes, bytes | memoryview]] = [(b"IHDR", bytes(header))]
    if colour in (GREY, RGB) and chunks[b"IHDR"][0][9] == colour:
        parts += [(b"tRNS", body) for body in chunks.get(b"tRNS", [])[:1]]
    parts += [*((b"IDAT", body) for body in chunks[b"IDAT"]), (b"IEND", b"")]
    return b"".join([SIGNATURE, *(piece for name, body in parts for piece in _chunk(name, body))])


def _chunk(name: bytes, body: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
    return struct.pack(">I", len(body)), name, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def _palette_pixels(chunks: Chunks, depth: int) -> np.ndarray:
    """Indices, read as if they were grey, → colours. Grey of few bits comes times 255 / (2^depth − 1)."""
    indices = np.asarray(imagecodecs.png_decode(_stream(chunks, GREY))) // (255 // ((1 << depth) - 1))
    plte = bytes(chunks[b"PLTE"][0]) if b"PLTE" in chunks else b""
    colours = np.frombuffer(plte[: len(plte) // 3 * 3], np.uint8).reshape(-1, 3)
    pixels = from_palette(indices, colours)
    if b"tRNS" in chunks:
        alpha = np.full(256, 255, np.uint8)
        given = np.frombuffer(bytes(chunks[b"tRNS"][0])[:256], np.uint8)
        alpha[: len(given)] = given
        without_alpha(np.stack([indices, alpha[indices]], axis=-1))
    return pixels
