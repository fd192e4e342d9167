"""A labelled picture on disk, and the walk over a folder that finds them all. No layout is known here, and no picture
is opened."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weakspot.errors import DataError, shown

# Files that stand beside pictures. All else is taken for a picture: one that cannot be read is then named by the audit,
# instead of being missed.
SIDE_SUFFIXES = frozenset(
    ".txt .csv .tsv .json .jsonl .xml .md .rst .yaml .yml .toml .ini .cfg .log .db .html .htm .py .ipynb .pdf .doc .docx .xls .xlsx .ods "
    ".zip .7z .gz .tar .rar .lnk .bib .license .weakspot".split()
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture with its label.

    label: 1 bad, 0 good; group: the physical part, never on both sides of a split; mask: truth, for evaluation only;
    part: "train" or "test" where the layout says so; kind: name of the defect class, if known; root: what `id` is
    relative to.
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
    """Every file below `folder` that may be a picture, in one order on every machine; linked folders are entered, each
    once."""
    found = [path for path in _walk(folder, set()) if path.suffix.lower() not in SIDE_SUFFIXES]
    return sorted(found, key=lambda path: os.fsencode(path))


def folders_in(folder: Path) -> list[Path]:
    """Folders directly in `folder`, hidden ones left out, in order."""
    return [path for path in _entries(folder) if path.is_dir()]


def pictures_in(folder: Path) -> list[Path]:
    """Files directly in `folder` that may be pictures, in order."""
    return [path for path in _entries(folder) if not path.is_dir() and path.suffix.lower() not in SIDE_SUFFIXES]


def child(folder: Path, *names: str) -> Path | None:
    """The folder in `folder` with one of the names, whatever its case."""
    wanted = {name.casefold() for name in names}
    return next((path for path in folders_in(folder) if path.name.casefold() in wanted), None)


def _walk(folder: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    about = folder.stat()
    if (about.st_dev, about.st_ino) in visited:  # a link that leads back up
        return
    visited.add((about.st_dev, about.st_ino))
    for path in _entries(folder):
        if path.is_dir():
            yield from _walk(path, visited)
        else:
            yield path


def _entries(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder), key=os.fsencode)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{shown(folder)}: cannot be listed ({reason}); a folder that may be read is needed") from None
    return [
        folder / name
        for name in names
        if not name.startswith((".", "__MACOSX")) and name.casefold() not in ("thumbs.db", "desktop.ini")
    ]
