"""The programs in examples/ run, and decide as `weakspot inspect` does."""

import io
import re
import shlex
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inspection.conftest import made_pixels
from tests.inspection.test_drift import CHANGED, part
from tests.jobs.test_export import LEVELS, saved, saved_with_usual
from weakspot.inspection.loaded import LoadedDetector
from weakspot.jobs.export import export

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def cpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ program, compiled by the lines that stand in it against the library that lies in OpenVINO's wheel."""
    pytest.importorskip("openvino")
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    place = tmp_path_factory.mktemp("cpp")
    shutil.copy(EXAMPLES / "inspect.cpp", place)
    lines = re.findall(r"^//   ((?:LIBS=|g\+\+ ).*)$", (EXAMPLES / "inspect.cpp").read_text(), re.MULTILINE)
    python = shlex.quote(sys.executable)
    command = "\n".join(lines).replace("$(python ", f"$({python} ").replace("-O2", "-O0")
    done = subprocess.run(["bash", "-ec", command], cwd=place, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return place / "inspect"


def inspected(command: list[object], folder: Path, channels: int, ending: str) -> None:
    """Run a program on a good, a doubtful and a bad picture, and hold it against weakspot."""
    model = saved(folder, (128, 160), channels=channels)
    export(model, "onnx", folder / "part.onnx", threads=1)
    shape, expected, detector = (128, 160, 3)[: 2 + (channels > 1)], [], LoadedDetector.load_exact(model, 1)
    for name, level in LEVELS.items():
        pixels = made_pixels(level, 4, shape)
        Image.fromarray(pixels).save(folder / f"{name}{ending}")
        found = detector.inspect(pixels)
        expected.append((found.decision, found.defect_score))
    pictures = [str(folder / f"{name}{ending}") for name in LEVELS]
    done = subprocess.run([*map(str, command), folder / "part.onnx", *pictures], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(decision, path) for decision, _, path in lines] == list(zip(LEVELS, pictures))
    assert np.allclose([float(score) for _, score, _ in lines], [score for _, score in expected], atol=2e-4)
    Image.fromarray(made_pixels(60, 1, (64, 96))).save(folder / f"other{ending}")
    other = [*map(str, command), folder / "part.onnx", folder / f"other{ending}", pictures[0]]
    done = subprocess.run(other, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("not inspected: ") and done.stdout.startswith("good ")


@pytest.mark.parametrize(("channels", "ending"), [(1, ".pgm"), (3, ".ppm")])
def test_a_plain_cpp_program_decides_as_weakspot_does(tmp_path, cpp, channels, ending):
    inspected([cpp], tmp_path, channels, ending)


PYTHON = [sys.executable, EXAMPLES / "inspect_onnx.py"]


def said(*words: object) -> tuple[int, str, str]:
    done = subprocess.run([*map(str, [*PYTHON, *words])], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_the_python_program_calls_nothing_good_that_it_cannot_read_and_goes_on(tmp_path):
    model = saved(tmp_path, (128, 160))
    export(model, "onnx", tmp_path / "part.onnx", threads=1)
    good, jpeg = made_pixels(60, 1, (128, 160)), io.BytesIO()
    Image.fromarray(good).save(jpeg, "JPEG", quality=95)
    half = jpeg.getvalue()[: len(jpeg.getvalue()) // 2] + b"\xff\xd9"
    header = struct.pack(">IIBBBBB", 50000, 50000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0" * 100)) + chunk(b"IEND", b"")
    )
    for name, content in {"half.jpg": half, "bomb.png": bomb, "empty.png": b"", "text.png": b"no picture"}.items():
        (tmp_path / name).write_bytes(content)
    Image.fromarray(good.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    pages = [Image.fromarray(good), Image.fromarray(good)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(good).save(tmp_path / "good.png")
    refused = ["half.jpg", "bomb.png", "empty.png", "text.png", "deep.png", "pages.tif", "missing.png"]
    status, out, err = said(tmp_path / "part.onnx", *(tmp_path / name for name in [*refused, "good.png"]))
    assert status == 1 and out.startswith("good ") and out.count("\n") == 1
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["not inspected", str(tmp_path / n)] for n in refused
    ]


def test_the_python_program_takes_16_bits_where_the_export_does_and_nothing_else(tmp_path):
    model = saved(tmp_path, (128, 160), bit_depth=16)
    export(model, "onnx", tmp_path / "part.onnx", threads=1)
    pixels = made_pixels(200, 4, (128, 160)).astype(np.uint16) * 257
    for name in ("16.png", "16.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray((pixels // 257).astype(np.uint8)).save(tmp_path / "8.png")
    expected = LoadedDetector.load_exact(model, 1).inspect(pixels)
    status, out, err = said(tmp_path / "part.onnx", *(tmp_path / name for name in ("16.png", "16.tif", "8.png")))
    assert (status, err.count("not inspected")) == (3, 1) and "8.png" in err
    for line in out.splitlines():
        decision, score, _ = line.split()
        assert decision == expected.decision and abs(float(score) - expected.defect_score) < 2e-4
    assert out.count("\n") == 2


@pytest.mark.parametrize("fit", ["stretch", "keep"])
@pytest.mark.parametrize(("size", "bit_depth"), [((64, 96), 8), ((96, 150), 8), ((96, 150), 16)])
def test_the_python_program_calls_review_what_weakspot_does(tmp_path, size, fit, bit_depth):
    model = saved_with_usual(tmp_path, fit=fit, bit_depth=bit_depth)
    export(model, "onnx", tmp_path / "part.onnx", picture=size, threads=1)
    detector = LoadedDetector.load_exact(model, 1)
    for name, change in {"good": lambda pixels: pixels, **CHANGED}.items():
        pixels = np.array(Image.fromarray(change(part(100))).resize(size[::-1]))
        pixels = pixels if bit_depth == 8 else pixels.astype(np.uint16) * 257
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        status, out, err = said(tmp_path / "part.onnx", tmp_path / f"{name}.png")
        expected = detector.inspect(tmp_path / f"{name}.png")
        assert (status, out.split()[0]) == (0, expected.decision), name
        assert all(f"{figure} " in err for figure in CHANGED if f"{figure} " in "".join(expected.warnings)), name


@pytest.mark.parametrize("words", [[], ["part.onnx"]])
def test_the_python_program_says_how_it_is_called(words):
    status, out, err = said(*words)
    assert (status, out) == (2, "") and err.startswith("usage: ")


@pytest.mark.parametrize(("channels", "ending"), [(1, ".png"), (3, ".bmp")])
def test_a_python_program_without_weakspot_decides_as_weakspot_does(tmp_path, channels, ending):
    hide = "import sys; sys.modules.update(weakspot=None, torch=None); sys.argv = sys.argv[1:]; import runpy; "
    program = hide + "runpy.run_path(sys.argv[0], run_name='__main__')"
    inspected([sys.executable, "-c", program, EXAMPLES / "inspect_onnx.py"], tmp_path, channels, ending)
