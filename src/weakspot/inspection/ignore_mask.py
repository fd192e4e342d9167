"""Which cells a person wants ignored: from a mask picture, white where nothing is to be inspected.

A mask of the training is kept in the model file, as cells among its weights; one of an inspection is added to it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakspot.data.reading import area, fit_image, read_image
from weakspot.errors import ImageError, ModelFileError, shown
from weakspot.inspection.manifest import Ignored, Manifest
from weakspot.inspection.model_file import ModelFile
from weakspot.settings import CELL, Fit, ReadSettings, Size

PROPORTION = 0.02  # by which a picture's proportions may differ from its mask's
WEIGHT = "ignored"  # name of the cells among a model file's weights, 1 where ignored, else 0
_HALF = 128  # of 255: from there on a pixel of the mask is white
_DRAWN = "make white what is to be ignored, and black what is not"
Cells = NDArray[np.bool_]  # (⌈h/8⌉, ⌈w/8⌉), True where ignored


@dataclass(frozen=True)
class IgnoreMask:
    """A mask as it was drawn."""

    name: str  # of its file, without folders
    sha256: str  # of its file
    pixels: NDArray[np.uint8] = field(repr=False, compare=False)  # (H, W), 255 where nothing is inspected, else 0

    @property
    def size(self) -> Size:
        """Its own height and width, pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def record(self, share: float) -> Ignored:
        """What a model file says of it. share: of the cells that are ignored."""
        height, width = self.size
        return Ignored(name=self.name, sha256=self.sha256, height=height, width=width, share=share)

    def white(self, height: int, width: int) -> NDArray[np.bool_]:
        """Where it is white on a picture of its proportions, (height, width)."""
        return np.asarray(fit_image(self.pixels, (height, width), 1, 8)[0] >= _HALF)

    def cells(self, size: Size, fit: Fit, touched: bool = False) -> Cells:
        """The cells of a detector's size of which at least half is white, or touched: any pixel is, however little.

        Raises ImageError for a mask that ignores nothing or everything.
        """
        white, least = fit_image(self.pixels, size, 1, 8, fit)[0] >= (1 if touched else _HALF), 0 if touched else 0.5
        height, width = (-(-side // CELL) for side in size)
        whole = np.pad(white, ((0, height * CELL - size[0]), (0, width * CELL - size[1])), "edge")
        share = whole.reshape(height, CELL, width, CELL).mean(axis=(1, 3))
        ignored = np.asarray((share > 0) & (share >= least))
        if ignored.all() or not ignored.any():
            what = "everything" if ignored.all() else f"nothing at the detector's size ({width} × {height} cells)"
            raise ImageError(f"{self.name}: ignores {what}; {_DRAWN}")
        return ignored


def read_ignore_mask(path: Path, max_megapixels: float) -> IgnoreMask:
    """The mask in a file. Raises ImageError, for one that is white everywhere or nowhere, too."""
    read = read_image(path, ReadSettings(max_megapixels=max_megapixels))
    white = fit_image(read.pixels, read.pixels.shape[:2], 1, 8)[0] >= _HALF
    if white.all() or not white.any():
        raise ImageError(f"{shown(path)}: ignores {'everything' if white.all() else 'nothing'}; {_DRAWN}")
    return IgnoreMask(shown(path.name), read.sha256, np.where(white, np.uint8(255), np.uint8(0)))


def check_mask(mask: IgnoreMask, manifest: Manifest) -> None:
    """Raise ImageError for a mask of other proportions than all pictures that a detector was trained on."""
    (low_h, low_w), (high_h, high_w) = manifest.image_sizes.min, manifest.image_sizes.max
    height, width = mask.size
    if not low_h / high_w * (1 - PROPORTION) <= height / width <= high_h / low_w * (1 + PROPORTION):
        found = f"{mask.name}: a mask of {width} × {height} pixels"
        raise ImageError(f"{found}, of other proportions than the training pictures, such as {high_w} × {high_h}")


def check_proportions(
    name: str, height: int, width: int, mask: Size, size: Size | None = None, fit: Fit = "stretch"
) -> None:
    """Raise ImageError for a picture of other proportions than its mask: what is ignored would lie elsewhere on it.

    size: the detector's, at which they must also take as many cells; None where none is chosen yet.
    """
    alike = abs(height / width * mask[1] / mask[0] - 1) <= PROPORTION
    if not alike or (size and area(height, width, size, fit) != area(*mask, size, fit)):
        found = f"{name}: {width} × {height} pixels, of other proportions than the mask of what is ignored"
        raise ImageError(f"{found} ({mask[1]} × {mask[0]}); crop the picture alike, or draw a mask for such pictures")


def own_cells(model: ModelFile) -> Cells | None:
    """The cells that a model was trained to ignore; None where there are none. Raises ModelFileError."""
    if WEIGHT not in model.weights:
        return None
    cells = model.weights[WEIGHT] > 0
    needed = tuple(-(-side // CELL) for side in model.manifest.size)
    if cells.shape != needed or cells.all():
        found = f"ignores {int(cells.sum())} cells of {cells.shape}, at a size of {needed}"
        raise ModelFileError(f"model {shown(model.manifest.name)}: {found}; copy it again from where it was made")
    return cells


def blanked(image: NDArray[Any], ignored: NDArray[np.bool_]) -> NDArray[Any]:
    """A picture (C, h, w) whose ignored pixels (h, w) have the mean of the others, as the graph sees them."""
    found = image.copy()
    found[:, ignored] = np.rint(image.mean(where=~ignored, dtype=np.float64))
    return found


def pixels_of(cells: Cells, size: Size) -> NDArray[np.bool_]:
    """The pixels of a picture at a detector's size (h, w) that lie in ignored cells."""
    return cells.repeat(CELL, 0).repeat(CELL, 1)[: size[0], : size[1]]
