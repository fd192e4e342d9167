"""Inspections as lines: JSON, one object a line, and CSV for spreadsheets. Writes no files."""

import csv
import io
import json
from typing import Any

from weakspot.inspection.inspection import ROW

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def json_line(published: dict[str, Any]) -> bytes:
    """One line of JSON in UTF-8. NaN, which JSON does not have, raises ValueError."""
    return json.dumps(published, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


def csv_header() -> bytes:
    """The columns' names."""
    return csv_line(dict(zip(ROW, ROW)))


def csv_line(row: dict[str, Any]) -> bytes:
    """One record as RFC 4180 has it, in UTF-8: columns in the order of ROW, numbers with a point, what is None left empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(_cell(row[name]) for name in ROW)
    return text.getvalue().encode("utf-8")


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
