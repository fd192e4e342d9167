"""A picture that brings the process down, or was only at work when it was killed."""

import json
import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.jobs.test_watch import Line, detector, line, wait_for  # noqa: F401 (fixtures)
from weakspot.inspection import at_work
from weakspot.inspection.at_work import TRIES
from weakspot.inspection.loaded import LoadedDetector


def killed(work: Callable[[], object]) -> bool:
    """Do the work in a fork of this process; whether that came down."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def starts(line: Line, most: int = TRIES + 5) -> int:  # noqa: F811
    """Start the watch again until it ends well; how often that was."""
    return next(start for start in range(1, most) if not killed(line.watch))


@pytest.fixture
def poisoned(line: Line, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:  # noqa: F811
    """Have something done where poison.png, which came first, is read or judged."""
    line.put("poison.png")
    time.sleep(0.01)
    for name in ("a.png", "b.png"):
        line.put(name)

    def have(method: str, done: Callable[[], object]) -> None:
        real = getattr(LoadedDetector, method)

        def call(self, given, *more):
            if "poison" in str(getattr(given, "name", given)):
                done()
            return real(self, given, *more)

        monkeypatch.setattr(LoadedDetector, method, call)

    return have


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise RuntimeError("a mistake of ours")


OTHERS = {"a.png": "good", "b.png": "good"}


@pytest.mark.parametrize("method", ["prepare", "judge"])
@pytest.mark.parametrize("done", [die, fail])
def test_a_picture_that_brings_the_process_down_is_tried_twice_and_stops_no_other(line, poisoned, method, done):  # noqa: F811
    poisoned(method, done)
    assert starts(line) == 2
    assert line.decisions() == OTHERS | {"poison.png": "not inspected"}
    told = next(each["reason"] for each in line.results() if each["decision"] == "not inspected")
    assert "brings the process down" in told
    line.check_tables()
    line.put("poison.png", "bad", seed=5)
    assert starts(line) == 2, "it is another picture"


def test_one_that_holds_a_process_up_is_given_up(line, poisoned, monkeypatch):  # noqa: F811
    parent = os.getpid()
    poisoned("prepare", lambda: fail() if os.getpid() == parent else time.sleep(60))
    monkeypatch.setattr(at_work.ends_well_apart, "__defaults__", (0.3,))
    (line.out).mkdir()
    version = (line.folder / "poison.png").stat()
    note = [["poison.png", version.st_size, version.st_mtime_ns, 1]]
    (line.out / ".at_work").write_text(json.dumps(note) + "\n")
    line.watch()
    assert line.decisions() == OTHERS | {"poison.png": "not inspected"}


def test_pictures_at_work_when_it_was_killed_by_chance_are_judged(line, poisoned):  # noqa: F811
    left = [1]
    poisoned("judge", lambda: die() if left and left.pop() else None)
    assert killed(line.watch)
    left.clear()
    line.watch()
    assert line.decisions() == OTHERS | {"poison.png": "good"}


@pytest.mark.parametrize("then", [die, lambda: time.sleep(8)])
def test_where_all_comes_down_with_each_try_the_tries_are_counted(line, poisoned, then):  # noqa: F811
    def all_die() -> None:
        os.kill(os.getppid(), signal.SIGKILL)
        then()

    first = os.getpid()
    poisoned("prepare", lambda: die() if os.getppid() == first else all_die())
    assert starts(line) == TRIES + 1
    assert line.decisions() == OTHERS | {"poison.png": "not inspected"}


def test_kills_by_chance_while_a_picture_is_tried_do_not_count_where_the_try_ends_well(line, poisoned):  # noqa: F811
    parent, left = os.getpid(), [1]

    def chance() -> None:
        if os.getppid() == parent:
            die()
        os.kill(os.getppid(), signal.SIGKILL)

    poisoned("judge", lambda: chance() if left else None)
    for start in range(TRIES + 2):
        assert killed(line.watch)
        wait_for(lambda start=start: start == 0 or (line.out / ".at_work_well").exists())
        assert json.loads((line.out / ".at_work").read_text().splitlines()[0])[0][3] <= 2
    left.clear()
    line.watch()
    assert line.decisions() == OTHERS | {"poison.png": "good"}
    assert not (line.out / ".at_work_well").exists()


def test_one_whose_tries_end_well_and_that_still_brings_it_down_is_given_up(line, poisoned):  # noqa: F811
    parent = os.getpid()
    poisoned("judge", lambda: die() if os.getppid() == parent else None)
    assert starts(line) == TRIES + 1
    assert line.decisions() == OTHERS | {"poison.png": "not inspected"}


def test_one_that_may_bring_it_down_is_at_work_alone(line, poisoned, monkeypatch):  # noqa: F811
    poisoned("judge", lambda: (time.sleep(0.2), die()))  # while the next one is read
    assert killed(line.watch)
    assert [entry[0] for entry in json.loads((line.out / ".at_work").read_text())] == ["poison.png", "a.png"]
    assert not killed(line.watch)
    assert line.decisions() == OTHERS | {"poison.png": "not inspected"}


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"[[1]]\n", b'{"a": 1}\n', b"7\n"])
def test_a_note_that_cannot_be_read_counts_for_nothing(line, content: bytes):  # noqa: F811
    line.put("a.png")
    line.out.mkdir()
    (line.out / ".at_work").write_bytes(content)
    line.watch()
    assert line.decisions() == {"a.png": "good"}
    assert json.loads((line.out / ".at_work").read_text().splitlines()[0]) == []
