"""docs/deploy.md: what stands there leads from a clone to a line computer without internet, and to other programs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.inspection.conftest import made_model
from tests.jobs.test_export import labelled
from tests.test_wheel import toy
from weakspot.inspection.manifest import ImageSizes
from weakspot.inspection.model_file import write_model_file

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
DOWNLOADED, INSTALLED, EXPORTED = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
WITH_OPENVINO = re.search(r"For OpenVINO write `(.*?)` at the end of `pip download`, and `(.*?)` at the end", PAGE)
PRESENT = {"": "onnxruntime", "openvino": "openvino"}


def ending(block: str, old: str, new: str) -> str:
    """A block with another end of its one line that ends so."""
    lines = block.splitlines()
    (place,) = [place for place, line in enumerate(lines) if line.endswith(old)]
    lines[place] = lines[place].removesuffix(old) + new
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("extra", PRESENT)
def test_the_pages_commands_install_from_a_folder_alone_and_verify_inspects_without_torch(
    tmp_path: Path, extra: str
) -> None:
    """Its first two blocks, as they stand: one in the clone, one in an empty folder where no index can be asked."""
    line = tmp_path / "line"
    line.mkdir()
    made, installed = DOWNLOADED, INSTALLED
    if extra:
        assert WITH_OPENVINO
        made = ending(made, " wheels/weakspot-*.whl", f" {WITH_OPENVINO[1]}")
        installed = ending(installed, " weakspot", f" {WITH_OPENVINO[2]}")
    here = {".venv/bin/hatchling": f"{shlex.quote(sys.executable)} -m hatchling"}
    here[".venv/bin/pip"] = f"{shlex.quote(sys.executable)} -m pip -q"
    for written, meant in {**here, "-d wheels": f"-d {line}/wheels", " wheels/": f" {line}/wheels/"}.items():
        made = made.replace(written, meant)
    subprocess.run(["bash", "-ec", made], cwd=ROOT, check=True, timeout=500)
    model, images = toy(line)
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    offline = {**plain, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/"}

    def run(*lines: str) -> subprocess.CompletedProcess[str]:
        text = "\n".join(lines)
        return subprocess.run(["bash", "-ec", text], cwd=line, env=offline, capture_output=True, text=True, timeout=500)

    done = run(installed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("as when it was made") == len(extra.split()) + 1
    activate = "source weakspot/bin/activate"
    packages = {row.split()[0] for row in run(activate, "pip list").stdout.splitlines()}
    assert not {"torch", "onnx", "nncf"} & packages and ("openvino" in packages) == bool(extra)
    assert run(activate, f"weakspot inspect {model.name} {images.name} -o out").returncode == 0
    beside = run(activate, f"weakspot verify {model.name} {images.name}")
    assert beside.returncode == 0 and "from onnxruntime fp32 on 2 images" in beside.stdout
    assert PRESENT[extra] in beside.stdout


def test_the_pages_exports_are_written_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its third block, as it stands, with what is installed here."""
    pytest.importorskip("nncf")
    from weakspot.cli import app

    size = (64, 96)
    write_model_file(tmp_path / "part.weakspot", made_model(image_sizes=ImageSizes(min=size, max=size)))
    labelled(tmp_path / "parts", 2)
    monkeypatch.chdir(tmp_path)
    for command in EXPORTED.splitlines():
        app(shlex.split(command)[1:], standalone_mode=False)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    beside = {
        "part.onnx",
        "part.json",
        "part_openvino.xml",
        "part_openvino.bin",
        "part_openvino.json",
        "part8.onnx",
        "part8.json",
    }
    folder = {f"models/part/{name}" for name in ("1/model.onnx", "config.pbtxt", "model.json")}
    assert {name for name in found if not name.startswith("parts/")} == {"part.weakspot", *beside, *folder}
