"""PNG → pixels. Every chunk's checksum is verified, and only the chunks that make pixels reach a decoder: text,
profiles and times are dropped.

imagecodecs (libpng) decodes, because it reads 16-bit colour as it is and refuses a stream that is short or damaged,
whatever another library in this process has set (Pillow's LOAD_TRUNCATED_IMAGES is global, and Pillow cuts 16-bit
colour to 8).
"""

import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np

from weakspot.data.formats import Decoded, check_content, check_size, exif_orientation, from_palette, without_alpha
from weakspot.errors import ImageError

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
        pixels = np.asarray(imagecodecs.png_decode(_stream(chunks, colour)))
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        pixels = without_alpha(pixels)
    exif = bytes(chunks[b"eXIf"][0]) if b"eXIf" in chunks else b""
    orientation = exif_orientation(exif) if exif else 1
    kind = "palette" if colour == PALETTE else "bilevel" if depth == 1 else "grey" if pixels.ndim == 2 else "colour"
    return Decoded(pixels, depth, kind, orientation, bool(exif), _remarks(len(data) - end))


def _chunks(data: bytes) -> tuple[Chunks, int]:
    """Chunks by type, and where the picture ends. Refuses a wrong checksum, a cut, and a file without its end."""
    view, position, chunks = memoryview(data), len(SIGNATURE), Chunks()
    for _ in range(MOST_CHUNKS):
        if position + 12 > len(data):
            raise ImageError(f"cut short after {len(data)} bytes, its end is missing; copy it again")
        length, name = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if body + length + 4 > len(data):
            raise ImageError(
                f"cut short: a part of {length} bytes is announced, {max(0, len(data) - body - 4)} are there; copy it again"
            )
        if zlib.crc32(view[position + 4 : body + length]) != struct.unpack_from(">I", data, body + length)[0]:
            raise ImageError(f"damaged: the checksum of its part {_printable(name)} is wrong; copy it again")
        chunks.setdefault(name, []).append(view[body : body + length])
        position = body + length + 4
        if name == b"IEND":
            return chunks, position
    raise ImageError(f"more than {MOST_CHUNKS} parts; export it again")


def _header(chunks: Chunks) -> tuple[int, int, int, int]:
    """Width, height, bits per value and colour type, all checked against what PNG allows."""
    if (
        next(iter(chunks)) != b"IHDR"
        or len(chunks[b"IHDR"]) != 1
        or len(chunks[b"IHDR"][0]) != 13
        or b"IDAT" not in chunks
    ):
        raise ImageError("damaged: its header or its pixels are missing; export it again")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"][0])
    if depth not in DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise ImageError(
            f"damaged: its header says depth {depth}, colour type {colour}, which PNG does not have; export it again"
        )
    unknown = [name for name in chunks if not name[0] & 0x20 and name not in (b"IHDR", b"PLTE", b"IDAT", b"IEND")]
    if unknown:
        raise ImageError(f"needs a part that PNG does not define ({_printable(unknown[0])}); export it again")
    return width, height, depth, colour


def _refuse_animation(chunks: Chunks) -> None:
    if b"acTL" in chunks and len(chunks[b"acTL"][0]) == 8:
        frames = struct.unpack_from(">I", chunks[b"acTL"][0])[0]
        if frames > 1:
            raise ImageError(
                f"an animation of {frames} frames; one picture a file is needed: export the frame that counts"
            )


def _refuse_bombs(chunks: Chunks) -> None:
    """Texts and profiles are never used, but one that inflates without end tells what the file is for."""
    left = MOST_TEXT
    for compressed in _compressed_texts(chunks):
        inflater = zlib.decompressobj()
        try:
            left -= len(inflater.decompress(compressed, left + 1))
        except zlib.error:
            continue
        if left < 0:
            raise ImageError(
                f"its texts or colour profile inflate to more than {MOST_TEXT >> 20} MB; export it again without metadata"
            )


def _compressed_texts(chunks: Chunks) -> Iterator[memoryview]:
    for name, header in ((b"zTXt", 1), (b"iCCP", 1), (b"iTXt", 2)):
        for body in chunks.get(name, []):
            start = bytes(body[:80]).find(b"\0") + 1 + header
            if name == b"iTXt":  # two more texts, each ended by a zero, stand before the compressed one
                if not (len(body) > start and body[start - 2]):
                    continue
                start = _after_zeros(bytes(body[: start + 1000]), start, 2)
            yield body[start:]


def _after_zeros(body: bytes, start: int, count: int) -> int:
    for _ in range(count):
        start = body.find(b"\0", start) + 1
    return start


def _stream(chunks: Chunks, colour: int) -> bytes:
    """The smallest PNG with the same pixels, decoded as colour type `colour`."""
    header = bytearray(chunks[b"IHDR"][0])
    header[9] = colour
    parts = [(b"IHDR", bytes(header))]
    if colour in (GREY, RGB) and chunks[b"IHDR"][0][9] == colour:
        parts += [(b"tRNS", bytes(body)) for body in chunks.get(b"tRNS", [])[:1]]
    parts += [(b"IDAT", b"".join(chunks[b"IDAT"])), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(name, body) for name, body in parts)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def _palette_pixels(chunks: Chunks, depth: int) -> np.ndarray:
    """Read as grey, a palette picture's values are its indices (times 255 / (2^depth − 1), as grey of few bits is
    spread)."""
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


def _remarks(trailing: int) -> list[str]:
    return [f"{trailing} bytes follow the picture's end; ignored"] if trailing else []


def _printable(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace") if name.isalpha() else repr(name)
