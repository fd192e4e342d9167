"""JPEG → pixels: 8 bits, grey or colour, baseline or progressive, and whole.

Most decoders fill what is missing with grey and say nothing. Here a damaged stream is refused (simplejpeg, strict), and
so is a progressive picture whose last scans are missing, which is legal, blurred, and never what was photographed.
"""

import re
import struct
from dataclasses import dataclass, field

import numpy as np
import simplejpeg

from weakspot.data.formats import Decoded, check_content, check_size, exif_orientation
from weakspot.errors import ImageError

BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
OTHER_PROCESSES = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical",
    0xC9: "arithmetic",
    0xCA: "arithmetic",
    0xCB: "arithmetic",
    0xCD: "hierarchical",
    0xCE: "hierarchical",
    0xCF: "hierarchical",
}
MOST_SCANS = 60  # each can make a decoder walk over the whole picture
MOST_PIXELS = 512  # a byte can hold: a block of 64 takes at least a bit
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in coded data, FF 00 is a value and FF D0 to D7 are restarts
CUT = "cut short: the data end before the picture does; copy it again"


@dataclass
class _Structure:
    """What the segments of a JPEG declare."""

    process: int = 0
    precision: int = 0
    width: int = 0
    height: int = 0
    components: tuple[int, ...] = ()
    exif: bytes = b""
    scans: list[tuple[tuple[int, ...], int, int, int]] = field(
        default_factory=list
    )  # components, first and last coefficient, lowest bit
    end: int = 0


def decode_jpeg(data: bytes, max_megapixels: float) -> Decoded:
    """A whole JPEG; ImageError says what is missing or unsupported."""
    found = _structure(data)
    _check(found, max_megapixels)
    check_content(found.end, found.width * found.height, MOST_PIXELS)
    grey = len(found.components) == 1
    try:
        pixels = simplejpeg.decode_jpeg(data[: found.end], colorspace="GRAY" if grey else "RGB", strict=True)
    except ValueError as error:
        raise ImageError(f"damaged or cut short ({str(error).strip()}); copy it again") from None
    orientation = exif_orientation(found.exif) if found.exif else 1
    trailing = len(data) - found.end
    remarks = [f"{trailing} bytes follow the picture's end; ignored"] if trailing else []
    return Decoded(
        pixels[..., 0] if grey else np.asarray(pixels),
        8,
        "grey" if grey else "colour",
        orientation,
        bool(found.exif),
        remarks,
    )


def _structure(data: bytes) -> _Structure:
    """Walk from marker to marker, up to the end marker."""
    found, position = _Structure(), 2
    while True:
        if position + 4 > len(data) and data[position : position + 2] != b"\xff\xd9":
            raise ImageError(CUT)
        if data[position] != 0xFF:
            raise ImageError(f"damaged: no marker at byte {position}; copy it again")
        marker = data[position + 1]
        if marker == 0xD9:
            found.end = position + 2
            return found
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = struct.unpack_from(">H", data, position + 2)[0]
        body = data[position + 4 : position + 2 + length]
        if length < 2 or len(body) != length - 2:
            raise ImageError(CUT)
        _note(found, marker, body)
        position += 2 + length
        if marker == 0xDA:
            position = _after_coded_data(data, position, found)


def _note(found: _Structure, marker: int, body: bytes) -> None:
    if marker in OTHER_PROCESSES:
        raise ImageError(f"a JPEG of the {OTHER_PROCESSES[marker]} kind; save it as baseline or progressive, or as PNG")
    if marker in (BASELINE, EXTENDED, PROGRESSIVE):
        if found.process or len(body) < 6 or len(body) < 6 + 3 * body[5]:
            raise ImageError("damaged: its frame header is broken or there twice; export it again")
        found.process = marker
        found.precision, found.height, found.width, count = struct.unpack_from(">BHHB", body)
        found.components = tuple(body[6 : 6 + 3 * count : 3])
    elif marker == 0xE1 and body.startswith(b"Exif\0\0") and not found.exif:
        found.exif = body[6:]
    elif marker == 0xDA:
        count = body[0] if body else 0
        if not found.process or len(body) != 4 + 2 * count:
            raise ImageError("damaged: a scan header is broken; export it again")
        found.scans.append(
            (tuple(body[1 : 1 + 2 * count : 2]), body[1 + 2 * count], body[2 + 2 * count], body[3 + 2 * count] & 15)
        )


def _after_coded_data(data: bytes, position: int, found: _Structure) -> int:
    if len(found.scans) > MOST_SCANS:
        raise ImageError(f"more than {MOST_SCANS} scans; save it again as baseline JPEG or PNG")
    marker = NEXT_MARKER.search(data, position)
    if marker is None:
        raise ImageError(CUT)
    return marker.start()


def _check(found: _Structure, max_megapixels: float) -> None:
    if not found.process or not found.scans:
        raise ImageError(CUT)
    check_size(found.width, found.height, max_megapixels)
    if found.precision != 8:
        raise ImageError(f"a JPEG of {found.precision} bits; 8 are needed: save it as 16-bit PNG or TIFF")
    if len(found.components) not in (1, 3):
        kind = "CMYK" if len(found.components) == 4 else f"{len(found.components)} channels"
        raise ImageError(f"a JPEG in {kind}; grey or RGB is needed: export it as RGB")
    if not _complete(found):
        raise ImageError("a progressive JPEG whose last scans are missing; copy it again")


def _complete(found: _Structure) -> bool:
    """Whether every coefficient of every component was sent down to its last bit."""
    lowest = {component: np.full(64, 16) for component in found.components}
    for components, first, last, bit in found.scans:
        for component in components:
            if component in lowest:
                sent = slice(None) if found.process != PROGRESSIVE else slice(first, last + 1)
                lowest[component][sent] = 0 if found.process != PROGRESSIVE else bit
    return all((bits == 0).all() for bits in lowest.values())
