"""Which readable pictures a detector must not judge, or judges with a warning: those unlike what it was trained on."""

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
# How far a channel's mean may lie outside the training's range: this share of full scale, and this share of the range.
LEVEL_SLACK, LEVEL_SPREAD = 0.02, 0.5
FAR = 5  # times as far outside is said whatever the reason


def check_size(name: str, height: int, width: int, manifest: Manifest) -> None:
    """Refuse a picture whose sides, in pixels as read, or proportions are far from the training's."""
    finding = f"{name}: {width} × {height} pixels"
    if min(height, width) < SMALLEST:
        raise ImageError(f"{finding}; needed are at least {SMALLEST} × {SMALLEST}; take a larger picture")
    (min_h, min_w), (max_h, max_w) = manifest.image_sizes.min, manifest.image_sizes.max
    trained = f"than this detector's training pictures ({_sizes(manifest)})"
    if not min_h / max_w / MAX_ASPECT <= height / width <= max_h / min_w * MAX_ASPECT:
        raise ImageError(f"{finding}, of other proportions {trained}; crop the picture alike, or train anew")
    if not (min_h / MAX_SIDE <= height <= max_h * MAX_SIDE and min_w / MAX_SIDE <= width <= max_w * MAX_SIDE):
        change = "larger" if height > max_h or width > max_w else "smaller"
        raise ImageError(
            f"{finding}, more than {MAX_SIDE} times {change} {trained}; scale the picture alike, or train anew"
        )


def check_channels(name: str, pixels: NDArray[Any], manifest: Manifest) -> None:
    """Refuse a coloured picture (H, W, 3) where every training picture was grey.

    Where grey was asked for in training, colour is converted instead.
    """
    if manifest.channels == 3 or manifest.read.channels == "grey" or pixels.ndim == 2:
        return
    spread = int((pixels.max(axis=2) - pixels.min(axis=2)).max())  # never negative, so it fits the unsigned type
    if spread > GREY_TOLERANCE * np.iinfo(pixels.dtype).max:
        raise ImageError(
            f"{name}: a colour picture, and this detector was trained on grey ones only; "
            "take grey pictures, or train with channels colour or grey"
        )


def channel_levels(means: NDArray[Any]) -> list[tuple[float, float]]:
    """The lowest and the highest mean of each channel, as a manifest holds them.

    means: (n, channels), of each training picture at the detector's size in raw values: `pixels.mean(axis=(2, 3))` of
    (n, channels, h, w).
    """
    return [(float(low), float(high)) for low, high in zip(means.min(axis=0), means.max(axis=0))]


def level_warnings(image: NDArray[Any], manifest: Manifest) -> tuple[str, ...]:
    """What to say where a picture's channels are brighter or darker than any training picture's: at most one sentence.

    image: (C, h, w), fitted. Red and blue are taken for swapped where the means fit the other way round alone.
    """
    if manifest.channel_levels is None:
        return ()
    means = image.mean(axis=(1, 2))
    distance = _distance(means, manifest)
    if distance > 1 >= _distance(means[::-1], manifest):
        return (
            "red and blue look swapped: the channels' means fit the training pictures' the other way round; "
            "give RGB, or say channels='bgr'",
        )
    if distance > FAR:
        found = ", ".join(f"{mean:.0f}" for mean in means)
        trained = ", ".join(f"{low:.0f} to {high:.0f}" for low, high in manifest.channel_levels)
        return (f"unlike the training pictures in brightness or colour: mean {found}, there {trained}",)
    return ()


def _distance(means: NDArray[Any], manifest: Manifest) -> float:
    """How far the worst channel lies outside its range; 1 is as far as a picture may without a word."""
    low, high = np.array(manifest.channel_levels).T
    slack = LEVEL_SLACK * (2**manifest.bit_depth - 1) + LEVEL_SPREAD * (high - low)
    return float((np.maximum(low - means, means - high) / slack).max())


def check_contrast(name: str, image: NDArray[Any], manifest: Manifest) -> None:
    """Refuse what shows nothing: one value, or far flatter than any training picture. image: (C, h, w), fitted."""
    deviation, least = float(image.std()), MIN_CONTRAST * manifest.image_std_min
    if deviation == 0 or deviation < least:
        finding = (
            f"at {manifest.size[0]} × {manifest.size[1]} pixels its values hardly differ (deviation {deviation:.2g})"
        )
        if deviation == 0:
            finding = f"every pixel has the value {image.flat[0]}"
        raise ImageError(
            f"{name}: no picture: {finding}; needed is a standard deviation of at least {least:.2g}; "
            "check camera, focus, light and shutter"
        )


def _sizes(manifest: Manifest) -> str:
    smallest, largest = (
        f"{width} × {height}" for height, width in (manifest.image_sizes.min, manifest.image_sizes.max)
    )
    return smallest if smallest == largest else f"{smallest} to {largest}"
