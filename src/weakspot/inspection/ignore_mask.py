"""Which cells a person wants ignored: from a mask picture, white where nothing is to be inspected."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weakspot.data.reading import as_grey, fit_image, read_image
from weakspot.errors import ImageError, shown
from weakspot.inspection.manifest import Manifest
from weakspot.settings import CELL, ReadSettings

PROPORTION = 0.02  # by which a mask's may differ from those of the training pictures
_HALF = 128  # of 255: from there on a pixel of the mask is white


def ignored_cells(path: Path, manifest: Manifest) -> NDArray[np.bool_]:
    """The cells (⌈h/8⌉, ⌈w/8⌉) of which at least half is white in a mask of the training pictures' proportions.

    Raises ImageError for a mask of other proportions, and for one that ignores nothing or everything.
    """
    pixels = as_grey(read_image(path, ReadSettings(max_megapixels=manifest.read.max_megapixels)).pixels)
    _check_proportions(path, pixels.shape[0], pixels.shape[1], manifest)
    white = fit_image(pixels, manifest.size, 1, 8, manifest.fit)[0] >= _HALF
    height, width = (-(-side // CELL) for side in manifest.size)
    more = height * CELL - manifest.size[0], width * CELL - manifest.size[1]
    whole = np.pad(white, ((0, more[0]), (0, more[1])), "edge")
    ignored = np.asarray(whole.reshape(height, CELL, width, CELL).mean(axis=(1, 3)) >= 0.5)
    if ignored.all() or not ignored.any():
        what = "everything" if ignored.all() else f"nothing at the detector's size ({width} × {height} cells)"
        raise ImageError(f"{shown(path)}: ignores {what}; make white what is to be ignored, and black what is not")
    return ignored


def _check_proportions(path: Path, height: int, width: int, manifest: Manifest) -> None:
    (low_h, low_w), (high_h, high_w) = manifest.image_sizes.min, manifest.image_sizes.max
    if not low_h / high_w * (1 - PROPORTION) <= height / width <= high_h / low_w * (1 + PROPORTION):
        found = f"{shown(path)}: a mask of {width} × {height} pixels"
        raise ImageError(f"{found}, of other proportions than the training pictures, such as {high_w} × {high_h}")
