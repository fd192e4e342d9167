"""docs/deploy.md: what stands there leads from a clone to a line computer without internet."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_wheel import toy

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_pages_commands_install_from_a_folder_alone_and_verify_inspects_without_torch(tmp_path: Path) -> None:
    """Its first two blocks, as they stand: one in the clone, one in an empty folder where no index can be asked."""
    (tmp_path / "line").mkdir()
    made, installed = BLOCKS[:2]
    here = {".venv/bin/hatchling": f"{shlex.quote(sys.executable)} -m hatchling"}
    here[".venv/bin/pip"] = f"{shlex.quote(sys.executable)} -m pip -q"
    for written, meant in {
        **here,
        "-d wheels": f"-d {tmp_path}/line/wheels",
        " wheels/": f" {tmp_path}/line/wheels/",
    }.items():
        made = made.replace(written, meant)
    subprocess.run(["bash", "-ec", made], cwd=ROOT, check=True, timeout=500)
    model, images = toy(tmp_path / "line")
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    offline = {**plain, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    offline["PATH"] = f"{tmp_path}/line/weakspot/bin:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", installed], cwd=tmp_path / "line", env=offline, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert "as when it was made" in done.stdout
    listed = subprocess.run([tmp_path / "line/weakspot/bin/pip", "list"], env=offline, capture_output=True, text=True)
    assert not {"torch", "onnx", "openvino", "nncf"} & {line.split()[0] for line in listed.stdout.splitlines()}
    inspect = ["weakspot", "inspect", model.name, images.name, "-o", "out"]
    assert subprocess.run(inspect, cwd=tmp_path / "line", env=offline, timeout=300).returncode == 0
    verify = ["weakspot", "verify", model.name, images.name]
    beside = subprocess.run(verify, cwd=tmp_path / "line", env=offline, capture_output=True, text=True, timeout=300)
    assert beside.returncode == 0 and "from onnxruntime fp32 on 2 images" in beside.stdout
