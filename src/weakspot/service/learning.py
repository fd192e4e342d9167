"""What people judged as data: a frozen snapshot that a training goes on with, and pictures to compare two models on."""

import shutil
from functools import partial
from pathlib import Path

from weakspot.errors import DataError, OutputError, StoreError, shown
from weakspot.jobs.compare import Judged
from weakspot.runs import Run, refuse_taken
from weakspot.service.backup import snapshot
from weakspot.service.export import TABLE, export_verdicts, judged
from weakspot.service.files import Files
from weakspot.service.serve import PICTURES, store_url

FEWEST_GOOD = 2  # pictures; with one nothing can be held out


def judged_folder(data: Path, store: str | None, output: Path, resume: bool) -> Path:
    """The judged pictures of a service, written into a run's folder; with `resume` those that the run began with.

    verdicts.csv in it names the inspection and the verdict of each, and the time of the snapshot. Raises StoreError
    where there is no store, DataError for too few verdicts, OutputError for a folder that holds something else.
    """
    refuse_taken(output, resume)
    folder = Run(output).judged
    if resume:
        if not (folder / TABLE).is_file():
            raise OutputError(
                f"{shown(output)}: this run did not learn from verdicts; go on with the DATA it began with"
            )
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed before it began
    found = export_verdicts(data, store, folder)
    if found.good < FEWEST_GOOD:
        shutil.rmtree(folder)
        has = f"{shown(data)}: {found.good} pictures were judged good and {found.bad} bad"
        raise DataError(f"{has}; needed are at least {FEWEST_GOOD} good ones, and far more to learn what varies")
    return folder


def reviewed_pictures(data: Path, store: str | None) -> list[Judged]:
    """Each picture whose verdict in force is good or bad, once, by the id of its last such inspection.

    One that was judged both ways, or that retention removed, is left out. Raises StoreError where there is no store.
    """
    files = Files(data / PICTURES, ours=False)
    with snapshot(store_url(data, store)) as connection:
        rows = judged(connection)
    said: dict[str, set[str]] = {}
    for row in rows:
        said.setdefault(row.picture_sha256, set()).add(row.verdict)
    once = {row.picture_sha256: row for row in rows if len(said[row.picture_sha256]) == 1}
    return [
        Judged(
            id=row.id, label=int(row.verdict == "bad"), part=row.part, sha256=digest,
            content=partial(_content, files, digest),
        )
        for digest, row in once.items()
        if files.path(digest).exists()
    ]  # fmt: skip


def _content(files: Files, digest: str) -> bytes:
    content = files.get(digest)
    if content is None:
        raise StoreError(f"picture {digest[:12]} was removed meanwhile; compare again")
    return content
