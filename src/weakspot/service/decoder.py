"""The process in which pictures are decoded: it may use little, opens nothing, and its end harms no other.

Run as `python -m weakspot.service.decoder GIGABYTES`. In, again and again: two lengths, settings as JSON, the file's
bytes. Out: two lengths, what was read as JSON, raw pixels. No pickle: whoever takes this process over can send numbers.
"""

import json
import resource
import signal
import struct
import sys
from dataclasses import fields
from typing import IO

import weakspot.data.tiff  # noqa: F401 (now, before this process is bounded)
from weakspot.data.reading import ImageFile, decode_image
from weakspot.errors import ImageError
from weakspot.settings import ReadSettings

LENGTHS = struct.Struct(">QQ")


def limit(gigabytes: float) -> None:
    """Bound this process: address space, no file written, no core dumped."""
    most = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def send(stream: IO[bytes], about: dict[str, object], content: bytes | memoryview) -> None:
    """One message."""
    text = json.dumps(about).encode()
    stream.write(LENGTHS.pack(len(text), len(content)) + text)
    stream.write(content)
    stream.flush()


def decoded(settings: dict[str, object], data: bytes) -> tuple[dict[str, object], bytes | memoryview]:
    """What is said of one file, and its pixels; of one that is refused, the reason under `error`."""
    try:
        file = decode_image(data, "picture", ReadSettings(**settings))  # type: ignore[arg-type]
    except ImageError as error:
        return {"error": str(error)}, b""
    except MemoryError:
        return {"error": "picture: needs more memory to decode than is allowed; take a smaller one"}, b""
    about = {each.name: getattr(file, each.name) for each in fields(ImageFile) if each.name != "pixels"}
    return about | {"shape": file.pixels.shape, "dtype": file.pixels.dtype.name}, file.pixels.data.cast("B")


def main() -> None:
    """Decode what comes until nobody asks any more."""
    for asked in (signal.SIGINT, signal.SIGTERM):  # they reach the whole group; the end of what comes is this one's end
        signal.signal(asked, signal.SIG_IGN)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    limit(float(sys.argv[1]))
    send(target, {}, b"")  # ready
    while len(head := source.read(LENGTHS.size)) == LENGTHS.size:
        about, content = (source.read(length) for length in LENGTHS.unpack(head))
        send(target, *decoded(json.loads(about), content))


if __name__ == "__main__":
    main()
