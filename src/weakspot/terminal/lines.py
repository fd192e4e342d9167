"""How the terminal shows anything: lines, tables and JSON on stdout."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from weakspot.errors import shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WIDTH = 160  # of tables where stdout is no terminal and has no width


def print_json(data: object) -> None:
    """Data for programs: one JSON value on stdout. NaN, which is no JSON, raises."""
    print(json.dumps(data, allow_nan=False, indent=2, default=str))


def say(*what: object, beside_json: bool = False) -> None:
    """Tables and lines on stdout, or beside JSON on stderr. Text is shown as it is: names of files are never markup."""
    stream = sys.stderr if beside_json else sys.stdout
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else WIDTH)
    for each in what:
        console.print(escape(each) if isinstance(each, str) else each, soft_wrap=isinstance(each, str))


def table(title: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> Table:
    """A plain table; a column whose cells are all numbers stands to the right."""
    drawn = Table(
        title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(_is_number(row[index]) for row in rows)
        drawn.add_column(escape(column), justify="right" if numbers else "left", header_style="dim", overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(_cell(value)) for value in row))
    return drawn


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or (
        isinstance(value, str) and value.replace(".", "", 1).removeprefix("-").isdigit()
    )


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else shown(value)


def or_dash(value: float | None) -> object:
    """A dash for what there is none of."""
    return "–" if value is None else value


def show_counts(counted: "DataclassInstance", as_json: bool) -> None:
    """What was written where: a line for each count."""
    counts = {name: str(value) if isinstance(value, Path) else value for name, value in vars(counted).items()}
    print_json(counts) if as_json else say(*(f"{name}: {shown(value)}" for name, value in counts.items()))
