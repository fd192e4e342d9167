"""What is wrong with these pictures before anyone trains on them: unreadable files, copies, labels given away by light.

Every file is read once and strictly; nothing is changed and nothing is printed. `audit_tables` makes tables of it.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.data import findings as sentences
from weakspot.data.copies import Duplicate, believed, find_copies, merge_groups, on_both_sides
from weakspot.data.cues import Cue, Facts, find_cues, measure
from weakspot.data.likeness import thumbnail
from weakspot.data.reading import ImageFile, has_colour, read_image, read_mask
from weakspot.data.samples import Sample
from weakspot.errors import ImageError, shown
from weakspot.settings import SMALLEST, ReadSettings


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found in a set of samples.

    readable: samples whose pictures could be read and may take part, in their order; facts: of each of these;
    unreadable: samples with the reason; unfit: samples that could be read, but are too small or blank, with the reason;
    contradicted: samples whose very file is labelled good and bad, with the reason;
    masks: samples with what is wrong with their mask; duplicates: every pair of pictures of the same; decoded: pixels
    that stayed in memory.
    """

    samples: list[Sample]
    readable: list[Sample] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    warnings: list[tuple[Sample, str]] = field(default_factory=list)
    unreadable: list[tuple[Sample, str]] = field(default_factory=list)
    unfit: list[tuple[Sample, str]] = field(default_factory=list)
    contradicted: list[tuple[Sample, str]] = field(default_factory=list)
    masks: list[tuple[Sample, str]] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    settings: ReadSettings = field(default_factory=ReadSettings)
    decoded: dict[Path, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def cues(self) -> list[Cue]:
        """Single numbers against the label, the most telling first."""
        return find_cues(self.facts)

    @cached_property
    def findings(self) -> list[sentences.Finding]:
        """The sentences, gravest first."""
        return sentences.sorted_by_grade(
            *sentences.of_files(self.unreadable, self.unfit, self.masks, self.warnings),
            *sentences.of_copies(self.duplicates, self.copies_believed),
            *sentences.of_given_split(self.on_both_sides),
            *sentences.of_cues(self.cues),
            *sentences.of_pictures(self.facts),
            *sentences.of_amounts(self.readable),
        )

    @cached_property
    def same_part(self) -> list[Duplicate]:
        """The duplicates that are taken for one part."""
        return believed(self.duplicates, len(self.readable))

    @property
    def copies_believed(self) -> bool:
        """False where most pictures look alike, so that only identical files count as copies."""
        return len(self.same_part) == len(self.duplicates)

    @property
    def on_both_sides(self) -> list[tuple[Sample, Sample]]:
        """Pictures of one part that the data themselves put one on the training and one on the test side."""
        sides = ({sample.path for sample in self.readable if sample.part == part} for part in ("train", "test"))
        return on_both_sides(self.readable, self.same_part, *sides)

    @property
    def left_out(self) -> list[tuple[Sample, str]]:
        """Samples that take no part, with the reason, which names the file."""
        return [*self.unreadable, *self.unfit, *self.contradicted]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the readable pictures' hashes and labels: the same whatever their names and order."""
        lines = sorted(f"{facts.sha256} {facts.label}\n" for facts in self.facts)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures, labels, groups, masks; what could not be read; what appears twice."""
        near = sum(duplicate.kind == "near" for duplicate in self.duplicates)
        bad = [sample for sample in self.samples if sample.label]
        return {
            "pictures": len(self.samples), "good": len(self.samples) - len(bad), "bad": len(bad),
            "groups": len({sample.group for sample in self.samples}),
            "groups_with_bad": len({sample.group for sample in bad}),
            "groups_when_merged": len({sample.group for sample in self.merged()}),
            "masks": sum(sample.mask is not None for sample in self.samples),
            "unreadable": len(self.unreadable), "unfit": len(self.unfit), "contradicted": len(self.contradicted),
            "identical_pairs": len(self.duplicates) - near, "near_pairs": near,
            "pairs_across_groups": sum(duplicate.across_groups for duplicate in self.duplicates),
            "pairs_across_labels": sum(duplicate.across_labels for duplicate in self.duplicates),
        }  # fmt: skip

    def merged(self) -> list[Sample]:
        """The readable samples, with groups that share a picture made one."""
        return merge_groups(self.readable, self.same_part)

    def facts_of(self, sample: Sample) -> Facts:
        """What is known of a readable sample's picture."""
        return self._facts_by_path[sample.path]

    def pixels(self, sample: Sample) -> np.ndarray:
        """A readable sample's picture, (H, W) or (H, W, 3): the one in memory, or decoded again.

        Raises ImageError where the file is no longer the one that was looked at.
        """
        if sample.path in self.decoded:
            return self.decoded[sample.path]
        image = read_image(sample.path, self.settings)
        if image.sha256 != self.facts_of(sample).sha256:
            raise ImageError(
                f"{shown(sample.path)}: not the file that was audited; begin anew, and let nobody write it"
            )
        return image.pixels

    @cached_property
    def _facts_by_path(self) -> dict[Path, Facts]:
        return {sample.path: facts for sample, facts in zip(self.readable, self.facts, strict=True)}

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values for JSON."""
        reasons = {name: getattr(self, name) for name in ("unreadable", "unfit", "contradicted", "masks")}
        return {
            "schema_version": 1,
            "fingerprint": self.fingerprint,
            "counts": self.counts,
            "sizes": _tally(f"{f.width}x{f.height}" for f in self.facts),
            "formats": _tally(f.format for f in self.facts),
            "bit_depths": _tally(str(f.bit_depth) for f in self.facts),
            "kinds_of_picture": _tally(f.kind for f in self.facts),
            "kinds_of_defect": _tally(s.kind for s in self.samples if s.kind),
            **{
                name: [{"id": sample.id, "reason": reason} for sample, reason in given]
                for name, given in reasons.items()
            },
            "warnings": [{"id": sample.id, "warning": text} for sample, text in self.warnings],
            "duplicates": [duplicate.as_dict() for duplicate in self.duplicates],
            "copies_believed": self.copies_believed,
            "cues": [asdict(cue) for cue in self.cues],
            "findings": [asdict(finding) for finding in self.findings],
        }


def audit(
    samples: Iterable[Sample], settings: ReadSettings, on_image: Callable[[Sample], None] | None = None, *,
    masks: bool = True, keep: int = 0,
) -> Audit:  # fmt: skip
    """Read every picture once and compare them all. One that cannot be read or shows nothing is listed, not raised.

    on_image: called after each sample; masks: whether masks are opened, to see if they fit; keep: bytes of decoded
    pictures, at most, that stay in memory.
    """
    result, thumbnails = Audit(samples=list(samples), settings=settings), []
    for sample in result.samples:
        try:
            image = read_image(sample.path, settings)
            refuse_unfit(image.pixels, shown(sample.path))
        except UnfitImage as error:
            result.unfit.append((sample, str(error)))
        except ImageError as error:
            result.unreadable.append((sample, str(error)))
        else:
            result.readable.append(sample)
            result.facts.append(_facts(sample, image))
            thumbnails.append(thumbnail(image.pixels))
            result.warnings.extend((sample, text) for text in image.warnings)
            if masks and sample.mask is not None:
                result.masks.extend((sample, reason) for reason in _mask_faults(sample, sample.mask, image))
            if image.pixels.nbytes <= keep:
                result.decoded[sample.path] = image.pixels
                keep -= image.pixels.nbytes
        if on_image:
            on_image(sample)
    hashes = [facts.sha256 for facts in result.facts]
    return _without_contradicted(replace(result, duplicates=find_copies(result.readable, hashes, thumbnails)))


def _without_contradicted(found: Audit) -> Audit:
    """Without the files that are labelled good and bad: whatever a detector says of one, a picture is called wrong."""
    labels: dict[str, dict[int, Sample]] = defaultdict(dict)
    for sample, facts in zip(found.readable, found.facts, strict=True):
        labels[facts.sha256].setdefault(sample.label, sample)
    kept, contradicted = [], []
    for sample, facts in zip(found.readable, found.facts, strict=True):
        other = labels[facts.sha256].get(1 - sample.label)
        if other is None:
            kept.append((sample, facts))
        else:
            said = f"the same file as {shown(other.path)}, which is labelled {'bad' if other.label else 'good'}"
            contradicted.append((sample, f"{shown(sample.path)}: {said}; remove the wrong one"))
    if not contradicted:
        return found
    return replace(
        found, readable=[sample for sample, _ in kept], facts=[facts for _, facts in kept], contradicted=contradicted
    )


class UnfitImage(ImageError):
    """A picture that can be read, but from which nothing can be learned."""


def refuse_unfit(pixels: np.ndarray, name: str) -> None:
    """Raise UnfitImage for a picture that every detector refuses: one that learned from it would take it for a part.

    pixels: (H, W) or (H, W, 3).
    """
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        needed = f"needed are at least {SMALLEST} × {SMALLEST}"
        raise UnfitImage(f"{name}: {width} × {height} pixels; {needed}; take a larger picture")
    first = pixels[0, 0]
    if (pixels[0] == first).all() and (pixels == first).all():  # the first row spares most pictures the whole look
        value = " ".join(str(each) for each in np.atleast_1d(first))
        raise UnfitImage(f"{name}: no picture: every pixel has the value {value}; check camera, light and shutter")


def _facts(sample: Sample, image: ImageFile) -> Facts:
    mean, std, border_mean = measure(image.pixels)
    height, width = image.pixels.shape[:2]
    return Facts(
        label=sample.label, sha256=image.sha256, format=image.format, width=width, height=height,
        bit_depth=image.bit_depth, kind=image.kind, coloured=has_colour(image.pixels), n_bytes=image.n_bytes, mean=mean,
        std=std, border_mean=border_mean, largest=float(image.pixels.max()) / np.iinfo(image.pixels.dtype).max,
        has_exif=image.has_exif,
    )  # fmt: skip


def _mask_faults(sample: Sample, mask: Path, image: ImageFile) -> list[str]:
    try:
        marked = bool(read_mask(mask, *image.pixels.shape[:2]).any())
    except ImageError as error:
        return [str(error)]
    if marked == bool(sample.label):
        return []
    return ["the mask of a bad picture marks nothing" if sample.label else "the mask of a good picture marks a defect"]


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
