"""What an audit found, as sentences: what is there, why it matters, what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weakspot.data.cues import FROM_BOTH, FROM_LIGHT, Cue
from weakspot.errors import amount, shown

if TYPE_CHECKING:
    from weakspot.data.audit import Audit, Duplicate

FEW = 5  # bad parts, below which little can be learned and nothing shown
WRONG, LOOK, NOTE = "wrong", "look", "note"


@dataclass(frozen=True)
class Finding:
    """One sentence a person should know; `grade`: "wrong" spoils any result, "look" is probably a mistake, "note" is
    good to know."""

    grade: str
    text: str


def findings(found: Audit) -> list[Finding]:
    """All sentences about an audit, the gravest first."""
    told = [_of_cue(cue) for cue in found.cues if cue.verdict]
    sentences = [*_of_files(found), *_of_copies(found), *told, *_of_pictures(found), *_of_amounts(found)]
    return sorted(sentences, key=lambda finding: (WRONG, LOOK, NOTE).index(finding.grade))


def _of_files(found: Audit) -> Iterable[Finding]:
    if found.unreadable:
        yield Finding(
            LOOK,
            f"{amount(len(found.unreadable), 'picture')} left out that cannot be read, such as {found.unreadable[0][1]}",
        )
    if found.unfit:
        yield Finding(
            LOOK, f"{amount(len(found.unfit), 'picture')} left out as too small or blank, such as {found.unfit[0][1]}"
        )
    if found.masks:
        sample, reason = found.masks[0]
        yield Finding(
            LOOK,
            f"{amount(len(found.masks), 'mask')} to correct, such as that of {shown(sample.id)}: {reason}; else figures on the place will be off",
        )
    if found.warnings:
        sample, text = found.warnings[0]
        yield Finding(NOTE, f"{amount(len(found.warnings), 'remark')} on files, such as {shown(sample.id)}: {text}")


def _of_copies(found: Audit) -> Iterable[Finding]:
    torn = [pair for pair in found.duplicates if pair.across_labels]
    if torn:
        grade = WRONG if any(pair.kind == "identical" for pair in torn) else LOOK
        what = f"{amount(len(torn), 'pair')} of pictures showing the same, called good and bad: {_pairs(torn)}"
        yield Finding(grade, f"{what}; correct the labels, or remove one of each")
    if not found.copies_believed:
        yield Finding(
            NOTE,
            "most pictures look too alike to tell parts apart, so only identical files count as one part; give groups if parts appear twice",
        )
        return
    across = [pair for pair in found.duplicates if pair.across_groups]
    if across:
        groups = sorted({" = ".join(sorted((pair.first.group, pair.second.group))) for pair in across})
        named = (
            f" ({', '.join(map(shown, groups[:4]))}{', …' if len(groups) > 4 else ''})"
            if len(groups) < len(across)
            else ""
        )
        what = (
            f"{amount(len(across), 'pair')} of pictures from different groups showing the same{named}: {_pairs(across)}"
        )
        yield Finding(LOOK, f"{what}; each such pair is kept on one side of every split")


def _of_cue(cue: Cue) -> Finding:
    what = f"{cue.name} alone tells good from bad (AUC {cue.auc:.2f}, good {cue.good_median:.4g}, bad {cue.bad_median:.4g} in the middle)"
    if cue.source == FROM_LIGHT:
        return Finding(
            LOOK,
            f"{what}; that may be the defect itself, or other light: look at both kinds, and take both under the same light",
        )
    if cue.source == FROM_BOTH:
        return Finding(
            LOOK,
            f"{what}; files grow with detail and noise, but also with settings: make sure that all were saved in the same way",
        )
    grade = WRONG if cue.verdict == "gives the label away" else LOOK
    return Finding(
        grade,
        f"{what}, though it says nothing about the part; a detector may learn it instead: save all pictures in the same way",
    )


def _of_pictures(found: Audit) -> Iterable[Finding]:
    shapes = [f.width / f.height for f in found.facts]
    if shapes and max(shapes) > 1.2 * min(shapes):
        what = f"width to height runs from {min(shapes):.2f} to {max(shapes):.2f}, and all are stretched to one size"
        yield Finding(LOOK, f"{what}; cut them alike if they show the same part")
    for what, values in (
        ("bit depths", Counter(f.bit_depth for f in found.facts)),
        ("kinds", Counter(f.kind for f in found.facts)),
    ):
        if len(values) > 1:
            mixed = ", ".join(f"{count} × {value}" for value, count in values.most_common())
            yield Finding(NOTE, f"pictures of several {what}: {mixed}; all are brought to one")
    deep = [f.largest for f in found.facts if f.bit_depth == 16]
    if deep and 0 < max(deep) < 0.5:
        bits = int(max(deep) * 65535).bit_length()
        what = f"the 16-bit pictures never exceed {max(deep) * 65535:.0f}"
        yield Finding(LOOK, f"{what}; if the camera has {bits} bits, say so: bit_depth = {bits} in the settings")


def _of_amounts(found: Audit) -> Iterable[Finding]:
    bad = {sample.group for sample in found.readable if sample.label}
    good = {sample.group for sample in found.readable if not sample.label}
    if len(bad) < FEW:
        yield Finding(
            LOOK,
            f"{amount(len(bad), 'bad part')} can be used; with fewer than {FEW} little is learned and nothing can be shown: add bad parts",
        )
    if len(good) < FEW:
        yield Finding(
            LOOK,
            f"{amount(len(good), 'good part')} can be used; with fewer than {FEW} the detector does not learn what varies: add good parts",
        )


def _pairs(pairs: list[Duplicate], most: int = 3) -> str:
    named = [
        f"{shown(pair.first.id)} and {shown(pair.second.id)}{f' ({pair.turn})' if pair.turn else ''}"
        for pair in pairs[:most]
    ]
    return ", ".join(named) + (", …" if len(pairs) > most else "")
