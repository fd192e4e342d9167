"""Files that outlast a kill or a full disk: a name holds the earlier content or the new one, never a part.

A new file is made beside its target (another disk could not be renamed from), written, synced, renamed over it, and its
folder synced.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from weakspot.errors import DiskError, OutputError, shown

_PREFIX, _SUFFIX = ".weakspot-", ".tmp"  # short, so that a target's name of 255 bytes still has a neighbour
_WAYS_OUT = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "your quota is used up; free some space or choose another place",
    errno.EFBIG: "the file would be larger than this system allows; choose another place",
    errno.EACCES: "no right to write there; choose another place or ask for the right",
    errno.EPERM: "no right to write there; choose another place or ask for the right",
    errno.EROFS: "the disk can only be read; choose another place",
    errno.ENOENT: "its folder does not exist; make it first",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.EEXIST: "a file of that name is in the way; choose another place",
    errno.EISDIR: "it is a folder; give the name of a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EIO: "the disk failed while writing; check it before going on",
}


def write_durably(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write `content` under `path`, whole or not at all. Raises OutputError; the earlier file is then untouched.

    mode: who may do what with a new file, less what the system's mask forbids.
    """
    with replacing(path, mode) as file:
        file.write(content)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: none takes its place before all are written and synced.

    Raises OutputError; the earlier ones are then untouched, unless it was the renaming that failed halfway.
    """
    with ExitStack() as stack:
        files = {path: stack.enter_context(replacing(path)) for path in contents}
        for path, file in files.items():
            with output_errors(path):
                file.write(contents[path])
                _sync(file)


def write_folder(path: Path, contents: Mapping[Path, bytes]) -> None:
    """Write files, all below `path`, which is not there yet and appears with all of them or not at all.

    Raises OutputError.
    """
    with new_folder(path) as staging:
        for file, content in contents.items():
            place = staging / file.relative_to(path)
            make_folder(place.parent)
            with output_errors(file), open(place, "xb") as opened:
                opened.write(content)
                _sync(opened)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `path` (not there yet, or empty) when the block ends well, else vanishes.

    A link is followed. An empty folder stays the one it is, with its rights: folders move into it, then files by name.
    Raises OutputError; a kill leaves at most a folder beside it, or in the empty one, that begins with a dot.
    """
    path = Path(os.path.realpath(path))
    is_there = path.is_dir()
    make_folder(path.parent)
    with output_errors(path):
        staging = (path if is_there else path.parent) / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        staging.mkdir()
    try:
        yield staging
        with output_errors(path):
            if is_there:
                _move_up(staging)
            else:
                os.rename(staging, path)
                sync_folder(path.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move_up(folder: Path) -> None:
    """Move what is in a folder to beside it: folders first, so that a file tells that they are there."""
    for entry in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        refuse_existing(folder.parent / entry.name)
        os.rename(entry, folder.parent / entry.name)
        sync_folder(folder.parent)


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A new file to write to, which takes the place of `path` when the block ends well, and vanishes when it does not.

    A link is followed. Raises OutputError, the earlier file untouched, when the place cannot be written or holds no
    regular file. A failed sync is final: a second one may report success although the system has dropped the data.
    """
    with output_errors(path):
        target = _writable_target(path)
        file = _new_file_beside(target, mode)
    temporary = Path(file.name)
    try:
        with output_errors(path), file:
            yield file
            _sync(file)
        with output_errors(path):
            os.replace(temporary, target)
            sync_folder(target.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write at `path` into an OutputError that says why and what to do.

    A failed disk is a DiskError, one of its kind.
    """
    try:
        yield
    except OSError as error:
        way_out = _WAYS_OUT.get(error.errno or 0, f"{error.strerror or error}; choose another place")
        kind = DiskError if error.errno == errno.EIO else OutputError
        raise kind(f"{shown(path)}: cannot be written: {way_out}") from None


def make_folder(path: Path) -> None:
    """Make a folder and those above it, lasting; nothing happens where it is there. Raises OutputError."""
    with output_errors(path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            sync_folder(folder.parent)


def refuse_below(output: Path, read: Path) -> None:
    """Raise OutputError where a folder to write into lies in one that is read: its pictures would become parts."""
    if read.is_dir() and Path(os.path.realpath(output)).is_relative_to(os.path.realpath(read)):
        joins = f"lies in {shown(read)}, whose pictures its own would join"
        raise OutputError(f"{shown(output)}: {joins}; choose another output folder, outside of it")


def refuse_existing(*paths: Path) -> None:
    """Raise OutputError where one of these is there already: another program may be running it."""
    for path in paths:
        if os.path.lexists(path):
            raise OutputError(f"{shown(path)}: is there already; choose another name, or remove it first")


def refuse_unwritable(folder: Path) -> None:
    """Make the folder, and raise OutputError where no file can be made in it: asked before long work."""
    make_folder(folder)
    with output_errors(folder):
        file = _new_file_beside(folder / "any")
        file.close()
        Path(file.name).unlink()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that vanishes with the block. Raises OutputError where the system has no place for one."""
    try:
        folder = TemporaryDirectory(prefix="weakspot-")
    except OSError as error:
        reason = (error.strerror or str(error)).split(" in [")[0].lower()
        raise OutputError(f"no temporary folder can be made ({reason}); let TMPDIR name a folder with space") from None
    with folder as place:
        yield Path(place)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlast a power cut. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_leftover(path: Path) -> bool:
    """Whether a killed writer left it: a file, or a folder that was to appear whole."""
    named = path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX)
    return named and not path.is_symlink() and (path.is_file() or path.is_dir())


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed writer left in a folder. Only for folders that nobody else is writing to."""
    for path in list(filter(is_leftover, folder.iterdir())):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def remove_folder(path: Path) -> None:
    """Remove a folder with all in it; a kill leaves it whole or as a leftover. Raises OutputError."""
    with output_errors(path):
        going = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
        path.rename(going)
        shutil.rmtree(going)


def _writable_target(path: Path) -> Path:
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if not stat.S_ISREG(mode):
        raise OutputError(
            f"{shown(path)}: is not a regular file (a device, a pipe or a socket) and would be replaced by one; "
            "choose another name"
        )
    return target


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _new_file_beside(target: Path, mode: int = 0o666) -> BinaryIO:
    name = f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    path = target.parent / name
    return open(path, "w+b", opener=lambda where, _: os.open(where, flags, mode))
