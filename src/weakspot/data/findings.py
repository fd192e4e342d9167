"""What an audit found, as sentences: what is there, why it matters, what to do. Takes plain values; `audit` asks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weakspot.data.copies import Duplicate
from weakspot.data.cues import FROM_BOTH, FROM_FILE, FROM_LIGHT, Cue, Facts
from weakspot.data.samples import Sample
from weakspot.errors import amount, shown

FEW = 5  # bad parts, below which next to nothing can be shown
WRONG, LOOK, NOTE = "wrong", "look", "note"
WHY = {
    FROM_LIGHT: "that may be the defect itself, or other light: look at both kinds, and take both under one light",
    FROM_BOTH: "files grow with detail and noise, but also with settings: make sure that all were saved in one way",
    FROM_FILE: "it says nothing about the part, and a detector may learn it instead: save all pictures in one way",
}
Reasons = Sequence[tuple[Sample, str]]


@dataclass(frozen=True)
class Finding:
    """One sentence a person should know.

    grade: "wrong" spoils any result, "look" is probably a mistake, "note" is good to know.
    """

    grade: str
    text: str


def sorted_by_grade(*findings: Finding) -> list[Finding]:
    """The gravest first."""
    return sorted(findings, key=lambda finding: (WRONG, LOOK, NOTE).index(finding.grade))


def of_files(unreadable: Reasons, unfit: Reasons, masks: Reasons, remarks: Reasons) -> Iterable[Finding]:
    """On files that take no part, masks that do not fit, and what was odd about others."""
    for reasons, why in ((unreadable, "that cannot be read"), (unfit, "as too small or blank")):
        if reasons:
            yield Finding(LOOK, f"{amount(len(reasons), 'picture')} left out {why}, such as {reasons[0][1]}")
    if masks:
        sample, reason = masks[0]
        what = f"{amount(len(masks), 'mask')} to correct, such as that of {shown(sample.id)}: {reason}"
        yield Finding(LOOK, f"{what}; else figures on the place will be off")
    if remarks:
        sample, text = remarks[0]
        yield Finding(NOTE, f"{amount(len(remarks), 'remark')} on files, such as {shown(sample.id)}: {text}")


def of_copies(duplicates: Sequence[Duplicate], believed: bool) -> Iterable[Finding]:
    """On pictures of the same. believed: whether pictures that look alike count as one part."""
    torn = [pair for pair in duplicates if pair.across_labels]
    if torn:
        grade = WRONG if any(pair.kind == "identical" for pair in torn) else LOOK
        what = f"{amount(len(torn), 'pair')} of pictures showing the same, called good and bad: {_pairs(torn)}"
        yield Finding(grade, f"{what}; correct the labels, or remove one of each")
    if not believed:
        what = "most pictures look too alike to tell parts apart, so only identical files count as one part"
        yield Finding(NOTE, f"{what}; give groups if parts appear twice")
        return
    across = [pair for pair in duplicates if pair.across_groups]
    if across:
        groups = sorted({" = ".join(sorted((pair.first.group, pair.second.group))) for pair in across})
        some = f" ({', '.join(map(shown, groups[:4]))}{', …' if len(groups) > 4 else ''})"
        named = some if len(groups) < len(across) else ""
        what = f"{amount(len(across), 'pair')} of pictures from different groups showing the same{named}"
        yield Finding(LOOK, f"{what}: {_pairs(across)}; the groups of each such pair count as one part")


def of_given_split(leaks: Sequence[tuple[Sample, Sample]]) -> Iterable[Finding]:
    """On parts that the data's own split has on both sides: pairs of a training and a test picture."""
    if leaks:
        one, other = leaks[0]
        what = f"{amount(len(leaks), 'part')} on both sides of the split that the data give"
        such = f"such as {shown(one.id)} (training) and {shown(other.id)} (test)"
        yield Finding(WRONG, f'{what}, {such}; correct the split, or let weakspot make one: split = "own"')


def of_cues(cues: Sequence[Cue]) -> Iterable[Finding]:
    """On numbers that tell good from bad by themselves."""
    for cue in (cue for cue in cues if cue.verdict):
        grave = cue.source == FROM_FILE and cue.verdict == "gives the label away"
        values = f"AUC {cue.auc:.2f}, good {cue.good_median:.4g}, bad {cue.bad_median:.4g} in the middle"
        what = f"{cue.name} alone tells good from bad ({values}); {WHY[cue.source]}"
        yield Finding(WRONG if grave else LOOK, what)


def of_pictures(facts: Sequence[Facts]) -> Iterable[Finding]:
    """On pictures that differ in shape, depth or kind, and on a camera of fewer bits than its files."""
    shapes = [f.width / f.height for f in facts]
    if shapes and max(shapes) > 1.2 * min(shapes):
        what = f"width to height runs from {min(shapes):.2f} to {max(shapes):.2f}, and all are brought to one size"
        yield Finding(LOOK, f"{what}, mirrored or pressed into it; cut them alike if they show the same part")
    kinds = (("bit depths", Counter(f.bit_depth for f in facts)), ("kinds", Counter(f.kind for f in facts)))
    for what, values in kinds:
        if len(values) > 1:
            mixed = ", ".join(f"{count} × {value}" for value, count in values.most_common())
            yield Finding(NOTE, f"pictures of several {what}: {mixed}; all are brought to one")
    deep = [f.largest for f in facts if f.bit_depth == 16]
    if deep and 0 < max(deep) < 0.5:
        bits = int(max(deep) * 65535).bit_length()
        what = f"the 16-bit pictures never exceed {max(deep) * 65535:.0f}"
        yield Finding(
            LOOK, f"{what}; if the camera has {bits} bits, say so in the settings: under [read], bit_depth = {bits}"
        )


def of_amounts(readable: Sequence[Sample]) -> Iterable[Finding]:
    """On too few parts of either label."""
    for label, word, why in (
        (1, "bad", "next to nothing can be shown of escapes"),
        (0, "good", "the detector does not learn what varies"),
    ):
        parts = {sample.group for sample in readable if sample.label == label}
        if len(parts) < FEW:
            can = f"{amount(len(parts), f'{word} part')} can be used"
            yield Finding(LOOK, f"{can}; with fewer than {FEW} {why}: add {word} parts")


def _pairs(pairs: Sequence[Duplicate], most: int = 3) -> str:
    turns = [f" ({pair.turn})" if pair.turn else "" for pair in pairs]
    named = [
        f"{shown(pair.first.id)} and {shown(pair.second.id)}{turn}" for pair, turn in zip(pairs, turns, strict=True)
    ]
    return ", ".join(named[:most]) + (", …" if len(pairs) > most else "")
