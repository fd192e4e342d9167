"""The model file's outer form: a zip, stored, every byte of which is accounted for. Knows nothing of what the members
mean.

zipfile would skip over holes, trailing bytes, changed headers and members of the same name; so the frame is built here,
and what is read must equal it bit for bit. Every zip tool can open the result.
"""

import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from zlib import crc32

from weakspot.errors import ModelFileError, shown

MAX_BYTES = 2**32 - 1  # what a plain zip can address; a larger file is no model of ours
COPY_AGAIN = "copy it again from where it was made, or train again"
_LOCAL, _CENTRAL, _END = struct.Struct("<IHHHHHIIIHH"), struct.Struct("<IHHHHHHIIIHHHHHII"), struct.Struct("<IHHHHIIH")
_VERSION, _UNIX, _DATE, _MODE = (
    20,
    3 << 8,
    0x21,
    (stat.S_IFREG | 0o644) << 16,
)  # dated 1980-01-01: the same content, the same bytes

_OTHER_KINDS = {
    b"PK": "a zip archive of another kind",
    b"\x80": "a pickle",
    b"<": "an HTML or XML page",
    b"\x08": "a bare ONNX graph",
}


def pack(members: dict[str, bytes]) -> Iterator[bytes]:
    """The file's bytes, piece by piece, so that no second copy of a large member is made."""
    entries = []
    for name, data in members.items():
        entries.append((name, crc32(data), len(data)))
        yield _local_header(*entries[-1])
        yield data
    yield _directory(entries)


class Container:
    """A model file being read, member by member in order; its SHA-256 grows along. Raises ModelFileError for whatever
    is not as `pack` writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file, self._left = _open_regular(path)
        self._hash = hashlib.sha256()
        self._entries: list[tuple[str, int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def member(self, name: str, at_most: int = MAX_BYTES) -> bytes:
        """The next member's bytes. It must be called `name`, hold `at_most` bytes, and fit its header and checksum."""
        header = self._read(_LOCAL.size + len(name))
        if not self._entries:
            _check_kind(header, name, self.path)
        size: int = _LOCAL.unpack_from(header)[8]
        if size > at_most or header[_LOCAL.size :] != name.encode():
            raise self.altered(name)
        data = self._read(size)
        self._entries.append((name, crc32(data), size))
        if header != _local_header(*self._entries[-1]):
            raise self.altered(name)
        return data

    def finish(self) -> str:
        """Check the directory and that nothing follows it → SHA-256 of the whole file, hexadecimal."""
        directory = _directory(self._entries)
        if self._read(len(directory)) != directory:
            raise self.altered("the zip directory")
        if self._left or self._file.read(1):
            raise ModelFileError(f"{shown(self.path)}: more bytes follow the end of the model file; {COPY_AGAIN}")
        return self._hash.hexdigest()

    def altered(self, where: str) -> ModelFileError:
        """The refusal of a file that is not as it was written."""
        return ModelFileError(
            f"{shown(self.path)}: was altered since it was written ({where} does not fit its checksum or form); {COPY_AGAIN}"
        )

    def _read(self, size: int) -> bytes:
        data = self._file.read(size) if size <= self._left else b""
        if len(data) < size:
            raise ModelFileError(
                f"{shown(self.path)}: is cut short or altered ({size:,} bytes expected where {self._left:,} are left); {COPY_AGAIN}"
            )
        self._left -= size
        self._hash.update(data)
        return data


def _open_regular(path: Path) -> tuple[BinaryIO, int]:
    """The file opened for reading, and its size. A pipe would block for ever, so it is opened without waiting and
    looked at first."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = open(path, "rb", opener=lambda where, _: os.open(where, flags))  # noqa: SIM115 (the Container closes it)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
        raise ModelFileError(
            f"{shown(path)}: cannot be read ({reason}); give the path of a *.weakspot file that may be read"
        ) from None
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= MAX_BYTES:
        file.close()
        what = f"a file of {found.st_size:,} bytes" if stat.S_ISREG(found.st_mode) else "no regular file"
        raise ModelFileError(f"{shown(path)}: is {what}, not a model file; give the path of a *.weakspot file")
    return file, found.st_size


def _check_kind(start: bytes, first_member: str, path: Path) -> None:
    """Tell other formats by their first bytes, by name where they are common under a wrong extension. Nothing of them
    is parsed."""
    if start.startswith(b"PK\x03\x04") and start[_LOCAL.size :] == first_member.encode():
        return
    kind = next(
        (kind for mark, kind in _OTHER_KINDS.items() if start.lstrip().startswith(mark)), "a file of another kind"
    )
    raise ModelFileError(
        f"{shown(path)}: begins like {kind}, not like a model file; give a *.weakspot file, or copy it again if it should be one"
    )


def _local_header(name: str, crc: int, size: int) -> bytes:
    return _LOCAL.pack(0x04034B50, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(name), 0) + name.encode()


def _directory(entries: list[tuple[str, int, int]]) -> bytes:
    """The zip's central directory and its end record."""
    directory, offset = b"", 0
    for name, crc, size in entries:
        fields = (
            0x02014B50,
            _UNIX | _VERSION,
            _VERSION,
            0,
            0,
            0,
            _DATE,
            crc,
            size,
            size,
            len(name),
            0,
            0,
            0,
            0,
            _MODE,
            offset,
        )
        directory += _CENTRAL.pack(*fields) + name.encode()
        offset += _LOCAL.size + len(name) + size
    return directory + _END.pack(0x06054B50, 0, 0, len(entries), len(entries), len(directory), offset, 0)
