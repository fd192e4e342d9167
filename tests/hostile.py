"""Hostile, broken and odd pictures as files arrive with them in a factory or from an attacker; each name says what must
become of it.

`refused_…`: an ImageError in one line, quickly and in little memory; `read_…`: pixels. Nobody's decoder is asked to
write what it would refuse: PNG and TIFF are put together byte by byte.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
SHORT, LONG = 3, 4  # TIFF's names for 2 and 4 bytes


def hostile_images() -> Iterator[tuple[str, bytes]]:
    """(file name, content) of every kind, the same on every run."""
    yield from _no_pictures()
    yield from _jpegs()
    yield from _pngs()
    yield from _tiffs()
    yield from _others()


def refused_images() -> Iterator[tuple[str, bytes]]:
    """Only those that must be refused."""
    return ((name, data) for name, data in hostile_images() if name.startswith("refused_"))


def png(
    width: int,
    height: int,
    depth: int = 8,
    colour: int = GREY,
    rows: bytes | None = None,
    *,
    idat: bytes | None = None,
    extra: bytes = b"",
    end: bool = True,
) -> bytes:
    """A PNG; rows: raw scan lines with their filter bytes (zeros if None); idat: the deflated rows instead; extra:
    chunks before the pixels."""
    rows = bytes((1 + (width * depth * CHANNELS[colour] + 7) // 8) * height) if rows is None and idat is None else rows
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows or b"") if idat is None else idat)
    return b"\x89PNG\r\n\x1a\n" + header + extra + body + (chunk(b"IEND", b"") if end else b"")


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tiff(
    width: int,
    height: int,
    bits: int,
    content: bytes,
    *,
    numbers: int = 1,
    compression: int = 1,
    photometric: int = 1,
    samples: int = 1,
    count: int | None = None,
    offset: int | None = None,
    following: int = 0,
) -> bytes:
    """A little-endian TIFF of one strip; numbers: 1 unsigned, 2 signed, 3 float; count, offset: what it claims of the
    strip; following: next page."""
    start = 8 + 2 + 12 * 10 + 4
    entries = [
        (256, LONG, width),
        (257, LONG, height),
        (258, SHORT, bits),
        (259, SHORT, compression),
        (262, SHORT, photometric),
        (273, LONG, start if offset is None else offset),
        (277, SHORT, samples),
        (278, LONG, height),
        (279, LONG, len(content) if count is None else count),
        (339, SHORT, numbers),
    ]
    directory = b"".join(struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", following) + content


def zeros_deflated(count: int) -> bytes:
    """`count` zero bytes, deflated about a thousandfold without ever being held."""
    deflater, parts = zlib.compressobj(9), []
    for start in range(0, count, 1 << 20):
        parts.append(deflater.compress(bytes(min(1 << 20, count - start))))
    return b"".join(parts) + deflater.flush()


def encoded(pixels: np.ndarray, form: str, **options: object) -> bytes:
    """Pixels as a file of Pillow's format `form`."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def surface(height: int = 120, width: int = 96, channels: int = 1) -> np.ndarray:
    """A picture with structure in every part: (height, width) or (height, width, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    grey = (128 + 60 * np.sin(x / 7) + 50 * np.cos(y / 11 + x / 29)).astype(np.uint8)
    return grey if channels == 1 else np.stack([grey, grey[::-1], 255 - grey], axis=-1)


def _no_pictures() -> Iterator[tuple[str, bytes]]:
    yield "refused_empty.png", b""
    yield "refused_one_byte.jpg", b"\xff"
    yield "refused_text.png", b"not a picture, though its name says so\n"
    yield "refused_html.png", b"<!doctype html><script>alert(1)</script>"
    yield (
        "refused_svg_with_entity.png",
        b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/hostname">]><svg><text>&x;</text></svg>',
    )
    yield "refused_eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n"
    yield "refused_pdf.jpg", b"%PDF-1.7\ntrailer<<>>\n%%EOF\n"
    yield "refused_gif_with_script.gif", encoded(surface(8, 8), "GIF") + b"<script>alert(1)</script>"
    many = [Image.fromarray(np.full((32, 32), value, np.uint8)) for value in range(200)]
    yield "refused_gif_of_200_frames.gif", encoded(surface(32, 32), "GIF", save_all=True, append_images=many)
    yield "refused_webp.png", b"RIFF\x24\0\0\0WEBPVP8 " + bytes(24)


def _jpegs() -> Iterator[tuple[str, bytes]]:
    whole = encoded(surface(channels=3), "JPEG", quality=90)
    middle, frame = len(whole) // 2, whole.index(b"\xff\xc0")
    yield "read_jpeg_called.png", whole
    yield "read_jpeg_then_zip.jpg", whole + b"PK\3\4" + bytes(40)
    yield "refused_jpeg_half.jpg", whole[:middle]
    yield "refused_jpeg_half_then_end_marker.jpg", whole[:middle] + b"\xff\xd9"
    yield "refused_jpeg_header_only.jpg", whole[:20]
    yield "refused_jpeg_last_bytes_gone.jpg", whole[:-2]
    yield "refused_jpeg_zeros_inside.jpg", whole[:middle] + bytes(512) + whole[middle + 512 :]
    yield "refused_jpeg_of_65500x65500.jpg", whole[: frame + 5] + struct.pack(">HH", 65500, 65500) + whole[frame + 9 :]
    yield (
        "refused_jpeg_of_7900x7900_in_3_kb.jpg",
        whole[: frame + 5] + struct.pack(">HH", 7900, 7900) + whole[frame + 9 :],
    )
    yield from _stray_jpegs(whole)
    yield "refused_jpeg_of_12_bits.jpg", whole[: frame + 4] + b"\x0c" + whole[frame + 5 :]
    yield "refused_jpeg_lossless.jpg", whole[: frame + 1] + b"\xc3" + whole[frame + 2 :]
    yield "refused_jpeg_cmyk.jpg", _cmyk()
    yield (
        "refused_jpeg_progressive_without_its_last_scans.jpg",
        _without_last_scans(encoded(surface(channels=3), "JPEG", progressive=True)),
    )
    for orientation in (2, 3, 6, 8):
        yield (
            f"read_jpeg_exif_orientation_{orientation}.jpg",
            encoded(surface(channels=3), "JPEG", exif=exif(orientation)),
        )
    garbage = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 15
    yield (
        "read_jpeg_exif_garbage.jpg",
        whole[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(garbage)) + garbage + whole[2:],
    )
    yield "read_jpeg_icc_garbage.jpg", encoded(surface(channels=3), "JPEG", icc_profile=bytes(200))


def _stray_jpegs(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Bytes where none belong, as cameras on USB write them, and zeros where bytes were lost."""
    table, end = whole.index(b"\xff\xdb"), len(whole) - 2
    restarts = encoded(surface(channels=3), "JPEG", quality=90, restart_marker_blocks=4)
    restart = restarts.index(b"\xff\xd2")
    for name, stray in (("fill", b"\xff" * 9), ("zero", bytes(12)), ("odd", b"\x12\xff\0\x34")):
        yield f"read_jpeg_with_{name}_bytes_after_its_start.jpg", whole[:2] + stray + whole[2:]
        yield f"read_jpeg_with_{name}_bytes_before_a_table.jpg", whole[:table] + stray + whole[table:]
    yield "read_jpeg_with_zeros_before_its_end.jpg", whole[:end] + bytes(20) + whole[end:]
    yield "read_jpeg_with_zeros_before_a_restart.jpg", restarts[:restart] + bytes(20) + restarts[restart:]
    yield "refused_jpeg_with_16_zeros_before_a_table.jpg", whole[:table] + bytes(16) + whole[table:]
    interval = restarts.index(b"\xff\xdd")
    yield "refused_jpeg_without_its_restart_interval.jpg", restarts[:interval] + bytes(6) + restarts[interval + 6 :]
    yield "refused_jpeg_with_zeros_instead_of_its_end.jpg", whole[: end - 20] + bytes(20) + whole[end:]
    yield "refused_jpeg_with_zeros_for_all_after_a_restart.jpg", restarts[:restart] + bytes(99) + restarts[-2:]
    yield "refused_jpeg_with_a_megabyte_of_zeros_inside.jpg", whole[: end - 9] + bytes(1 << 20) + whole[end - 9 :]
    yield "refused_jpeg_with_data_twice_before_its_end.jpg", whole[:end] + whole[end - 40 : end] + whole[end:]
    huffman = encoded(surface(channels=3), "JPEG", quality=90, optimize=True)
    for place in (match.start() for match in re.finditer(b"\xff\xc4", huffman)):
        size = 2 + int.from_bytes(huffman[place + 2 : place + 4])
        lost = huffman[:place] + bytes(size) + huffman[place + size :]
        yield f"refused_jpeg_without_its_table_at_{place}.jpg", lost


def exif(orientation: int) -> Image.Exif:
    """EXIF data that hold nothing but an orientation."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def _cmyk() -> bytes:
    file = io.BytesIO()
    Image.fromarray(surface(channels=3)).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


def _without_last_scans(data: bytes) -> bytes:
    scans = [place for place in range(len(data) - 1) if data[place : place + 2] == b"\xff\xda"]
    return data[: scans[-2]] + b"\xff\xd9"


def _pngs() -> Iterator[tuple[str, bytes]]:
    whole = encoded(surface(channels=3), "PNG")
    pixels = whole.index(b"IDAT") + 100
    yield "refused_png_half.png", whole[: len(whole) // 2]
    yield "refused_png_header_checksum.png", whole[:29] + bytes([whole[29] ^ 1]) + whole[30:]
    yield "refused_png_byte_flipped.png", whole[:pixels] + bytes([whole[pixels] ^ 0x55]) + whole[pixels + 1 :]
    yield "refused_png_without_end.png", png(16, 16, end=False)
    yield "refused_png_too_few_rows.png", png(16, 16, rows=bytes(17 * 9))
    yield "refused_png_of_50000x50000.png", png(50_000, 50_000, idat=zlib.compress(bytes(1000)))
    yield "refused_png_bomb_of_900_megapixels.png", png(30_000, 30_000, 1, idat=zeros_deflated(30_000 * 375))
    yield "refused_png_bomb_where_pillow_only_warns.png", png(13_000, 13_000, 1, idat=zeros_deflated(13_000 * 163))
    yield "refused_png_text_bomb.png", png(16, 16, extra=chunk(b"zTXt", b"k\0\0" + zeros_deflated(40 << 20)))
    yield (
        "refused_png_international_text_bomb.png",
        png(16, 16, extra=chunk(b"iTXt", b"k\0\1\0en\0k\0" + zeros_deflated(40 << 20))),
    )
    yield "refused_png_profile_bomb.png", png(16, 16, extra=chunk(b"iCCP", b"k\0\0" + zeros_deflated(40 << 20)))
    yield "refused_png_0x10.png", png(0, 10, idat=zlib.compress(b""))
    yield (
        "refused_png_palette_index_outside.png",
        png(8, 8, 8, PALETTE, b"".join(b"\0" + bytes([250] * 8) for _ in range(8)), extra=chunk(b"PLTE", bytes(12))),
    )
    yield (
        "refused_png_hidden_by_alpha.png",
        encoded(np.dstack([surface(channels=3), np.zeros((120, 96), np.uint8)]), "PNG"),
    )
    yield (
        "refused_png_grey_half_transparent.png",
        png(8, 8, 8, GREY_ALPHA, b"".join(b"\0" + bytes([90, 128] * 8) for _ in range(8))),
    )
    yield "refused_png_colour_key.png", png(8, 8, extra=chunk(b"tRNS", b"\0\0"))
    yield "refused_png_of_200_frames.png", _animation()
    yield "read_png_1x1.png", png(1, 1)
    yield "read_png_65535x1.png", png(65_535, 1)
    yield "read_png_1x65535.png", png(1, 65_535)
    yield (
        "read_png_grey_16_bits.png",
        png(
            64,
            64,
            16,
            GREY,
            b"".join(b"\0" + np.arange(0, 64_000, 1000, np.uint16).astype(">u2").tobytes() for _ in range(64)),
        ),
    )
    yield "read_png_rgb_16_bits.png", png(64, 64, 16, RGB)
    yield "read_png_all_black.png", png(96, 120)
    yield (
        "read_png_text_with_script.png",
        png(16, 16, extra=chunk(b"tEXt", b"Title\0<img src=x onerror=alert(1)>\r\nX: y")),
    )


def _animation() -> bytes:
    frames = [Image.fromarray(np.full((32, 32), value, np.uint8)) for value in range(1, 200)]
    return encoded(np.zeros((32, 32), np.uint8), "PNG", save_all=True, append_images=frames)


def _tiffs() -> Iterator[tuple[str, bytes]]:
    numbers = np.full(1024, 0.5, "<f4")
    yield "refused_tiff_of_floats.tif", tiff(32, 32, 32, numbers.tobytes(), numbers=3)
    numbers[:2] = np.nan, np.inf
    yield "refused_tiff_with_nan.tif", tiff(32, 32, 32, numbers.tobytes(), numbers=3)
    yield "refused_tiff_signed.tif", tiff(32, 32, 16, bytes(2048), numbers=2)
    yield "refused_tiff_cmyk.tif", tiff(16, 16, 8, bytes(1024), photometric=5, samples=4)
    yield "refused_tiff_half.tif", tiff(64, 64, 8, bytes(4096))[:2000]
    yield "refused_tiff_strip_too_short.tif", tiff(64, 64, 8, bytes(4096), count=100)
    yield "refused_tiff_strip_beyond_end.tif", tiff(64, 64, 8, bytes(10), count=4096, offset=10_000_000)
    yield "refused_tiff_strip_missing.tif", tiff(64, 64, 8, bytes(4096), count=0)
    yield "refused_tiff_pages_in_a_circle.tif", tiff(16, 16, 8, bytes(256), following=8)
    pages = [Image.fromarray(np.full((32, 32), value, np.uint8)) for value in range(200)]
    yield "refused_tiff_of_200_pages.tif", encoded(surface(32, 32), "TIFF", save_all=True, append_images=pages)
    yield "refused_tiff_of_100000x100000.tif", tiff(100_000, 100_000, 8, bytes(100))
    yield "refused_tiff_deflate_bomb.tif", tiff(13_000, 13_000, 8, zeros_deflated(13_000 * 1300), compression=8)
    yield "refused_tiff_lzw_garbage.tif", tiff(64, 64, 8, b"\x80" + bytes(range(200)), compression=5)
    yield "refused_tiff_of_50_megapixels_in_300_bytes.tif", tiff(8000, 7000, 8, bytes(300), compression=5)
    yield "refused_tiff_jpeg_inside.tif", tiff(16, 16, 8, bytes(64), compression=7)
    yield "read_tiff_16_bits.tif", tiff(32, 32, 16, np.arange(0, 4096, 4, dtype="<u2").tobytes())


def _others() -> Iterator[tuple[str, bytes]]:
    header = struct.pack("<IiiHHIIiiII", 40, 40_000, -40_000, 1, 24, 0, 0, 0, 0, 0, 0)
    yield "refused_bmp_of_40000x40000.bmp", b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + header + bytes(100)
    yield "refused_bmp_half.bmp", encoded(surface(channels=3), "BMP")[:9000]
    bomb = png(20_000, 20_000, 1, idat=zeros_deflated(20_000 * 250))
    yield "refused_ico_with_png_bomb.ico", struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 1, len(bomb), 22) + bomb
