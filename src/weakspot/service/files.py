"""Pictures and model files of a service, each under the SHA-256 of its content: whole, on disk, and never changed."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from weakspot.durable import make_folder, output_errors, remove_leftovers, sync_folder, write_durably
from weakspot.errors import shown

log = logging.getLogger(__name__)


class Files:
    """A folder of files named by content; names come from a digest alone, never from a client."""

    def __init__(self, folder: Path, ending: str = "", ours: bool = True) -> None:
        """Make the folder and its 256 inner ones, and remove what a killed writer left there.

        ours: whether this process alone writes there; else nothing is made or removed.
        """
        self.folder, self._ending = folder, ending
        if ours:
            self._make_ready(folder)

    def _make_ready(self, folder: Path) -> None:
        make_folder(folder)
        with output_errors(folder):
            for number in range(256):
                inner = folder / f"{number:02x}"
                inner.mkdir(exist_ok=True)
                remove_leftovers(inner)
            sync_folder(folder)

    def put(self, content: bytes) -> str:
        """Keep the content → its SHA-256 in hex. On disk when this returns. Raises OutputError."""
        digest = sha256(content).hexdigest()
        path = self.path(digest)
        with output_errors(path):
            if self._holds(path, digest):
                sync_folder(path.parent)  # whoever wrote it may not have come to that yet
            else:
                write_durably(path, content)
        return digest

    @staticmethod
    def _holds(path: Path, digest: str) -> bool:
        """Whether that very content lies there: a damaged file is written again."""
        try:
            return sha256(path.read_bytes()).hexdigest() == digest
        except FileNotFoundError:
            return False

    def path(self, digest: str) -> Path:
        """Where that content lies, or would lie."""
        assert len(digest) == 64 and set(digest) <= set("0123456789abcdef"), digest
        return self.folder / digest[:2] / f"{digest}{self._ending}"

    def get(self, digest: str) -> bytes | None:
        """The content; None where it is not there, or not as it was put there, which the log says."""
        path = self.path(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.error("%s: cannot be read (%s); put back the one of a backup", shown(path), error.strerror)
            return None
        if sha256(content).hexdigest() == digest:
            return content
        log.error("%s: damaged; put back the one of a backup", shown(path))
        return None

    @contextmanager
    def nothing_removed(self) -> Iterator[None]:
        """Meanwhile retention removes no file, in whatever process; waits for the few that it is at."""
        if not self.folder.is_dir():  # there is nothing to lose
            yield
            return
        with self._opened() as folder:
            fcntl.flock(folder, fcntl.LOCK_SH)
            yield

    @contextmanager
    def removing(self) -> Iterator[bool]:
        """Whether files may be removed now: not while somebody copies them."""
        with self._opened() as folder:
            free = True
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                free = False
            yield free

    @contextmanager
    def _opened(self) -> Iterator[int]:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield folder
        finally:
            os.close(folder)  # which lets go of its lock

    def remove(self, digest: str) -> None:
        """Forget that content, where it is there."""
        with suppress(FileNotFoundError):
            os.unlink(self.path(digest))
