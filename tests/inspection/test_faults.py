"""Kills and failing disks while model files and results are written: the old or the new state is there, never a part.

What watches has its own in tests/jobs/test_watch.py, Ray in test_many_ray.py, object storage in test_many_storage.py.
"""

import errno
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hostile import png
from tests.jobs.test_watch import killed_at
from weakspot.errors import OutputError
from weakspot.inspection.cluster import How, inspect_many
from weakspot.inspection.folder import inspect_folder
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import read_model_file, write_model_file
from weakspot.inspection.pieces import Piece, stored_plan
from weakspot.inspection.piecework import do_piece

HERE = How(runtime="onnxruntime", precision="fp32", threads=1, images_a_piece=1)
Files = dict[str, bytes]
Work = tuple[Callable[[], object], Path]


def content(folder: Path) -> Files:
    """Every file below a folder, but for what hidden ones a kill has left, the lock, and the seconds in records."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".weakspot-", ".lock")) for part in inside.parts):
            data = path.read_bytes()
            is_record = inside.parts[0] == "done"
            found[str(inside)] = json.dumps(json.loads(data) | {"seconds": 0}).encode() if is_record else data
    return found


def is_whole(place: Path) -> bool:
    """Whether the new state is there: only the last step, which lets it outlast a power cut, may have failed."""
    if (place / "a.weakspot").exists():
        return read_model_file(place / "a.weakspot").card == "# another\n"
    lines, rows = ((place / f"inspections.{kind}").read_bytes().count(b"\n") for kind in ("jsonl", "csv"))
    return (lines, rows) == (4, 5)


@pytest.fixture(params=["model file", "inspection"])
def replaced(request, model, model_path, parts, tmp_path, make_detector) -> Work:
    """What writes over something that is there, and the folder of it."""
    place = tmp_path / "place"
    place.mkdir()
    if request.param == "model file":
        write_model_file(place / "a.weakspot", model)
        return lambda: write_model_file(place / "a.weakspot", replace(model, card="# another\n")), place
    detector = make_detector()
    inspect_folder(detector, [parts / "good.png"], place)
    return lambda: inspect_folder(detector, [parts], place, overwrite=True), place


def test_killed_before_any_step_the_old_or_the_new_is_there_and_the_next_one_tidies_up(replaced: Work):
    work, place = replaced
    before, ended, steps = content(place), False, 0
    while not ended:
        steps += 1
        ended = killed_at(steps, work)
        if not ended and (place / "a.weakspot").exists():
            assert read_model_file(place / "a.weakspot").card in ("# made\n", "# another\n")
        if not ended and not (place / "a.weakspot").exists() and content(place) != before:
            # swapped in part: the next inspection puts the earlier one back before it begins
            assert any(path.name.startswith(".weakspot-inspection-") for path in place.iterdir())
    assert steps > 3
    work()
    assert content(place).keys() >= before.keys()
    assert [path for path in place.iterdir() if path.name.startswith(".weakspot-inspection-")] == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE])
@pytest.mark.parametrize("call", ["fsync", "mkdir"])
def test_a_disk_that_fails_at_any_step_leaves_the_earlier_one_whole(
    replaced: Work, monkeypatch, call: str, number: int
):
    work, place = replaced
    before, real, step = content(place), getattr(os, call), 0
    while True:
        step, left = step + 1, [step]

        def failing(*given, left=left, **named):
            left[0] -= 1
            if left[0] <= 0:
                raise OSError(number, os.strerror(number))
            return real(*given, **named)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                work()
                break
            except OutputError as error:
                told = str(error)
        assert "cannot be written: " in told and str(place) in told
        assert content(place) == before or is_whole(place)
    assert not list(place.glob("*.tmp"))


def test_pieces_killed_before_any_step_end_in_the_same_bytes(model_path, parts, tmp_path):
    inspect_many(model_path, [str(parts)], str(tmp_path / "whole"), HERE)
    expected, steps, ended = content(tmp_path / "whole"), 0, False
    while not ended:
        steps += 2  # every second one: a write and its sync
        out = tmp_path / f"out{steps}"
        out.mkdir()
        for name in ("plan.jsonl", "model.weakspot"):
            (out / name).write_bytes((tmp_path / "whole" / name).read_bytes())
        ended = killed_at(steps, lambda out=out: inspect_many(model_path, [str(parts)], str(out), HERE))
        inspect_many(model_path, [str(parts)], str(out), HERE)
        assert content(out) == expected, f"killed before step {steps}"
    assert steps > 20


def test_a_piece_that_two_workers_judge_is_one_part(model_path, parts, tmp_path):
    inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE)
    before, plan = content(tmp_path / "out"), stored_plan(str(tmp_path / "out"))
    detector = LoadedDetector.load(model_path, "onnxruntime", 1, "fp32")
    for piece in plan.pieces:
        do_piece(detector, str(tmp_path / "out"), replace(plan, pieces=[]), Piece(piece.number, piece.images))
    assert content(tmp_path / "out") == before


def test_a_slow_disk_changes_nothing(model_path, parts, tmp_path, monkeypatch):
    inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE)
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (time.sleep(0.02), real(descriptor))[1])
    again = inspect_many(model_path, [str(parts)], str(tmp_path / "slow"), HERE)
    assert again.decisions == {"good": 1, "review": 1, "bad": 1, "not inspected": 1}


LIMITED = """
import resource, sys
from pathlib import Path
from weakspot.inspection.folder import inspect_folder
from weakspot.inspection.loaded import LoadedDetector
detector = LoadedDetector.load(sys.argv[1], "onnxruntime", 1, "fp32")
detector.inspect(sys.argv[2] + "/sub/deeper/bad.tif")  # so that nothing is left to load
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_{0}, ({1}, resource.getrlimit(resource.RLIMIT_{0})[1]))
summary = inspect_folder(detector, [sys.argv[2]], Path(sys.argv[3]))
print(summary.read, [refusal.reason for refusal in summary.refusals])
"""


def limited(model_path: Path, parts: Path, output: Path, what: str, most: str) -> subprocess.CompletedProcess[str]:
    """An inspection in a process of its own that may have no more of something from when the detector is ready."""
    words = [sys.executable, "-c", LIMITED.format(what, most), model_path, parts, output]
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=100)


def test_a_picture_for_which_memory_does_not_suffice_is_not_inspected_and_the_others_are(model_path, parts, tmp_path):
    (parts / "huge.png").write_bytes(png(8000, 8000, 8))
    done = limited(model_path, parts, tmp_path / "out", "AS", "used + (60 << 20)")  # it takes 64 MB
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 [") and "huge.png: not enough memory to judge it" in done.stdout


def test_without_a_file_more_to_open_it_ends_with_a_line_and_writes_nothing(model_path, parts, tmp_path):
    done = limited(model_path, parts, tmp_path / "out", "NOFILE", "len(__import__('os').listdir('/proc/self/fd'))")
    assert done.returncode == 1
    assert "OutputError" in done.stderr.splitlines()[-1] and "too many open files" in done.stderr.lower()
    assert not (tmp_path / "out" / "inspections.csv").exists()


def test_a_limit_on_the_size_of_files_leaves_no_half_model_file(tmp_path, model):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="larger than this system allows"):
            write_model_file(tmp_path / "a.weakspot", model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
