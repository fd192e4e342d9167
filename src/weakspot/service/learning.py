"""What people judged as data: a frozen snapshot that a training goes on with, and pictures to compare two models on."""

import csv
import io
import logging
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

from weakspot.durable import make_folder, output_errors, remove_folder, remove_leftovers
from weakspot.errors import DataError, OutputError, shown
from weakspot.jobs.compare import Judged, Material
from weakspot.runs import SNAPSHOT, Run, alone, refuse_taken
from weakspot.service.backup import snapshot
from weakspot.service.export import TABLE, Exported, export_verdicts, judged, of_one_verdict, parts_of
from weakspot.service.files import Files
from weakspot.service.serve import PICTURES, store_url

log = logging.getLogger(__name__)
FEWEST_GOOD = 2  # pictures; with one nothing can be held out


def _log_left_out(found: Exported) -> None:
    if found.left_out:
        log.warning("%s", found.words)


def judged_folder(
    data: Path, store: str | None, output: Path, resume: bool, tell: Callable[[Exported], None] = _log_left_out
) -> Path:
    """The judged pictures of a service, written into a run's folder; with `resume` those that the run began with.

    verdicts.csv in it names the inspection and the verdict of each, and the time of the snapshot. tell: hears what was
    written and what was left out. Raises StoreError where there is no store, DataError for too few verdicts,
    OutputError for a folder that holds something else.
    """
    refuse_taken(output, resume)
    folder = Run(output).judged
    if resume:
        if not (folder / TABLE).is_file():
            raise OutputError(
                f"{shown(output)}: this run did not learn from verdicts; go on with the DATA it began with"
            )
        return folder
    make_folder(output)
    with alone(output, "works on this run"):
        refuse_taken(output, resume)  # again, now that nobody else can begin one
        remove_leftovers(output)
        if folder.exists():  # of a run that was killed before it began
            _remove_snapshot(folder)
        found = export_verdicts(data, store, folder, mark=SNAPSHOT)
        if found.good < FEWEST_GOOD:
            remove_folder(folder)
    if found.good < FEWEST_GOOD:
        needed = f"needed are at least {FEWEST_GOOD} good ones, and far more to learn what varies"
        raise DataError(f"{shown(data)}: {found.words}; {needed}; {found.way_out}")
    tell(found)
    return folder


def reviewed_pictures(data: Path, store: str | None, trained: frozenset[str]) -> Material:
    """Each picture whose verdict in force is good or bad, once, by the id of its last such inspection.

    One that was judged both ways, or whose file is gone, is left out. trained: SHA-256 of the pictures whose parts
    are asked for, too, whatever was said of them. Raises StoreError where there is no store.
    """
    files = Files(data / PICTURES, ours=False)
    with snapshot(store_url(data, store)) as connection:
        rows = judged(connection)
        parts = parts_of(connection, trained.union(row.picture_sha256 for row in rows))
    once, contradicted = of_one_verdict(rows)
    pictures = [
        Judged(
            id=row.id, label=int(row.verdict == "bad"), sha256=digest, content=partial(_content, files, digest)
        )
        for digest, row in once.items()
        if files.path(digest).exists()
    ]  # fmt: skip
    return Material(pictures=pictures, parts=parts, contradicted=contradicted)


def _remove_snapshot(folder: Path) -> None:
    """Remove an earlier snapshot. Raises OutputError where anything in it is not as it was written."""
    with output_errors(folder):
        table = (folder / TABLE).read_bytes() if (folder / TABLE).is_file() else b""
        rows = csv.DictReader(io.StringIO(table.decode(errors="replace"), newline=""))
        written = {row.get("image_path") for row in rows}
        found = {path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
        pictures = found - {folder / TABLE, folder / SNAPSHOT}
        ours = (folder / SNAPSHOT).read_text(errors="replace") == sha256(table).hexdigest() and all(
            path.relative_to(folder).as_posix() in written
            and sha256(path.read_bytes()).hexdigest().startswith(path.stem)
            for path in pictures
        )
    if not ours:
        changed = "was changed since weakspot wrote it, and a new snapshot would take its place"
        raise OutputError(f"{shown(folder)}: {changed}; move it away, or choose another --output")
    remove_folder(folder)


def _content(files: Files, digest: str) -> bytes:
    return files.get(digest) or b""  # lost or damaged: neither model can judge it
