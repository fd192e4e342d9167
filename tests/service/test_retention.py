"""What retention removes and what it leaves, whatever else is going on."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.service.server import png
from tests.service.test_disk import inspect
from weakspot.errors import StoreFullError
from weakspot.service import backup, records, retention
from weakspot.service.backup import back_up
from weakspot.service.files import Files
from weakspot.service.limits import Limits
from weakspot.service.parts import Parts
from weakspot.service.records import Filters
from weakspot.service.retention import remove_old, start_retention

OLD = Limits(keep_days=100)


def kept(parts: Parts) -> int:
    """How many picture files there are."""
    return len([*parts.pictures.folder.glob("??/*")])


def make_old(parts: Parts, count: int) -> list[str]:
    """Some pictures of long ago → their inspections, the newest first."""
    for seed in range(count):
        inspect(parts, png("bad", seed))
    parts.store.write(lambda c: c.exec_driver_sql("UPDATE pictures SET time = '2020-01-01T00:00:00.000Z'").rowcount)
    return [row.id for row in parts.store.read(lambda c: records.newest(c, Filters(), None, 99))]


def judge(parts: Parts, inspection: str) -> None:
    """Somebody calls it bad."""
    parts.store.write(lambda c: records.add_verdict(c, inspection, "bad", "me", ""))


def test_a_backup_keeps_what_retention_would_remove_meanwhile(parts: Parts, tmp_path: Path, monkeypatch):
    make_old(parts, 2)
    removed: list[int] = []

    def interrupted(*given) -> int:
        removed.append(remove_old(parts.store, parts.pictures, OLD))
        return copy(*given)

    copy = backup._copy_files
    monkeypatch.setattr(backup, "_copy_files", interrupted)
    copied = back_up(tmp_path / "data", None, tmp_path / "copy")
    assert (copied.pictures, removed) == (2, [0, 0])
    assert remove_old(parts.store, parts.pictures, OLD) == 2 and kept(parts) == 0


def test_a_file_that_cannot_be_removed_is_told_and_goes_at_the_next_start(parts: Parts, monkeypatch, caplog):
    make_old(parts, 3)
    remove, stuck = Files.remove, next(parts.pictures.folder.glob("??/*")).name

    def fail(self: Files, digest: str) -> None:
        if digest == stuck:
            raise PermissionError(1, "Operation not permitted")
        remove(self, digest)

    with monkeypatch.context() as broken:
        broken.setattr(Files, "remove", fail)
        assert remove_old(parts.store, parts.pictures, OLD) == 2
    assert stuck in caplog.text and kept(parts) == 1
    assert remove_old(parts.store, parts.pictures, OLD) == 0
    assert retention.remove_marked(parts.store, parts.pictures) == 1 and kept(parts) == 0


def test_retention_goes_on_after_whatever_went_wrong(parts: Parts, monkeypatch, caplog):
    make_old(parts, 1)
    monkeypatch.setattr(retention, "EVERY", 0.01)
    stop, fail, done = threading.Event(), threading.Event(), threading.Event()
    remove = retention.remove_old

    def work(*given) -> int:
        if not fail.is_set():
            fail.set()
            raise OSError("once")
        done.set()
        return remove(*given)

    monkeypatch.setattr(retention, "remove_old", work)
    start_retention(replace(parts, limits=OLD), stop)
    went_on = done.wait(20)
    stop.set()
    assert went_on and "once" in caplog.text


def test_what_was_judged_while_it_was_about_to_go_stays(parts: Parts, monkeypatch):
    (inspection,) = make_old(parts, 1)
    mark = retention._mark

    def judged_then(*given, **named):
        made = mark(*given, **named)
        records.add_verdict(given[0], inspection, "bad", "me", "")
        return made

    monkeypatch.setattr(retention, "_mark", judged_then)
    assert remove_old(parts.store, parts.pictures, OLD) == 0 and kept(parts) == 1
    assert parts.store.read(lambda c: c.exec_driver_sql("SELECT removed FROM pictures").scalar()) is None


@pytest.mark.parametrize("judged", [0, 2])
def test_judged_pictures_do_not_count_where_the_size_is_limited(parts: Parts, judged: int):
    found = make_old(parts, 4)
    for inspection in found[:judged]:
        judge(parts, inspection)
    size = len(png("bad", 0))
    limits = Limits(keep_gigabytes=0.001)
    object.__setattr__(limits, "keep_gigabytes", 2.5 * size / 1e9)  # less than a service may be told
    assert remove_old(parts.store, parts.pictures, limits) == (2 if judged == 0 else 0)


def test_a_clock_that_jumps_costs_a_days_pictures_a_round_and_is_told(parts: Parts, caplog):
    make_old(parts, 4)
    for day in range(4):
        change = f"UPDATE pictures SET time = '2020-01-0{day + 1}T00:00:00.000Z' WHERE rowid = {day + 1}"
        parts.store.write(lambda c, change=change: c.exec_driver_sql(change).rowcount)
    assert remove_old(parts.store, parts.pictures, OLD) == 1 and kept(parts) == 3
    assert "2020-01-01" in caplog.text and "if the clock is wrong, set it" in caplog.text
    assert [remove_old(parts.store, parts.pictures, OLD) for _ in range(4)] == [1, 1, 1, 0]


def test_a_picture_that_was_refused_leaves_no_file(parts: Parts, monkeypatch):
    write, full = parts.store.write, [StoreFullError("full")]

    def is_full(change):
        if full:
            raise full.pop()
        return write(change)

    with monkeypatch.context() as broken:
        broken.setattr(parts.store, "write", is_full)
        with pytest.raises(StoreFullError):
            inspect(parts, png("bad", 1))
    assert kept(parts) == 0
    inspect(parts, png("bad", 1))
    with monkeypatch.context() as broken:
        full.append(StoreFullError("full"))
        broken.setattr(parts.store, "write", is_full)
        with pytest.raises(StoreFullError):
            inspect(parts, png("bad", 1))
    assert kept(parts) == 1, "an earlier answer names it"


def test_a_picture_that_is_refused_while_it_is_sent_again_is_there_for_that_one(parts: Parts, monkeypatch):
    """Its file goes between the moment at which the other one found it and that one's row."""
    judged = parts.inspector._judged

    def refused_meanwhile(*given):
        monkeypatch.undo()
        parts.inspector._forget(given[2])
        assert kept(parts) == 0
        return judged(*given)

    monkeypatch.setattr(parts.inspector, "_judged", refused_meanwhile)
    inspect(parts, png("bad", 1))
    assert kept(parts) == 1
