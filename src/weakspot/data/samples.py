"""A labelled picture on disk, and the walk over a folder that finds them all.

No layout is known here, and no picture is opened.
"""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weakspot.errors import DataError, shown

log = logging.getLogger(__name__)
# Files that stand beside pictures. All else is taken for a picture: one that cannot be read is then named by the audit,
# instead of being missed.
SIDE_SUFFIXES = frozenset(
    ".txt .csv .tsv .json .jsonl .xml .xmp .thm .aae .md .rst .yaml .yml .toml .ini .cfg .log .db .html .htm .py .ipynb"
    " .pdf .doc .docx .xls .xlsx .ods .zip .7z .gz .tar .rar .lnk .bib .license .md5 .sha1 .sha256 .weakspot".split()
)
SYSTEM_NAMES = frozenset("thumbs.db desktop.ini @eadir __macosx #recycle $recycle.bin lost+found".split())
THUMBNAIL = re.compile(r"(?:thumb|thumbnail|tn)[ _.-](.+)|(.+)[ _.-](?:thumb|thumbnail|tn)", re.IGNORECASE | re.DOTALL)
# What lies in a folder that weakspot wrote: a run, an inspection, an evaluation. Their pictures show no further parts.
MARKS = (("run.json",), ("inspections.jsonl",), ("metrics.json", "report.html"))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture with its label.

    label: 1 bad, 0 good; group: the physical part, never on both sides of a split; mask: truth, for evaluation, and
    for training where the settings ask for it; part: "train" or "test" where the layout says so; kind: name of the
    defect class, if known; root: what `id` is relative to.
    """

    path: Path
    label: int
    group: str
    mask: Path | None = None
    part: str | None = None
    kind: str = ""
    root: Path | None = None

    @property
    def id(self) -> str:
        """The path below the data's root, with /; bytes that are not UTF-8 as escapes."""
        return relative_id(self.path, self.root)


def relative_id(path: Path, root: Path | None) -> str:
    """`path` below `root` (whole where it lies elsewhere), as text that can be printed and encoded."""
    inside = path.relative_to(root) if root is not None and path.is_relative_to(root) else path
    return inside.as_posix().encode("utf-8", "backslashreplace").decode("utf-8")


def files_under(folder: Path) -> list[Path]:
    """Every file below `folder` that may be a picture, in one order on every machine.

    Linked folders are entered, each once; folders that weakspot wrote are not, and a line in the log says so.
    """
    return sorted(_walk(folder, set()), key=lambda path: os.fsencode(path))


def folders_in(folder: Path) -> list[Path]:
    """Folders directly in `folder`, in order, without hidden ones and those that weakspot wrote."""
    return [path for path in _entries(folder) if path.is_dir() and written_by_weakspot(path) is None]


def pictures_in(folder: Path) -> list[Path]:
    """Files directly in `folder` that may be pictures, in order."""
    return _pictures_among([path for path in _entries(folder) if not path.is_dir()])


def written_by_weakspot(folder: Path) -> str | None:
    """The file in the folder that shows it to be a run, an inspection or an evaluation of weakspot's, or None."""
    return next((mark[0] for mark in MARKS if all((folder / name).is_file() for name in mark)), None)


def child(folder: Path, *names: str) -> Path | None:
    """The folder in `folder` with one of the names, whatever its case."""
    wanted = {name.casefold() for name in names}
    return next((path for path in folders_in(folder) if path.name.casefold() in wanted), None)


def _walk(folder: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    about = folder.stat()
    if (about.st_dev, about.st_ino) in visited:  # a link that leads back up
        return
    visited.add((about.st_dev, about.st_ino))
    entries = {path: path.is_dir() for path in _entries(folder)}
    yield from _pictures_among([path for path, is_folder in entries.items() if not is_folder])
    for path in (path for path, is_folder in entries.items() if is_folder):
        if mark := written_by_weakspot(path):
            log.warning("%s: left out, since weakspot wrote it (it holds %s)", shown(path), mark)
        else:
            yield from _walk(path, visited)


def _entries(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder), key=os.fsencode)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{shown(folder)}: cannot be listed ({reason}); a folder that may be read is needed") from None
    return [folder / name for name in names if not name.startswith(".") and name.casefold() not in SYSTEM_NAMES]


def _pictures_among(files: list[Path]) -> list[Path]:
    """The files that may be pictures, without the small copies of those that lie beside them."""
    pictures = [path for path in files if path.suffix.lower() not in SIDE_SUFFIXES]
    stems = {path.stem for path in pictures}
    small = {path: match for path in pictures if (match := THUMBNAIL.fullmatch(path.stem))}
    return [path for path in pictures if path not in small or not stems & {*small[path].groups()}]
