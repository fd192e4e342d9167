"""The training pictures before they have a size: what they are, and each at any size."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from weakspot.data.audit import Audit, refuse_unfit
from weakspot.data.cues import measure
from weakspot.data.reading import array_pixels, fit_image, has_colour, read_mask
from weakspot.data.samples import Sample
from weakspot.errors import DataError, ImageError, SettingsError, shown
from weakspot.evaluation.threshold_rules import WITHOUT_BAD
from weakspot.inspection.ignore_mask import IgnoreMask, blanked, check_proportions, pixels_of, read_ignore_mask
from weakspot.jobs.recipes import draws_defects, needs_masks, shows_bad
from weakspot.settings import Fit, ReadSettings, Size, TrainSettings
from weakspot.training.batches import TrainingImages

Order = Literal["rgb", "bgr"]  # of the colours in an array
FEWEST = 2  # good pictures, and bad ones where no defects are drawn: with one nothing can be held out


@dataclass(frozen=True)
class Pictures:
    """Pictures by number. `pixels(number)` gives (H, W) or (H, W, 3), uint8 or uint16."""

    pixels: Callable[[int], np.ndarray]
    labels: np.ndarray  # (n,), 1 bad, 0 good
    sizes: list[Size]  # (height, width) of each
    bit_depth: int  # 8, or 16 where any picture has 16
    channels: int  # 1, or 3 where any picture has colour
    light_share: float  # of the pixels' variance, what lies between the pictures' means, 0 to 1
    hashes: tuple[str, ...] = ()  # SHA-256 of the files
    masks: Mapping[int, np.ndarray] = field(default_factory=dict)  # by number, (H, W) bool; none where they are ignored
    unused_masks: tuple[str, ...] = ()  # why a mask that is there is not used, a line each
    ignore: IgnoreMask | None = None  # of all pictures, which have its proportions

    @property
    def masks_sha256(self) -> str | None:
        """Of all masks that are used; None where none is."""
        marks = [f"{number} {mask.shape}".encode() + np.packbits(mask).tobytes() for number, mask in self.masks.items()]
        return sha256(b"".join(marks)).hexdigest() if marks else None

    def fitted(self, size: Size, fit: Fit) -> TrainingImages:
        """All at one size, by the one documented rule; a pixel is marked where its mask marks any part of it."""
        numbers = range(len(self.labels))
        images = [fit_image(self.pixels(number), size, self.channels, self.bit_depth, fit) for number in numbers]
        full = {number: mask.astype(np.uint16) * 65535 for number, mask in self.masks.items()}
        marked = {number: fit_image(mask, size, 1, 16, fit)[0] > 0 for number, mask in full.items()}
        if self.ignore is None:
            return TrainingImages(np.stack(images), self.labels, marked)
        for number in numbers:
            check_proportions(f"picture {number}", *self.sizes[number], self.ignore.size, size, fit)
        ignored = pixels_of(self.ignore.cells(size, fit, touched=True), size)  # whatever lies there must not matter
        return TrainingImages(np.stack([blanked(image, ignored) for image in images]), self.labels, marked, ignored)


def pictures_of(samples: Sequence[Sample], audit: Audit, settings: TrainSettings) -> Pictures:
    """Samples that an audit has read: it knows them already. Masks are opened here, if at all.

    Raises DataError where there are too few pictures, or masks are to be used and none can be, SettingsError where the
    recipe has no use for them.
    """
    facts = [audit.facts_of(sample) for sample in samples]
    masks, unused = _masks_of(samples, audit, settings) if settings.masks == "use" else ({}, [])
    ignore = _ignore_mask(settings, [(sample.id, each.height, each.width) for sample, each in zip(samples, facts)])
    light = [(each.mean, each.std) for each in facts]
    if ignore is not None:
        light = [_light(audit.pixels(sample), ignore) for sample in samples]
    return Pictures(
        pixels=lambda number: audit.pixels(samples[number]),
        labels=_checked_labels([sample.label for sample in samples], settings),
        sizes=[(each.height, each.width) for each in facts],
        bit_depth=16 if any(each.bit_depth > 8 for each in facts) else 8,
        channels=_channels(settings.read, (each.coloured for each in facts)),
        light_share=_light_share(*zip(*light, strict=True)),
        hashes=tuple(each.sha256 for each in facts),
        masks=masks,
        unused_masks=tuple(unused),
        ignore=ignore,
    )


def pictures_in_memory(
    images: Sequence[np.ndarray], labels: Sequence[int], channels: Order, settings: TrainSettings
) -> Pictures:
    """The same for arrays, (H, W) or (H, W, 3), uint8 or uint16; channels: the order of the colours in them.

    Raises ImageError for one that is too small or blank: its giver can leave it out; DataError where there are too few.
    """
    if settings.masks == "use":
        raise SettingsError('masks = "use", but pictures in memory have none; leave masks out, or train on a folder')
    arrays = [array_pixels(image, f"picture {number}", channels) for number, image in enumerate(images)]
    for number, array in enumerate(arrays):
        refuse_unfit(array, f"picture {number}")
    ignore = _ignore_mask(settings, [(f"picture {number}", *each.shape[:2]) for number, each in enumerate(arrays)])
    means, deviations = zip(*(_light(array, ignore) for array in arrays), strict=True)
    return Pictures(
        pixels=lambda number: arrays[number],
        labels=_checked_labels(labels, settings),
        sizes=[(array.shape[0], array.shape[1]) for array in arrays],
        bit_depth=max(8 * array.itemsize for array in arrays),
        channels=_channels(settings.read, map(has_colour, arrays)),
        light_share=_light_share(means, deviations),
        ignore=ignore,
    )


def _ignore_mask(settings: TrainSettings, pictures: Iterable[tuple[str, int, int]]) -> IgnoreMask | None:
    """The mask that the settings name. pictures: name, height, width. Raises ImageError for another shape of one."""
    if settings.ignore is None:
        return None
    mask = read_ignore_mask(Path(settings.ignore), settings.read.max_megapixels)
    for picture in pictures:
        check_proportions(*picture, mask.size)
    return mask


def _light(pixels: np.ndarray, ignore: IgnoreMask | None) -> tuple[float, float]:
    """Mean and deviation of a picture (H, W) or (H, W, 3), of the full range, without what is ignored."""
    left = pixels if ignore is None else pixels[~ignore.white(*pixels.shape[:2])][None]
    return measure(left)[:2]


def _masks_of(
    samples: Sequence[Sample], audit: Audit, settings: TrainSettings
) -> tuple[dict[int, np.ndarray], list[str]]:
    """The masks of the bad ones by their number, each (H, W) bool, and why others are not used, a line each.

    Raises SettingsError and DataError as `pictures_of` does.
    """
    if not needs_masks(settings) and not (draws_defects(settings) and shows_bad(settings)):
        from_what = "labels by the picture" if shows_bad(settings) else "good pictures"
        what = f'masks = "use", but the recipe {settings.recipe} learns from {from_what} alone'
        raise SettingsError(f"{what}; take --recipe sharp, or leave masks out")
    masks, unused = {}, []
    for number, sample in enumerate(samples):
        if sample.label and sample.mask is not None:
            facts = audit.facts_of(sample)
            try:
                masks[number] = _marking(read_mask(sample.mask, facts.height, facts.width), sample.mask)
            except ImageError as error:
                unused.append(str(error))
    if not masks:
        found = ", such as ".join(["no bad picture to train on has a mask that can be used", *unused[:1]])
        raise DataError(
            f'masks = "use", but {found}; put masks into masks/, named like their pictures, or leave it out'
        )
    return masks, unused


def _marking(mask: np.ndarray, path: Path) -> np.ndarray:
    """The mask, where it says of a place that the defect is there; else ImageError."""
    if mask.any() and not mask.all():
        return mask
    what = "marks the whole picture, which says nothing of where the defect is" if mask.any() else "marks nothing"
    raise ImageError(f"{shown(path)}: {what}; mark the defect, or remove the mask")


def _channels(settings: ReadSettings, coloured: Iterable[bool]) -> int:
    """1 grey, 3 colour: as the settings say, or where any picture has colour."""
    return 3 if settings.channels == "colour" or (settings.channels == "auto" and any(coloured)) else 1


def _light_share(means: Sequence[float], deviations: Sequence[float]) -> float:
    """From each picture's mean and deviation; of the pictures as they are, so that no chosen size moves it."""
    between = float(np.var(means))
    return between / max(between + float(np.mean(np.square(deviations))), 1e-12)


def _checked_labels(labels: Sequence[int], settings: TrainSettings) -> np.ndarray:
    """The labels (n,), where the recipe can train on so many of each, and the rule choose thresholds by them."""
    if needs_masks(settings) and settings.masks != "use":
        what = f"the recipe {settings.recipe} learns from masks of bad pictures, which are not to be used"
        raise SettingsError(
            f"{what}; add --masks use, or take one that needs none (--recipe bozic2021, --recipe sharp)"
        )
    array, rule = np.array(labels, int), settings.threshold.rule
    bad, good = int(array.sum()), int((array == 0).sum())
    found = f"{bad} bad and {good} good pictures to train on"
    if good < FEWEST:
        raise DataError(f"{found}; needed are at least {FEWEST} good ones, and far more to learn what varies")
    if bad < FEWEST and not draws_defects(settings):
        needed = f"the recipe {settings.recipe} needs at least {FEWEST} bad ones"
        raise DataError(f"{found}; {needed}: add some, or take one that draws defects (--recipe sharp)")
    if not bad and rule not in WITHOUT_BAD:
        raise DataError(f"{found}; the rule {rule} needs bad ones: add some, or take --rule {WITHOUT_BAD[0]}")
    return array
