"""The database of a service: opened, brought up to date, and written by one thread that commits in groups.

Whoever gets a result of `write` knows that it is on disk. SQLite before 3.51.3 may damage its file where two
connections write or checkpoint at one instant (sqlite.org/wal.html#walresetbug); here only the writer's connection
does either, readers open the file read-only. PostgreSQL is opened by URL and used alike.
"""

import os
import platform
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from weakspot.errors import DiskError, StoreError, StoreFullError, WeakspotError, shown
from weakspot.service.postgresql import be_the_writer
from weakspot.service.schema import bring_up_to_date

T = TypeVar("T")
GROUP = 64  # most writes of one commit
_END = object()
_RAISED = "P0001"  # PostgreSQL's code for what a trigger refuses


class Store:
    """One database: many readers, one writer. Usable from several threads.

    After a failed sync nothing more is written: the system may have dropped the data, and a second sync may say that
    all is well. `failed` then holds why, and the process is to end.
    """

    def __init__(self, url: str) -> None:
        """Open a database and bring it up to date; SQLite's file is made where it is missing. Raises StoreError."""
        self.url = url
        self.failed: StoreError | None = None
        self._path = sqlite_path(url)
        _make_private(self._path)
        self._writer, self._readers = _writing(url, self._path), reading(url)
        with store_errors(url):
            bring_up_to_date(self._writer)
            self._inode = self._path and os.stat(self._path).st_ino
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="store", daemon=True)
        self._thread.start()

    def read(self, question: Callable[[Connection], T]) -> T:
        """What a function finds, in one snapshot. Raises StoreError."""
        with store_errors(self.url), self._readers.connect() as connection:
            return question(connection)

    def write(self, change: Callable[[Connection], T]) -> T:
        """Make a change and return what it returns, once that is on disk; others may share its commit.

        Raises what the change raises, and StoreError where it cannot be written; then nothing of it is kept.
        """
        done: Future[T] = Future()
        if self.failed is not None:
            raise self.failed
        self._queue.put((change, done))
        return done.result()

    @contextmanager
    def trusting_the_disk(self) -> Iterator[None]:
        """Around what writes beside the database: where the disk fails there, nothing more is written here either."""
        try:
            yield
        except DiskError as error:
            self.failed = StoreError(str(error))
            raise self.failed from error

    def close(self) -> None:
        """Finish what was asked for and let go of the database."""
        self._queue.put(_END)
        self._thread.join()
        self._readers.dispose()
        self._writer.dispose()

    def _write_all(self) -> None:
        while (first := self._queue.get()) is not _END:
            group = [first]
            while len(group) < GROUP and not self._queue.empty():
                if (following := self._queue.get()) is _END:
                    self._queue.put(_END)
                    break
                group.append(following)
            self._write_group(group)

    def _write_group(self, group: list[tuple[Callable[[Connection], Any], Future[Any]]]) -> None:
        """One commit; a change that fails is taken back alone, and the others stay."""
        results: list[tuple[Future[Any], Any]] = []
        try:
            if self.failed is not None:
                raise self.failed
            with store_errors(self.url), self._writer.begin() as connection:
                for change, done in group:
                    _make(change, done, connection, results)
            self._refuse_moved()
        except Exception as error:  # of any kind: whoever waits must hear of it
            reason = (
                error if isinstance(error, StoreError) else StoreError(f"the store failed ({type(error).__name__})")
            )
            if not isinstance(reason, StoreFullError):
                self.failed = reason
            for _, done in group:
                if not done.done():
                    done.set_exception(reason)
        for done, result in results:
            if not done.done():
                done.set_result(result)

    def _refuse_moved(self) -> None:
        """Raise StoreError where the file was moved or replaced: what was written is not where one looks for it."""
        try:
            same = self._path is None or os.stat(self._path).st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise StoreError(f"{shown(self._path)}: was moved or replaced while in use; put it back and start again")


def _make(change: Callable[[Connection], Any], done: Future[Any], connection: Connection, results: list[Any]) -> None:
    """One change of a group. Raises what ends the whole transaction, which then has no savepoint to go back to."""
    savepoint = connection.begin_nested()
    try:
        result = change(connection)
    except Exception as error:
        if isinstance(error, DBAPIError) and not _is_of_the_statement(error):
            raise
        savepoint.rollback()
        done.set_exception(error)
    else:
        savepoint.commit()
        results.append((done, result))


class store_errors:
    """Turn the database's errors into a StoreError without its internals; a conflict of keys passes."""

    def __init__(self, url: str) -> None:
        self._name = shown_url(url)

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, SQLAlchemyError | OSError) or isinstance(error, WeakspotError):
            return
        cause = getattr(error, "orig", None) or error
        if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or getattr(cause, "sqlstate", "") == "53100":
            raise StoreFullError(f"{self._name}: the disk is full; free some space") from error
        reason = shown(str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__)
        raise StoreError(f"{self._name}: the store failed ({reason}); check disk and database, start again") from error


def sqlite_url(path: Path) -> str:
    """The URL of a file, whatever its name has in it; `sqlite_path` gives the path back."""
    return URL.create("sqlite", database=str(path.absolute())).render_as_string()


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL; None for PostgreSQL. Raises StoreError for anything else."""
    try:
        parsed = make_url(url)
    except SQLAlchemyError:
        raise StoreError("--store: not a URL; give sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    if parsed.get_backend_name() == "postgresql":
        return None
    if parsed.drivername != "sqlite" or not parsed.database or parsed.query or parsed.database == ":memory:":
        raise StoreError(f"--store {shown_url(url)}: give sqlite:///FILE or postgresql://USER@HOST/NAME")
    return Path(parsed.database).absolute()


def shown_url(url: str) -> str:
    """A URL without its password."""
    try:
        return shown(make_url(url).render_as_string(hide_password=True))
    except SQLAlchemyError:
        return "the store"


def _make_private(path: Path | None) -> None:
    """Make a file that is not there for its owner's eyes alone, as SQLite then makes those beside it.

    One that is there is not opened: closing it would let go of SQLite's locks.
    """
    if path is not None and not path.exists():
        with suppress(OSError):  # SQLite will say so
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _writing(url: str, path: Path | None) -> Engine:
    if path is None:
        who = {"application_name": f"process {os.getpid()} on {platform.node()}"[:63]}
        engine = create_engine(_postgresql(url), connect_args=who, pool_size=1, max_overflow=0, pool_pre_ping=True)
        event.listen(engine, "connect", be_the_writer)
        return engine

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "wal_autocheckpoint = 1000"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def reading(url: str) -> Engine:
    """A database to read from alone, each connection a snapshot; another process may be writing to it."""
    path = sqlite_path(url)
    if path is None:
        return create_engine(
            _postgresql(url),
            pool_size=4,
            isolation_level="REPEATABLE READ",
            pool_pre_ping=True,
        )

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=5
        )
        connection.execute("PRAGMA query_only = ON")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=4, max_overflow=40)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _postgresql(url: str) -> Any:
    return make_url(url).set(drivername="postgresql+psycopg")


def _is_of_the_statement(error: DBAPIError) -> bool:
    """Whether one change alone is at fault, for what it would write; else nothing more can be written at all."""
    return isinstance(error, IntegrityError | DataError) or getattr(error.orig, "sqlstate", "") == _RAISED
