"""A channel of a picture at another size, by two passes in an order of our own: the same pixels with any Pillow."""

import numpy as np
from PIL import Image

from weakspot.settings import Size


def down_first(picture: Size, shown: Size) -> bool:
    """Whether a picture of one (height, width) comes to another by its rows first: the order in which Pillow 13 does.

    Where rows go, and more than twice as many as columns. Each pass rounds, so that the order shows.
    """
    return picture[0] - shown[0] > max(0, 2 * (picture[1] - shown[1]))


def across(plane: np.ndarray, width: int) -> np.ndarray:
    """Rows (n, W) of uint8, uint16 or float32 at another width; what is not of 8 bits comes as float32, not rounded."""
    return _passed(plane, (len(plane), width))


def rounded(plane: np.ndarray) -> np.ndarray:
    """What was resized, at its depth: uint8 as it is, float32 as uint16."""
    return plane if plane.dtype == np.uint8 else np.clip(np.rint(plane), 0, 65535).astype(np.uint16)


def resized(plane: np.ndarray, size: Size) -> np.ndarray:
    """A channel (H, W), uint8 or uint16, at another size: Pillow's BILINEAR, which averages when it reduces."""
    first = (size[0], plane.shape[1]) if down_first(plane.shape, size) else (plane.shape[0], size[1])
    return rounded(_passed(_passed(plane, first), size))


def _passed(plane: np.ndarray, size: Size) -> np.ndarray:
    """One pass, in which one side changes."""
    image = Image.fromarray(np.ascontiguousarray(plane if plane.dtype == np.uint8 else plane.astype(np.float32)))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))
