"""Which files of a folder have arrived, found the same by two looks at it, and how they leave. Opens none of them.

The folder is listed anew for each look. The system's notifications would be no help: through the packages that offer
them they do not say that a file is whole, some get lost, and network shares send none.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from weakspot.data.samples import written_by_weakspot
from weakspot.errors import shown
from weakspot.inspection.sources import ENDINGS, FOREIGN

log = logging.getLogger(__name__)
TAKEN = ENDINGS | FOREIGN  # what is no picture for us is refused by name, never passed over


class Version(NamedTuple):
    """What tells a file from the next one of its name, and a whole one from one that grows."""

    size: int  # bytes
    modified: int  # nanoseconds, as the file system says


CHANGED = Version(-1, -1)  # no file has it


class Done(NamedTuple):
    """A file that was reported; not inspected ones stay where they lie."""

    version: Version
    inspected: bool


@dataclass(frozen=True)
class Arrival:
    """A file that stayed the same.

    name: its path within the folder; since: seconds on the monotonic clock, when this version was first seen; last: it
    was refused before and has not changed for long, so what is said of it now is final.
    """

    name: str
    path: Path
    version: Version
    since: float
    last: bool


@dataclass
class _Waiting:
    version: Version
    since: float
    taken: bool = False
    refused: bool = False


class Arrivals:
    """What lies in the folder and is not done.

    done: what is, by name; whoever reports a file adds to it, and `look` takes out what is gone, so that it grows with
    the folder and not with what passed through. deep: folders inside it, too. patience: seconds that a refused file
    must stay the same.
    """

    def __init__(
        self,
        folder: Path,
        done: dict[str, Done],
        deep: bool = False,
        patience: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._folder, self._done, self._deep, self._patience, self._clock = folder, done, deep, patience, clock
        self._waiting: dict[str, _Waiting] = {}
        # at the last look, by path within: the folders inside that were listed, and why others could not be, or what
        # they hold could not be asked
        self._listed: set[str] = set()
        self._closed: dict[str, str] = {}

    @property
    def are_pending(self) -> bool:
        """Whether something lies there that is not done."""
        return bool(self._waiting)

    @property
    def unseen(self) -> int:
        """How many folders inside could not be listed at the last look, or files not be asked."""
        return len(self._closed)

    def look(self) -> tuple[list[Arrival], list[str]]:
        """What has arrived since, the oldest first; and the names that were inspected and still lie there.

        Raises OSError where the folder cannot be listed: nothing is then forgotten.
        """
        now, told, self._closed, self._listed = self._clock(), self._closed, {}, set()
        found = dict(self._list(self._folder, ""))
        for name in self._closed.keys() - told.keys():
            log.warning("%s: cannot be listed (%s); waiting for it", shown(self._folder / name), self._closed[name])
        self._forget(found)
        done = {name for name, version in found.items() if name in self._done and self._done[name].version == version}
        fresh = {name: version for name, version in found.items() if name not in done}
        taken = {name: each for name, each in self._waiting.items() if each.taken}  # what becomes of them is said later
        self._waiting = taken | {name: self._known(name, version, now) for name, version in fresh.items()}
        return self._arrived(now), [name for name in done if self._done[name].inspected]

    def finish(self, arrival: Arrival) -> None:
        """It is done, in this version."""
        if self._is_same(arrival):
            del self._waiting[arrival.name]

    def refuse(self, arrival: Arrival) -> None:
        """It could not be read: it is taken again when it changes, or at last when it has not for long."""
        if self._is_same(arrival):
            self._waiting[arrival.name].taken, self._waiting[arrival.name].refused = False, True

    def put_back(self, arrival: Arrival) -> None:
        """It changed while it was read: it begins anew."""
        if self._is_same(arrival):
            self._waiting[arrival.name].version, self._waiting[arrival.name].taken = CHANGED, False

    def _forget(self, found: dict[str, Version]) -> None:
        """What is gone: a file that later takes its name is another one.

        Nothing of a folder that holds no picture, itself or inside: a share that is not mounted looks like that.
        """
        full = {above for folder in {os.path.dirname(name) for name in found} for above in _and_above(folder)}
        certain = full & self._listed
        found_or_not = found.keys() | self._closed.keys()
        for name in [name for name in self._done if name not in found_or_not and self._folder_of(name) in certain]:
            del self._done[name]
        for name, each in self._waiting.items():
            if name not in found_or_not and not each.taken and self._folder_of(name) in self._listed:
                log.warning("%s: gone before it was judged", shown(self._folder / name))

    def _folder_of(self, name: str) -> str:
        """The innermost of the folders above that was listed or could not be."""
        above = _and_above(os.path.dirname(name))
        return next(folder for folder in above if folder in self._listed or folder in self._closed)

    def _is_same(self, arrival: Arrival) -> bool:
        waiting = self._waiting.get(arrival.name)
        return waiting is not None and waiting.version == arrival.version

    def _known(self, name: str, version: Version, now: float) -> _Waiting:
        before = self._waiting.get(name)
        return before if before is not None and before.version == version else _Waiting(version, now)

    def _arrived(self, now: float) -> list[Arrival]:
        arrived = []
        for name, each in self._waiting.items():
            last = each.refused and now - each.since >= self._patience
            if each.since < now and not each.taken and (last or not each.refused):
                each.taken = True
                arrived.append(Arrival(name, self._folder / name, each.version, each.since, last))
        return sorted(arrived, key=lambda arrival: (arrival.version.modified, os.fsencode(arrival.name)))

    def _list(self, folder: Path, within: str) -> Iterator[tuple[str, Version]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    yield from self._entry(entry, within + entry.name)
        self._listed.add(within.rstrip("/"))

    def _entry(self, entry: os.DirEntry[str], name: str) -> Iterator[tuple[str, Version]]:
        try:
            if entry.is_dir(follow_symlinks=False):
                if self._deep and not written_by_weakspot(Path(entry.path)):
                    yield from self._list(Path(entry.path), f"{name}/")
            elif os.path.splitext(entry.name)[1].lower() in TAKEN and (version := version_of(entry)):
                yield name, version
        except FileNotFoundError:  # gone since its name was read
            return
        except OSError as error:
            self._closed[name] = reason_of(error)


def reason_of(error: OSError) -> str:
    """As it reads within a sentence; paths keep their case."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def _and_above(folder: str) -> Iterator[str]:
    """A folder's path within the watched one, those of the folders above it, and the watched one's, which is empty."""
    yield folder
    while folder:
        folder = os.path.dirname(folder)
        yield folder


def version_of(file: os.DirEntry[str] | Path) -> Version | None:
    """Of the file as it is now, links not followed; None where it is gone."""
    try:
        about = file.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Version(about.st_size, about.st_mtime_ns)


def version_or_none(path: Path) -> Version | None:
    """The same; None also where it cannot be asked."""
    try:
        return version_of(path)
    except OSError:
        return None


def move_away(source: Path, target: Path, version: Version) -> None:
    """Rename, over nothing: where the name is taken, the time of the file's change joins it. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        target = target.with_name(f"{target.stem}-{version.modified}{target.suffix}")
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, f"{shown(target)} is there already")
    os.rename(source, target)
    if version_of(target) != version:  # another file took the name in that very moment
        _put_back(target, source)


def _put_back(target: Path, source: Path) -> None:
    try:
        try:
            os.link(target, source)  # which never takes the place of a still newer one
            os.unlink(target)
        except OSError:  # SMB and exFAT have no such links
            if os.path.lexists(source):
                raise
            os.rename(target, source)
    except OSError:
        log.warning("%s: took the place of a picture while that was moved, and was not judged", shown(target))
