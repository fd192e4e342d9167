"""Places on a disk or in object storage (`s3://…`, whatever fsspec opens): listing, reading, writing.

Knows nothing of pictures. On a disk files are written through `durable`; an object appears whole by itself.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from weakspot.durable import make_folder, write_durably
from weakspot.errors import DataError, StorageError, quoted, shown

GO_ON = "see to it, then run the same command again: what is done is kept"
_NEW_CONNECTIONS = {"use_listings_cache": False}  # a listing must show what another process has written


def is_remote(place: str) -> bool:
    """Whether it is the address of an object or a folder in object storage."""
    return re.match(r"[a-z][a-z0-9+.-]+://", place) is not None


def absolute(place: str) -> str:
    """The place by a name that holds in any working folder; file://… is a path on this disk.

    Raises DataError for one of another computer.
    """
    if place.startswith("file://"):
        host, slash, path = place.removeprefix("file://").partition("/")
        if host not in ("", "localhost"):
            raise DataError(f"{shown(place)}: of the computer {shown(host)}; give file:///… or a path")
        place = unquote(slash + path)
    return place if is_remote(place) else os.path.abspath(place)


def joined(folder: str, name: str) -> str:
    """The place of a name in a folder. An address stays as it is; so does an absolute path."""
    if is_remote(name):
        return name
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(Path(folder, name))


def parent(place: str) -> str:
    """The folder that a file lies in."""
    return place.rpartition("/")[0] if is_remote(place) else str(Path(place).parent)


def write(place: str, content: bytes) -> None:
    """Write it whole or not at all, over what is there. Raises OutputError on a disk, StorageError elsewhere."""
    if not is_remote(place):
        make_folder(Path(place).parent)
        return write_durably(Path(place), content)
    with _storage_errors(place):
        files, path = _opened(place)
        files.pipe_file(path, content)


def create(place: str, content: bytes) -> bool:
    """Write it where nothing lies yet → whether it lies there now; False where something else does. Raises as `write`.

    Of several at a time one gets True where the storage can refuse to write over what is there, as S3 can.
    """
    try:
        if not is_remote(place):
            if os.path.lexists(place):
                raise FileExistsError
            write(place, content)
        else:
            _create_object(place, content)
        return True
    except FileExistsError:  # also where an answer was lost and the request sent again
        return read(place) == content


def _create_object(place: str, content: bytes) -> None:
    with _storage_errors(place):
        files, path = _opened(place)
        if files.exists(path):  # some storage passes over the condition below
            raise FileExistsError
        try:
            files.pipe_file(path, content, mode="create")
        except FileExistsError:
            raise
        except Exception:  # some refuses it, in many ways
            files.pipe_file(path, content)


def read(place: str) -> bytes:
    """All of it. Raises FileNotFoundError where there is no such file, StorageError where storage fails."""
    with _storage_errors(place):
        if not is_remote(place):
            return Path(place).read_bytes()
        files, path = _opened(place)
        return cast(bytes, files.cat_file(path))


def size(place: str) -> int:
    """How many bytes lie there. Raises as `read` does."""
    with _storage_errors(place):
        if not is_remote(place):
            return Path(place).stat().st_size
        files, path = _opened(place)
        return int(files.size(path))


def sizes(folder: str) -> dict[str, int]:
    """The files directly in a folder by name, with their bytes; empty where there is no such folder."""
    with _storage_errors(folder):
        if not is_remote(folder):
            there = Path(folder).iterdir() if Path(folder).is_dir() else ()
            return {path.name: path.stat().st_size for path in there if path.is_file()}
        files, path = _opened(folder)
        found = files.ls(path, detail=True) if files.exists(path) else []
        return {each["name"].rpartition("/")[2]: each["size"] for each in found if each["type"] == "file"}


def is_file(place: str) -> bool:
    """Whether a file or an object of exactly this name is there. Raises StorageError."""
    with _storage_errors(place):
        if not is_remote(place):
            return os.path.isfile(place)
        files, path = _opened(place)
        try:
            return bool(files.info(path)["type"] == "file")
        except FileNotFoundError:
            return False


def addresses(place: str) -> list[str]:
    """All files that a place names, in order: itself, all below it, or all of a pattern and below its folders.

    What exists is no pattern, even where it looks like one. Empty where nothing is. Raises StorageError.
    """
    with _storage_errors(place):
        if not is_remote(place):
            tops = [place] if os.path.lexists(place) else glob(place, recursive=True)
            below = [[top] if os.path.isfile(top) else map(str, Path(top).rglob("*")) for top in tops]
            return sorted({path for paths in below for path in paths if os.path.isfile(path)}, key=os.fsencode)
        files, path = _opened(place)
        found = set(files.find(path))
        if not found and has_magic(path):
            found = {name for top in files.glob(path) for name in files.find(top)}
        return [cast(str, files.unstrip_protocol(name)) for name in sorted(found)]


def opened(place: str) -> Any:
    """A file to read from at any place, which the caller closes. Raises as `read` does."""
    with _storage_errors(place):
        if not is_remote(place):
            return open(place, "rb")
        files, path = _opened(place)
        return files.open(path, "rb")


def _opened(place: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # here, since folders on a disk need no such package

    return cast(tuple[Any, str], url_to_fs(place, **_NEW_CONNECTIONS))


@contextmanager
def _storage_errors(place: str) -> Iterator[None]:
    """What storage raises is of many kinds. Only that there is no such file, or one already, is an answer, no fault."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, MemoryError, ModuleNotFoundError):
        raise
    except ImportError as error:  # fsspec knows the scheme, and its package is not there
        missing = next(iter(re.findall(r"[Ii]nstall (\w+)", str(error))), "fsspec")
        raise ModuleNotFoundError(str(error), name=missing) from None
    except ValueError as error:
        raise StorageError(f"{shown(place)}: no storage that can be opened ({shown(error)}); give s3://…") from None
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StorageError(f"{shown(place)}: the storage failed ({quoted(lines[0])}); {GO_ON}") from None
