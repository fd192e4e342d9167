"""Seconds of what `scripts/soak fuzz` does for an hour; and that it would tell what it is there to tell."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests import fuzzing
from tests.inspection.conftest import made_model, read_members
from weakspot.inspection.model_file import write_model_file

SECONDS = [2, pytest.param(20, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("model") / "made.weakspot"
    write_model_file(path, made_model())
    return read_members(path)


@pytest.mark.parametrize("seconds", SECONDS)
def test_damaged_pictures_are_read_or_refused_in_our_words(tmp_path: Path, seconds: int) -> None:
    came = fuzzing.run(fuzzing.read_picture, fuzzing.pictures, seconds, 0, tmp_path)
    assert (came["untyped"], came["slow"], came["crashed"]) == ([], [], [])
    assert came["inputs"]


@pytest.mark.parametrize("seconds", SECONDS)
def test_damaged_model_files_are_read_or_refused_in_our_words(
    tmp_path: Path, members: dict[str, bytes], seconds: int
) -> None:
    came = fuzzing.run(fuzzing.read_model, fuzzing.model_files(members), seconds, 0, tmp_path)
    assert (came["untyped"], came["slow"], came["crashed"]) == ([], [], [])
    assert came["inputs"]


@pytest.mark.parametrize("seconds", SECONDS)
def test_damaged_pictures_in_strips_are_read_or_refused_in_our_words(tmp_path: Path, seconds: int) -> None:
    came = fuzzing.run(fuzzing.read_strips, fuzzing.strips, seconds, 0, tmp_path)
    assert (came["untyped"], came["slow"], came["crashed"]) == ([], [], [])
    assert came["inputs"]


@pytest.mark.parametrize("seconds", SECONDS)
def test_damaged_graphs_are_opened_or_refused_in_our_words(tmp_path: Path, seconds: int) -> None:
    model = fuzzing.small_sharp()
    came = fuzzing.run(fuzzing.open_graphs(model), fuzzing.graphs(model.graph), seconds, 0, tmp_path)
    assert (came["untyped"], came["slow"], came["crashed"]) == ([], [], [])
    assert came["inputs"]


def spin(_: bytes, __: Path) -> None:
    start = time.process_time()
    while time.process_time() - start < 0.05:
        pass


@pytest.mark.parametrize(("kind", "read", "said"), [
    ("untyped", lambda data, _: data.index(b"\0\1\2 not there"), "ValueError"),
    ("slow", spin, "0.0"),
    ("crashed", lambda *_: os.kill(os.getpid(), signal.SIGKILL), "ended with -9"),
])  # fmt: skip
def test_what_may_not_happen_is_told_with_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, read: object, said: str
) -> None:
    monkeypatch.setattr(fuzzing, "LONGEST", 0.02)
    came = fuzzing.run(read, fuzzing.pictures, 1, 0, tmp_path)  # type: ignore[arg-type]
    name, _, what = came[kind][0].partition(": ")  # type: ignore[index]
    assert said in what
    assert (tmp_path / name).read_bytes() == fuzzing.pictures(random.Random(0))
