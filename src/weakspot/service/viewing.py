"""Kept pictures, decoded for people who look at them: by a process of their own, so that the line never waits."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from weakspot.data.reading import ImageFile
from weakspot.service.decoding import Decoders
from weakspot.service.limits import Limits
from weakspot.service.problems import Problem
from weakspot.settings import ReadSettings

PLACES = 24  # of the 40 threads that answer; a browser asks for 6 pictures at once
AT_WORK = 2  # of these; a large picture takes a gigabyte between its file and what leaves


class Viewer:
    """One child that decodes, and a bounded number of requests that wait for it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decoders = Decoders(1, limits.decode_seconds, limits.decode_gigabytes)
        self._places, self._at_work = BoundedSemaphore(PLACES), BoundedSemaphore(AT_WORK)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Held from a picture's file until what leaves is made. Raises Problem at once where too many wait."""
        if not self._places.acquire(blocking=False):
            raise Problem(503, "busy", "too many look at pictures; ask again in a second", headers={"Retry-After": "1"})
        try:
            with self._at_work:
                yield
        finally:
            self._places.release()

    def decode(self, picture: bytes, read: ReadSettings) -> ImageFile:
        """A picture's pixels, in a place. Raises ImageError."""
        return self._decoders.decode(picture, self._limits.bounded(read))

    def close(self) -> None:
        """End the child."""
        self._decoders.close()
