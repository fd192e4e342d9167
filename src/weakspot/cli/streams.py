"""stdout and stderr that fail no verb, whatever their encoding and whoever stopped reading them."""

import io
import os
import sys
from typing import Any


def make_output_safe() -> None:
    """Let what stdout and stderr cannot encode become escapes; where one is closed or left, let nothing fail for it.

    Else a name that the terminal has no letters for would end the verb with a traceback, the work undone.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (as long as the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            if isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
                setattr(sys, name, _until_its_reader_goes(stream))


def _until_its_reader_goes(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    at_once = stream.line_buffering or stream.write_through
    raw = io.BufferedWriter(_Pipe(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=at_once)


class _Pipe(io.FileIO):
    """stdout or stderr: what nobody reads any more (`| head`) is dropped, and the work goes on."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)
