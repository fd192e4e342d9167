"""The layout `table`: a CSV with a row for each picture, for those whose pictures lie as they lie."""

import codecs
import csv
import io
import re
from pathlib import Path

from weakspot.data.folders import PARTS
from weakspot.data.labels import stated_label
from weakspot.data.samples import Sample, relative_id
from weakspot.errors import DataError, shown

SUFFIXES = (".csv", ".tsv")
# Our names first, then those of anomalib's Tabular and other habits.
COLUMNS = {
    "path": ("path", "image_path", "image", "file", "filename"),
    "label": ("label_index", "label", "target", "class"),
    "group": ("group", "part_id", "serial"),
    "mask": ("mask", "mask_path"),
    "split": ("split", "set"),
    "kind": ("kind", "defect", "defect_type"),
}


def is_table(root: Path) -> bool:
    """A CSV file, or a folder with exactly one, that has the columns path and label."""
    table = _table_in(root)
    if table is None:
        return False
    names = _columns(_rows(table)[0])
    return "path" in names and "label" in names


def read_table(root: Path) -> list[Sample]:
    """Columns path and label, and if wanted group, mask, split and kind; or those of anomalib's tables.

    Separated by comma, semicolon or tab; UTF-8, or UTF-16 with its mark; paths are relative to the table. label: 0 or
    1, or a word such as good, ok, bad, ng, crack. Without a group each picture is its own. Raises DataError with the
    row's number.
    """
    table = _table_in(root)
    if table is None:
        raise DataError(f"{shown(root)}: not one CSV table; give the table's own path")
    header, *rows = _rows(table)
    columns = _columns(header)
    missing = [name for name in ("path", "label") if name not in columns]
    if missing:
        lacks = f"no column {' and no column '.join(missing)}; found are {shown(', '.join(header))}"
        raise DataError(f"{shown(table)}: {lacks}; needed are path and label")
    samples = [_sample(table, columns, row, number) for number, row in enumerate(rows, start=2) if any(row)]
    if samples and not any(sample.path.exists() for sample in samples):
        missing_all = f"none of its {len(samples)} pictures exists, such as {shown(samples[0].path)}"
        slashes = " and are written with /" if "\\" in str(samples[0].path) else ""
        raise DataError(f"{shown(table)}: {missing_all}; paths are relative to the table{slashes}")
    return samples


def _table_in(root: Path) -> Path | None:
    if root.is_dir():
        tables = [path for path in sorted(root.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file()]
        return tables[0] if len(tables) == 1 else None
    return root if root.suffix.lower() in SUFFIXES and root.is_file() else None


def _rows(table: Path) -> list[list[str]]:
    """All rows, the header first and never missing; the separator is the one most frequent in the header."""
    try:
        content = table.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # a spreadsheet's "Unicode text"
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shown(table)}: cannot be read as UTF-8 ({error}); save the table as CSV UTF-8") from None
    text = re.sub(r"\Asep=.\r?\n", "", text)  # a line that some spreadsheets write for themselves
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)) or [[]]
    except csv.Error as error:
        raise DataError(f"{shown(table)}: not a CSV table ({error}); save it as CSV UTF-8") from None


def _columns(header: list[str]) -> dict[str, int]:
    """Our name of a column → its place."""
    places = {name.strip().casefold(): place for place, name in reversed(list(enumerate(header)))}
    place_of = {ours: next((places[name] for name in names if name in places), None) for ours, names in COLUMNS.items()}
    return {ours: place for ours, place in place_of.items() if place is not None}


def _sample(table: Path, columns: dict[str, int], row: list[str], number: int) -> Sample:
    where = f"{shown(table)}: row {number}"
    if len(row) <= max(columns.values()):
        raise DataError(f"{where} has {len(row)} cells, the header more; complete the row")
    cell = {name: row[place].strip() for name, place in columns.items()}
    if not cell["path"]:
        raise DataError(f"{where} names no picture; fill in its path, or remove the row")
    path, root = table.parent / cell["path"], table.parent
    mask = table.parent / cell["mask"] if cell.get("mask") else None
    part = _part(cell.get("split", ""), where)
    group = cell.get("group") or relative_id(path, root)
    label, kind = _label(cell["label"], where), cell.get("kind", "")
    return Sample(path=path, label=label, group=group, mask=mask, part=part, kind=kind, root=root)


def _label(text: str, where: str) -> int:
    label = stated_label(text)
    if label is None:
        needed = "0 or good (ok, normal, pass), 1 or bad (ng, nok, defect, anomaly, fail, crack)"
        raise DataError(f"{where}: label {shown(text)!r}; needed is {needed}")
    return label


def _part(text: str, where: str) -> str | None:
    if text and text.casefold() not in PARTS:
        raise DataError(f"{where}: split {shown(text)!r}; needed is train, val or test, or nothing")
    return PARTS[text.casefold()] if text else None
