"""Inspections as lines: JSON, one object a line, and CSV for spreadsheets. Writes no files."""

import json
from typing import Any

from weakspot import csv_text
from weakspot.inspection.inspection import ROW


def json_line(published: dict[str, Any]) -> bytes:
    """One line of JSON in UTF-8. NaN, which JSON does not have, raises ValueError."""
    return json.dumps(published, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


def csv_header() -> bytes:
    """The columns' names."""
    return csv_line(dict(zip(ROW, ROW)))


def csv_line(row: dict[str, Any]) -> bytes:
    """One record as RFC 4180 has it, in UTF-8: columns in the order of ROW, numbers with a point, what is None left
    empty."""
    return csv_text.csv_line((row[name] for name in ROW), end="\r\n").encode("utf-8")
