"""The training pictures before they have a size: what they are, and each at any size. Decoded again when needed: memory
stays small."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from weakspot.data.audit import refuse_unfit
from weakspot.data.reading import fit_image, read_image
from weakspot.data.samples import Sample
from weakspot.errors import DataError
from weakspot.settings import ReadSettings, Size
from weakspot.training.images import TrainingImages

FEWEST = 2  # pictures of each label: with one bad picture nothing can be held out


@dataclass(frozen=True)
class Pictures:
    """Pictures by number. `pixels(number)` gives (H, W) or (H, W, 3), uint8 or uint16."""

    pixels: Callable[[int], np.ndarray]
    labels: np.ndarray  # (n,), 1 bad, 0 good
    sizes: list[Size]  # (height, width) of each
    bit_depth: int  # 8, or 16 where any picture has 16
    channels: int  # 1, or 3 where any picture has colour
    hashes: frozenset[str] = frozenset()  # SHA-256 of the files

    def fit(self, number: int, size: Size) -> np.ndarray:
        """One picture at a size, by the one documented rule → (C, h, w)."""
        return fit_image(self.pixels(number), size, self.channels, self.bit_depth)

    def fitted(self, size: Size) -> TrainingImages:
        """All at one size."""
        return TrainingImages(np.stack([self.fit(number, size) for number in range(len(self.labels))]), self.labels)


def pictures_of(samples: Sequence[Sample], settings: ReadSettings) -> Pictures:
    """Look at every file once. Raises ImageError for one that cannot be read, DataError where there are too few."""
    labels = _checked_labels([sample.label for sample in samples])
    sizes, hashes, depth, colour = [], set(), 8, settings.channels == "colour"
    for sample in samples:
        file = read_image(sample.path, settings)
        sizes.append((file.pixels.shape[0], file.pixels.shape[1]))
        hashes.add(file.sha256)
        depth = max(depth, 8 * file.pixels.itemsize)
        colour = colour or (settings.channels == "auto" and has_colour(file.pixels))
    return Pictures(
        lambda number: read_image(samples[number].path, settings).pixels,
        labels,
        sizes,
        depth,
        3 if colour else 1,
        frozenset(hashes),
    )


def pictures_in_memory(images: Sequence[np.ndarray], labels: Sequence[int]) -> Pictures:
    """The same for arrays, (H, W) or (H, W, 3), uint8 or uint16. Raises ImageError for one that is too small or blank:
    its giver can leave it out."""
    for number, image in enumerate(images):
        refuse_unfit(image, f"picture {number}")
    depth = max(8 * image.itemsize for image in images)
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    return Pictures(
        lambda number: images[number], _checked_labels(labels), sizes, depth, 3 if any(map(has_colour, images)) else 1
    )


def has_colour(image: np.ndarray) -> bool:
    """Whether the channels of a picture differ anywhere."""
    return image.ndim == 3 and not (
        np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2])
    )


def _checked_labels(labels: Sequence[int]) -> np.ndarray:
    bad, good = sum(labels), len(labels) - sum(labels)
    if bad < FEWEST or good < FEWEST:
        raise DataError(
            f"{bad} bad and {good} good pictures to train on; needed are at least {FEWEST} of each, and 5 or more bad ones to learn much"
        )
    return np.array(labels, int)
