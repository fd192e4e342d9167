"""Decodes pictures in child processes: what crashes, hangs or grows there costs one picture, not the service."""

import json
import logging
import math
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from queue import LifoQueue
from threading import Timer
from typing import Any

import numpy as np

from weakspot.data.reading import ImageFile
from weakspot.errors import ImageError, WeakspotError
from weakspot.service.decoder import LENGTHS, send
from weakspot.service.problems import Problem
from weakspot.settings import ReadSettings

log = logging.getLogger(__name__)
MOST_TEXT = 1 << 20  # bytes of what a child says of a picture


class Decoders:
    """A few children, each started when it is first needed and again after it died."""

    def __init__(self, children: int, seconds: float, gigabytes: float) -> None:
        self._seconds, self._gigabytes = seconds, gigabytes
        self._free: LifoQueue[subprocess.Popen[bytes] | None] = LifoQueue()
        for _ in range(children):
            self._free.put(None)

    def start(self) -> None:
        """Start one child now, so that the first picture need not wait for it. Raises WeakspotError when it ends."""
        try:
            self._free.put(self._started(self._free.get()))
        except (OSError, EOFError):
            raise WeakspotError(
                "the process that decodes pictures ends at once; "
                f"allow more than {self._gigabytes:g} GB by --decode-gigabytes, or see above"
            ) from None

    def decode(self, data: bytes, settings: ReadSettings) -> ImageFile:
        """The picture in a file's bytes. Raises ImageError, also for one at which the child died or took too long.

        Raises Problem where no child can be started.
        """
        child: subprocess.Popen[bytes] | None = self._free.get()
        try:
            child = self._ready(child)
            return _asked(child, data, settings, self._seconds)
        except (OSError, EOFError, ValueError):
            _kill(child)
            child = None
            raise ImageError(
                f"picture: could not be decoded within {self._seconds:g} s and the memory allowed; "
                "take a smaller one, or export it again"
            ) from None
        finally:
            self._free.put(child)

    def _ready(self, child: subprocess.Popen[bytes] | None) -> subprocess.Popen[bytes]:
        """Raises Problem where none can be started: no picture is at fault for that."""
        try:
            return self._started(child)
        except (OSError, EOFError, ValueError):
            log.exception("no process that decodes pictures could be started")
            why = "no process to decode it could be started; nothing was kept; send it again"
            raise Problem(503, "decoder", why, headers={"Retry-After": "5"}) from None

    def close(self) -> None:
        """End the children that are idle; the others end with this process."""
        while not self._free.empty():
            _kill(self._free.get())

    def _started(self, child: subprocess.Popen[bytes] | None) -> subprocess.Popen[bytes]:
        if child is not None and child.poll() is None:
            return child
        command = [sys.executable, "-m", "weakspot.service.decoder", str(self._gigabytes)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        try:
            _received(child)
        except (EOFError, ValueError):
            _kill(child)
            raise
        return child


def _asked(child: subprocess.Popen[bytes], data: bytes, settings: ReadSettings, seconds: float) -> ImageFile:
    """Raises OSError or EOFError where the child died, which it does after `seconds`; ValueError for nonsense."""
    watchdog = Timer(seconds, child.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        assert child.stdin is not None
        send(child.stdin, asdict(settings), data)
        about, pixels = _received(child)
    finally:
        watchdog.cancel()
    if "error" in about:
        raise ImageError(str(about["error"]))
    shape, kind = tuple(map(int, about.pop("shape"))), about.pop("dtype")
    if kind not in ("uint8", "uint16") or len(pixels) != math.prod(shape) * np.dtype(kind).itemsize:
        raise ValueError("pixels that do not fit what was said of them")
    about["warnings"] = tuple(map(str, about["warnings"]))
    return ImageFile(pixels=np.frombuffer(pixels, kind).reshape(shape), **about)


def _received(child: subprocess.Popen[bytes]) -> tuple[dict[str, Any], bytes]:
    assert child.stdout is not None
    head = child.stdout.read(LENGTHS.size)
    if len(head) < LENGTHS.size:
        raise EOFError
    text_bytes, content_bytes = LENGTHS.unpack(head)
    if text_bytes > MOST_TEXT or content_bytes > 8_000_000_000:
        raise ValueError("more than any picture holds")
    text, content = child.stdout.read(text_bytes), child.stdout.read(content_bytes)
    if len(content) < content_bytes:
        raise EOFError
    return dict(json.loads(text)), content


def _kill(child: subprocess.Popen[bytes] | None) -> None:
    if child is not None:
        child.kill()
        for stream in (child.stdin, child.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        child.wait()
