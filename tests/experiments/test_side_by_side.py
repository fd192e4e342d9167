"""Commands side by side: how many at a time, what is heard of them, and how they end."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from weakspot.experiments.side_by_side import run_side_by_side


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def said(*words: str) -> list[str]:
    return python(f"import sys; print({' '.join(words)!r}, file=sys.stderr)")


def test_what_each_says_is_told_with_its_name() -> None:
    lines: list[tuple[str, str]] = []
    failures = run_side_by_side({"a": said("one"), "b": said("two")}, 2, lambda name, line: lines.append((name, line)))
    assert sorted(lines) == [("a", "one"), ("b", "two")]
    assert failures == {}


def test_a_failure_is_named_with_its_reason_and_stops_none_of_the_others() -> None:
    commands = {
        "refused": python("import sys; print('note', file=sys.stderr); sys.exit('weakspot: error: no bad part')"),
        "killed": python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        "well": said("well"),
    }
    lines: list[tuple[str, str]] = []
    failures = run_side_by_side(commands, 1, lambda name, line: lines.append((name, line)))
    assert failures == {"refused": "no bad part", "killed": "ended by SIGKILL"}
    assert ("well", "well") in lines


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_never_more_run_than_are_asked_for(tmp_path: Path, at_a_time: int) -> None:
    """Each counts who is there, itself among them, and leaves when it has waited for the others."""
    code = f"""
        import os, time, pathlib
        mine = pathlib.Path({str(tmp_path)!r}, f"here-{{os.getpid()}}")
        mine.touch()
        time.sleep(0.3)
        count = len(list(mine.parent.glob("here-*")))
        pathlib.Path(mine.parent, f"count-{{os.getpid()}}").write_text(str(count))
        mine.unlink()
    """
    assert run_side_by_side({str(number): python(code) for number in range(4)}, at_a_time, lambda *_: None) == {}
    counts = [int(path.read_text()) for path in tmp_path.glob("count-*")]
    assert len(counts) == 4
    assert max(counts) <= at_a_time


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_reaches_all_once_and_starts_no_other(tmp_path: Path, number: signal.Signals) -> None:
    """The terminal sends Ctrl-C to a whole group of processes; whoever is asked twice would stop at once."""
    child = f"""
        import pathlib, signal, sys, time
        asked = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: asked.append(number))
        print("ready", file=sys.stderr, flush=True)
        while not asked:
            time.sleep(0.05)
        time.sleep(0.5)
        pathlib.Path({str(tmp_path)!r}, sys.argv[1]).write_text(str(len(asked)))
        sys.exit(130)
    """
    parent = f"""
        import sys
        from weakspot.experiments.side_by_side import run_side_by_side
        from weakspot.errors import WeakspotError
        child = [sys.executable, "-c", {textwrap.dedent(child)!r}]
        try:
            run_side_by_side({{name: [*child, name] for name in "abc"}}, 2, lambda *line: print(*line, flush=True))
        except WeakspotError as error:
            print(error)
            sys.exit(error.exit_status)
    """
    with subprocess.Popen(python(parent), stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert sorted(process.stdout.readline().split() for _ in range(2)) == [["a", "ready"], ["b", "ready"]]
        os.killpg(process.pid, number)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert rest == "stopped; nothing is lost: the same command goes on\n"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "1", "b": "1"}


def test_a_command_that_starts_as_all_are_asked_to_stop_has_the_others_asked_no_second_time(
    tmp_path: Path,
) -> None:
    child = f"""
        import pathlib, signal, time
        asked = []
        signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
        mine = pathlib.Path({str(tmp_path)!r})
        (mine / "ready").touch()
        while not (mine / "late has started").exists():
            time.sleep(0.05)
        time.sleep(0.5)
        (mine / "asked").write_text(str(len(asked)))
    """
    parent = f"""
        import asyncio, os, pathlib, signal
        from weakspot.experiments.side_by_side import run_side_by_side

        mine, start = pathlib.Path({str(tmp_path)!r}), asyncio.create_subprocess_exec

        async def starts_late(*command, **how):
            process = await start(*command, **how)
            if command[-1] == "late":
                while not (mine / "ready").exists():
                    await asyncio.sleep(0.05)
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(0.2)
                (mine / "late has started").touch()
            return process

        asyncio.create_subprocess_exec = starts_late
        late = [*{python("import time; time.sleep(60)")!r}, "late"]
        run_side_by_side({{"early": {python(child)!r}, "late": late}}, 2, lambda *_: None)
    """
    ended = subprocess.run(python(parent), capture_output=True, text=True, timeout=60)
    assert ended.returncode and "TrainingStopped" in ended.stderr
    assert (tmp_path / "asked").read_text() == "1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_was_to_be_ignored_stays_ignored(number: signal.Signals) -> None:
    """As under nohup, and for a command that a script puts in the background."""
    parent = f"""
        import signal
        from weakspot.experiments.side_by_side import run_side_by_side
        signal.signal({int(number)}, signal.SIG_IGN)
        child = f"import os, sys; os.kill({{__import__('os').getpid()}}, {int(number)}); print('sent', file=sys.stderr)"
        print(run_side_by_side({{"a": [{sys.executable!r}, "-c", child]}}, 1, lambda *line: print(*line)))
    """
    done = subprocess.run(python(parent), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "a sent\n{}\n"), done.stderr
