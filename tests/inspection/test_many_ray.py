"""The same on Ray: workers and the driver are killed while they judge, and nothing is lost or doubled."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from weakspot.errors import SettingsError
from weakspot.inspection import cluster
from weakspot.inspection.cluster import How, inspect_many

PICTURES = 80  # so large that a worker is killed at work
LEVELS = (60, 128, 200)


@pytest.fixture
def new(tmp_path, save_picture, make_pixels):
    for number in range(PICTURES):
        pixels = make_pixels(LEVELS[number % 3], number)
        save_picture(tmp_path / "new" / f"{number:02}.png", np.kron(pixels, np.ones((8, 8), np.uint8)))
    return tmp_path / "new"


def begun_elsewhere(model_path: Path, new: Path, place: Path) -> Path:
    """A finished inspection without Ray, and beside it a folder with nothing but its plan."""
    how = How(runtime="onnxruntime", precision="fp32", threads=1, images_a_piece=1)
    inspect_many(model_path, [str(new)], str(place / "whole"), how)
    (place / "out").mkdir()
    for name in ("plan.jsonl", "model.weakspot"):
        shutil.copy(place / "whole" / name, place / "out" / name)
    return place / "out"


def start(model_path: Path, new: Path, output: Path) -> subprocess.Popen[str]:
    words = ["inspect", model_path, new, "-o", output, "--ray", "local", "--workers", 2, "--threads", 1, "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-m", "weakspot", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def workers_of(driver: int) -> list[int]:
    """The processes that judge for a driver, by /proc: their names say so, and they descend from it."""
    found, parents = [], {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (folder / "cmdline").read_bytes(), (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(rest[1])
        if name.startswith(b"ray::MapWorker(Map(_Worker))"):
            found.append(int(folder.name))
    return [process for process in found if descends(process, driver, parents)]


def descends(process: int, from_: int, parents: dict[int, int]) -> bool:
    while process in parents and process != from_:
        process = parents[process]
    return process == from_


def done(output: Path) -> int:
    return len(list((output / "done").glob("*.json")))


def wait_for(what, process, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0] if process.poll() else ""
        time.sleep(0.01)
    return found


def same(output: Path, whole: Path) -> None:
    """Every part bit for bit as it is without Ray, and each picture once in what the manifest names."""
    for part in (whole / "parts").iterdir():
        assert (output / "parts" / part.name).read_bytes() == part.read_bytes(), part.name
    parts = json.loads((output / "manifest.json").read_text())["parts"]
    rows = [row for part in parts for row in pq.read_table(output / part["file"]).to_pylist()]
    names = [Path(row["image"]["path"]).name for row in rows]
    assert names == [f"{number:02}.png" for number in range(PICTURES)]


@pytest.mark.slow
def test_ray_writes_what_one_process_writes_though_a_worker_and_the_driver_are_killed(model_path, new, tmp_path):
    output = begun_elsewhere(model_path, new, tmp_path)
    driver = start(model_path, new, output)
    wait_for(lambda: done(output) >= 1, driver)
    for worker in wait_for(lambda: workers_of(driver.pid), driver)[:1]:
        os.kill(worker, signal.SIGKILL)
    before = done(output)
    wait_for(lambda: done(output) > before + 2, driver)
    driver.kill()
    driver.communicate()
    driver = start(model_path, new, output)
    said = driver.communicate(timeout=170)[0]
    assert driver.returncode == 0, said
    same(output, tmp_path / "whole")


def test_more_threads_than_any_machine_has_processors_are_refused():
    machines = [
        {"Alive": True, "Resources": {"CPU": 2.0}},
        {"Alive": True, "Resources": {"memory": 1.0}},
        {"Alive": False, "Resources": {"CPU": 8.0}},
    ]
    cluster._refuse_more_threads(machines, 2)
    with pytest.raises(SettingsError, match=r"--threads 4: no machine .* more than 2 processors; give 2 or fewer"):
        cluster._refuse_more_threads(machines, 4)
    with pytest.raises(SettingsError, match="more than 0 processors"):
        cluster._refuse_more_threads([], 1)


@pytest.mark.slow
def test_on_ray_they_are_refused_instead_of_waiting_for_ever(model_path, new, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_processors", lambda _: 2)
    with pytest.raises(SettingsError, match="--threads 4: no machine"):
        inspect_many(model_path, [str(new)], str(tmp_path / "out"), How(ray="local", runtime="onnxruntime", threads=4))


POISON = """
import os, signal
from weakspot.inspection.loaded import LoadedDetector
prepare = LoadedDetector.prepare
def dying(self, picture, *more, **named):
    if "poison" in str(picture):
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(self, picture, *more, **named)
LoadedDetector.prepare = dying
"""


@pytest.mark.slow
def test_a_picture_that_brings_each_worker_down_ends_it_and_all_others_are_done(model_path, new, tmp_path):
    for path in sorted(new.iterdir())[4:]:
        path.unlink()
    (new / "poison.png").write_bytes(b"")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(POISON)
    paths = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    words = ["inspect", model_path, new, "-o", tmp_path / "out", "--ray", "local", "--workers", 1, "--piece", 1]
    ended = subprocess.run(
        [sys.executable, "-m", "weakspot", *map(str, words), "--runtime", "onnxruntime", "--quiet"],
        capture_output=True, text=True, timeout=170, env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert ended.returncode == 1, ended
    assert "weakspot: error: Ray ended the work" in ended.stderr.splitlines()[-1], ended.stderr
    assert "run the same command again" in ended.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()
