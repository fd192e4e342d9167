"""Large pictures to the detector's size without all of their pixels in memory: row by row, as the decoder gives them.

The numbers are those of `reading.fit_image`, bit for bit.
A TIFF in strips is decoded as its rows are needed; whatever else a file holds is decoded whole first.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from weakspot.data.formats import SUFFIXES, Banded
from weakspot.data.reading import area, full_range, opened, planes_of
from weakspot.data.resizing import across, down_first, rounded
from weakspot.errors import ImageError, quoted, shown
from weakspot.settings import Fit, ReadSettings, Size

LARGE = 16_000_000  # pixels from which a picture is not kept whole
LONGEST = 2048  # pixels of the longer side of what people look at, whatever the camera gives
_ROWS = 512  # of a picture in memory that are fitted at a time
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS = 22  # of Pillow's weights
_PIECE = 1 << 20  # bytes of a file that are hashed at a time


@dataclass(frozen=True)
class Target:
    """What the detector wants of a picture; the fields are `fit_image`'s."""

    size: Size
    channels: int
    bit_depth: int
    fit: Fit


@dataclass(frozen=True)
class LargeImage:
    """A large picture, brought to the detector's size and to one for people."""

    height: int  # pixels of the file's own
    width: int
    sha256: str  # of the file; empty for pixels from memory
    image: np.ndarray  # (C, h, w), as `fit_image` gives it
    view: np.ndarray  # (h, w) or (h, w, 3), its longer side LONGEST, in the depth of the file
    warnings: tuple[str, ...] = ()


def read_large(
    path: Path, settings: ReadSettings, target: Target, check: Callable[[int, int], None] = lambda *_: None
) -> LargeImage | None:
    """A large TIFF in strips; None for any other file, which is to be read whole. Raises ImageError.

    check: called with height and width before a strip is read; what it raises ends the reading.
    """
    with opened(path) as (file, length):
        if file.read(4) not in _TIFF:
            return None
        from weakspot.data.tiff import tiff_bands  # takes longer to import than a picture of another kind to read

        with _faults_of(path):
            banded = tiff_bands(file, length, settings.max_megapixels)
        if banded is None or banded.height * banded.width < LARGE:
            return None
        check(banded.height, banded.width)
        with _faults_of(path):
            return _read(path, file, banded, settings, target)


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """Whatever a file's content raises, as an ImageError that names it."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{shown(path)}: {quoted(error, 500)}") from None
    except (MemoryError, OSError):
        raise
    except Exception as error:  # as in `reading.decode_image`
        reason = f"{type(error).__name__}: {quoted(error)}"
        raise ImageError(f"{shown(path)}: cannot be decoded ({reason}); export or copy it again") from None


def fit_large(pixels: np.ndarray, target: Target) -> LargeImage:
    """The same for pixels in memory, (H, W) or (H, W, 3), which may then go."""
    bands = (pixels[top : top + _ROWS] for top in range(0, len(pixels), _ROWS))
    return _fitted(bands, pixels.shape[0], pixels.shape[1], "", target)


def _read(path: Path, file: BinaryIO, banded: Banded, settings: ReadSettings, target: Target) -> LargeImage:
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    bands = (full_range(band, settings.bit_depth or banded.bits) for band in banded.bands)
    found = _fitted(bands, banded.height, banded.width, digest.hexdigest(), target)
    if path.suffix.lower() in SUFFIXES["TIFF"]:
        return found
    remark = f"holds a TIFF picture, though its name ends with {shown(path.suffix) or 'no suffix'}"
    return LargeImage(**vars(found) | {"warnings": (remark,)})


def _fitted(bands: Iterator[np.ndarray], height: int, width: int, sha256: str, target: Target) -> LargeImage:
    seen: Fitting | None = None
    looked_at: Fitting | None = None
    for band in bands:
        if seen is None or looked_at is None:
            seen = Fitting(height, width, target)
            looked_at = Fitting(height, width, _for_people(height, width, band))
        seen.take(band)
        looked_at.take(band)
    if seen is None or looked_at is None or not seen.is_whole:
        raise ImageError(f"cut short: fewer rows than the {height} that its header says; copy it again")
    view = looked_at.image[0] if len(looked_at.image) == 1 else looked_at.image.transpose(1, 2, 0)
    return LargeImage(height, width, sha256, seen.finished(), np.ascontiguousarray(view))


def _for_people(height: int, width: int, band: np.ndarray) -> Target:
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return Target(size, 1 if band.ndim == 2 else 3, 8 * band.dtype.itemsize, "stretch")


class Fitting:
    """Fills what `fit_image` gives of a picture, from its rows in order."""

    def __init__(self, height: int, width: int, target: Target) -> None:
        self._height, self._target = height, target
        self._tall, self._wide = area(height, width, target.size, target.fit)
        self._rows_first = down_first((height, width), (self._tall, self._wide))
        self._scale = height / self._tall
        self.image = np.empty((target.channels, *target.size), np.uint8 if target.bit_depth == 8 else np.uint16)
        self._kept: list[np.ndarray] = []  # rows of each plane that are still needed
        self._top = self._done = 0  # the first of them, and rows that are fitted

    @property
    def is_whole(self) -> bool:
        """Whether all rows have come."""
        return self._done == self._tall

    def take(self, rows: np.ndarray) -> None:
        """The next rows, (n, W) or (n, W, 3)."""
        planes = planes_of(rows, self._target.channels, self._target.bit_depth)
        planes = planes if self._rows_first else [across(plane, self._wide) for plane in planes]
        self._kept = [np.concatenate(pair) for pair in zip(self._kept, planes)] if self._kept else planes
        end = self._top + len(self._kept[0])
        while self._done < self._tall and self._seen_by(self._done)[1] <= end:
            for fitted, plane in zip(self.image, self._kept):
                row = self._down(plane, self._done)
                row = across(row, self._wide) if self._rows_first else row
                fitted[self._done, : self._wide] = rounded(row)[0]
            self._done += 1
        gone = (end if self.is_whole else self._seen_by(self._done)[0]) - self._top
        self._kept, self._top = [plane[gone:].copy() for plane in self._kept], self._top + gone

    def finished(self) -> np.ndarray:
        """The picture (C, h, w), what is missing of the size mirrored."""
        down, to_the_right = (
            np.pad(np.arange(part), (0, side - part), "symmetric")[part:]
            for part, side in zip((self._tall, self._wide), self._target.size)
        )
        self.image[:, self._tall :, : self._wide] = self.image[:, down, : self._wide]
        self.image[:, :, self._wide :] = self.image[:, :, to_the_right]
        return self.image

    def _seen_by(self, row: int) -> tuple[int, int]:
        """The rows that a fitted one is made of, from the first to behind the last."""
        middle, reach = (row + 0.5) * self._scale, max(1.0, self._scale)
        return max(0, int(middle - reach + 0.5)), min(self._height, int(middle + reach + 0.5))

    def _down(self, plane: np.ndarray, row: int) -> np.ndarray:
        """One fitted row, (1, W), uint8 or float32 as `across` takes it, in the very steps in which Pillow reckons."""
        first, behind = self._seen_by(row)
        middle, reach = (row + 0.5) * self._scale, max(1.0, self._scale)
        weights = np.maximum(0, 1 - np.abs((np.arange(first, behind) - middle + 0.5) * (1 / reach)))
        weights /= np.cumsum(weights)[-1]  # one after the other
        seen = plane[first - self._top : behind - self._top]
        total = np.zeros(plane.shape[1])
        if plane.dtype == np.uint8:
            total[:] = np.floor(weights * (1 << _BITS) + 0.5) @ seen / (1 << _BITS)
            return np.floor(total + 0.5).astype(np.uint8)[None]
        for weight, values in zip(weights, seen):
            total += weight * values.astype(np.float64)
        return total.astype(np.float32)[None]
