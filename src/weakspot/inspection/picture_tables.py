"""Parquet tables that name pictures or hold their files: which there are, their groups of rows, and what a row says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from weakspot.data.tables import COLUMNS
from weakspot.errors import DataError, StorageError, WeakspotError, quoted, shown
from weakspot.inspection import storage

ENDING = ".parquet"
CONTENT = ("image", "bytes", "content")  # columns that may hold files themselves
BATCH, PATHS = 16, 4096  # rows that are in memory at a time, with files in them or without
_KINDS = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}


def tables(given: str) -> list[str]:
    """A table, or those of a folder or pattern, in order. Raises DataError where there is none."""
    if storage.is_file(given):
        return [given]
    found = [name for name in storage.addresses(given) if name.lower().endswith(ENDING)]
    if not found:
        raise DataError(f"{shown(given)}: no such table; give a Parquet table, or a folder of them")
    return found


def row_groups(table: str) -> list[int]:
    """How many rows each of its groups has. Raises DataError for what is no table of pictures."""
    with _opened(table) as file:
        _columns(file.schema_arrow, table)
        return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]


def rows(
    table: str, row_group: int, first: int = 0, end: int | None = None
) -> Iterator[tuple[str | None, bytes | None]]:
    """The path and the file's content that each row of a group has, or None, in order.

    first, end: which of its rows; those before are read over. Raises DataError where the table is damaged, StorageError
    where storage fails.
    """
    with _opened(table) as file:
        path, content = _columns(file.schema_arrow, table)
        wanted, at = [name for name in (path, content) if name], 0
        for batch in file.iter_batches(BATCH if content else PATHS, row_groups=[row_group], columns=wanted):
            meant = batch.slice(max(0, first - at), max(0, (at + len(batch) if end is None else end) - max(first, at)))
            at += len(batch)
            for values in meant.to_pylist():
                yield values.get(path), values.get(content)
            if end is not None and at >= end:
                return


@contextmanager
def _opened(table: str) -> Iterator[Any]:
    """The table, to be read within the block; what goes wrong there is told of it."""
    try:
        with storage.opened(table) as file:
            yield pq.ParquetFile(file)
    except FileNotFoundError:
        raise DataError(f"{shown(table)}: no such table") from None
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{shown(table)}: no Parquet table, or damaged ({quoted(error)}); write it again") from None
    except WeakspotError:
        raise
    except Exception as error:  # a damaged page, or whatever storage raises
        if storage.is_remote(table):
            raise StorageError(f"{shown(table)}: cannot be read ({quoted(error)}); {storage.GO_ON}") from None
        if not isinstance(error, OSError):
            raise
        raise DataError(f"{shown(table)}: cannot be read ({quoted(error)}); write or copy it again") from None


def _columns(schema: Any, table: str) -> tuple[str, str]:
    """The columns of paths and of contents; "" where there is none. Raises DataError where there is neither."""
    texts = [name for name in COLUMNS["path"] if name in schema.names and _is(schema, name, pa.types.is_string)]
    contents = [name for name in CONTENT if name in schema.names and _is(schema, name, pa.types.is_binary)]
    if not texts and not contents:
        needed = "a column path of text, or image of bytes"
        raise DataError(f"{shown(table)}: its columns are {quoted(', '.join(schema.names))}; needed is {needed}")
    return (texts or [""])[0], (contents or [""])[0]


def _is(schema: Any, name: str, kind: Any) -> bool:
    found = schema.field(name).type
    found = found.value_type if pa.types.is_dictionary(found) else found
    return bool(kind(_KINDS.get(found, found)))
