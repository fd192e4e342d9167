"""The output folder: what was there before is lost neither to a full disk nor to a kill nor to a mistake."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from weakspot.errors import OutputError
from weakspot.inspection import output as output_module
from weakspot.inspection.folder import inspect_folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_output_folder_that_holds_something_else_is_refused_and_left_alone(make_detector, parts, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"holds other files \(thesis.txt, …\)"):
            inspect_folder(make_detector(), [parts], tmp_path / "out", overwrite=overwrite)
    assert content(tmp_path / "out") == {"thesis.txt": b"years of work"}
    with pytest.raises(OutputError, match="is a file"):
        inspect_folder(make_detector(), [parts], tmp_path / "out" / "thesis.txt")


def test_an_earlier_inspection_is_replaced_only_when_told_and_then_whole(make_detector, parts, tmp_path):
    out = tmp_path / "out"
    inspect_folder(make_detector(), [parts], out, overlays=True, heat_maps=True)
    (out / "my notes.txt").write_text("keep me")
    before = content(out)
    with pytest.raises(OutputError, match="--overwrite"):
        inspect_folder(make_detector(), [parts], out)
    assert content(out) == before
    inspect_folder(make_detector(), [parts / "good.png"], out, overlays=True, overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == [
        "inspections.csv",
        "inspections.jsonl",
        "my notes.txt",
        "overlays",
    ]
    assert [path.name for path in (out / "overlays").iterdir()] == ["000001_good.png"]


def fill_after(monkeypatch, writes: int) -> None:
    """The disk is full after so many writes of results."""
    left = [writes]
    told = output_module.told

    def failing_told(path):
        left[0] -= 1
        if left[0] < 0:
            with told(path):
                raise OSError(errno.ENOSPC, "No space left on device")
        return told(path)

    monkeypatch.setattr(output_module, "told", failing_told)


def test_a_full_disk_at_any_write_is_told_and_the_earlier_inspection_stays(make_detector, parts, tmp_path, monkeypatch):
    out = tmp_path / "out"
    inspect_folder(make_detector(), [parts], out, overlays=True)
    before = content(out)
    detector = make_detector()
    for writes in range(
        13
    ):  # the first check, the two tables' opening and header, three maps, four lines, the sync, and the swap
        with monkeypatch.context() as patch:
            fill_after(patch, writes)
            with pytest.raises(OutputError, match="the disk is full"):
                inspect_folder(detector, [parts], out, overlays=True, overwrite=True)
        assert content(out) == before
    inspect_folder(detector, [parts], out, overlays=True, overwrite=True)


def test_a_disk_that_is_really_full(make_detector, model_path, parts, tmp_path):
    """A limit on file size stands in for it, in a process of its own."""
    out = tmp_path / "out"
    inspect_folder(make_detector(), [parts], out)
    before = content(out)
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from weakspot.errors import OutputError; from weakspot.inspection.folder import inspect_folder\n"
        "from weakspot.inspection.loaded import LoadedDetector\n"
        "detector = LoadedDetector.load(sys.argv[1], 'onnxruntime', threads=1)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
        "try: inspect_folder(detector, [sys.argv[2]], Path(sys.argv[3]), overwrite=True)\n"
        "except OutputError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, model_path, parts, out], capture_output=True, text=True)
    assert "cannot be written" in ran.stdout, ran.stderr
    assert content(out) == before


@pytest.mark.parametrize("call", [1, 2, 3, 4, 5, 6, 7])
def test_a_failing_move_at_the_end_puts_everything_back(make_detector, parts, tmp_path, monkeypatch, call):
    out = tmp_path / "out"
    inspect_folder(make_detector(), [parts], out, overlays=True)
    before = content(out)
    calls = []
    rename = os.rename

    def failing(source, target):
        calls.append(source)
        if len(calls) == call:
            raise OSError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(output_module.os, "rename", failing)
    with pytest.raises(OutputError, match="no right"):
        inspect_folder(make_detector(), [parts], out, overlays=True, overwrite=True)
    assert content(out) == before


def test_a_mistake_halfway_leaves_nothing_behind(make_detector, parts, tmp_path):
    def stop(done, total, entry):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect_folder(make_detector(), [parts], tmp_path / "out", on_image=stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_is_no_hindrance(make_detector, parts, tmp_path):
    leftover = tmp_path / "out" / ".weakspot-inspection-0123456789abcdef"
    leftover.mkdir(parents=True)
    (leftover / "inspections.jsonl").write_text("{}")
    inspect_folder(make_detector(), [parts], tmp_path / "out")
    assert not leftover.exists()


@pytest.mark.parametrize("step", range(1, 11))
def test_a_kill_at_any_step_of_the_swap_leaves_the_old_results_or_the_new(tmp_path, step):
    """The child ends at that rename without cleaning up; what the next run then finds is whole."""
    out = tmp_path / "out"
    for version in ("old", "new"):
        if version == "old" or not (child := os.fork()):
            rename, steps = os.rename, []

            def killing(source, target, version=version, rename=rename, steps=steps):
                steps.append(source)
                if version == "new" and len(steps) == step:
                    os._exit(0)
                rename(source, target)

            output_module.os.rename = killing
            with output_module.staged(out) as staging:
                (staging / "overlays").mkdir()
                (staging / "overlays" / "1.png").write_text(version)
                for name in ("inspections.jsonl", "inspections.csv"):
                    (staging / name).write_text(version)
            output_module.os.rename = rename
            if version == "new":
                os._exit(0)
    os.waitpid(child, 0)
    output_module.check_output(out, overwrite=True)
    found = content(out)
    assert sorted(found) == ["inspections.csv", "inspections.jsonl", "overlays/1.png"]
    assert set(found.values()) in ({b"old"}, {b"new"})


def test_results_are_not_inspected_when_they_lie_among_the_pictures(make_detector, parts):
    for _ in range(2):
        summary = inspect_folder(make_detector(), [parts], parts / "out", overlays=True, overwrite=True)
        assert summary.total == 4
