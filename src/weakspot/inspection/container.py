"""The model file's outer form: a zip, stored. Knows nothing of what the members mean.

zipfile passes over holes, changed headers, bytes before and after, and members of the same name. So whatever it reads
is written again, and must be the same file bit for bit.
"""

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from weakspot.errors import ModelFileError, quoted, shown

MAX_BYTES = 2**32 - 1  # what a plain zip can address; a larger file is no model of ours
COPY_AGAIN = "copy it again from where it was made, or train again"
_MODE = (stat.S_IFREG | 0o644) << 16
_OTHER_KINDS = {
    b"PK": "a zip archive of another kind",
    b"\x80": "a pickle",
    b"<": "an HTML or XML page",
    b"\x08": "a bare ONNX graph",
}


def pack(members: dict[str, bytes], file: BinaryIO | io.RawIOBase) -> None:
    """Write the members in order; the same content gives the same bytes."""
    with ZipFile(file, "w") as archive:
        for name, data in members.items():
            info = ZipInfo(name)  # dated 1980-01-01
            info.create_system, info.external_attr = 3, _MODE  # as on Unix, wherever it is written
            archive.writestr(info, data)


def unpack(path: Path, first_member: str) -> tuple[dict[str, bytes], str]:
    """The members by name, in order, and the SHA-256 of the whole file.

    Raises ModelFileError for whatever is not as `pack` writes it. Takes memory for what lies in the file and for its
    largest member.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        _check_kind(file.read(512), first_member, path)
        try:
            members = _members(file, size)
        except MemoryError:
            raise
        except Exception as error:  # of many kinds, as zipfile raises them of damaged archives
            raise altered(path, str(error)) from None
        compared = _Compared(file)
        pack(members, compared)
        if compared.differing or compared.end != size:
            raise altered(path, "bytes that no member accounts for")
        return members, file_sha256(file)


def file_sha256(file: Any) -> str:
    """SHA-256 of an open file from its beginning, hexadecimal."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def altered(path: Path, finding: str) -> ModelFileError:
    """The refusal of a file that is not as it was written."""
    return ModelFileError(
        f"{shown(path)}: is cut short, or was altered since it was written ({quoted(finding)}); {COPY_AGAIN}"
    )


def _members(file: BinaryIO, size: int) -> dict[str, bytes]:
    with ZipFile(file) as archive:
        entries = archive.infolist()
        # compressed or overlapping members could be far larger than the file
        if sum(entry.file_size for entry in entries) > size or any(
            entry.compress_type != ZIP_STORED for entry in entries
        ):
            raise ValueError("its members are larger than the file")
        return {entry.filename: archive.read(entry) for entry in entries}


class _Compared(io.RawIOBase):
    """What is written here is only compared with what lies at that place of a file.

    zipfile writes a member's header twice, at last with its checksum; the last time counts.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, 0
        self.differing: set[int] = set()  # places of pieces that are not the same
        self.end = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        assert whence == os.SEEK_SET
        self._at = offset
        return offset

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._file.seek(self._at)
        length = len(data)
        (self.differing.discard if self._file.read(length) == data else self.differing.add)(self._at)
        self._at += length
        self.end = max(self.end, self._at)
        return length


def open_regular(path: Path) -> BinaryIO:
    """A regular file opened for reading. Raises ModelFileError.

    A pipe, which would block for ever, is opened without waiting and refused; so is a link, behind which the file may
    be another one at any time.
    """
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_BINARY", "O_NOFOLLOW"))
    try:
        file = open(path, "rb", opener=lambda where, _: os.open(where, flags))  # noqa: SIM115 (unpack closes it)
    except OSError as error:
        if path.is_symlink():
            way_out = "give the path of the *.weakspot file that it leads to"
            raise ModelFileError(f"{shown(path)}: is a link, which may lead elsewhere tomorrow; {way_out}") from None
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
        raise ModelFileError(
            f"{shown(path)}: cannot be read ({reason}); give the path of a *.weakspot file that may be read"
        ) from None
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode) or not 0 < about.st_size <= MAX_BYTES:
        file.close()
        what = f"a file of {about.st_size:,} bytes" if stat.S_ISREG(about.st_mode) else "no regular file"
        raise ModelFileError(f"{shown(path)}: is {what}, not a model file; give the path of a *.weakspot file")
    return file


def _check_kind(start: bytes, first_member: str, path: Path) -> None:
    """Refuse other formats by their first bytes, before anything of them is parsed."""
    name = first_member.encode()
    length = len(name).to_bytes(2, "little")  # as it stands in a member's header, before the name itself
    if start.startswith(b"PK\x03\x04") and start[26:28] == length and start[30:].startswith(name):
        return
    kinds = (kind for mark, kind in _OTHER_KINDS.items() if start.lstrip().startswith(mark))
    raise ModelFileError(
        f"{shown(path)}: begins like {next(kinds, 'a file of another kind')}, not like a model file; "
        "give a *.weakspot file, or copy it again if it should be one"
    )
