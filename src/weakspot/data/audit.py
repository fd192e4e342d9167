"""What is wrong with these pictures before anyone trains on them: unreadable files, pictures that appear twice, labels
told by something else.

Every file is read once and strictly; nothing is changed and nothing is printed. `tables` of the result are made in
`audit_tables`.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from weakspot.data.cues import Cue, Facts, find_cues, measure
from weakspot.data.findings import Finding, findings
from weakspot.data.likeness import near_pairs, thumbnail
from weakspot.data.reading import ImageFile, read_image, read_mask
from weakspot.data.samples import Sample
from weakspot.data.splits import merge_groups
from weakspot.errors import ImageError, shown
from weakspot.settings import SMALLEST, ReadSettings

MANY = 0.5  # share of the pictures in one family of copies, from which likeness is no longer believed to mean one part


@dataclass(frozen=True)
class Duplicate:
    """Two pictures of the same.

    kind: "identical" (the same bytes) or "near"; distance: in bits of 1024; turn: how the second is turned against the
    first.
    """

    first: Sample
    second: Sample
    kind: str
    distance: int
    turn: str

    @property
    def across_groups(self) -> bool:
        return self.first.group != self.second.group

    @property
    def across_labels(self) -> bool:
        return self.first.label != self.second.label

    def as_dict(self) -> dict[str, Any]:
        return {
            "first": self.first.id,
            "second": self.second.id,
            "kind": self.kind,
            "distance": self.distance,
            "turn": self.turn,
            "across_groups": self.across_groups,
            "across_labels": self.across_labels,
        }


@dataclass(frozen=True)
class Audit:
    """What was found in a set of samples.

    readable: samples whose pictures could be read and may take part, in their order; hashes: SHA-256 of each one's
    file; unreadable: samples with the reason; unfit: samples that could be read, but are too small or blank, with the
    reason; masks: samples with what is wrong with their mask; copies_believed: False where most pictures look alike and
    only identical files count as copies.
    """

    samples: list[Sample]
    readable: list[Sample]
    hashes: list[str]
    facts: list[Facts]
    warnings: list[tuple[Sample, str]]
    unreadable: list[tuple[Sample, str]]
    unfit: list[tuple[Sample, str]]
    masks: list[tuple[Sample, str]]
    duplicates: list[Duplicate]
    cues: list[Cue]
    copies_believed: bool = True

    @cached_property
    def findings(self) -> list[Finding]:
        """The sentences, gravest first."""
        return findings(self)

    @property
    def left_out(self) -> list[tuple[Sample, str]]:
        """Samples that take no part, with the reason, which names the file."""
        return [*self.unreadable, *self.unfit]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the readable pictures' hashes and labels: the same for the same data, whatever their names and
        order."""
        return fingerprint(self.readable, self.hashes)

    def merged(self) -> list[Sample]:
        """The readable samples, with groups that share a picture made one, so that no split parts them."""
        pairs = ((d.first, d.second) for d in self.duplicates if d.kind == "identical" or self.copies_believed)
        return merge_groups(self.readable, pairs)

    def families(self) -> list[list[Sample]]:
        """Pictures of the same, gathered: each family once, the largest first."""
        return _families(self.duplicates)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values for JSON."""
        return {
            "schema_version": 1,
            "fingerprint": self.fingerprint,
            "counts": counts(self),
            "sizes": _tally(f"{f.width}x{f.height}" for f in self.facts),
            "formats": _tally(f.format for f in self.facts),
            "bit_depths": _tally(str(f.bit_depth) for f in self.facts),
            "kinds_of_picture": _tally(f.kind for f in self.facts),
            "kinds_of_defect": _tally(s.kind for s in self.samples if s.kind),
            "unreadable": [{"id": sample.id, "reason": reason} for sample, reason in self.unreadable],
            "unfit": [{"id": sample.id, "reason": reason} for sample, reason in self.unfit],
            "masks": [{"id": sample.id, "reason": reason} for sample, reason in self.masks],
            "warnings": [{"id": sample.id, "warning": text} for sample, text in self.warnings],
            "duplicates": [duplicate.as_dict() for duplicate in self.duplicates],
            "copies_believed": self.copies_believed,
            "cues": [asdict(cue) for cue in self.cues],
            "findings": [asdict(finding) for finding in self.findings],
        }


def audit(samples: Iterable[Sample], settings: ReadSettings, on_image: Callable[[Sample], None] | None = None) -> Audit:
    """Read every picture and mask once and compare them all; `on_image` is called after each sample.

    A picture that cannot be read, or that shows nothing, is listed, not raised.
    """
    samples = list(samples)
    readable, hashes, facts, warnings, unreadable, unfit, masks, thumbnails = [], [], [], [], [], [], [], []
    for sample in samples:
        try:
            image = read_image(sample.path, settings)
            refuse_unfit(image.pixels, shown(sample.path))
        except UnfitImage as error:
            unfit.append((sample, str(error)))
        except ImageError as error:
            unreadable.append((sample, str(error)))
        else:
            readable.append(sample)
            hashes.append(image.sha256)
            facts.append(_facts(sample, image))
            thumbnails.append(thumbnail(image.pixels))
            warnings += [(sample, text) for text in image.warnings]
            masks += [(sample, reason) for reason in _mask_faults(sample, image)]
        if on_image:
            on_image(sample)
    duplicates = _duplicates(readable, hashes, thumbnails)
    largest = max((len(family) for family in _families([d for d in duplicates if d.kind == "near"])), default=0)
    believed = largest <= max(8, MANY * len(readable))
    return Audit(
        samples, readable, hashes, facts, warnings, unreadable, unfit, masks, duplicates, find_cues(facts), believed
    )


class UnfitImage(ImageError):
    """A picture that can be read, but from which nothing can be learned."""


def refuse_unfit(pixels: np.ndarray, name: str) -> None:
    """Raise UnfitImage for a picture that inspection would refuse on any detector: one that trains would make it take
    such pictures for parts.

    pixels: (H, W) or (H, W, 3).
    """
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise UnfitImage(
            f"{name}: {width} × {height} pixels; needed are at least {SMALLEST} × {SMALLEST}; take a larger picture"
        )
    if (pixels[0] == pixels[0, 0]).all() and (
        pixels == pixels[0, 0]
    ).all():  # the first row spares most pictures the whole look
        value = " ".join(str(each) for each in np.atleast_1d(pixels[0, 0]))
        raise UnfitImage(f"{name}: no picture: every pixel has the value {value}; check camera, light and shutter")


def fingerprint(samples: Iterable[Sample], hashes: Iterable[str]) -> str:
    """SHA-256 in hex over the sorted lines "file's SHA-256, label"."""
    lines = sorted(f"{digest} {sample.label}\n" for sample, digest in zip(samples, hashes, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def counts(found: Audit) -> dict[str, int]:
    """How many pictures, labels, groups, masks; what could not be read; what appears twice."""
    near = [duplicate for duplicate in found.duplicates if duplicate.kind == "near"]
    return {
        "pictures": len(found.samples),
        "good": sum(not sample.label for sample in found.samples),
        "bad": sum(sample.label for sample in found.samples),
        "groups": len({sample.group for sample in found.samples}),
        "groups_with_bad": len({sample.group for sample in found.samples if sample.label}),
        "groups_when_merged": len({sample.group for sample in found.merged()}),
        "masks": sum(sample.mask is not None for sample in found.samples),
        "unreadable": len(found.unreadable),
        "unfit": len(found.unfit),
        "identical_pairs": len(found.duplicates) - len(near),
        "near_pairs": len(near),
        "pairs_across_groups": sum(duplicate.across_groups for duplicate in found.duplicates),
        "pairs_across_labels": sum(duplicate.across_labels for duplicate in found.duplicates),
    }


def _facts(sample: Sample, image: ImageFile) -> Facts:
    mean, std, border_mean = measure(image.pixels)
    height, width = image.pixels.shape[:2]
    return Facts(
        label=sample.label,
        format=image.format,
        width=width,
        height=height,
        bit_depth=image.bit_depth,
        kind=image.kind,
        n_bytes=image.n_bytes,
        mean=mean,
        std=std,
        border_mean=border_mean,
        largest=float(image.pixels.max()) / np.iinfo(image.pixels.dtype).max,
        has_exif=image.has_exif,
    )


def _mask_faults(sample: Sample, image: ImageFile) -> list[str]:
    if sample.mask is None:
        return []
    try:
        marked = bool(read_mask(sample.mask, *image.pixels.shape[:2]).any())
    except ImageError as error:
        return [str(error)]
    if marked == bool(sample.label):
        return []
    return ["the mask of a bad picture marks nothing" if sample.label else "the mask of a good picture marks a defect"]


def _duplicates(samples: list[Sample], hashes: list[str], thumbnails: list[np.ndarray]) -> list[Duplicate]:
    """Identical files as pairs with the first of their kind; then near pairs among the files that differ."""
    first_of: dict[str, int] = {}
    firsts, found = [], []
    for place, digest in enumerate(hashes):
        if digest in first_of:
            found.append(Duplicate(samples[first_of[digest]], samples[place], "identical", 0, ""))
        else:
            first_of[digest] = place
            firsts.append(place)
    near = near_pairs(np.stack([thumbnails[place] for place in firsts])) if firsts else []
    return found + [
        Duplicate(samples[firsts[pair.first]], samples[firsts[pair.second]], "near", pair.distance, pair.turn)
        for pair in near
    ]


def _families(duplicates: Iterable[Duplicate]) -> list[list[Sample]]:
    family: dict[str, list[Sample]] = {}
    for duplicate in duplicates:
        one, other = (family.setdefault(sample.id, [sample]) for sample in (duplicate.first, duplicate.second))
        if one is not other:
            one += other
            family.update((sample.id, one) for sample in other)
    distinct = {id(members): sorted(members, key=lambda sample: sample.id) for members in family.values()}
    return sorted(distinct.values(), key=lambda members: (-len(members), members[0].id))


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
