"""From what a user names (files, folders, patterns) to the pictures meant, in an order that does not change. Opens none
of them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from weakspot.data.formats import SUFFIXES
from weakspot.data.samples import SIDE_SUFFIXES
from weakspot.errors import DataError, amount, shown

ENDINGS = frozenset(ending for endings in SUFFIXES.values() for ending in endings)
# Pictures that are not read. They are taken like the others, so that each is refused by name: one that is passed over
# would pass for good.
FOREIGN = frozenset(
    ".gif .webp .ico .cur .heic .heif .avif .jp2 .j2k .jpx .jxl .psd .svg .eps .tga .pcx .ppm .pgm .pbm .pnm .exr .hdr .apng .mpo .dcm .fits "
    ".dng .raw .cr2 .cr3 .nef .arw .orf .rw2".split()
)
FEW = (
    8  # at the printed size the spectral form takes 0.7 s more to open and saves 0.1 to 0.3 s an image (results/speed)
)
TAKEN, OTHER, LINK = "taken", "other", "link"


@dataclass(frozen=True)
class Sources:
    """The pictures meant, each once, and what lies beside them and was passed over: files that may be pictures, and
    linked folders."""

    images: list[Path]
    others: list[Path]
    links: list[Path]

    @property
    def passed_over(self) -> str:
        """What was passed over, how many and why, in one line; "" where nothing was."""
        told = []
        if self.others:
            told.append(
                f"{amount(len(self.others), 'file')} without a picture's ending, such as {shown(self.others[0])}"
            )
        if self.links:
            told.append(f"{amount(len(self.links), 'linked folder')}, such as {shown(self.links[0])}")
        return f"{' and '.join(told)}; name them themselves if they shall be inspected" if told else ""


def are_few(paths: Sequence[Path | str]) -> bool:
    """Whether a handful of files is named one by one: fewer than would make up for the time that a faster form of the
    graph takes to open."""
    return len(paths) <= FEW and all(os.path.isfile(path) for path in paths)


def find_images(paths: Sequence[Path | str], leave_out: Path | None = None) -> Sources:
    """Every picture named, each once. Raises DataError when nothing is found.

    A file that is named is taken whatever it is called, and so is one that is not there: it shall be told of. In
    folders (and those inside them, links not followed) and by patterns only names with a picture's ending are taken.
    What lies in `leave_out`, the output folder, is left out.
    """
    found: dict[str, tuple[Path, str]] = {}
    for given in paths:
        for path, kind in _expanded(Path(given), leave_out):
            place = os.path.abspath(path)
            if kind == TAKEN and found.get(place, (path, kind))[1] != TAKEN:
                del found[place]  # passed over in a folder, then named itself
            found.setdefault(place, (path, kind))
    images, others, links = (
        [path for path, kind in found.values() if kind == wanted] for wanted in (TAKEN, OTHER, LINK)
    )
    sources = Sources(images, others, links)
    if not any(os.path.lexists(path) for path in images):
        named = ", ".join(shown(path) for path in paths) or "nothing"
        beside = f" (passed over: {sources.passed_over})" if sources.passed_over else ""
        raise DataError(
            f"no pictures found in {named}{beside}; give files, folders or patterns of PNG, JPEG, BMP or TIFF pictures"
        )
    return sources


def _expanded(path: Path, leave_out: Path | None) -> Iterator[tuple[Path, str]]:
    """A name that exists is that file or folder, even where it looks like a pattern."""
    if path.is_dir():
        yield from _in_folder(path, leave_out)
    elif os.path.lexists(path) or not has_magic(str(path)):
        yield path, TAKEN
    else:
        for match in map(Path, _ordered(glob(str(path), recursive=True))):
            yield from _in_folder(match, leave_out) if match.is_dir() else _sorted_out(match)


def _in_folder(top: Path, leave_out: Path | None) -> Iterator[tuple[Path, str]]:
    closed: list[
        Path
    ] = []  # folders that cannot be listed: taken for pictures, so that they are refused by name, not passed over
    left_out = None if leave_out is None else os.path.realpath(leave_out)
    for folder, folders, files in os.walk(top, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in _ordered(folders) if os.path.realpath(os.path.join(folder, name)) != left_out]
        yield from ((Path(folder, name), LINK) for name in folders if os.path.islink(os.path.join(folder, name)))
        for name in _ordered(files):
            yield from _sorted_out(Path(folder, name))
    yield from ((folder, TAKEN) for folder in closed)


def _sorted_out(path: Path) -> Iterator[tuple[Path, str]]:
    """A file that was found, not named: taken, passed over with a word, or, where it never is a picture, without
    one."""
    ending = path.suffix.lower()
    if ending in ENDINGS or ending in FOREIGN:
        yield path, TAKEN
    elif ending not in SIDE_SUFFIXES and not path.name.startswith("."):
        yield path, OTHER


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=os.fsencode)
