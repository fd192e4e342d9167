"""Runs on a Ray cluster of this machine: the records that are made without it, though a worker is killed."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.experiments.test_run import asked_for, command, records
from weakspot.errors import SettingsError, TrainingError
from weakspot.experiments import on_ray
from weakspot.experiments.run import run_experiment

RayError = pytest.importorskip("ray.exceptions").RayError
VARYING = {"seconds"}  # of a record, from one making to another


def made(folder: Path) -> dict[str, Any]:
    """Each record but for its times, and the bytes of its scores."""
    place = folder / "results" / "small"
    plain = {path.stem: json.loads(path.read_text()) for path in place.glob("*.json")}
    scores = {path.name: path.read_bytes() for path in place.glob("*.csv")}
    return {name: {key: each[key] for key in each if key not in VARYING} for name, each in plain.items()} | scores


def workers_at_work(driver: int) -> list[int]:
    """Processes that make a run, by the name that Ray gives them, of this driver's cluster."""
    found, parents = [], dict[int, int]()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (place / "cmdline").read_bytes(), (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(place.name)] = int(rest[1])
        if name.startswith(b"ray::_made"):
            found.append(int(place.name))
    return [each for each in found if descends(each, driver, parents)]


def descends(process: int, of: int, parents: dict[int, int]) -> bool:
    while process in parents and process != of:
        process = parents[process]
    return process == of


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Three runs on a cluster of this machine, one at a time; where the last would train lies something else."""
    asked_for(tmp_path / "ray", "[0, 1, 2]", schedule=0.04)
    taken = tmp_path / "ray" / "runs" / "small" / "sharp-hold_out-seed2"
    taken.mkdir(parents=True)
    (taken / "note.txt").write_text("mine")
    words = command(tmp_path / "ray", "--ray", "local", "--jobs", "1")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def lines_until(driver: subprocess.Popen[str], word: str) -> list[str]:
    """What it says on stderr, up to the line that has the word, or to its end."""
    lines = list[str]()
    assert driver.stderr is not None
    for line in driver.stderr:
        lines.append(line.strip())
        if word in line:
            break
    return lines


@pytest.mark.slow
def test_ray_leaves_the_records_that_one_process_leaves_though_a_worker_is_killed(
    tmp_path: Path, driver: subprocess.Popen[str]
) -> None:
    lines = lines_until(driver, "iterations")  # a run has begun to learn
    (worker,) = workers_at_work(driver.pid)
    os.kill(worker, signal.SIGKILL)
    lines += lines_until(driver, "nothing that it says")
    assert driver.wait() == 1, lines
    said = "weakspot: error: 1 of 3 runs failed, the others are on record: sharp-hold_out-seed2: "
    assert lines[-1].startswith(said) and "is not empty" in lines[-1]
    assert lines[0] == "3 runs by Ray, 1 thread each"
    run_experiment(asked_for(tmp_path / "here", schedule=0.04), tmp_path / "here" / "results")
    assert made(tmp_path / "ray") == made(tmp_path / "here")
    assert (tmp_path / "ray" / "results" / "README.md").exists()
    begun = [line for line in lines if line.startswith("sharp-hold_out-seed0: 20 pictures")]
    assert len(begun) == 2, "by the worker that was killed, and by the one after it"
    assert {f"sharp-hold_out-seed{seed}: on record" for seed in (0, 1)} <= {*lines}


@pytest.mark.slow
def test_ctrl_c_stops_the_workers_and_keeps_what_they_have(tmp_path: Path, driver: subprocess.Popen[str]) -> None:
    lines_until(driver, "iterations")
    driver.send_signal(signal.SIGINT)
    lines = lines_until(driver, "nothing that it says")
    assert driver.wait() == 130
    assert lines[-1] == "weakspot: error: stopped; nothing is lost: the same command goes on"
    assert list((tmp_path / "ray" / "runs" / "small" / "sharp-hold_out-seed0" / "trainings").rglob("checkpoint*"))
    assert records(tmp_path / "ray") == []


class Queue:
    """Stands for the one between workers and whoever asked, which Ray has."""

    def __init__(self) -> None:
        self.lines = list[str]()
        self.actor = SimpleNamespace(put_nowait=SimpleNamespace(remote=self.lines.append))

    def qsize(self) -> int:
        return len(self.lines)


def test_a_worker_with_other_packages_refuses_its_call_and_one_with_the_same_tells_what_it_says() -> None:
    queue, asked = Queue(), list[str]()

    def call(word: str, shows: Any) -> None:
        asked.append(word)
        shows.note("a line")
        raise TrainingError("nothing was learned")

    others = on_ray._installed() | {"torch": "0.4"}
    assert on_ray._made(queue, call, others, "run", ("word",)).startswith("its worker has another torch than this")
    assert asked == []
    assert on_ray._made(queue, call, on_ray._installed(), "run", ("word",)) == "nothing was learned"
    assert (asked, queue.lines) == (["word"], ["run: a line"])


def test_a_call_has_been_made_though_nobody_collects_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue()
    monkeypatch.setattr(queue, "qsize", lambda: (_ for _ in ()).throw(RayError("its machine is gone")))
    assert on_ray._made(queue, lambda _: None, on_ray._installed(), "run", ()) == ""


def test_more_threads_than_any_machine_has_are_refused_rather_than_waited_for() -> None:
    machines: Any = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": {"CPU": 4.0}}])
    on_ray._refuse_few_processors(machines, on_ray.Cluster("10.0.0.1:6379", None, 4))
    with pytest.raises(SettingsError, match="8 threads a run, and no machine .* more than 4 processors; give fewer"):
        on_ray._refuse_few_processors(machines, on_ray.Cluster("10.0.0.1:6379", None, 8))
