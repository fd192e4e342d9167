"""Which readable pictures a detector must not judge: those unlike what it was trained on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakspot.errors import ImageError
from weakspot.inspection.manifest import Manifest
from weakspot.settings import SMALLEST

MAX_ASPECT = 1.5  # how many times as tall or as wide, for its other side, as the training pictures
MAX_SIDE = 4  # how many times as long or as short a side
MIN_CONTRAST = 0.5  # of the flattest training picture's standard deviation
GREY_TOLERANCE = 0.02  # of full scale: how far a grey picture's channels may lie apart


def check_size(name: str, pixels: NDArray[Any], manifest: Manifest) -> None:
    """Refuse a picture whose sides or proportions are far from the training pictures'. pixels: as read, (H, W) or (H,
    W, 3)."""
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise ImageError(
            f"{name}: {width} × {height} pixels; needed are at least {SMALLEST} × {SMALLEST}; take a larger picture"
        )
    (min_h, min_w), (max_h, max_w) = manifest.image_sizes.min, manifest.image_sizes.max
    found, trained = (
        f"{name}: {width} × {height} pixels",
        f"than this detector's training pictures ({_sizes(manifest)})",
    )
    aspect = height / width
    if not min_h / max_w / MAX_ASPECT <= aspect <= max_h / min_w * MAX_ASPECT:
        raise ImageError(f"{found}, of other proportions {trained}; crop the picture alike, or train anew")
    if not (min_h / MAX_SIDE <= height <= max_h * MAX_SIDE and min_w / MAX_SIDE <= width <= max_w * MAX_SIDE):
        change = "larger" if height > max_h or width > max_w else "smaller"
        raise ImageError(
            f"{found}, more than {MAX_SIDE} times {change} {trained}; scale the picture alike, or train anew"
        )


def check_channels(name: str, pixels: NDArray[Any], manifest: Manifest) -> None:
    """Refuse a coloured picture (H, W, 3) where every training picture was grey; where grey was asked for, colour is
    converted instead."""
    if manifest.channels == 3 or manifest.read.channels == "grey" or pixels.ndim == 2:
        return
    spread = int((pixels.max(axis=2) - pixels.min(axis=2)).max())  # never negative, so it fits the unsigned type
    if spread > GREY_TOLERANCE * np.iinfo(pixels.dtype).max:
        raise ImageError(
            f"{name}: a colour picture, and this detector was trained on grey ones only; take grey pictures, or train with channels colour or grey"
        )


def check_contrast(name: str, image: NDArray[Any], manifest: Manifest) -> None:
    """Refuse what shows nothing: one value only, or far flatter than any training picture. image: (C, h, w), fitted."""
    deviation, least = float(image.std()), MIN_CONTRAST * manifest.image_std_min
    if deviation == 0 or deviation < least:
        found = (
            f"every pixel has the value {image.flat[0]}"
            if deviation == 0
            else f"its values hardly differ (standard deviation {deviation:.2g})"
        )
        raise ImageError(
            f"{name}: no picture: {found}; needed is a standard deviation of at least {least:.2g}; check camera, light and shutter"
        )


def _sizes(manifest: Manifest) -> str:
    smallest, largest = (
        f"{width} × {height}" for height, width in (manifest.image_sizes.min, manifest.image_sizes.max)
    )
    return smallest if smallest == largest else f"{smallest} to {largest}"
