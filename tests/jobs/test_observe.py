"""What is kept of a training while it runs: a disk that refuses is told, and what it has torn does not spoil the
rest."""

import errno
import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from weakspot.errors import OutputError
from weakspot.jobs.observe import Observer, observing
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
        observer.step(None, STEP)


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
