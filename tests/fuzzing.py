"""Damaged pictures, model files and graphs without end: they are read, opened or refused in our words, at once.

A child process reads them one after the other and writes each down before it reads it, so that one that brings it down
or holds it up is known.
"""

import hashlib
import io
import json
import os
import random
import signal
import struct
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tifffile

from tests.hostile import encoded, png, surface, tiff
from tests.inspection.conftest import made_model
from weakspot.data import large
from weakspot.data.reading import decode_image
from weakspot.errors import ImageError, ModelFileError
from weakspot.inspection.container import pack
from weakspot.inspection.model_file import ModelFile, read_model_file
from weakspot.inspection.runtimes import open_runtime
from weakspot.inspection.tiling import TiledRuntime
from weakspot.network.detector import Detector
from weakspot.settings import NetworkSettings, ReadSettings
from weakspot.training.export import export_graph

SETTINGS = ReadSettings(max_megapixels=1)
LONGEST = 1.0  # seconds of computing that one input may take
HUNG = 60.0  # seconds after which the child is taken for hung, on a machine that is busy with other things
NUMBERS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
Fuzz = Callable[[random.Random], bytes]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One to four pieces changed, cut out, doubled, emptied, or made a number that programs trip over."""
    altered = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(altered) or 1)
        end = min(len(altered), start + chance.choice((1, 1, 2, 4, 30, 300)))
        match chance.randrange(6):
            case 0:
                altered[start:end] = chance.randbytes(end - start)
            case 1:
                del altered[start:end]
            case 2:
                altered[start:start] = altered[start:end]
            case 3:
                altered[start:end] = bytes(end - start)
            case 4 if altered:
                altered[start : start + 1] = bytes([altered[start % len(altered)] ^ 1 << chance.randrange(8)])
            case _:
                form = chance.choice(("<H", ">H", "<I", ">I"))
                number = struct.pack(form, chance.choice(NUMBERS) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF))
                altered[start : start + len(number)] = number
    return bytes(altered)


def whole_pictures() -> list[bytes]:
    """A small picture of each kind that is read."""
    grey, colour = surface(40, 48), surface(40, 48, channels=3)
    found = [encoded(grey, form) for form in ("PNG", "BMP", "TIFF")] + [
        encoded(colour, form) for form in ("PNG", "BMP")
    ]
    found += [encoded(colour, "JPEG", **how) for how in ({}, {"progressive": True}, {"restart_marker_blocks": 2})]
    found += [encoded(grey, "TIFF", compression=how) for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits")]
    found += [encoded(grey > 100, "TIFF", compression="group4"), encoded(colour, "TIFF")]
    found += [png(24, 24, 16), png(9, 9, 1), tiff(16, 16, 16, bytes(512)), encoded(grey, "JPEG", optimize=True)]
    return found


def pictures(chance: random.Random) -> bytes:
    """A damaged picture; half of the PNGs with checksums that fit, so that what is behind them is reached."""
    data = chance.choice(WHOLE)
    if data.startswith(b"\x89PNG") and chance.random() < 0.5:
        return damaged_png(data, chance)
    return damaged(data, chance)


def damaged_png(data: bytes, chance: random.Random) -> bytes:
    parts, place = [], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        parts.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    hit = chance.randrange(len(parts))
    name, body = parts[hit]
    if name == b"IDAT" and chance.random() < 0.5:
        body = zlib.compress(damaged(zlib.decompress(body), chance))
    else:
        body = damaged(body, chance)
    parts[hit] = (name, body)
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def read_picture(data: bytes, _: Path) -> None:
    try:
        decode_image(data, "fuzzed", SETTINGS)
    except ImageError as error:
        check_words(str(error))


def strips(chance: random.Random) -> bytes:
    """A damaged TIFF in strips."""
    return damaged(chance.choice(IN_STRIPS), chance)


def whole_strips() -> list[bytes]:
    """A small TIFF of each kind that is read strip by strip."""
    grey, colour = surface(40, 48), surface(40, 48, channels=3)
    opaque = np.dstack([colour, np.full(grey.shape, 255, np.uint8)])
    kinds: list[tuple[np.ndarray, dict[str, Any]]] = [
        *((grey, {"compression": how}) for how in (None, "zlib", "packbits")),
        (grey, {"compression": "zlib", "predictor": True}),
        (grey, {"bigtiff": True}),
        (grey, {"photometric": "miniswhite", "rowsperstrip": 40}),
        (grey.astype(np.uint16) * 200, {"byteorder": ">", "rowsperstrip": 40}),
        (colour, {"photometric": "rgb"}),
        (opaque, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    ]
    found = []
    for pixels, how in kinds:
        tifffile.imwrite(file := io.BytesIO(), pixels, **{"rowsperstrip": 8} | how)
        found.append(file.getvalue())
    return found


def read_strips(data: bytes, folder: Path) -> None:
    large.LARGE = 100  # in this process alone, so that small ones are read by strips
    path = folder / "fuzzed.tif"
    path.write_bytes(data)
    try:
        large.read_large(path, SETTINGS, large.Target((16, 16), 1, 8, "stretch"))
    except ImageError as error:
        check_words(str(error).removeprefix(f"{folder}/"))


def graphs(whole: bytes) -> Fuzz:
    """This graph with some of its nodes, names, numbers and shapes changed; one of four with bytes changed."""

    def fuzz(chance: random.Random) -> bytes:
        if chance.random() < 1 / 4:
            return damaged(whole, chance)
        made = onnx.load_from_string(whole)
        for _ in range(chance.randint(1, 3)):
            _alter(made.graph, chance)
        return bytes(made.SerializeToString())

    return fuzz


def _alter(graph: onnx.GraphProto, chance: random.Random) -> None:
    node, other = chance.choice(graph.node), chance.choice(graph.node)
    names = [name for each in graph.node for name in (*each.input, *each.output)]
    numbers = [attribute for attribute in node.attribute if attribute.ints]
    match chance.randrange(7):
        case 0 if node.input:
            node.input[chance.randrange(len(node.input))] = chance.choice(names)  # into a ring, too
        case 1 if node.output:
            node.output[0] = chance.choice(names)
        case 2 if numbers:
            ints = chance.choice(numbers).ints
            ints[chance.randrange(len(ints))] = chance.choice((*NUMBERS, -1, -8, 1 << 40))
        case 3:
            node.op_type = other.op_type
        case 4:
            graph.node.remove(node)
        case 5:
            graph.node.append(other)
        case _:
            tensor = chance.choice(graph.initializer)
            tensor.dims[:] = [chance.choice((*NUMBERS, -1, 1 << 40)) for _ in tensor.dims]


def small_sharp() -> ModelFile:
    """The network of `sharp`, which has learned nothing, for pictures of 128 × 128 pixels."""
    network = NetworkSettings(body="narrow", decision="heat", top_fractions=(0.01, 0.1), normalization="picture")
    detector = Detector(network, 100.0, 60.0).eval()
    weights = {name: tensor.numpy() for name, tensor in detector.state_dict().items()}
    made = made_model(export_graph(detector, 128, 128, 8), size=(128, 128), network=asdict(network))
    return replace(made, weights=weights)


def open_graphs(model: ModelFile) -> Callable[[bytes, Path], None]:
    """What opens graphs in this model's place, whole and cut into tiles."""

    def read(data: bytes, _: Path) -> None:
        hostile = replace(model, graph=data)
        for way in (open_runtime, TiledRuntime):
            try:
                way(hostile, "onnxruntime", 1)
            except ModelFileError as error:
                check_words(f"fuzzed: {error}")

    return read


def model_files(members: dict[str, bytes]) -> Fuzz:
    """Damaged files of this model; two of three with checksums that fit."""

    def packed(content: dict[str, bytes]) -> bytes:
        file = io.BytesIO()
        pack(content, file)
        return file.getvalue()

    def fuzz(chance: random.Random) -> bytes:
        if chance.random() < 1 / 3:
            return damaged(packed(members), chance)
        content, name = dict(members), chance.choice([*members])
        content[name] = damaged(content[name], chance)
        if name != "manifest.json":
            try:
                plain = json.loads(content["manifest.json"])
            except ValueError:
                plain = {}
            plain["members"] = {
                each: hashlib.sha256(data).hexdigest() for each, data in content.items() if "manifest" not in each
            }
            content["manifest.json"] = json.dumps(plain).encode()
        if name != "manifest.sha256":
            content["manifest.sha256"] = hashlib.sha256(content["manifest.json"]).hexdigest().encode()
        return packed(content)

    return fuzz


def read_model(data: bytes, folder: Path) -> None:
    path = folder / "fuzzed.weakspot"
    path.write_bytes(data)
    try:
        read_model_file(path)
    except ModelFileError as error:
        check_words(str(error).removeprefix(f"{folder}/"))


def check_words(text: str) -> None:
    """One line that names the file and does not quote it at length."""
    assert text.isprintable() and text.startswith("fuzzed") and ": " in text and len(text) < 700, text


def run(read: Callable[[bytes, Path], None], fuzz: Fuzz, seconds: float, seed: int, folder: Path) -> dict[str, object]:
    """Read inputs for so long; how many there were, and those at which something else than a refusal came.

    untyped: with the error; slow: with the seconds of computing; crashed: the child died or hung. The inputs stay in
    the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[str]] = {"untyped": [], "slow": [], "crashed": []}
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        child = os.fork()
        if not child:
            _child(read, fuzz, end, seed, folder)
        crash = _watched(child, folder)
        count += _count(folder)
        for line in (folder / "found.jsonl").read_text().splitlines() if (folder / "found.jsonl").exists() else ():
            kind, name, what = json.loads(line)
            found[kind].append(f"{name}: {what}")
        (folder / "found.jsonl").unlink(missing_ok=True)
        if crash:
            found["crashed"].append(f"{_kept(folder, (folder / 'current').read_bytes())}: {crash}")
        seed += 1_000_000
    return {"inputs": count, **found}


def _watched(child: int, folder: Path) -> str:
    """Wait for a child; how it ended where that was not well."""
    seen, since = 0, time.monotonic()
    while True:
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            return "" if status == 0 else f"ended with {os.waitstatus_to_exitcode(status)}"
        count = _count(folder)
        if count != seen:
            seen, since = count, time.monotonic()
        if time.monotonic() - since > HUNG:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"hung for {HUNG:.0f} s"
        time.sleep(0.05)


def _count(folder: Path) -> int:
    """How many inputs a child has come to; it may have come to none before the time was over."""
    path = folder / "count"
    return int(path.read_text() or 0) if path.exists() else 0


def _child(read: Callable[[bytes, Path], None], fuzz: Fuzz, end: float, seed: int, folder: Path) -> None:
    """Never returns."""
    status = 1
    try:
        for count, data in enumerate(_inputs(fuzz, end, seed)):
            (folder / "current").write_bytes(data)
            (folder / "count").write_text(str(count))
            start = time.process_time()
            try:
                read(data, folder)
            except BaseException as error:
                _note(folder, "untyped", data, "".join(traceback.format_exception(error))[-1500:])
            if time.process_time() - start > LONGEST:
                _note(folder, "slow", data, f"{time.process_time() - start:.2f}")
        status = 0
    finally:
        os._exit(status)


def _inputs(fuzz: Fuzz, end: float, seed: int) -> Iterator[bytes]:
    while time.monotonic() < end:
        yield fuzz(random.Random(seed))
        seed += 1


def _note(folder: Path, kind: str, data: bytes, what: str) -> None:
    with open(folder / "found.jsonl", "a") as file:
        file.write(json.dumps([kind, _kept(folder, data), what]) + "\n")


def _kept(folder: Path, data: bytes) -> str:
    name = f"input-{hashlib.sha256(data).hexdigest()[:12]}"
    (folder / name).write_bytes(data)
    return name


WHOLE = whole_pictures()
IN_STRIPS = whole_strips()
