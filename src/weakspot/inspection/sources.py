"""From what a user names (files, folders, patterns) to the pictures meant, in an order that does not change. Opens none of them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from weakspot.data.formats import SUFFIXES
from weakspot.errors import DataError, shown

ENDINGS = frozenset(ending for endings in SUFFIXES.values() for ending in endings)


def list_images(paths: Sequence[Path | str], leave_out: Path | None = None) -> list[Path]:
    """Every picture named, each once. Raises DataError when nothing is found.

    A file that is named is taken whatever it is called, and so is one that is not there: it shall be told of. In folders (and those inside them,
    links not followed) and by patterns only names with a picture's ending are taken. What lies in `leave_out`, the output folder, is left out.
    """
    images: dict[str, Path] = {}
    for given in paths:
        for path in _expanded(Path(given), leave_out):
            images.setdefault(os.path.abspath(path), path)
    if not any(os.path.lexists(path) for path in images):
        named = ", ".join(shown(path) for path in paths) or "nothing"
        raise DataError(f"no pictures found in {named}; give files, folders or patterns of PNG, JPEG, BMP or TIFF pictures")
    return list(images.values())


def _expanded(path: Path, leave_out: Path | None) -> Iterator[Path]:
    """A name that exists is that file or folder, even where it looks like a pattern."""
    if path.is_dir():
        yield from _in_folder(path, leave_out)
    elif os.path.lexists(path) or not has_magic(str(path)):
        yield path
    else:
        for match in _ordered(glob(str(path), recursive=True)):
            if Path(match).is_dir():
                yield from _in_folder(Path(match), leave_out)
            elif Path(match).suffix.lower() in ENDINGS:
                yield Path(match)


def _in_folder(top: Path, leave_out: Path | None) -> Iterator[Path]:
    closed: list[Path] = []  # folders that cannot be listed: taken for pictures, so that they are refused by name, not passed over
    left_out = None if leave_out is None else os.path.realpath(leave_out)
    for folder, folders, files in os.walk(top, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in _ordered(folders) if os.path.realpath(os.path.join(folder, name)) != left_out]
        yield from (Path(folder, name) for name in _ordered(files) if Path(name).suffix.lower() in ENDINGS)
    yield from closed


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=os.fsencode)
