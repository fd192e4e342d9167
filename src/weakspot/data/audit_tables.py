"""An audit as tables of text, for the terminal and the report. Nothing is printed here."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from weakspot.data.audit import Audit
from weakspot.errors import shown

MOST_ROWS = 12


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, and rows of as many cells."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def audit_tables(audit: Audit) -> list[Table]:
    """What there is, what was found, what gives the label away, and what appears twice; no table without rows."""
    tables = [_amounts(audit), _pictures(audit), _findings(audit), _left_out(audit), _copies(audit), _cues(audit)]
    return [table for table in tables if table.rows]


def _amounts(audit: Audit) -> Table:
    always = ("pictures", "good", "bad", "unreadable")
    counts = [(name, count) for name, count in audit.counts.items() if count or name in always]
    rows = [(name.replace("_", " "), str(count)) for name, count in counts]
    kinds = Counter(sample.kind for sample in audit.samples if sample.kind)
    rows += [(f"bad: {shown(kind)}", str(count)) for kind, count in kinds.most_common(MOST_ROWS)]
    return Table("Pictures", ("what", "count"), rows)


def _pictures(audit: Audit) -> Table:
    seen = Counter((f.format, f"{f.width} × {f.height}", f"{f.bit_depth} bit", f.kind) for f in audit.facts)
    rows = [(*what, str(count)) for what, count in seen.most_common(MOST_ROWS)]
    if len(seen) > MOST_ROWS:
        widths, heights = [f.width for f in audit.facts], [f.height for f in audit.facts]
        others = sum(seen.values()) - sum(count for _, count in seen.most_common(MOST_ROWS))
        sizes = f"{min(widths)} to {max(widths)} × {min(heights)} to {max(heights)}"
        rows.append(("others", sizes, "", "", str(others)))
    return Table("Files", ("format", "width × height", "depth", "kind", "count"), rows)


def _findings(audit: Audit) -> Table:
    return Table("Findings", ("grade", "what"), [(finding.grade, finding.text) for finding in audit.findings])


def _left_out(audit: Audit) -> Table:
    rows = [("bad" if sample.label else "good", reason) for sample, reason in audit.left_out[:MOST_ROWS]]
    return Table("Take no part", ("label", "why"), rows)


def _copies(audit: Audit) -> Table:
    """Pairs of groups with what they share: one row where a whole part appears twice."""
    pairs = [duplicate for duplicate in audit.duplicates if duplicate.across_groups or duplicate.across_labels]
    groups: dict[tuple[str, str], list[int]] = {}
    for number, pair in enumerate(pairs):
        key = (min(pair.first.group, pair.second.group), max(pair.first.group, pair.second.group))
        groups.setdefault(key, []).append(number)
    rows = []
    for (one, other), numbers in sorted(groups.items(), key=lambda item: -len(item[1]))[:MOST_ROWS]:
        first = pairs[numbers[0]]
        kinds = " and ".join(sorted({pairs[number].kind for number in numbers}))
        farthest = f"{max(pairs[number].distance for number in numbers)} of 1024"
        example = f"{shown(first.first.id)} · {shown(first.second.id)} {first.turn}".strip()
        rows.append((shown(one), shown(other), str(len(numbers)), kinds, farthest, example))
    columns = ("group", "group", "pairs", "kind", "bits apart", "such as")
    return Table("The same part in different groups, or called good and bad", columns, rows)


def _cues(audit: Audit) -> Table:
    rows = []
    for cue in (cue for cue in audit.cues if cue.p_value < 1):
        numbers = f"{cue.auc:.2f}", f"{cue.p_value:.1g}", f"{cue.good_median:.4g}", f"{cue.bad_median:.4g}"
        rows.append((cue.name, cue.source, *numbers, cue.verdict))
    columns = ("number", "from", "AUC", "p", "good, median", "bad, median", "verdict")
    return Table("Single numbers against the label", columns, rows)
