"""Lines of CSV that no spreadsheet takes for formulas. Writes no files."""

import csv
import io
from collections.abc import Iterable
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_line(cells: Iterable[Any], end: str = "\n") -> str:
    """One record as RFC 4180 has it: numbers with a point, what is None left empty.

    A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers stay numbers.
    """
    text = io.StringIO()
    # the writer quotes what holds a letter of its own line end, so that is both, whatever `end` is
    csv.writer(text, lineterminator="\r\n").writerow(_safe(cell) for cell in cells)
    return text.getvalue().removesuffix("\r\n") + end


def _safe(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
