"""Pictures as they arrive: each whole one is reported once, whatever happens to the watcher, the folder or the disk."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from soaks.processes import sha256
from soaks.watch import check, went_well
from tests.inspection.conftest import made_model, made_pixels
from weakspot.errors import DataError, ImageError, OutputError, SettingsError
from weakspot.inspection.arrivals import Arrivals, Done, Version, version_of
from weakspot.inspection.drift import usual_of
from weakspot.inspection.ledger import Lines, Results
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import write_model_file
from weakspot.jobs.watch import watch
from weakspot.jobs.watching import How
from weakspot.runs import alone

ROOT = Path(__file__).parents[2]
LEVELS = {"good": 60, "review": 128, "bad": 200}


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> LoadedDetector:
    path = tmp_path_factory.mktemp("model") / "made.weakspot"
    write_model_file(path, made_model())
    return LoadedDetector.load_exact(path, threads=1)


class Line:
    """A camera's folder and the watch of it."""

    def __init__(self, place: Path, detector: LoadedDetector) -> None:
        self.folder, self.out, self.model, self.detector = place / "new", place / "out", place / "a.weakspot", detector
        self.folder.mkdir()
        self.model.write_bytes(b"what the detector was read from")
        self.notes: list[str] = []

    def put(self, name: str, decision: str = "good", seed: int = 0) -> Path:
        """A picture that appears whole."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{os.urandom(4).hex()}")
        Image.fromarray(made_pixels(LEVELS[decision], seed)).save(hidden, format="PNG")
        return hidden.rename(path)

    def watch(self, read: Version | None = None, **changes):
        how = How(**{"every": 0.01, "patience": 0.1, "once": True} | changes)
        model = (self.model, read or version_of(self.model))
        return watch(self.detector, model, self.folder, self.out, how, note=self.notes.append)

    def results(self) -> list[dict]:
        return [json.loads(line) for line in (self.out / "results.jsonl").read_text().splitlines()]

    def decisions(self) -> dict[str, str]:
        """By name; each picture once."""
        found = [(os.path.relpath(line["image"]["path"], self.folder), line["decision"]) for line in self.results()]
        assert len(found) == len(dict(found)), "reported twice"
        return dict(found)

    def rows(self) -> list[dict]:
        with open(self.out / "results.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def check_tables(self) -> None:
        """Whole lines, the same in both."""
        assert (self.out / "results.jsonl").read_bytes().endswith(b"\n")
        assert [row["id"] for row in self.rows()] == [line["id"] for line in self.results()]


@pytest.fixture
def line(tmp_path: Path, detector: LoadedDetector) -> Line:
    return Line(tmp_path, detector)


def meanwhile(*steps) -> threading.Thread:
    """Take steps in another thread, a little apart, then ask this process to end."""

    def work() -> None:
        try:
            for step in steps:
                time.sleep(0.1)
                step()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.01)


def test_what_lies_there_is_judged_and_both_tables_say_so_as_those_of_inspect_do(line: Line):
    for decision in LEVELS:
        line.put(f"{decision}.png", decision)
    (line.folder / "text.png").write_text("no picture")
    (line.folder / "notes.txt").write_text("passed over")
    watched = line.watch()
    assert line.decisions() == {f"{name}.png": name for name in LEVELS} | {"text.png": "not inspected"}
    assert (watched.decisions, watched.refused, watched.exit_status) == ({"good": 1, "review": 1, "bad": 1}, 1, 1)
    line.check_tables()
    schema = Draft202012Validator(json.loads((ROOT / "docs" / "inspection.schema.json").read_text()))
    for each in line.results():
        schema.validate(each)
    assert "made" in line.notes[0] and line.detector.info.sha256 in line.notes[0]


def test_only_what_is_new_is_judged_the_next_time(line: Line):
    line.put("a.png")
    line.watch()
    line.watch()
    assert line.decisions() == {"a.png": "good"}
    line.put("b.png", "bad")
    line.watch()
    assert line.decisions() == {"a.png": "good", "b.png": "bad"}


def test_a_new_picture_under_an_old_name_is_another_one(line: Line):
    line.put("a.png")
    line.watch()
    line.put("a.png", "bad", seed=1)
    line.watch()
    assert [each["decision"] for each in line.results()] == ["good", "bad"]


def test_pictures_that_arrive_while_it_runs_are_judged_and_sigterm_ends_it_well(line: Line):
    line.put("0.png")
    thread = meanwhile(
        lambda: line.put("1.png", "bad"),
        lambda: wait_for(lambda: len(line.results()) == 2),
        lambda: line.put("2.png", "review"),
        lambda: wait_for(lambda: len(line.results()) == 3),
    )
    watched = line.watch(once=False)
    thread.join()
    assert line.decisions() == {"0.png": "good", "1.png": "bad", "2.png": "review"}
    assert (watched.total, watched.exit_status) == (3, 0)


# When a picture is whole


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_says_once_that_pictures_have_become_unlike_the_trainings(
    line: Line, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    usual = usual_of([made_pixels(60 + seed % 5, seed)[None] for seed in range(20)])
    write_model_file(tmp_path / "b.weakspot", made_model(usual=usual))
    line.detector = LoadedDetector.load_exact(tmp_path / "b.weakspot", threads=1)
    for number in range(60):
        Image.fromarray(made_pixels(66, number + 100)).save(line.folder / f"{number:02}.png")
    line.watch()
    assert list(line.decisions().values()) == ["good"] * 60
    assert caplog.text.count("brightness of 30 images differs from the training's") == 1


@pytest.fixture
def looking(tmp_path: Path):
    """A look at a folder one second later, as names and whether each is the last try; arrivals by name."""
    clock, done, taken = Clock(), {}, {}
    arrivals = Arrivals(tmp_path, done, deep=True, patience=5.0, clock=clock)

    def look(seconds: float = 1.0) -> dict[str, bool]:
        clock.now += seconds
        arrived, _ = arrivals.look()
        taken.update({each.name: each for each in arrived})
        return {each.name: each.last for each in arrived}

    return look, arrivals, taken, done


def test_a_file_is_taken_once_two_looks_have_found_it_the_same(tmp_path: Path, looking):
    look, *_ = looking
    for size in (1, 2, 3):
        (tmp_path / "a.png").write_bytes(b"x" * size)
        assert look() == {}
    assert look() == {"a.png": False}
    assert look() == {}, "once"


def test_a_refused_file_is_taken_again_when_it_changes_and_at_last_when_it_does_not(tmp_path: Path, looking):
    look, arrivals, taken, _ = looking
    (tmp_path / "a.png").write_bytes(b"half")
    look()
    assert look() == {"a.png": False}
    arrivals.refuse(taken["a.png"])
    assert [look() for _ in range(3)] == [{}] * 3
    (tmp_path / "a.png").write_bytes(b"half and more")
    assert [look(), look()] == [{}, {"a.png": False}]
    arrivals.refuse(taken["a.png"])
    assert [look(2), look(2), look(2)] == [{}, {"a.png": True}, {}]


def test_what_is_done_is_not_taken_again_and_forgotten_when_it_is_gone(tmp_path: Path, looking):
    look, arrivals, taken, done = looking
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    look()
    look()
    for each in taken.values():
        done[each.name] = Done(each.version, True)
        arrivals.finish(each)
    assert not arrivals.are_pending
    (tmp_path / "a.png").unlink()
    assert look() == {} and set(done) == {"b.png"}


def test_an_empty_folder_may_be_a_share_that_is_not_mounted_and_makes_nothing_forgotten(tmp_path: Path, looking):
    look, _, _, done = looking
    (tmp_path / "a.png").write_bytes(b"x")
    done["a.png"] = Done(version_of(tmp_path / "a.png"), True)
    os.rename(tmp_path / "a.png", tmp_path.parent / "elsewhere.png")
    look()
    os.rename(tmp_path.parent / "elsewhere.png", tmp_path / "a.png")
    assert [look(), look()] == [{}, {}] and set(done) == {"a.png"}


def test_a_folder_inside_that_cannot_be_listed_is_told_once_and_makes_nothing_forgotten(
    tmp_path: Path, looking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    look, _, _, done = looking
    (tmp_path / "sub").mkdir()
    for name in ("sub/a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
        done[name] = Done(version_of(tmp_path / name), True)
    scandir = os.scandir
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: scandir(path) if path == tmp_path else refuse(errno.EACCES))
        assert [look(), look()] == [{}, {}]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'sub'}: cannot be listed (permission denied); waiting for it"
    ]
    assert set(done) == {"sub/a.png", "b.png"}


def refuse(number: int):
    raise OSError(number, os.strerror(number))


def test_an_unreadable_folder_inside_hides_only_what_lies_in_it(
    tmp_path: Path, looking, monkeypatch: pytest.MonkeyPatch
):
    look, _, _, done = looking
    for name in ("shut/a.png", "b.png", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
        done[name] = Done(version_of(tmp_path / name), True)
    (tmp_path / "c.png").unlink()
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: refuse(errno.EACCES) if "shut" in path.parts else is_file(path))
    assert [look(), look()] == [{}, {}]
    assert set(done) == {"shut/a.png", "b.png"}


def test_a_file_that_cannot_be_asked_is_told_and_hides_no_other(
    tmp_path: Path, looking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    look, arrivals, _, done = looking
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"x")
    done["a.png"] = Done(version_of(tmp_path / "a.png"), True)
    look()
    asked = version_of
    with monkeypatch.context() as patch:
        patch.setattr(
            "weakspot.inspection.arrivals.version_of",
            lambda entry: asked(entry) if entry.name == "c.png" else refuse(errno.EIO),
        )
        assert [look(), look()] == [{"c.png": False}, {}] and arrivals.unseen == 2
    told = {f"{tmp_path / name}: cannot be listed (input/output error); waiting for it" for name in ("a.png", "b.png")}
    assert {record.getMessage() for record in caplog.records} == told and len(caplog.records) == 2
    assert [look(), look()] == [{}, {"b.png": False}] and set(done) == {"a.png"} and arrivals.unseen == 0


def test_an_empty_folder_inside_may_be_a_share_that_is_not_mounted(tmp_path: Path, looking):
    look, _, _, done = looking
    for name in ("cam1/a.png", "cam2/line/a.png", "day/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
        done[name] = Done(version_of(tmp_path / name), True)
    os.rename(tmp_path / "cam2", tmp_path.parent / "cam2")
    (tmp_path / "cam2").mkdir()
    shutil.rmtree(tmp_path / "day")
    assert look() == {} and set(done) == {"cam1/a.png", "cam2/line/a.png"}
    (tmp_path / "cam2").rmdir()
    os.rename(tmp_path.parent / "cam2", tmp_path / "cam2")
    assert [look(), look()] == [{}, {}]


def test_a_file_that_one_look_misses_is_not_taken_twice(tmp_path: Path, looking):
    look, arrivals, taken, _ = looking
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [look(), look()] == [{}, {"a.png": False, "b.png": False}]
    (tmp_path / "a.png").rename(tmp_path.parent / "a.png")
    look()
    (tmp_path.parent / "a.png").rename(tmp_path / "a.png")
    assert [look(), look()] == [{}, {}]
    arrivals.put_back(taken["a.png"])
    assert [look(), look()] == [{}, {"a.png": False}]


def test_the_only_file_that_is_gone_before_it_was_judged_is_told(
    tmp_path: Path, looking, caplog: pytest.LogCaptureFixture
):
    look, *_ = looking
    (tmp_path / "a.png").write_bytes(b"x")
    look()
    (tmp_path / "a.png").unlink()
    look()
    look()
    assert caplog.text.count("a.png: gone before it was judged") == 1


def test_a_file_that_is_gone_before_it_was_judged_is_told(tmp_path: Path, looking, caplog: pytest.LogCaptureFixture):
    look, *_ = looking
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    look()
    (tmp_path / "a.png").unlink()
    look()
    assert "a.png: gone before it was judged" in caplog.text


def test_a_picture_written_slowly_is_never_judged_half(line: Line):
    content = line.put("whole.png", "bad").read_bytes()
    (line.folder / "whole.png").unlink()
    path, chunk = line.folder / "slow.png", -(-len(content) // 8)

    def add(part: int) -> None:
        with path.open("ab") as file:
            file.write(content[part * chunk : (part + 1) * chunk])

    thread = meanwhile(*(lambda part=part: add(part) for part in range(8)), lambda: wait_for(line.decisions))
    line.watch(once=False, patience=30)
    thread.join()
    assert line.decisions() == {"slow.png": "bad"}


def test_a_picture_that_stays_half_is_reported_once_and_taken_up_when_it_is_completed(line: Line):
    path = line.put("a.png")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    line.watch()
    line.watch()
    assert line.decisions() == {"a.png": "not inspected"}
    assert "cut short" in line.results()[0]["reason"]
    path.write_bytes(content)
    line.watch()
    assert [each["decision"] for each in line.results()] == ["not inspected", "good"]


def test_a_picture_that_changes_while_it_is_read_is_read_anew(line: Line, monkeypatch: pytest.MonkeyPatch):
    line.put("a.png", "good")
    prepare, calls = LoadedDetector.prepare, []

    def disturbed(self, path):
        prepared = prepare(self, path)
        if not calls:
            line.put("a.png", "bad", seed=3)
        calls.append(path)
        return prepared

    monkeypatch.setattr(LoadedDetector, "prepare", disturbed)
    line.watch()
    assert line.decisions() == {"a.png": "bad"}


def test_a_picture_that_vanishes_before_it_is_read_stops_nothing(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    line.put("a.png"), line.put("b.png")
    prepare = LoadedDetector.prepare

    def late(self, path):
        if path.name == "a.png":
            path.unlink()
        return prepare(self, path)

    monkeypatch.setattr(LoadedDetector, "prepare", late)
    line.watch()
    assert line.decisions() == {"b.png": "good"}
    assert "a.png: gone before it was judged" in caplog.text


def test_the_next_picture_is_read_while_one_is_judged_and_no_more_than_that(
    line: Line, monkeypatch: pytest.MonkeyPatch
):
    for number in range(6):
        line.put(f"{number}.png", seed=number)
    prepare, judge, read, judged, ahead = LoadedDetector.prepare, LoadedDetector.judge, [], [], []

    def reading(self, path):
        read.append(path)
        return prepare(self, path)

    def judging(self, prepared):
        wait_for(lambda: len(read) >= min(len(judged) + 2, 6))
        judged.append(prepared)
        time.sleep(0.02)
        ahead.append(len(read) - len(judged))
        return judge(self, prepared)

    monkeypatch.setattr(LoadedDetector, "prepare", reading)
    monkeypatch.setattr(LoadedDetector, "judge", judging)
    line.watch()
    assert max(ahead) == 1 and len(line.decisions()) == 6


# What is no picture


def test_links_pipes_and_broken_pictures_are_told_and_folders_named_like_pictures_are_none(line: Line):
    line.put("a.png")
    os.mkfifo(line.folder / "pipe.png")
    (line.folder / "link.png").symlink_to("a.png")
    (line.folder / "loop.png").symlink_to("loop.png")
    (line.folder / "folder.png").mkdir()
    (line.folder / "moving.gif").write_bytes(b"GIF89a")
    line.watch()
    refused = dict.fromkeys(("pipe.png", "link.png", "loop.png", "moving.gif"), "not inspected")
    assert line.decisions() == {"a.png": "good"} | refused


def test_names_of_any_bytes_are_judged_once(line: Line, tmp_path: Path):
    names = [
        b"caf\xe9.png",
        b"line\nbreak.png",
        b"=cmd.png",
        "部品 🔩.png".encode(),
        b"-dash.png",
        b"x" * 251 + b".png",
    ]
    for name in names:
        line.put("a.png").rename(line.folder / os.fsdecode(name))
    line.watch()
    line.watch(move_to=tmp_path / "done")
    assert len(line.results()) == len(names)
    assert sorted(os.listdir(os.fsencode(tmp_path / "done"))) == sorted([b".lock", *names])
    line.check_tables()


def test_folders_inside_are_watched_when_asked_for(line: Line):
    line.put("a.png"), line.put("shift/b.png")
    line.watch()
    assert line.decisions() == {"a.png": "good"}
    line.watch(deep=True)
    assert line.decisions() == {"a.png": "good", "shift/b.png": "good"}


def test_once_ends_with_1_where_a_folder_inside_could_not_be_listed(line: Line, monkeypatch: pytest.MonkeyPatch):
    line.put("a.png"), line.put("shift/b.png")
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scandir(path) if path == line.folder else refuse(errno.EACCES))
    assert line.watch(deep=True).exit_status == 1
    assert line.decisions() == {"a.png": "good"}


def test_a_picture_the_runtime_fails_on_is_not_inspected_and_the_others_go_on(
    line: Line, monkeypatch: pytest.MonkeyPatch
):
    line.put("a.png"), line.put("b.png")
    judge = LoadedDetector.judge

    def failing(self, prepared):
        if "a.png" in prepared.name:
            raise ImageError(f"{prepared.name}: the runtime failed")
        return judge(self, prepared)

    monkeypatch.setattr(LoadedDetector, "judge", failing)
    line.watch()
    assert line.decisions() == {"a.png": "not inspected", "b.png": "good"}


def test_a_picture_for_which_memory_does_not_suffice_is_not_inspected(line: Line, monkeypatch: pytest.MonkeyPatch):
    line.put("a.png")
    monkeypatch.setattr(LoadedDetector, "prepare", lambda *_: (_ for _ in ()).throw(MemoryError()))
    line.watch()
    assert line.decisions() == {"a.png": "not inspected"}


@pytest.mark.parametrize("call", ["is_symlink", "stat"])
def test_a_share_that_fails_for_a_moment_ends_nothing(line: Line, monkeypatch: pytest.MonkeyPatch, call: str):
    line.put("a.png"), line.put("b.png")
    asked, failures = getattr(Path, call), [errno.ESTALE]

    def failing(self, **how):
        if self.name == "a.png" and failures:
            refuse(failures.pop())
        return asked(self, **how)

    monkeypatch.setattr(Path, call, failing)
    line.watch()
    assert line.decisions() == {"a.png": "good", "b.png": "good"} and not failures


def test_a_picture_that_never_can_be_read_is_told_in_the_end(line: Line, monkeypatch: pytest.MonkeyPatch):
    line.put("a.png")
    monkeypatch.setattr(Path, "is_symlink", lambda path: path.name == "a.png" and refuse(errno.EIO))
    line.watch()
    assert line.decisions() == {"a.png": "not inspected"}
    assert "cannot be read (input/output error)" in line.results()[0]["reason"]


def test_a_result_that_comes_after_its_cycle_says_so_and_is_never_good(line: Line):
    for decision in LEVELS:
        line.put(f"{decision}.png", decision)
    assert line.watch(cycle=1e-6).late == 3
    assert line.decisions() == {"good.png": "review", "review.png": "review", "bad.png": "bad"}
    assert all(each["warnings"][0].startswith("late: ") for each in line.results())
    line.put("b.png")
    assert line.watch(cycle=600.0).late == 0
    assert (line.results()[-1]["decision"], line.results()[-1]["warnings"]) == ("good", [])


# Moving and marking


def test_inspected_pictures_are_moved_over_nothing_and_others_stay(line: Line, tmp_path: Path):
    done = tmp_path / "done"
    for number, decision in enumerate(LEVELS):
        line.put("a.png", decision, seed=number)
        line.put("text.png").write_text("no picture")
        line.watch(move_to=done)
    assert [path.name for path in line.folder.iterdir()] == ["text.png"]
    moved = [path for path in done.iterdir() if path.name != ".lock"]
    assert len({path.read_bytes() for path in moved}) == 3
    assert all(path.name == "a.png" or path.name.startswith("a-") for path in moved)


@pytest.mark.parametrize("how", [{"mark": True}, {"move_to": "done"}])
def test_a_picture_of_the_name_size_and_time_of_one_that_went_is_judged(line: Line, tmp_path: Path, how: dict):
    how = {key: tmp_path / value if key == "move_to" else value for key, value in how.items()}
    for decision in ("good", "bad"):
        Image.fromarray(made_pixels(LEVELS[decision])).save(tmp_path / "a.bmp")
        os.utime(tmp_path / "a.bmp", (10**9, 10**9))
        (tmp_path / "a.bmp").rename(line.folder / "a.bmp")
        line.watch(**how)
        if "mark" in how:
            (line.folder / "a.bmp.inspected").unlink()
    assert [each["decision"] for each in line.results()] == ["good", "bad"]


def test_marked_pictures_are_not_judged_again(line: Line, tmp_path: Path):
    line.put("a.png"), line.put("shift/b.png")
    line.watch(mark=True, deep=True)
    assert {path.name for path in line.folder.rglob("*.*")} == {"a.png.inspected", "b.png.inspected"}
    line.out = tmp_path / "elsewhere"
    assert line.watch(deep=True).total == 0


def test_what_was_judged_before_moving_was_asked_for_is_moved_then(line: Line, tmp_path: Path):
    line.put("a.png")
    line.watch()
    line.watch(move_to=tmp_path / "done")
    assert (tmp_path / "done" / "a.png").exists() and line.decisions() == {"a.png": "good"}


@pytest.mark.parametrize("links", [True, False])  # SMB and exFAT have none
def test_a_picture_that_takes_the_name_while_the_one_before_is_moved_is_judged_too(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: refuse(errno.EPERM))
    line.put("a.png", "good")
    newer = [line.put("newer", "bad", seed=3)]
    rename = os.rename

    def late(source, target):
        if newer:
            rename(newer.pop(), source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    line.watch(move_to=tmp_path / "done")
    assert [each["decision"] for each in line.results()] == ["good", "bad"]


def test_a_picture_that_cannot_be_moved_is_told_once_and_judged_once(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    line.put("a.png"), line.put("b.png")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda *_: refuse(errno.EACCES))
        line.watch(move_to=tmp_path / "done")
    assert caplog.text.count("cannot be moved (permission denied)") == 1
    line.watch(move_to=tmp_path / "done")
    assert (tmp_path / "done" / "a.png").exists() and len(line.decisions()) == 2


def test_a_picture_that_cannot_be_moved_is_not_told_again_for_others_that_can(
    line: Line, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    done, stuck = tmp_path / "Done", line.put("A.png")
    taken = done / f"A-{stuck.stat().st_mtime_ns}.png"
    done.mkdir(), (done / "A.png").touch(), taken.touch()

    def put(name: str) -> None:
        line.put(name)
        wait_for((done / name).exists)
        time.sleep(0.05)

    thread = meanwhile(*(lambda name=name: put(name) for name in ("b.png", "c.png", "d.png")))
    line.watch(once=False, move_to=done)
    thread.join()
    assert caplog.text.count("cannot be moved") == 1 and str(taken) in caplog.text


# Kills and full disks


@pytest.mark.parametrize("moving", [False, True])
def test_killed_before_every_single_step_it_loses_none_and_doubles_none(
    tmp_path: Path, detector: LoadedDetector, moving: bool
):
    """A child that kills itself before its Nth call of what changes a disk, for each N until it comes to its end."""
    steps, ended = 0, False
    while not ended:
        steps += 1
        place = tmp_path / str(steps)
        place.mkdir()
        line = Line(place, detector)
        for decision in LEVELS:
            line.put(f"{decision}.png", decision)
        how = {"move_to": place / "done"} if moving else {}
        ended = killed_at(steps, lambda line=line, how=how: line.watch(**how))
        line.watch(**how)
        assert line.decisions() == {f"{name}.png": name for name in LEVELS}, f"killed before step {steps}"
        line.check_tables()
        if moving:
            assert sorted(os.listdir(place / "done")) == [".lock", "bad.png", "good.png", "review.png"]
            assert os.listdir(line.folder) == []
    assert steps > 20


def killed_at(step: int, work) -> bool:
    """Do the work in a child that dies before its `step`-th call; half of a write is then done. True if it ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:
        left = [step]

        def counted(name: str):
            real = getattr(os, name)

            def call(*given, **named):
                left[0] -= 1
                if not left[0]:
                    if name == "write":
                        real(given[0], bytes(given[1])[: len(given[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*given, **named)

            return call

        for name in ("write", "fsync", "rename", "replace", "unlink", "link", "truncate", "ftruncate", "mkdir"):
            setattr(os, name, counted(name))
        work()
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EFBIG])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_or_failing_disk_ends_it_with_a_line_and_nothing_is_lost(
    line: Line, monkeypatch: pytest.MonkeyPatch, call: str, number: int
):
    real, step = getattr(os, call), 0
    for name in ("a", "b", "c"):
        line.put(f"{name}.png")
    while True:
        step, left = step + 1, [step]

        def failing(*given, left=left):
            left[0] -= 1
            if left[0] > 0:
                return real(*given)
            if left[0] == 0 and call == "write":
                return real(given[0], bytes(given[1])[:5])
            return refuse(number)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                line.watch()
                break
            except OutputError as error:
                told = str(error)
        assert "cannot be written: " in told and str(line.out) in told
        if (line.out / "results.csv").exists():
            assert not (line.out / "results.jsonl").read_bytes() or line.results()
    assert set(line.decisions()) == {"a.png", "b.png", "c.png"}
    line.check_tables()


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_line_that_is_not_surely_on_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    lines, real = Lines(tmp_path / "a"), getattr(os, call)
    lines.add(b"first\n")

    def failing(*given):
        real(*given)
        refuse(errno.EIO)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(OutputError, match="the disk failed while writing"):
            lines.add(b"second\n")
    lines.add(b"third\n")
    assert (tmp_path / "a").read_bytes() == b"first\nthird\n"


def test_each_file_is_synced_before_the_next_is_written_and_before_the_picture_is_moved(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    line.put("a.png")
    line.watch()
    line.put("b.png"), (line.folder / "a.png").unlink()
    calls = []
    for name in ("write", "fsync"):
        real = getattr(os, name)

        def noted(descriptor, *given, name=name, real=real):
            calls.append((name, Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
            return real(descriptor, *given)

        monkeypatch.setattr(os, name, noted)
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *paths: (calls.append(("rename", paths[0].name)), rename(*paths)))
    line.watch(move_to=tmp_path / "done")
    written = [(call, name) for name in ("done.jsonl", "results.jsonl", "results.csv") for call in ("write", "fsync")]
    start = calls.index(written[0])
    assert calls[start : start + 7] == [*written, ("rename", "b.png")]


def test_torn_last_lines_are_cut_off_or_completed(line: Line):
    line.put("a.png"), line.put("line\nbreak.png")
    line.watch()
    table = (line.out / "results.csv").read_bytes()
    for length in range(len(table) - len(line.rows()[-1]["id"]) - 100, len(table)):
        (line.out / "results.csv").write_bytes(table[:length])
        Results(line.out, line.folder)
        assert (line.out / "results.csv").read_bytes() == table
    for name in ("results.jsonl", "done.jsonl"):
        with (line.out / name).open("ab") as file:
            file.write(b'{"torn": ')
    line.watch()
    assert len(line.results()) == 2
    line.check_tables()


def test_tables_may_be_moved_away_between_two_watches(line: Line):
    line.put("a.png")
    line.watch()
    for name in ("results.jsonl", "results.csv"):
        (line.out / name).rename(line.out / f"yesterday.{name}")
    line.put("b.png")
    line.watch()
    assert line.decisions() == {"b.png": "good"}
    line.check_tables()


@pytest.mark.parametrize("what", ["no lines", "no rows", "other line ends", "another heading"])
def test_tables_that_do_not_hold_the_same_pictures_are_refused_and_left_alone(line: Line, what: str):
    for name in ("a.png", "b.png"):
        line.put(name)
    line.watch()
    jsonl, csv = line.out / "results.jsonl", line.out / "results.csv"
    changed = {
        "no lines": lambda: jsonl.unlink(),
        "no rows": lambda: csv.unlink(),
        "other line ends": lambda: csv.write_bytes(csv.read_bytes().replace(b"\r\n", b"\n")),
        "another heading": lambda: csv.write_bytes(csv.read_bytes().replace(b"decision", b"verdict", 1)),
    }
    changed[what]()
    before = csv.read_bytes() if csv.exists() else b""
    with pytest.raises(OutputError, match="results.csv hold other pictures: .* move both away"):
        line.watch()
    assert csv.read_bytes() == before


@pytest.mark.parametrize("table", ["done.jsonl", "results.jsonl", "results.csv"])
def test_tables_may_be_moved_away_after_a_full_disk(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
):
    line.put("a.png"), line.put("b.png")
    add, written = Lines.add, []

    def full(self, content: bytes) -> None:
        if self._path.name == table and b"b.png" in content:
            written.append(table)
        if written:
            raise OutputError("the disk is full")
        add(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Lines, "add", full)
        patch.setattr("weakspot.inspection.ledger.Results._write_ledger", once_then_full(Results._write_ledger))
        with pytest.raises(OutputError, match="full"):
            line.watch()
    before = line.decisions()
    for name in ("results.jsonl", "results.csv"):
        (line.out / name).rename(tmp_path / name)
    line.watch()
    assert before.keys().isdisjoint(line.decisions() if line.results() else ())
    assert before.keys() | (line.decisions() if line.results() else {}).keys() == {"a.png", "b.png"}


def test_a_full_disk_after_the_ledger_was_written_anew_ends_it_with_a_line(line: Line, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("weakspot.inspection.ledger.SPARE", -1)
    line.put("a.png"), line.put("b.png")
    add = Lines.add
    full = "the disk is full"

    def failing(self, content: bytes) -> None:
        if b"b.png" in content:
            raise OutputError(full)
        add(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Lines, "add", failing)
        with pytest.raises(OutputError, match=full):
            line.watch()
    line.watch()
    assert line.decisions() == {"a.png": "good", "b.png": "good"}


def once_then_full(write_ledger):
    """The ledger is written at the start, twice, and then no file can be made."""
    calls = []

    def write(self) -> None:
        calls.append(self)
        write_ledger(self) if len(calls) <= 2 else refuse(errno.ENOSPC)

    return write


def test_tables_that_are_removed_while_it_runs_end_it(line: Line):
    line.put("a.png")
    lines = Lines(line.folder / "results.jsonl")
    (line.folder / "results.jsonl").unlink()
    with pytest.raises(OutputError, match="removed while"):
        lines.add(b"lost\n")


def test_the_ledger_holds_what_lies_there_and_not_what_passed_through(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("weakspot.inspection.ledger.SPARE", 3)
    longest = []
    for number in range(12):
        line.put(f"{number}.png", seed=number)
        line.watch(move_to=tmp_path / "done")
        longest.append(len((line.out / "done.jsonl").read_text().splitlines()))
    assert max(longest) <= 5 and len(line.decisions()) == 12


# Places


def test_a_second_watch_into_one_folder_is_refused_and_told_who_is_there(line: Line):
    line.out.mkdir()
    with alone(line.out, "watches into it"), pytest.raises(OutputError, match=r"process \d+ .*watches into it"):
        line.watch()


def test_a_second_watch_that_moves_into_one_folder_is_refused(line: Line, tmp_path: Path):
    (tmp_path / "done").mkdir()
    with alone(tmp_path / "done", "moves pictures into it"), pytest.raises(OutputError, match="moves pictures into"):
        line.watch(move_to=tmp_path / "done")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"move_to": "done", "mark": True}, SettingsError, "give one of them"),
        ({"move_to": "new"}, OutputError, "outside of it"),
        ({"move_to": "out"}, OutputError, "results and inspected pictures go into two folders"),
        ({"move_to": "new/done", "deep": True}, OutputError, "outside of it"),
        ({"move_to": "/dev/shm"}, OutputError, "another disk"),
    ],
)
def test_places_that_cannot_be_are_refused_before_anything_is_judged(line: Line, tmp_path: Path, changes, error, said):
    if changes["move_to"].startswith("/") and os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("one disk here")
    line.put("a.png")
    with pytest.raises(error, match=said):
        line.watch(**changes | {"move_to": tmp_path / changes["move_to"]})
    assert not line.out.exists()


@pytest.mark.parametrize("name", ["every", "patience", "cycle"])
@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "-1"])
def test_a_time_that_is_none_is_refused(name: str, seconds: str):
    with pytest.raises(SettingsError, match=rf"--{name} .*seconds from 0 to"):
        How(**{"every": 0.2, "patience": 1.0, name: float(seconds)})


def test_a_folder_out_of_which_nothing_can_be_moved_is_told_before_anything_is_judged(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    line.put("a.png")
    monkeypatch.setattr(os, "access", lambda *_: False)
    for changes in ({"mark": True}, {"move_to": tmp_path / "done"}):
        with pytest.raises(OutputError, match="no right to rename"):
            line.watch(**changes)
    assert line.watch().total == 1


def test_results_among_the_pictures_or_in_a_foreign_folder_or_of_another_one_are_refused(line: Line, tmp_path: Path):
    line.put("a.png")
    line.watch()
    other = Line(tmp_path / "other", line.detector) if (tmp_path / "other").mkdir() is None else line
    other.out = line.out
    with pytest.raises(OutputError, match=r"holds the results of .*new, not of"):
        other.watch()
    other.out = other.folder / "out"
    with pytest.raises(OutputError, match="outside of it"):
        other.watch()
    other.out = tmp_path
    with pytest.raises(OutputError, match="holds other files"):
        other.watch()


def test_a_missing_folder_is_told_before_anything_is_written(line: Line):
    line.folder.rmdir()
    with pytest.raises(DataError, match="no such folder"):
        line.watch()
    assert not line.out.exists()


def test_a_folder_that_vanishes_is_told_once_waited_for_and_gone_on_with(
    line: Line, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    line.put("a.png")
    thread = meanwhile(
        lambda: wait_for(line.decisions),
        lambda: line.folder.rename(tmp_path / "away"),
        lambda: wait_for(lambda: "waiting for it" in caplog.text),
        lambda: (tmp_path / "away").rename(line.folder),
        lambda: line.put("b.png", "bad"),
        lambda: wait_for(lambda: len(line.decisions()) == 2),
    )
    line.watch(once=False)
    thread.join()
    assert line.decisions() == {"a.png": "good", "b.png": "bad"}
    told = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert told == ["cannot be listed (no such file or directory); waiting for it", "can be listed again"]


def test_a_folder_of_so_many_files_that_a_look_takes_long_is_told_once(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("weakspot.jobs.watch.SLOW", 0.0)
    line.put("a.png")
    line.watch()
    assert caplog.text.count("holds so many files that a look takes") == 1


def test_a_model_that_changes_on_disk_is_told_and_the_one_read_goes_on(line: Line, caplog: pytest.LogCaptureFixture):
    line.put("a.png")
    thread = meanwhile(
        lambda: line.model.write_bytes(b"another"),
        lambda: wait_for(lambda: "changed on disk" in caplog.text),
        lambda: line.put("b.png"),
        lambda: wait_for(lambda: len(line.decisions()) == 2),
    )
    line.watch(once=False)
    thread.join()
    assert caplog.text.count("changed on disk") == 1
    assert {each["model"]["sha256"] for each in line.results()} == {line.detector.info.sha256}


def test_a_model_that_changed_since_it_was_read_is_told(line: Line, caplog: pytest.LogCaptureFixture):
    read = version_of(line.model)
    line.model.write_bytes(b"another, longer than the one that was read")
    line.watch(read=read)
    assert caplog.text.count("changed on disk") == 1


# The command


def test_a_line_computer_needs_no_torch_for_it():
    code = "import sys, weakspot.jobs.watch\nassert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_command_runs_as_a_service_without_a_home_and_ends_well_when_asked_to(
    line: Line, number: signal.Signals, status: int
):
    write_model_file(line.model, made_model())
    line.put("a.png")
    words = ["watch", str(line.model), str(line.folder), "-o", str(line.out), "--json", "--threads", "1"]
    bare = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": "/proc/nowhere"}
    hears = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); "  # which tests in a background do not
    command = [sys.executable, "-c", hears + "from weakspot.cli import main; main()", *words]
    process = subprocess.Popen(command, env=bare, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")
    first = process.stdout.readline()
    line.put("b.png", "bad")
    second = process.stdout.readline()
    process.send_signal(number)
    rest, said = process.communicate(timeout=60)
    assert (process.returncode, rest) == (status, ""), said
    assert [json.loads(each)["decision"] for each in (first, second)] == ["good", "bad"]
    assert line.decisions() == {"a.png": "good", "b.png": "bad"}
    assert said.count("\n") == 1 and "SHA-256" in said


@pytest.mark.parametrize("begun", [False, True])
def test_sigterm_while_it_begins_says_nothing_and_loses_nothing(line: Line, begun: bool):
    write_model_file(line.model, made_model())
    line.put("a.png")
    words = ["watch", str(line.model), str(line.folder), "-o", str(line.out), "--quiet", "--threads", "1"]
    process = subprocess.Popen([sys.executable, "-m", "weakspot", *words], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: line.out.exists() or not begun)
    process.terminate()
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode in (-signal.SIGTERM, 0)
    line.watch()
    assert line.decisions() == {"a.png": "good"}
    line.check_tables()


def test_a_real_limit_of_the_disk_ends_the_command_with_one_line_and_the_next_start_goes_on(line: Line):
    write_model_file(line.model, made_model())
    for number in range(6):
        line.put(f"{number}.png", seed=number)
    words = ["watch", str(line.model), str(line.folder), "-o", str(line.out), "--quiet", "--once", "--threads", "1"]
    full = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (2500, r.RLIM_INFINITY)); "
    command = [sys.executable, "-c", full + "from weakspot.cli import main; main()", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the file would be larger than this system allows" in done.stderr
    assert 0 < len(line.results()) < 6
    line.check_tables()
    line.watch()
    assert line.decisions() == {f"{number}.png": "good" for number in range(6)}
    line.check_tables()


def test_what_ignores_ctrl_c_goes_on_ignoring_it(line: Line):
    line.put("a.png")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        thread = meanwhile(
            lambda: os.kill(os.getpid(), signal.SIGINT),
            lambda: line.put("b.png"),
            lambda: wait_for(lambda: len(line.decisions()) == 2),
        )
        assert line.watch(once=False).total == 2
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)


# The long test


@pytest.fixture
def reported(line: Line) -> tuple[list, list, list, list]:
    """What was written, and both tables and the moved pictures after it was watched."""
    written = []
    for number, decision in enumerate(LEVELS):
        path = line.put(f"{decision}.png", decision, seed=number)
        written.append({"name": path.name, "sha256": sha256(path), "decision": decision})
    line.watch()
    return written, line.results(), line.rows(), [each["sha256"] for each in written]


def test_the_long_test_finds_nothing_where_all_is_well_and_lets_a_picture_be_written_over(reported):
    written, *rest = reported
    assert not any(check(written, *rest).values())
    assert not any(check([{"name": "good.png", "sha256": "0", "decision": "bad"}, *written], *rest).values())


def test_the_long_test_says_which_picture_is_lost_doubled_altered_or_torn(reported):
    written, results, rows, moved = reported

    def found(results=results, rows=rows, moved=moved) -> dict:
        return {kind: names for kind, names in check(written, results, rows, moved).items() if names}

    assert found(results[1:], rows[1:]) == {"lost": ["good.png", written[0]["sha256"]]}
    assert found(moved=[*moved, "f00d"]) == {"lost": ["f00d"]}
    again = {**results[1], "id": "another"}, {**rows[1], "id": "another"}
    assert found([*results, again[0]], [*rows, again[1]]) == {"doubled": ["review.png"]}
    assert found([*results[:2], {**results[2], "decision": "good"}]) == {"altered": ["bad.png"]}
    half = {**results[2], "image": {**results[2]["image"], "sha256": "half"}}
    assert found([*results[:2], half], moved=[]) == {"lost": ["bad.png"], "altered": ["bad.png"]}
    assert found(rows=rows[:2]) == {"torn": [results[2]["id"]]}
    assert found(rows=rows[::-1]) == {"torn": ["order"]}
    well = {kind: [] for kind in ("lost", "doubled", "altered", "torn")}
    assert went_well(well)
    assert not any(went_well(well | {kind: ["a"]}) for kind in well)


@pytest.mark.slow
def test_killed_at_random_moments_while_pictures_arrive_it_loses_none_and_doubles_none(tmp_path: Path):
    command = [sys.executable, str(ROOT / "scripts" / "soak"), "watch", "20", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "watch.json").read_text()
    record = json.loads((tmp_path / "watch.json").read_text())
    assert record["kills"] == 20 and min(record["ways"].values()) > 0 and record["reported"] >= 20
