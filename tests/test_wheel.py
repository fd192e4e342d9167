"""The wheel, installed where nothing is trained: it inspects without torch.

Once with torch hidden, and, slowly, in an empty environment.
"""

import json
import os
import shlex
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.inspection.conftest import SIZE, made_model, made_pixels
from weakspot.inspection.model_file import write_model_file

ROOT = Path(__file__).parents[1]
HIDDEN = ("torch", "onnx", "onnxscript", "tensorboard", "openvino", "elpv_dataset")
HIDE = f"""import importlib.machinery
_found = importlib.machinery.PathFinder.find_spec
def _find(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in {HIDDEN!r} else _found(name, path, target)
importlib.machinery.PathFinder.find_spec = classmethod(_find)
"""


README = (ROOT / "README.md").read_text(encoding="utf-8")
BUILD = ".venv/bin/hatchling build -t wheel -d dist"  # as the README has it


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the README's line makes of a clone."""
    pytest.importorskip("hatchling")
    place = tmp_path_factory.mktemp("wheel")
    (build,) = [line for line in README.splitlines() if "hatchling build" in line] or [BUILD]
    _, *arguments = shlex.split(build, comments=True)
    command = [sys.executable, "-m", "hatchling", *(str(place) if each == "dist" else each for each in arguments)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = place.glob("weakspot-*.whl")
    return built


@pytest.fixture(scope="module")
def line_computer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel unpacked, and a file beside it that hides what training needs: both for PYTHONPATH."""
    place = tmp_path_factory.mktemp("line computer")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    (place / "hide").mkdir()
    (place / "hide" / "sitecustomize.py").write_text(HIDE)
    return place / "hide", place / "site"


def toy(place: Path) -> tuple[Path, Path]:
    """A model file and a folder with one bright image, which the toy detector calls bad, and a dark one."""
    write_model_file(place / "part.weakspot", made_model())
    (place / "new").mkdir()
    for name, level in (("bright", 200), ("dark", 60)):
        Image.fromarray(made_pixels(level, size=SIZE)).save(place / "new" / f"{name}.png")
    return place / "part.weakspot", place / "new"


def without_torch(paths: tuple[Path, ...], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weakspot", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_the_wheel_holds_the_package_and_its_licence_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"weakspot", "weakspot-0.1.0.dist-info"}
    assert "weakspot/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    source = {
        path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "weakspot").rglob("*") if path.is_file()
    }
    assert {name for name in source if "__pycache__" not in name} == {
        name for name in names if name.startswith("weakspot/")
    }


def test_what_is_hidden_is_hidden(line_computer: tuple[Path, ...]) -> None:
    code = "import importlib.util as u, weakspot; print(u.find_spec('torch'), weakspot.__file__)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, line_computer))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"None {line_computer[1] / 'weakspot' / '__init__.py'}\n"


def test_the_wheel_inspects_verifies_and_examines_without_torch(
    line_computer: tuple[Path, ...], tmp_path: Path
) -> None:
    model, images = toy(tmp_path)
    done = without_torch(
        line_computer,
        "inspect",
        model,
        images,
        "-o",
        tmp_path / "out",
        "--overlays",
        "--heat-maps",
        "--fail-on-bad",
        "--json",
    )
    assert done.returncode == 3 and "not inspected       0" in done.stderr
    assert {
        Path(each["image"]["path"]).stem: each["decision"] for each in map(json.loads, done.stdout.splitlines())
    } == {"bright": "bad", "dark": "good"}
    assert (tmp_path / "out" / "inspections.csv").exists()
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 2
    assert without_torch(line_computer, "verify", model).returncode == 0
    assert without_torch(line_computer, "threshold", model, "--bad-from", "2", "--reason", "a test").returncode == 0
    assert (
        "runtimes     onnxruntime; inspect uses the fastest, evaluate onnxruntime"
        in without_torch(line_computer, "doctor").stdout
    )
    assert without_torch(line_computer, "--help").returncode == 0


def test_training_without_torch_is_answered_with_how_to_install_it(
    line_computer: tuple[Path, ...], tmp_path: Path
) -> None:
    done = without_torch(line_computer, "train", tmp_path, "-o", tmp_path / "run")
    assert (done.returncode, done.stderr) == (
        1,
        "weakspot: error: torch is not installed, and this verb needs it; run: pip install 'weakspot[train]'\n",
    )


def test_inspecting_writes_nothing_into_the_working_folder(tmp_path: Path) -> None:
    model, images = toy(tmp_path)
    (tmp_path / "here").mkdir()
    command = [sys.executable, "-m", "weakspot", "inspect", str(model), str(images), "-o", str(tmp_path / "out")]
    subprocess.run(command, cwd=tmp_path / "here", check=True, capture_output=True, timeout=300)
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.slow
def test_the_wheel_installed_into_an_empty_environment_inspects(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    install = [
        str(python),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "-q",
        "install",
        "--no-compile",
        "-c",
        str(ROOT / "requirements.lock"),
        str(wheel),
    ]
    subprocess.run(install, env=environment, check=True, timeout=500)
    installed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    names = {package["name"].lower() for package in json.loads(installed.stdout)}
    assert names.isdisjoint({"torch", "onnx", "tensorboard", "openvino"})
    model, images = toy(tmp_path)
    weakspot = tmp_path / "empty" / "bin" / "weakspot"
    done = subprocess.run(
        [weakspot, "inspect", model, images, "-o", tmp_path / "out"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "out" / "inspections.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 3
    assert subprocess.run([weakspot, "doctor"], env=environment, capture_output=True, timeout=300).returncode == 0
