"""JPEG → pixels: 8 bits, grey or colour, baseline or progressive, and whole.

Most decoders fill what is missing with grey and say nothing. Here a damaged stream is refused (simplejpeg, strict), and
so is a progressive picture whose last scans are missing, which is legal, blurred, and never what was photographed.
Stray bytes that cost no pixel are taken out before: between segments, and zeros at the end of coded data, both of which
cameras on USB write.
"""

import re
import struct
from dataclasses import dataclass, field

import numpy as np
import simplejpeg

from weakspot.data.formats import Decoded, check_content, check_size, exif_orientation
from weakspot.errors import ImageError, amount

BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
HIERARCHICAL, ARITHMETIC = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), (0xC9, 0xCA, 0xCB)
OTHER_PROCESSES = (
    {0xC3: "lossless"} | dict.fromkeys(HIERARCHICAL, "hierarchical") | dict.fromkeys(ARITHMETIC, "arithmetic")
)
MOST_SCANS = 60  # each can make a decoder walk over the whole picture
MOST_PIXELS = 512  # a byte can hold: a block of 64 takes at least a bit
MOST_STRAY = 15  # bytes between two segments; more may be one that shapes the picture, lost
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in coded data, FF 00 is a value and FF D0 to D7 are restarts
# Zeros before a restart or the next segment. Each run is looked at once, from its first zero that is no value on.
ZEROS_AT_END = re.compile(rb"(?:(?<![\xff\x00])|(?<=\xff\x00))\x00++(?=\xff[\xd0-\xd7]|\Z)")
CUT = "cut short: the data end before the picture does; copy it again"
_Scan = tuple[tuple[int, ...], int, int, int]  # components, first and last coefficient, lowest bit


@dataclass
class _Structure:
    """What the segments of a JPEG declare."""

    process: int = 0
    precision: int = 0
    width: int = 0
    height: int = 0
    components: tuple[int, ...] = ()
    exif: bytes = b""
    scans: list[_Scan] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)  # segments and coded data in turn, without stray bytes
    coded: list[int] = field(default_factory=list)  # which of them are coded data
    stray: int = 0  # bytes
    end: int = 0


def decode_jpeg(data: bytes, max_megapixels: float) -> Decoded:
    """A whole JPEG; ImageError says what is missing or unsupported."""
    structure = _structure(data)
    _check(structure, max_megapixels)
    check_content(structure.end, structure.width * structure.height, MOST_PIXELS)
    grey = len(structure.components) == 1
    pixels = _decoded(structure, "GRAY" if grey else "RGB")
    orientation = exif_orientation(structure.exif) if structure.exif else 1
    trailing = len(data) - structure.end
    remarks = [f"{amount(trailing, 'byte')} after the picture's end ignored"] if trailing else []
    remarks += [f"{amount(structure.stray, 'stray byte')} between its segments ignored"] if structure.stray else []
    pixels, kind = (pixels[..., 0], "grey") if grey else (pixels, "colour")
    return Decoded(pixels, 8, kind, orientation, bool(structure.exif), remarks)


def _decoded(structure: _Structure, colorspace: str, again: bool = True) -> np.ndarray:
    """Decoded strictly; if that fails, `again` without zeros at the end of coded data: whole if no pixel needs them."""
    try:
        return np.asarray(simplejpeg.decode_jpeg(b"".join(structure.pieces), colorspace=colorspace, strict=True))
    except ValueError as error:
        message = str(error).strip()
    if again and "extraneous bytes before marker" in message:
        for place in structure.coded:
            structure.pieces[place] = ZEROS_AT_END.sub(b"", structure.pieces[place])
        return _decoded(structure, colorspace, again=False)
    raise ImageError(f"damaged or cut short ({message}); copy it again")


def _structure(data: bytes) -> _Structure:
    """Walk from marker to marker, up to the end marker."""
    structure, position = _Structure(pieces=[data[:2]]), 2
    while True:
        start = _next_marker(data, position)
        code = data[start + 1]
        stray = start - position - data.count(b"\xff", position, start)  # FF may fill the space before a marker
        if stray > MOST_STRAY:
            raise ImageError(f"damaged: no marker at byte {position}; copy it again")
        structure.stray += stray
        if code == 0xD9:
            structure.end = start + 2
            structure.pieces.append(data[start : structure.end])
            return structure
        length = int.from_bytes(data[start + 2 : start + 4])
        position = start + 2 + length
        if length < 2 or position > len(data):
            raise ImageError(CUT)
        structure.pieces.append(data[start:position])
        _note(structure, code, data[start + 4 : position])
        if code == 0xDA:
            end = _next_marker(data, position)
            structure.coded.append(len(structure.pieces))
            structure.pieces.append(data[position:end])
            position = end


def _next_marker(data: bytes, position: int) -> int:
    marker = NEXT_MARKER.search(data, position)
    if marker is None:
        raise ImageError(CUT)
    return marker.start()


def _note(structure: _Structure, marker: int, body: bytes) -> None:
    if marker in OTHER_PROCESSES:
        raise ImageError(f"a JPEG of the {OTHER_PROCESSES[marker]} kind; save it as baseline or progressive, or as PNG")
    if marker in (BASELINE, EXTENDED, PROGRESSIVE):
        if structure.process or len(body) < 6 or len(body) < 6 + 3 * body[5]:
            raise ImageError("damaged: its frame header is broken or there twice; export it again")
        structure.process = marker
        structure.precision, structure.height, structure.width, count = struct.unpack_from(">BHHB", body)
        structure.components = tuple(body[6 : 6 + 3 * count : 3])
    elif marker == 0xE1 and body.startswith(b"Exif\0\0") and not structure.exif:
        structure.exif = body[6:]
    elif marker == 0xDA:
        count = body[0] if body else 0
        if not structure.process or len(body) != 4 + 2 * count:
            raise ImageError("damaged: a scan header is broken; export it again")
        first, last, bit = body[1 + 2 * count :]
        structure.scans.append((tuple(body[1 : 1 + 2 * count : 2]), first, last, bit & 15))
        if len(structure.scans) > MOST_SCANS:
            raise ImageError(f"more than {MOST_SCANS} scans; save it again as baseline JPEG or PNG")


def _check(structure: _Structure, max_megapixels: float) -> None:
    if not structure.process or not structure.scans:
        raise ImageError(CUT)
    check_size(structure.width, structure.height, max_megapixels)
    if structure.precision != 8:
        raise ImageError(f"a JPEG of {structure.precision} bits; 8 are needed: save it as 16-bit PNG or TIFF")
    if len(structure.components) not in (1, 3):
        kind = "CMYK" if len(structure.components) == 4 else f"{len(structure.components)} channels"
        raise ImageError(f"a JPEG in {kind}; grey or RGB is needed: export it as RGB")
    if not _complete(structure):
        raise ImageError("a progressive JPEG whose last scans are missing; copy it again")


def _complete(structure: _Structure) -> bool:
    """Whether every coefficient of every component was sent down to its last bit."""
    lowest = {component: np.full(64, 16) for component in structure.components}
    for components, first, last, bit in structure.scans:
        for component in components:
            if component in lowest:
                sent = slice(None) if structure.process != PROGRESSIVE else slice(first, last + 1)
                lowest[component][sent] = 0 if structure.process != PROGRESSIVE else bit
    return all((bits == 0).all() for bits in lowest.values())
