"""Judged pictures as a folder to train on: good/ and bad/, each part a group, from one moment of the store."""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from weakspot.csv_text import csv_line
from weakspot.data.formats import recognise
from weakspot.durable import is_leftover, make_folder, new_folder, remove_leftovers, write_durably
from weakspot.errors import DataError, ImageError, OutputError, shown
from weakspot.inspection.inspection import now
from weakspot.runs import LOCK, alone
from weakspot.service.backup import snapshot
from weakspot.service.files import Files
from weakspot.service.records import with_verdict
from weakspot.service.serve import PICTURES, store_url
from weakspot.service.tables import inspections, verdicts

TABLE = "verdicts.csv"
COLUMNS = tuple(
    "image_path label group inspection decision raw_score model_sha256 station line time verdict snapshot".split()
)  # verdict: its number in the store; snapshot: when all of this was so
ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "TIFF": ".tif"}


@dataclass(frozen=True)
class Exported:
    """What was written. gone: judged pictures that retention removed before they were judged, lost and damaged ones."""

    place: Path
    good: int
    bad: int
    gone: int
    contradicted: int  # pictures judged good once and bad once, left out
    of_two_parts: int  # pictures that were sent as two parts, left out

    @property
    def left_out(self) -> int:
        """Pictures that were judged good or bad, and of which nothing can be learned."""
        return self.gone + self.contradicted + self.of_two_parts

    @property
    def words(self) -> str:
        """'60 judged: 40 good, 10 bad, 9 sent as two parts, 1 judged both ways'."""
        of = (self.good, self.bad, self.of_two_parts, self.contradicted, self.gone)
        words = ("good", "bad", "sent as two parts", "judged both ways", "no longer there")
        told = ", ".join(f"{count} {word}" for count, word in zip(of, words, strict=True) if count)
        return f"{sum(of)} judged: {told}"

    @property
    def way_out(self) -> str:
        """What to do where too few are left."""
        ways = ["judge some good and some bad inspections"]
        ways += ["name the same part whenever a picture is sent"] if self.of_two_parts else []
        ways += ["withdraw one of two verdicts on the same picture"] if self.contradicted else []
        return ", ".join(ways)


def export_verdicts(data: Path, store: str | None, output: Path, mark: str | None = None) -> Exported:
    """Write the pictures whose verdict is good or bad, and verdicts.csv, a table that `weakspot train` takes, too.

    The folder appears with all of them. mark: a file there that shall hold the table's SHA-256. Raises OutputError for
    a folder that is not empty, DataError where nothing was judged, or nothing that can be learned from.
    """
    _refuse_filled(output)
    files = Files(data / PICTURES, ours=False)
    with snapshot(store_url(data, store)) as connection:
        taken = now()
        rows = judged(connection)
        parts = parts_of(connection, {row.picture_sha256 for row in rows})
    once, contradicted = of_one_verdict(rows)
    sure = {digest: row for digest, row in once.items() if len(parts[digest]) <= 1}
    lines = []
    with _staged(output) as folder:
        for digest, row in sure.items():
            if (content := files.get(digest)) is not None:  # one at a time: all of them may be more than memory holds
                lines.append((*_written(folder, row, "".join(parts[digest]), content), row.verdict_seq, taken))
        labels = [line[COLUMNS.index("label")] for line in lines]
        counts = {"gone": len(sure) - len(lines), "contradicted": contradicted, "of_two_parts": len(once) - len(sure)}
        found = Exported(output, labels.count("good"), labels.count("bad"), **counts)
        if not lines:
            why = found.words if found.left_out else "nothing was judged good or bad"
            raise DataError(f"{shown(data)}: nothing to learn from: {why}; {found.way_out}")
        table = "".join(csv_line(line) for line in (COLUMNS, *lines)).encode()
        write_durably(folder / TABLE, table)
        if mark is not None:
            write_durably(folder / mark, sha256(table).hexdigest().encode())
    return found


def _refuse_filled(output: Path) -> None:
    """Raise OutputError unless a folder is new, empty, or was left so by an export that was killed."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"{shown(output)}: is no folder; give a new one")
    if output.is_dir() and any(path.name != LOCK and not is_leftover(path) for path in output.iterdir()):
        raise OutputError(f"{shown(output)}: is not empty; give a new folder")


@contextmanager
def _staged(output: Path) -> Iterator[Path]:
    """A folder to write into, whose content becomes that of a new or an empty one; one process at a time there."""
    with alone(output, "writes there") if output.is_dir() else nullcontext():
        if output.is_dir():
            _refuse_filled(output)  # again, now that nobody else can fill it
            remove_leftovers(output)
        with new_folder(output) as folder:
            yield folder


def judged(connection: Connection) -> Sequence[Row[Any]]:
    """Every inspection whose verdict in force is good or bad, the oldest first; verdict_seq: the verdict's number."""
    found = with_verdict().add_columns(verdicts.c.seq.label("verdict_seq"))
    return connection.execute(found.where(verdicts.c.verdict.in_(("good", "bad"))).order_by(inspections.c.seq)).all()


def of_one_verdict(rows: Sequence[Row[Any]]) -> tuple[dict[str, Row[Any]], int]:
    """The last row of each picture that was judged one way, by SHA-256; how many were judged both ways."""
    said: dict[str, set[str]] = {}
    for row in rows:
        said.setdefault(row.picture_sha256, set()).add(row.verdict)
    once = {row.picture_sha256: row for row in rows if len(said[row.picture_sha256]) == 1}
    return once, len(said) - len(once)


def parts_of(connection: Connection, digests: Collection[str]) -> dict[str, frozenset[str]]:
    """As which parts these pictures were ever sent, whatever was said of them; by SHA-256."""
    sent = select(inspections.c.picture_sha256, inspections.c.part).where(inspections.c.part.is_not(None)).distinct()
    found: dict[str, set[str]] = {digest: set() for digest in digests}
    for digest, part in connection.execute(sent):
        if digest in found:
            found[digest].add(part)
    return {digest: frozenset(parts) for digest, parts in found.items()}


def _written(folder: Path, row: Row[Any], part: str, content: bytes) -> tuple[Any, ...]:
    """Put one picture into its folder → its line in the table."""
    group = f"part={_safe(part)}" if part else ""
    place = Path(row.verdict) / group / f"{row.picture_sha256[:16]}{_ending(content)}"
    make_folder((folder / place).parent)
    write_durably(folder / place, content)
    of_model = (row.decision, row.raw_score, row.model_sha256)
    return place.as_posix(), row.verdict, part, row.id, *of_model, row.station, row.line, row.time


def _ending(content: bytes) -> str:
    try:
        return ENDINGS[recognise(content)]
    except ImageError:  # judged by a person all the same: the audit will name it
        return ".png"


def _safe(part: str) -> str:
    """A folder's name made from a client's word: readable, of few letters, and another one for each part."""
    return f"{re.sub('[^A-Za-z0-9_-]+', '_', part)[:40]}-{sha256(part.encode()).hexdigest()[:8]}"
