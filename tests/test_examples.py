"""The programs in examples/ run, and decide as `weakspot inspect` does."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inspection.conftest import made_pixels
from tests.jobs.test_export import LEVELS, saved
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


@pytest.mark.parametrize(("channels", "ending"), [(1, ".png"), (3, ".bmp")])
def test_a_python_program_without_weakspot_decides_as_weakspot_does(tmp_path, channels, ending):
    hide = "import sys; sys.modules.update(weakspot=None, torch=None); sys.argv = sys.argv[1:]; import runpy; "
    program = hide + "runpy.run_path(sys.argv[0], run_name='__main__')"
    inspected([sys.executable, "-c", program, EXAMPLES / "inspect_onnx.py"], tmp_path, channels, ending)
