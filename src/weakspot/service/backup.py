"""A store with its pictures and models, copied whole from one moment, also while it is in use; and back again.

A backup is a data folder of its own with an SQLite store, whatever the original was: `weakspot serve` runs on it.
"""

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Table, func, insert, select, text

from weakspot.durable import make_folder, output_errors, sync_folder
from weakspot.errors import OutputError, StoreError, shown
from weakspot.runs import alone
from weakspot.service.files import Files
from weakspot.service.schema import newest_version
from weakspot.service.serve import MODELS, PICTURES, STORE, store_url
from weakspot.service.store import Store, reading, sqlite_path, sqlite_url, store_errors
from weakspot.service.tables import METADATA, inspections, models, pictures, verdicts

log = logging.getLogger(__name__)
AT_ONCE = 1000  # rows


@dataclass(frozen=True)
class Copied:
    """How much a backup or a restore holds. missing: files that the store names and that were lost or damaged."""

    place: Path
    inspections: int
    verdicts: int
    pictures: int
    models: int
    missing: int

    @property
    def exit_status(self) -> int:
        """0 where it is whole."""
        return 1 if self.missing else 0


def back_up(data: Path, store: str | None, target: Path) -> Copied:
    """Copy a service's data into a new or empty folder.

    Files that are lost or damaged are named in the log and counted; all others are there. Raises OutputError for
    another folder, StoreError for a store that cannot be read.
    """
    return _copy(data, store, target, None)


def restore(backup: Path, data: Path, store: str | None) -> Copied:
    """Put a backup's data into a new or empty folder and, where a URL is given, into that empty database."""
    return _copy(backup, None, data, store)


def _copy(data: Path, store: str | None, target: Path, target_store: str | None) -> Copied:
    if target.exists() and any(each.name != ".lock" for each in target.iterdir()):
        raise OutputError(f"{shown(target)}: is not empty; give a new folder")
    make_folder(target)
    sent = Files(data / PICTURES, ours=False)
    with (
        alone(target, "writes there"),
        _emptied(target),
        sent.nothing_removed(),
        snapshot(store_url(data, store)) as source,
    ):
        # Files first: a folder that was left half done has no store, and is not taken for a service's.
        names = [row.sha256 for row in source.execute(select(pictures.c.sha256).where(pictures.c.removed.is_(None)))]
        known = [row.sha256 for row in source.execute(select(models.c.sha256))]
        seen = _copy_files(sent, Files(target / PICTURES), names)
        from_models = Files(data / MODELS, ".weakspot", ours=False)
        learned = _copy_files(from_models, Files(target / MODELS, ".weakspot"), known)
        _copy_store(source, store_url(data, store), store_url(target, target_store))
        said, judged = (
            source.execute(select(func.count()).select_from(table)).scalar_one() for table in (inspections, verdicts)
        )
    return Copied(target, said, judged, seen, learned, missing=len(names) + len(known) - seen - learned)


@contextmanager
def _emptied(target: Path) -> Iterator[None]:
    """A folder that was empty, and is so again where not all could be written."""
    try:
        yield
    except BaseException:
        for name in (PICTURES, MODELS):
            shutil.rmtree(target / name, ignore_errors=True)
        for left in target.glob(f"{STORE}*"):
            left.unlink(missing_ok=True)
        raise


@contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """A store as it is at this moment. Raises StoreError where there is none, or one of another version."""
    path = sqlite_path(url)
    if path is not None and not path.exists():
        raise StoreError(f"{shown(path)}: no store there; name the --data or --store of a service")
    engine = reading(url)
    try:
        with store_errors(url), engine.connect() as connection:
            if MigrationContext.configure(connection).get_current_revision() != newest_version():
                raise StoreError(
                    "the store is of another version; start `weakspot serve` on it once with this weakspot"
                )
            yield connection
    finally:
        engine.dispose()


def _copy_files(source: Files, target: Files, names: list[str]) -> int:
    """How many were whole; the others are named in the log."""
    copied = 0
    for name in names:
        if (content := source.get(name)) is None:
            log.warning("%s: lost or damaged, and not in the copy", shown(source.path(name)))
        else:
            target.put(content)
            copied += 1
    return copied


def _copy_store(source: Connection, source_url: str, url: str) -> None:
    """All rows, and for a file only then its name: one that was left half done is not taken for a store."""
    path = sqlite_path(url)
    if path is None:
        _copy_rows(source, source_url, url)
        return
    if path.exists():
        raise OutputError(f"{shown(path)}: is there already; give a new one")
    part = path.with_name(f"{path.name}.part")
    with output_errors(path):
        for left in part.parent.iterdir():
            if left.name.startswith(part.name):
                left.unlink()
    _copy_rows(source, source_url, sqlite_url(part))
    _put_into_one_file(part)
    with output_errors(path):
        os.replace(part, path)
        sync_folder(path.parent)


def _put_into_one_file(path: Path) -> None:
    """Move what is in the log into the file itself: closing it does so, too, but does not say where that failed."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{shown(path)}: the copy is not whole ({error}); free some space") from None
    if mode != "delete":
        raise StoreError(f"{shown(path)}: the copy is not whole, another program has it open; copy again")


def _copy_rows(source: Connection, source_url: str, url: str) -> None:
    """In one transaction: a database to which not all came has nothing."""
    target = Store(url)
    try:
        target.write(partial(_add_rows, source, source_url))
    finally:
        target.close()


def _add_rows(source: Connection, source_url: str, target: Connection) -> None:
    for table in METADATA.sorted_tables:
        if target.execute(select(table).limit(1)).first() is not None:
            raise OutputError("the database of --store is not empty; give an empty one")
        for rows in _read_rows(source, source_url, table):
            target.execute(insert(table), rows)
    _go_on_counting(target)


def _read_rows(source: Connection, url: str, table: Table) -> Iterator[list[dict[str, Any]]]:
    """A table's rows, some at once. Raises StoreError about the source, though another store is being written."""
    with store_errors(url):
        found = source.execute(select(table)).mappings()
        rows = found.fetchmany(AT_ONCE)
    while rows:
        yield [dict(row) for row in rows]
        with store_errors(url):
            rows = found.fetchmany(AT_ONCE)


def _go_on_counting(connection: Connection) -> None:
    """PostgreSQL counts on from what it counted itself, not from what was copied."""
    if connection.dialect.name == "postgresql":
        for name in (table.name for table in METADATA.sorted_tables if "seq" in table.c):
            highest = f"(SELECT coalesce(max(seq), 0) + 1 FROM {name})"
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'seq'), {highest}, false)"))
