"""From what a user names (files, folders, patterns) to the pictures meant, in a fixed order. Opens none of them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from weakspot.data.formats import SUFFIXES
from weakspot.data.samples import SIDE_SUFFIXES, written_by_weakspot
from weakspot.durable import refuse_below
from weakspot.errors import DataError, amount, shown

ENDINGS = frozenset(ending for endings in SUFFIXES.values() for ending in endings)
# Pictures that are not read. They are taken like the others, so that each is refused by name: one that is passed over
# would pass for good.
FOREIGN = frozenset(
    ".gif .webp .ico .cur .heic .heif .avif .jp2 .j2k .jpx .jxl .psd .svg .eps .tga .pcx .ppm .pgm .pbm .pnm .exr .hdr "
    ".apng .mpo .dcm .fits .dng .raw .cr2 .cr3 .nef .arw .orf .rw2".split()
)
# At the printed size the spectral form takes 0.7 s more to open and saves 0.1 to 0.3 s a picture (results/speed).
FEW = 8
TAKEN, OTHER, LINK, WRITTEN = "taken", "other", "link", "written"


@dataclass(frozen=True)
class Sources:
    """The pictures meant, each once, and what was passed over beside them."""

    images: list[Path]
    others: list[Path]  # files that may be pictures
    links: list[Path]  # folders
    written: list[Path]  # folders that weakspot wrote
    empty: list[Path]  # what was named and has no pictures

    @property
    def passed_over(self) -> str:
        """What was passed over, how many and why, in one line; "" where nothing was."""
        kinds = (
            (self.others, "file", " without a picture's ending"),
            (self.links, "linked folder", ""),
            (self.written, "folder", " with results of weakspot"),
        )
        counts = [
            f"{amount(len(paths), noun)}{more}, such as {shown(paths[0])}" for paths, noun, more in kinds if paths
        ]
        way_out = "; name them themselves if they shall be inspected" if self.others or self.links else ""
        return " and ".join(counts) + way_out


def are_few(paths: Sequence[Path | str]) -> bool:
    """Whether so few files are named one by one that a faster form of the graph would not make up for its opening."""
    return len(paths) <= FEW and all(os.path.isfile(path) for path in paths)


def refuse_output_below(output: Path, paths: Sequence[Path | str]) -> None:
    """Raise OutputError where the output folder lies in a folder that is read: its overlays would become pictures."""
    for given in map(Path, paths):
        folders = [given] if os.path.lexists(given) else map(Path, glob(str(given), recursive=True))
        for folder in folders:
            refuse_below(output, folder)


def find_images(paths: Sequence[Path | str]) -> Sources:
    """Every picture named, as `all_images` finds them.

    Raises DataError for a folder or a pattern without pictures, and where not one is there.
    """
    sources = all_images(paths)
    if sources.empty or not any(os.path.lexists(path) for path in sources.images):
        named = ", ".join(shown(path) for path in sources.empty or paths) or "nothing"
        beside = f" (passed over: {sources.passed_over})" if sources.passed_over else ""
        raise DataError(
            f"no pictures found in {named}{beside}; give files, folders or patterns of PNG, JPEG, BMP or TIFF pictures"
        )
    return sources


def all_images(paths: Sequence[Path | str]) -> Sources:
    """Every picture named, each once; none where nothing is found.

    A file that is named is taken whatever it is called, even where it is missing: it is then refused by name. In
    folders (and those inside them, links not followed) and by patterns only names with a picture's ending are taken.
    """
    found: dict[str, tuple[Path, str]] = {}
    empty = []
    for given in map(Path, paths):
        expanded = list(_expanded(given))
        empty += [] if any(kind == TAKEN for _, kind in expanded) else [given]
        for path, kind in expanded:
            place = os.path.abspath(path)
            if kind == TAKEN and found.get(place, (path, kind))[1] != TAKEN:
                del found[place]  # passed over in a folder, then named itself
            found.setdefault(place, (path, kind))
    kinds = (TAKEN, OTHER, LINK, WRITTEN)
    images, others, links, written = ([path for path, kind in found.values() if kind == wanted] for wanted in kinds)
    return Sources(images, others, links, written, empty)


def _expanded(path: Path) -> Iterator[tuple[Path, str]]:
    """A name that exists is that file or folder, even where it looks like a pattern."""
    if path.is_dir():
        yield from _in_folder(path)
    elif os.path.lexists(path) or not has_magic(str(path)):
        yield path, TAKEN
    else:
        for match in map(Path, _ordered(glob(str(path), recursive=True))):
            yield from _in_folder(match) if match.is_dir() else _sorted_out(match)


def _in_folder(top: Path) -> Iterator[tuple[Path, str]]:
    # folders that cannot be listed are taken for pictures, so that they are refused by name, not passed over
    closed: list[Path] = []
    for folder, folders, files in os.walk(top, onerror=lambda error: closed.append(Path(error.filename))):
        if Path(folder) != top and written_by_weakspot(Path(folder)):
            folders.clear()
            yield Path(folder), WRITTEN
            continue
        folders[:] = _ordered(folders)
        yield from ((Path(folder, name), LINK) for name in folders if os.path.islink(os.path.join(folder, name)))
        for name in _ordered(files):
            yield from _sorted_out(Path(folder, name))
    yield from ((folder, TAKEN) for folder in closed)


def _sorted_out(path: Path) -> Iterator[tuple[Path, str]]:
    """A file that was found, not named: taken, passed over with a word, or, where it never is a picture, without."""
    ending = path.suffix.lower()
    if path.name.startswith("."):
        return
    if ending in ENDINGS or ending in FOREIGN:
        yield path, TAKEN
    elif ending not in SIDE_SUFFIXES:
        yield path, OTHER


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=os.fsencode)
