"""Results that grow by a line a picture, and the ledger of what is done: a kill loses none and doubles none.

Of each picture the entry in the ledger reaches the disk first, then the line of JSON, then the row of the table. So
after a kill at most the last entry stands without a line, and its picture is not done; and at most the last line stands
without its row, which is then added.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from weakspot import csv_text
from weakspot.durable import output_errors, remove_leftovers, replacing, sync_folder
from weakspot.errors import OutputError, shown
from weakspot.inspection.arrivals import Done, Version
from weakspot.inspection.inspection import ROW, Inspection, NotInspected
from weakspot.inspection.output import lines_of

JSONL, CSV, LEDGER = "results.jsonl", "results.csv", "done.jsonl"
HEAD = csv_text.csv_line(ROW, end="\r\n").encode()
SPARE = 1000  # entries of files that are gone which the ledger may hold before it is written anew
_BLOCK = 1 << 16


class _Entry(NamedTuple):
    name: str
    size: int
    modified: int
    id: str  # of the inspection; blank once its line is known to be there
    inspected: bool


class Results:
    """The results of one watched folder, to be added to by one process at a time.

    done: of the names in the folder, those that are done. `add` raises OutputError where the disk takes no more; what
    it was adding is then taken back, and is done after the next start.
    """

    def __init__(self, output: Path, folder: Path) -> None:
        self._output, self._folder = output, os.path.realpath(folder)
        self._ledger_path = output / LEDGER
        with output_errors(output):
            remove_leftovers(output)
        self.done: dict[str, Done] = {}
        self._sure = ""  # the id in the ledger's last entry, where it has one and its line is there
        if not self._ledger_path.exists():  # before the tables: it tells whose they are
            self._write_ledger()
        entries = list(self._entries())
        self._jsonl, self._csv = Lines(output / JSONL), Lines(output / CSV)
        self._jsonl.cut_torn()
        last = self._last_result()
        if entries and entries[-1].id.strip() not in ("", last.get("id")):
            entries.pop()
        self.done |= {each.name: Done(Version(each.size, each.modified), each.inspected) for each in entries}
        self._complete_table(last)
        self._write_ledger()
        self._ledger, self._added = Lines(self._ledger_path), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # so that the tables may be moved away before the next start
            self._write_ledger()
        elif self._sure:
            self._blank_last()
        for file in (self._ledger, self._jsonl, self._csv):
            file.close()

    def add(self, name: str, version: Version, entry: Inspection | NotInspected) -> None:
        """Write down one picture, named within the folder; it is on disk when this returns."""
        line, row = lines_of(entry.as_dict())
        inspected = isinstance(entry, Inspection)
        self._ledger.add(_line(_Entry(name, *version, entry.id, inspected)))
        self._sure = ""
        self._jsonl.add(line)
        self._sure = entry.id
        self._csv.add(row)
        self.done[name] = Done(version, inspected)
        self._added += 1
        if self._added > SPARE + len(self.done):
            self._ledger.close()
            self._write_ledger()
            self._ledger, self._added = Lines(self._ledger_path), 0

    def _write_ledger(self) -> None:
        """Anew, without what is gone from the folder."""
        with replacing(self._ledger_path) as file:
            file.write(_line({"folder": self._folder}))
            file.writelines(_line(_Entry(name, *done.version, "", done.inspected)) for name, done in self.done.items())
        self._sure = ""

    def _blank_last(self) -> None:
        """The last entry's id, in place: a full disk takes that, too, and a part of it does no harm."""
        with suppress(OSError), open(self._ledger_path, "r+b") as file:
            file.seek(file.read().rindex(self._sure.encode("ascii")))
            file.write(b" " * len(self._sure))
            file.flush()
            os.fsync(file.fileno())

    def _entries(self) -> Iterator[_Entry]:
        ledger = Lines(self._ledger_path)
        ledger.cut_torn()
        ledger.close()
        try:
            with output_errors(self._ledger_path), open(self._ledger_path, encoding="ascii") as file:
                self._refuse_other(json.loads(file.readline())["folder"])
                yield from (_Entry(*json.loads(line)) for line in file)
        except (ValueError, TypeError, KeyError):
            raise OutputError(f"{shown(self._ledger_path)}: damaged; give another --output") from None

    def _refuse_other(self, folder: str) -> None:
        if folder != self._folder:
            found = f"holds the results of {shown(folder)}, not of {shown(self._folder)}"
            raise OutputError(f"{shown(self._output)}: {found}; give another --output")

    def _last_result(self) -> dict[str, Any]:
        last = self._jsonl.last()
        try:
            return dict(json.loads(last)) if last else {}
        except ValueError:
            path = shown(self._output / JSONL)
            raise OutputError(f"{path}: its last line is damaged; move the file away, or mend it") from None

    def _complete_table(self, last: dict[str, Any]) -> None:
        """Add what a kill left out of the heading, or of the last line's row."""
        self._refuse_unlike(self._jsonl.last())
        if self._csv.size < len(HEAD):
            self._csv.complete(HEAD)
        if last:
            self._csv.complete(lines_of(last)[1])

    def _refuse_unlike(self, last: bytes) -> None:
        """Raise OutputError where the tables cannot hold the same pictures, as when one of them was moved away."""
        has_rows = self._csv.size > len(HEAD)
        is_begun = self._csv.begins_with(HEAD) or not (last or has_rows)
        fits = bool(last) if has_rows else self._jsonl.size == len(last)  # a kill may leave one line without its row
        if not (is_begun and fits):
            why = "one was moved away, or another program or version wrote it"
            raise OutputError(f"{shown(self._output)}: {JSONL} and {CSV} hold other pictures: {why}; move both away")


def refuse_foreign(output: Path) -> None:
    """Raise OutputError where a folder holds something else than the results of a watch."""
    with output_errors(output):
        names = {name for name in os.listdir(output) if name[0] != "."} if os.path.lexists(output) else set()
    if names and LEDGER not in names:
        holds = f"holds other files ({shown(min(names))}, …) and no results of `weakspot watch`"
        raise OutputError(f"{shown(output)}: {holds}; give an empty or a new folder")


class Lines:
    """A file that grows by whole lines, each on disk when `add` returns. Raises OutputError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with output_errors(path):
            new = not path.exists()
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  # as long as the folder is watched
            if new:
                sync_folder(path.parent)

    @property
    def size(self) -> int:
        """In bytes."""
        return os.fstat(self._file.fileno()).st_size

    def add(self, line: bytes) -> None:
        """Append bytes: all of them or, where the disk refuses, none."""
        with output_errors(self._path):
            about = os.fstat(self._file.fileno())
            if not about.st_nlink:
                raise OutputError(f"{shown(self._path)}: was removed while it was written; start again")
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(self._file.fileno(), rest) :]
                os.fsync(self._file.fileno())
            except OSError:  # of a sync, too: a second one may report success although the data are gone
                with suppress(OSError):
                    os.ftruncate(self._file.fileno(), about.st_size)
                raise

    def complete(self, line: bytes) -> None:
        """Append what is missing of a line that is there wholly, in part, or not at all."""
        end = os.pread(self._file.fileno(), len(line), max(0, self.size - len(line)))
        there = next(length for length in range(len(line), -1, -1) if end.endswith(line[:length]))
        if there < len(line):
            self.add(line[there:])

    def cut_torn(self) -> None:
        """Cut off a last line without an end, as a kill or a full disk may leave it."""
        whole = self._after_newline(self.size)
        if whole < self.size:
            with output_errors(self._path):
                os.ftruncate(self._file.fileno(), whole)

    def begins_with(self, line: bytes) -> bool:
        """Whether that is its first line."""
        return os.pread(self._file.fileno(), len(line), 0) == line

    def last(self) -> bytes:
        """The last line; empty where there is none."""
        start = self._after_newline(self.size - 1)
        return os.pread(self._file.fileno(), self.size - start, start)

    def close(self) -> None:
        """Let go of it; nothing is left to write."""
        with suppress(OSError):
            self._file.close()

    def _after_newline(self, end: int) -> int:
        """The place after the last line break before `end`."""
        while end > 0:
            start = max(0, end - _BLOCK)
            found = os.pread(self._file.fileno(), end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0


def _line(value: object) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"  # which keeps the bytes of any name, as escapes
