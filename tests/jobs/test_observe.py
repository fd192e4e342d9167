"""What is kept of a training while it runs: a disk that refuses is told, and what it has torn does not spoil the
rest."""

import errno
import json
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from weakspot.errors import OutputError
from weakspot.jobs.observe import Observer, TrainingStopped, observing
from weakspot.runs import Run

STEP = SimpleNamespace(
    stage="search",
    step=10,
    of=20,
    plain=lambda: {"stage": "search", "step": 10},
    **dict.fromkeys(
        ("loss", "running_loss", "learning_rate", "gradient_norm", "bad_heat", "good_heat", "bad_score", "good_score"),
        0.5,
    ),
)


def test_a_full_disk_under_tensorboards_events_is_told_with_their_place(tmp_path: Path):
    def refuse(*what: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    observer = Observer(Run(tmp_path), None)
    observer.events = SimpleNamespace(add_scalar=refuse)
    with pytest.raises(OutputError, match="events: cannot be written: the disk is full"):
        observer.look_on([STEP])


def test_the_thread_that_writes_events_prints_no_traceback_of_a_full_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with observing(Run(tmp_path), None):
        writer = threading.Thread(target=fail)
        writer.start()
        writer.join()
    assert "Traceback" not in capsys.readouterr().err


def test_a_torn_last_line_of_the_history_is_cut_off_when_the_training_goes_on(tmp_path: Path):
    run = Run(tmp_path)
    run.history.write_text('{"step": 1}\n{"step": 2}\n{"st')
    with observing(run, None) as observer:
        observer.note("goes on")
    lines = [json.loads(line) for line in run.history.read_text().splitlines()]
    assert lines == [{"step": 1}, {"step": 2}, {"training": "", "note": "goes on"}]


def test_who_asked_for_no_progress_is_warned_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with observing(Run(tmp_path), None) as observer:
        observer.note("not this")
        observer.warn("takes no part: a.png")
    assert [record.getMessage() for record in caplog.records] == ["takes no part: a.png"]
    assert "takes no part" in Run(tmp_path).history.read_text()


def test_steps_that_a_killed_training_took_after_its_checkpoint_are_not_in_the_history_twice(tmp_path: Path):
    def row(training: str, stage: str, step: int) -> str:
        return json.dumps({"training": training, "stage": stage, "step": step}) + "\n"

    run = Run(tmp_path)
    before = [row("fold 0", "search", 1), json.dumps({"training": "final", "note": "begun"}) + "\n"]
    taken = [row("final", "search", step) for step in (1, 2, 3)] + [row("final", "decision", 1)]
    after = [row("fold 1", "search", 1), "what somebody else wrote\n"]
    run.history.write_text("".join(before + taken + after))
    stages = [SimpleNamespace(name="search"), SimpleNamespace(name="decision")]
    training = SimpleNamespace(recipe=SimpleNamespace(stages=stages), stage=0, state=SimpleNamespace(step=2))
    with observing(run, None) as observer:
        observer.name = "final"
        observer._forget_steps_after(training)
        observer.note("goes on")
    kept = run.history.read_text().splitlines(keepends=True)
    assert kept[:-1] == before + taken[:2] + after and "goes on" in kept[-1]


@pytest.mark.parametrize(
    ("lasting", "way_on"), [(True, "nothing is lost: go on with --resume"), (False, "nothing of it is kept")]
)
def test_a_stop_promises_no_more_than_will_be_there(tmp_path: Path, lasting: bool, way_on: str):
    with observing(Run(tmp_path), None, lasting) as observer:
        observer.stopping.set()
        with pytest.raises(TrainingStopped, match=way_on) as stopped:
            observer.look_on([STEP])
    assert stopped.value.exit_status == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_to_be_ignored_asks_no_training_to_stop(number: signal.Signals):
    """As for a command that a script puts in the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with observing(None, None) as observer:
            os.kill(os.getpid(), number)
            assert not observer.stopping.is_set()
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
