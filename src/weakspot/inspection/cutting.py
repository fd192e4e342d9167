"""From what a user names for very many pictures (folders, lists, tables, addresses) to pieces. Writes nothing."""

import codecs
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from glob import has_magic
from itertools import islice

from weakspot.errors import DataError, shown
from weakspot.inspection import storage
from weakspot.inspection.picture_tables import ENDING as TABLE
from weakspot.inspection.picture_tables import row_groups, tables
from weakspot.inspection.pieces import Piece
from weakspot.inspection.sources import ENDINGS, FOREIGN, all_images

log = logging.getLogger(__name__)
LIST = ".txt"  # ending of inputs that name pictures
_PICTURES = tuple(ENDINGS | FOREIGN)


def cut(inputs: Sequence[str], images_a_piece: int) -> list[Piece]:
    """The pictures in pieces, in the order of the inputs, each once.

    inputs: files, folders, patterns, lists (*.txt, a path a line) and tables (*.parquet; none of their pieces has rows
    of two groups), as addresses or by absolute paths. One that is named and missing is among them, to be refused.
    Raises DataError for a folder or a pattern without pictures, and where none is there at all.
    """
    images: dict[str, None] = {}
    tables_named: dict[str, None] = {}
    for given in inputs:
        if given.lower().endswith(TABLE):
            tables_named |= dict.fromkeys(tables(given))
        else:
            images |= dict.fromkeys(_named(given))
    of_tables = [piece for table in tables_named for piece in _of_table(table, images_a_piece)]
    if not of_tables and not any(storage.is_remote(name) or os.path.lexists(name) for name in images):
        raise _none_in(", ".join(map(shown, inputs)))
    rest = iter(images)
    chunks = iter(lambda: list(islice(rest, images_a_piece)), [])
    return [replace(piece, number=number) for number, piece in enumerate([*of_tables, *map(partial(Piece, 0), chunks)])]


def _of_table(table: str, images_a_piece: int) -> Iterator[Piece]:
    for group, rows in enumerate(row_groups(table)):
        for first in range(0, rows, images_a_piece):
            yield Piece(0, table=table, row_group=group, first_row=first, end_row=min(rows, first + images_a_piece))


def _named(given: str) -> list[str]:
    """The pictures that one input names."""
    if given.lower().endswith(LIST):
        return _listed(given)
    if not storage.is_remote(given):
        local = all_images([given])
        if local.passed_over:
            log.warning("passed over: %s", local.passed_over)
        found = [os.path.abspath(path) for path in local.images]
    elif storage.is_file(given):
        found = [given]
    else:
        found = [name for name in storage.addresses(given) if name.lower().endswith(_PICTURES)]
        found = found or [given] * (given.lower().endswith(_PICTURES) and not has_magic(given))
    if not found:
        raise _none_in(shown(given))
    return found


def _none_in(named: str) -> DataError:
    return DataError(f"no pictures found in {named}; give files, folders, patterns, lists or Parquet tables")


def _listed(given: str) -> list[str]:
    """Paths in a list are relative to it. UTF-8, or UTF-16 with its mark; other bytes where a file is so named."""
    try:
        content = storage.read(given)
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16") if marked else content.decode("utf-8-sig", "surrogateescape")
    except FileNotFoundError:
        raise DataError(f"{shown(given)}: no such list; give a text file with a path a line") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(given)}: no text ({shown(error)}); write the list again, as UTF-8") from None
    lines = [line for line in text.splitlines() if line.strip()]
    places = [storage.absolute(storage.joined(storage.parent(given), line)) for line in lines]
    for line, place in zip(lines, places):
        if re.search("[\udc80-\udcff]", line) and not os.path.lexists(place):
            found = f"{shown(line)} is no UTF-8 and no such file"
            raise DataError(f"{shown(given)}: {found}; write the list again, as UTF-8")
    return places
