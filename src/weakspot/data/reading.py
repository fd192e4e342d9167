"""Bytes → pixels: the one place where pictures enter, for training, audit, evaluation and inspection alike.

A picture is whole and unambiguous, or it is refused with an ImageError: what was found, what is needed, the way out.
What a value means comes from the depth that the file declares (or the settings do), never from how large the values
are.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from weakspot.data.bmp import decode_bmp
from weakspot.data.formats import SUFFIXES, Decoded, recognise
from weakspot.data.jpeg import decode_jpeg
from weakspot.data.png import decode_png
from weakspot.data.resizing import resized
from weakspot.errors import ImageError, SettingsError, quoted, shown
from weakspot.settings import CELL, Fit, ReadSettings, Size

MOST_BYTES = 1 << 30
MASK_CLASSES = 8  # a mask with no more different values than this was drawn; with more, it has soft edges
ROWS = 256  # reckoned with at a time: what comes in between takes several times the memory of the pixels
KINDS_OF_FILE = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip


def _decode_tiff(data: bytes, max_megapixels: float) -> Decoded:
    # Here, since tifffile takes longer to import than a picture of another kind to read.
    from weakspot.data.tiff import decode_tiff

    return decode_tiff(data, max_megapixels)


DECODERS: dict[str, Callable[[bytes, float], Decoded]] = {
    "PNG": decode_png, "JPEG": decode_jpeg, "BMP": decode_bmp, "TIFF": _decode_tiff
}  # fmt: skip
# EXIF orientation → what brings the pixels upright; Pillow's way takes no colour of 16 bits.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels, 2: lambda pixels: pixels[:, ::-1], 3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1], 5: lambda pixels: pixels.swapaxes(0, 1), 6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1), 8: lambda pixels: np.rot90(pixels, 1),
}  # fmt: skip


@dataclass(frozen=True)
class ImageFile:
    """One picture as read.

    pixels: (H, W) or (H, W, 3), uint8 or uint16 over its full range, C-contiguous; bit_depth: what the file or the
    settings declare; kind: "grey", "colour", "palette" or "bilevel".
    """

    pixels: np.ndarray
    sha256: str
    format: str
    bit_depth: int
    n_bytes: int
    warnings: tuple[str, ...]
    has_exif: bool
    kind: str


def read_image(path: Path, settings: ReadSettings) -> ImageFile:
    """The picture in a regular file of up to 1 GB. Raises ImageError, which names the file, for anything else."""
    path = Path(path)
    return decode_image(_read_bytes(path), shown(path), settings, path)


def decode_image(data: bytes, name: str, settings: ReadSettings, path: Path | None = None) -> ImageFile:
    """The same for bytes that came another way; `name` stands in messages."""
    try:
        form = recognise(data)
        decoded = DECODERS[form](data, settings.max_megapixels)
        pixels = full_range(decoded.pixels, settings.bit_depth or decoded.bits)
    except ImageError as error:  # which may quote the file
        raise ImageError(f"{name}: {quoted(error, 500)}") from None
    except MemoryError:  # says nothing of the picture
        raise
    except Exception as error:  # a decoder met what no check above foresaw: the picture is not judged
        reason = f"{type(error).__name__}: {quoted(error)}"
        raise ImageError(f"{name}: cannot be decoded ({reason}); export or copy it again") from None
    if settings.orientation == "apply":
        pixels = TURNS[decoded.orientation or 1](pixels)
    bits = settings.bit_depth if settings.bit_depth and pixels.dtype == np.uint16 else decoded.bits
    remarks = tuple(_remarks(decoded, pixels, form, path, settings))
    return ImageFile(
        np.ascontiguousarray(pixels), hashlib.sha256(data).hexdigest(), form, bits, len(data), remarks,
        decoded.has_exif, decoded.kind,
    )  # fmt: skip


def read_mask(path: Path, height: int | None = None, width: int | None = None) -> np.ndarray:
    """True where the defect is, (height, width); the one way in which a mask is opened. EXIF is ignored.

    Up to 8 different values are classes: all but 0 are defect. With more, as soft or compressed edges make them: at
    least half of the largest. height, width: of the picture, where known; ImageError where the mask has another size.
    """
    limit = max(ReadSettings.max_megapixels, (height or 0) * (width or 0) / 1e6)
    values = read_image(path, ReadSettings(max_megapixels=limit)).pixels
    if height is not None and values.shape[:2] != (height, width):
        sizes = f"a mask of {values.shape[1]} × {values.shape[0]} pixels for a picture of {width} × {height}"
        raise ImageError(f"{shown(path)}: {sizes}; both must be of one size: export the mask again")
    values = values.max(axis=2) if values.ndim == 3 else values
    present = np.flatnonzero(np.bincount(values.ravel()))
    least = 1 if len(present) <= MASK_CLASSES else int(present[-1] + 1) // 2
    return np.asarray(values >= least)


def array_pixels(array: np.ndarray, name: str, channels: Literal["rgb", "bgr"] = "rgb") -> np.ndarray:
    """Somebody's array as pixels of ours: (H, W), or (H, W, 3) in the order red, green, blue.

    array: (H, W), (H, W, 1) or (H, W, 3), unsigned numbers of 8 or 16 bits in any byte order; name: stands in messages;
    channels: the order in `array`, "bgr" as OpenCV reads files. Returns uint8 or uint16, C-contiguous. Raises
    ImageError for any other array, SettingsError for any other order.
    """
    if channels not in ("rgb", "bgr"):
        raise SettingsError(f"channels {shown(channels)!r}; needed is rgb, or bgr as OpenCV reads files")
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if not shaped or 0 in array.shape or array.dtype.kind != "u" or array.dtype.itemsize > 2:
        needed = "(H, W) or (H, W, 3) of uint8 or uint16: values are scaled by their type, never by what they look like"
        raise ImageError(f"{name}: an array of {array.dtype} and shape {array.shape}; needed is {needed}")
    pixels = array[..., 0] if array.shape[2:] == (1,) else array
    pixels = pixels[..., ::-1] if channels == "bgr" and pixels.ndim == 3 else pixels
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def fit_image(pixels: np.ndarray, size: Size, channels: int, bit_depth: int, fit: Fit = "stretch") -> np.ndarray:
    """What the network gets of a picture, by one rule for training and inspection: channels, then depth, then size.

    pixels: (H, W) or (H, W, 3), uint8 or uint16 of any byte order; size: (h, w); channels: 1 or 3; bit_depth: 8 or 16.
    Returns (channels, h, w), uint8 or uint16. Grey from colour by ITU-R 601 (19595 R + 38470 G + 7471 B, over 65536);
    8 bits from 16 by dividing by 257, 16 from 8 by multiplying; size by Pillow's BILINEAR, which averages when it
    reduces; 16 bits through float, rounded. fit: "stretch" fills the size; "keep" fills `area` of it from the top left,
    and the rest with what the picture mirrors at its edge.
    """
    planes = planes_of(pixels, channels, bit_depth)
    height, width = area(pixels.shape[0], pixels.shape[1], size, fit)
    if pixels.shape[:2] != (height, width):
        planes = [resized(plane, (height, width)) for plane in planes]
    if (height, width) != size:
        planes = [np.pad(plane, ((0, size[0] - height), (0, size[1] - width)), "symmetric") for plane in planes]
    return np.ascontiguousarray(np.stack(planes))


def planes_of(pixels: np.ndarray, channels: int, bit_depth: int) -> list[np.ndarray]:
    """The channels that the network gets, each (H, W), at their depth; not yet at its size."""
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    assert pixels.dtype in (np.uint8, np.uint16) and channels in (1, 3) and bit_depth in (8, 16), pixels.dtype
    pixels = _with_depth(_with_channels(pixels, channels), bit_depth)
    return [pixels] if pixels.ndim == 2 else [pixels[..., c] for c in range(3)]


def area(height: int, width: int, size: Size, fit: Fit) -> Size:
    """How much of the size, (h, w), a picture of height × width pixels takes: whole cells where it keeps its shape."""
    if fit == "stretch" or (height, width) == size:
        return size
    scale = min(size[0] / height, size[1] / width)
    tall, wide = (max(CELL, round(side * scale / CELL) * CELL) for side in (height, width))
    return min(tall, size[0]), min(wide, size[1])


def as_grey(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) → (H, W) of the same type by ITU-R 601, as Pillow does for 8 bits; (H, W) unchanged."""
    if pixels.ndim == 2:
        return pixels
    grey = np.empty(pixels.shape[:2], pixels.dtype)
    for rows, filled in zip(_in_bands(pixels), _in_bands(grey)):
        red, green, blue = (rows[:, :, c].astype(np.uint32) for c in range(3))
        filled[:] = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16
    return grey


def has_colour(pixels: np.ndarray) -> bool:
    """Whether the channels of (H, W) or (H, W, 3) pixels differ anywhere."""
    return pixels.ndim == 3 and not all((rows == rows[..., :1]).all() for rows in _in_bands(pixels))


def _in_bands(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Views of the rows, ROWS at a time."""
    return (pixels[top : top + ROWS] for top in range(0, len(pixels), ROWS))


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels == 1:
        return as_grey(pixels)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _with_depth(pixels: np.ndarray, bit_depth: int) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels if bit_depth == 8 else pixels.astype(np.uint16) * 257
    return pixels if bit_depth == 16 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def full_range(pixels: np.ndarray, bits: int) -> np.ndarray:
    """uint16 values of fewer bits (a 12-bit camera's) over the whole of uint16; in place where they may be changed."""
    if pixels.dtype == np.uint8 or bits >= 16:
        return pixels
    highest, largest = (1 << bits) - 1, int(pixels.max())
    if largest > highest:
        found = f"a value of {largest}, where {bits} bits hold at most {highest}"
        raise ImageError(f"{found}; correct bit_depth in the settings, or leave it out")
    spread = pixels if pixels.flags.writeable else np.empty_like(pixels)
    for rows, filled in zip(_in_bands(pixels), _in_bands(spread)):
        filled[:] = (rows.astype(np.uint32) * 65535 + highest // 2) // highest  # 32 bits hold it up to 15
    return spread


def _remarks(decoded: Decoded, pixels: np.ndarray, form: str, path: Path | None, settings: ReadSettings) -> list[str]:
    remarks = list(decoded.warnings)
    if path is not None and path.suffix.lower() not in SUFFIXES[form]:
        remarks.append(f"holds a {form} picture, though its name ends with {shown(path.suffix) or 'no suffix'}")
    if decoded.orientation is None:
        remarks.append("its EXIF data are damaged; orientation taken as upright")
    elif decoded.orientation != 1 and settings.orientation == "ignore":
        remarks.append(
            f'EXIF orientation {decoded.orientation} not applied: lies as stored; [read] orientation = "apply" turns it'
        )
    if all((rows == pixels.flat[0]).all() for rows in _in_bands(pixels)):
        remarks.append(f"all pixels have one value ({pixels.flat[0]}): is it a picture of a part?")
    return remarks


def _read_bytes(path: Path) -> bytes:
    """Content of a regular file of up to MOST_BYTES."""
    with opened(path) as (file, size):
        if size > MOST_BYTES:
            most = f"pictures of up to {MOST_BYTES >> 30} GB are read"
            raise ImageError(f"{shown(path)}: {size / 1e9:.1f} GB; {most}: take a smaller one")
        data = file.read(size + 1)
    if len(data) != size:
        sizes = f"{size} bytes when opened, {len(data)} read"
        raise ImageError(f"{shown(path)}: {sizes}; it is still being written: take it again later")
    return data


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file and its size in bytes; ImageError for anything else, and where reading it fails in the block.

    Opened without waiting, so that a pipe cannot hold us, and checked once open, so that nothing can be swapped in.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        way_out = "a regular file that may be read is needed"
        raise ImageError(f"{shown(path)}: cannot be opened ({reason}); {way_out}") from None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            kind = KINDS_OF_FILE.get(stat.S_IFMT(about.st_mode), "something else")
            raise ImageError(f"{shown(path)}: not a regular file but {kind}; take a picture's file")
        with open(descriptor, "rb", closefd=False) as file:
            yield file, about.st_size
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"{shown(path)}: cannot be read ({reason}); copy it again") from None
    finally:
        os.close(descriptor)
