"""The output folder: what was there before is lost neither to a full disk nor to a kill nor to a mistake."""

import errno
import os
import subprocess
import sys
from contextlib import ExitStack
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
    output_errors = output_module.output_errors

    def failing(path):
        left[0] -= 1
        if left[0] < 0:
            with output_errors(path):
                raise OSError(errno.ENOSPC, "No space left on device")
        return output_errors(path)

    monkeypatch.setattr(output_module, "output_errors", failing)


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
            raise RuntimeError("a mistake of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        inspect_folder(make_detector(), [parts], tmp_path / "out", on_image=stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_is_no_hindrance(make_detector, parts, tmp_path):
    leftover = tmp_path / "out" / ".weakspot-inspection-0123456789abcdef"
    leftover.mkdir(parents=True)
    (leftover / "inspections.jsonl").write_text("{}")
    inspect_folder(make_detector(), [parts], tmp_path / "out")
    assert not leftover.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_inspection_into_a_folder_is_refused_and_the_first_one_keeps_its_work(
    make_detector, parts, tmp_path, overwrite
):
    out, refused = tmp_path / "out", []

    def second(done, *_):
        if done == 2:
            with pytest.raises(OutputError, match=r"out: process \d+ on .* inspects into it; wait for it") as told:
                inspect_folder(make_detector(), [parts / "good.png"], out, overwrite=overwrite)
            refused.append(told)

    assert inspect_folder(make_detector(), [parts], out, on_image=second).total == 4 and refused
    assert (out / "inspections.jsonl").read_text().count("\n") == 4
    assert sorted(content(out)) == ["inspections.csv", "inspections.jsonl"]


@pytest.mark.parametrize("first", ["runs", "ended"])
def test_of_two_that_begin_at_the_same_moment_one_is_refused(make_detector, parts, tmp_path, monkeypatch, first):
    """Another one passes the check of the folder, too, before this one has made its own folder there."""
    out, make_folder, open_ones = tmp_path / "out", output_module.make_folder, ExitStack()

    def late(path):
        make_folder(path)
        monkeypatch.setattr(output_module, "make_folder", make_folder)
        staging = open_ones.enter_context(output_module.staged(out, overwrite=False))
        (staging / "inspections.csv").write_text("the other one's")
        if first == "ended":
            open_ones.close()

    monkeypatch.setattr(output_module, "make_folder", late)
    with open_ones, pytest.raises(OutputError, match="inspects into it" if first == "runs" else "earlier inspection"):
        inspect_folder(make_detector(), [parts], out)
    assert content(out) == {"inspections.csv": b"the other one's"}


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
            with output_module.staged(out, overwrite=True) as staging:
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


@pytest.mark.parametrize("output", ["parts/out", "parts", "parts/sub/../out", "link/out", "parts/sub/deeper/x/y"])
@pytest.mark.parametrize("given", ["parts", "link", "parts/sub/..", "par*"])
def test_an_output_below_what_is_inspected_is_refused_before_any_work(
    make_detector, parts, tmp_path, monkeypatch, output, given
):
    """Its overlays and heat maps would be pictures of the next inspection or training."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("parts")
    before = content(parts)
    with pytest.raises(OutputError, match="whose pictures its own would join; choose"):
        inspect_folder(make_detector(), [given], Path(output), overlays=True)
    assert content(parts) == before


def test_an_output_beside_what_is_inspected_is_taken(make_detector, parts, tmp_path):
    for number, given in enumerate((parts / "sub", str(parts / "*.png"), parts / "good.png")):
        assert inspect_folder(make_detector(), [given], parts / f"out{number}", overlays=True).read


def test_results_that_lie_among_pictures_are_passed_over_and_that_is_said(make_detector, parts, tmp_path):
    inspect_folder(make_detector(), [parts / "good.png"], tmp_path / "out", overlays=True, heat_maps=True)
    (tmp_path / "out").rename(parts / "out")
    (parts / "run" / "heat_maps").mkdir(parents=True)
    (parts / "run" / "run.json").write_text("{}")
    (parts / "good.png").rename(parts / "run" / "heat_maps" / "good.png")
    summary = inspect_folder(make_detector(), [parts], tmp_path / "out")
    assert summary.total == 3
    assert summary.passed_over == f"2 folders with results of weakspot, such as {parts / 'out'}"


STOPPED = """
import os, signal, sys, weakspot.cli
from weakspot.inspection import folder
judged, count, times = folder.judged, [], sys.argv[-1]
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C

def interrupted(*asked):
    count.append(1)
    if len(count) == 2:
        os.kill(os.getpid(), signal.SIGINT)
    if len(count) == 2 and times == "twice":
        os.kill(os.getpid(), signal.SIGINT)
    return judged(*asked)

folder.judged = interrupted
sys.argv = ["weakspot", "inspect", *sys.argv[1:-1]]
weakspot.cli.main()
"""


@pytest.mark.parametrize("times", ["once", "twice"])
def test_ctrl_c_leaves_what_was_judged_and_says_so(make_detector, model_path, parts, tmp_path, times):
    """A second one leaves the earlier inspection."""
    out = tmp_path / "out"
    inspect_folder(make_detector(), [parts / "good.png"], out)
    before = content(out)
    command = [sys.executable, "-c", STOPPED, model_path, parts, "-o", out, "--overlays", "--overwrite", times]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (130, ""), ran
    if times == "twice":
        assert content(out) == before
        return
    assert ran.stderr == f"stopped after 2 of 4 images, which are in {out}\n"
    assert sorted(content(out)) == ["inspections.csv", "inspections.jsonl", "overlays/000002_good.png"]
    assert [(out / name).read_text().count("\n") for name in ("inspections.jsonl", "inspections.csv")] == [2, 3]
