"""Many pictures in one go: what is read, what is refused, and what the tables say of both."""

import csv
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from weakspot.csv_text import csv_line
from weakspot.errors import DataError, ImageError
from weakspot.inspection.folder import inspect_folder
from weakspot.inspection.inspection import ROW, NotInspected, flat_row
from weakspot.inspection.loaded import LoadedDetector


def lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "inspections.jsonl").read_text(encoding="utf-8").splitlines()]


def rows(output: Path) -> list[dict]:
    with open(output / "inspections.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_inspected_and_what_cannot_be_read_is_told_never_called_good(make_detector, parts, tmp_path):
    summary = inspect_folder(make_detector(), [parts], tmp_path / "out")
    assert (summary.total, summary.read, summary.refused, summary.exit_status) == (4, 3, 1, 1)
    assert summary.decisions == {"good": 1, "review": 1, "bad": 1}
    assert [Path(refusal.image.path).name for refusal in summary.refusals] == ["cut.png"]
    found = {Path(line["image"]["path"]).name: line["decision"] for line in lines(tmp_path / "out")}
    assert found == {"cut.png": "not inspected", "good.png": "good", "doubtful.bmp": "review", "bad.tif": "bad"}
    assert {Path(row["image_path"]).name: row["decision"] for row in rows(tmp_path / "out")} == found
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["inspections.csv", "inspections.jsonl"]


def test_every_line_fits_the_schema_and_the_csv_says_the_same(make_detector, parts, tmp_path):
    inspect_folder(make_detector(), [parts], tmp_path / "out", overlays=True, heat_maps=True)
    schema = Path(__file__).parents[2] / "docs" / "inspection.schema.json"
    validator = Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    for line, row in zip(lines(tmp_path / "out"), rows(tmp_path / "out"), strict=True):
        validator.validate(line)
        assert (row["id"], row["image_path"], row["time"]) == (line["id"], line["image"]["path"], line["time"])
        assert row["raw_score"] == str(line.get("raw_score", ""))
        assert row["reason"] == line.get("reason", "")


def test_maps_are_written_on_request_under_names_that_tables_give(make_detector, parts, tmp_path):
    out = tmp_path / "out"
    inspect_folder(make_detector(), [parts], out, overlays=True, heat_maps=True)
    read = [line for line in lines(out) if line["decision"] != "not inspected"]
    assert len(read) == len(list((out / "overlays").iterdir())) == len(list((out / "heat_maps").iterdir())) == 3
    for line in read:
        assert Image.open(out / line["heat_map"]["overlay"]).mode == "RGB"
        heat = np.asarray(Image.open(out / line["heat_map"]["path"]))
        assert (heat.dtype, heat.shape) == (np.uint16, (8, 12))


@pytest.mark.parametrize(("fail_on_bad", "names", "status"), [
    (False, ["good.png"], 0),
    (False, ["sub"], 0),
    (True, ["good.png"], 0),
    (True, ["sub"], 3),
    (True, ["sub", "cut.png"], 3),
    (True, ["good.png", "cut.png"], 1),
    (False, ["good.png", "missing.png"], 1),
])  # fmt: skip
def test_the_exit_status(make_detector, parts, tmp_path, fail_on_bad, names, status):
    summary = inspect_folder(
        make_detector(), [parts / name for name in names], tmp_path / "out", fail_on_bad=fail_on_bad
    )
    assert summary.exit_status == status


def test_progress_is_told_for_every_picture(make_detector, parts, tmp_path):
    told = []
    inspect_folder(
        make_detector(),
        [parts],
        tmp_path / "out",
        on_image=lambda done, total, entry: told.append((done, total, isinstance(entry, NotInspected))),
    )
    assert told == [(1, 4, True), (2, 4, False), (3, 4, False), (4, 4, False)]


HARD_NAMES = [
    "with space.png",
    "Gehäuse – 部品 🔩.png",
    "line\nbreak.png",
    "-dash.png",
    "=cmd|' /C calc'!A0.png",
    '@at,comma;"quote".png',
    "tab\there.png",
    "rtl\u202egnp.png",
    "<img src=x onerror=alert(1)>.png",
    "trailing..png",
    "CON.png",
    "[brackets]*?.png",
    "A.PNG",
    "a.png",
    "x" * 251 + ".png",
]


def test_hard_names_are_inspected_and_kept(make_detector, tmp_path, monkeypatch, make_pixels, save_picture):
    monkeypatch.chdir(tmp_path)
    for name in HARD_NAMES:
        save_picture(Path("parts") / name, make_pixels(), format="PNG")
    os.link("parts/a.png", os.fsencode("parts/") + b"caf\xe9.png")
    summary = inspect_folder(make_detector(), ["parts"], Path("out"), overlays=True)
    assert (summary.read, summary.refused) == (len(HARD_NAMES) + 1, 0)
    names = {line["image"]["path"].removeprefix("parts/") for line in lines(Path("out"))}
    assert names == {*HARD_NAMES, "caf\\udce9.png"}
    assert {row["image_path"].removeprefix("parts/") for row in rows(Path("out"))} == names
    overlays = [path.name for path in Path("out/overlays").iterdir()]
    assert all(name[:6].isdigit() and name.isascii() and len(name) < 80 for name in overlays)
    assert len({name.lower() for name in overlays}) == len(HARD_NAMES) + 1


@pytest.mark.parametrize("name", ["-dash.png", "[brackets]*?.png", "line\nbreak.png"])
def test_a_hard_name_can_be_given_itself(make_detector, tmp_path, monkeypatch, make_pixels, save_picture, name):
    monkeypatch.chdir(tmp_path)
    save_picture(Path(name), make_pixels())
    assert inspect_folder(make_detector(), [name], Path("out")).read == 1
    assert rows(Path("out"))[0]["image_path"] == ("'" if name.startswith("-") else "") + name


def test_cells_that_a_spreadsheet_would_run_are_defused_and_numbers_are_not(make_detector, make_pixels):
    row = flat_row(make_detector().inspect(make_pixels(60)).as_dict())
    for start in ("=", "+", "-", "@", "\t", "\r"):
        (found,) = csv.reader([csv_line((row | {"image_path": f"{start}1"}).values())])
        assert found[ROW.index("image_path")] == f"'{start}1"
        assert float(found[ROW.index("raw_score")]) == row["raw_score"] < 0


def test_what_is_no_regular_file_is_told_and_the_others_go_on(make_detector, tmp_path, make_pixels, save_picture):
    folder = tmp_path / "parts"
    save_picture(folder / "a.png", make_pixels())
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "folder.png").mkdir()
    summary = inspect_folder(make_detector(), [folder, tmp_path / "missing.png"], tmp_path / "out")
    assert summary.read == 1
    assert sorted(Path(refusal.image.path).name for refusal in summary.refusals) == [
        "dangling.png",
        "loop.png",
        "missing.png",
        "pipe.png",
    ]


def test_what_is_passed_over_is_told_once_and_pictures_of_other_kinds_are_refused(
    make_detector, parts, tmp_path, caplog
):
    (parts / "elsewhere").symlink_to(tmp_path)
    (parts / "0001").write_bytes((parts / "good.png").read_bytes())
    (parts / "moving.gif").write_bytes(b"GIF89a")
    summary = inspect_folder(make_detector(), [parts], tmp_path / "out")
    assert (summary.total, summary.refused, summary.exit_status) == (5, 2, 1)
    assert (
        "moving.gif: a GIF (it begins with" in summary.refusals[1].reason
        and "export it as one of them" in summary.refusals[1].reason
    )
    assert [record.getMessage() for record in caplog.records] == [f"passed over: {summary.passed_over}"]
    assert "1 file without a picture's ending" in summary.passed_over and "1 linked folder" in summary.passed_over


@pytest.mark.parametrize("paths", [[], ["empty"], ["missing"], ["nothing*.png"], ["missing", "also missing.png"]])
def test_no_pictures_at_all_are_told_before_anything_is_written(make_detector, tmp_path, monkeypatch, paths):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(DataError, match="no pictures found in"):
        inspect_folder(make_detector(), paths, Path("out"))
    assert not Path("out").exists()


class Watched:
    """A detector that judges a picture only once the next ones of `total`, as many as there are readers, are read."""

    def __init__(self, detector, total, readers):
        self.detector, self.info, self.total, self.readers = detector, detector.info, total, readers
        self.begun = self.most_waiting = self.judged = self.overlapped = 0
        self.change = threading.Condition()

    def prepare(self, path):
        with self.change:
            self.begun += 1
            self.most_waiting = max(self.most_waiting, self.begun - self.judged)
            self.change.notify_all()
        return self.detector.prepare(path)

    def judge(self, prepared):
        expected = min(self.judged + 1 + self.readers, self.total)
        with self.change:
            self.overlapped += self.change.wait_for(lambda: self.begun >= expected, timeout=10)
            self.judged += 1
        return self.detector.judge(prepared)


@pytest.mark.parametrize(("cores", "room", "readers"), [(1, 1 << 20, 1), (3, 1 << 20, 3), (99, 1 << 20, 4), (3, 1, 1)])
def test_the_next_pictures_are_read_while_one_is_judged_and_no_more_than_fit_into_memory(
    make_detector, tmp_path, make_pixels, save_picture, monkeypatch, cores, room, readers
):
    monkeypatch.setattr("weakspot.inspection.ahead.usable_cores", lambda: cores)
    monkeypatch.setattr("weakspot.inspection.ahead.ROOM", room)
    for number in range(8):
        save_picture(tmp_path / "parts" / f"{number}.png", make_pixels(seed=number))
    watched = Watched(make_detector(), 8, readers)
    inspect_folder(watched, [tmp_path / "parts"], tmp_path / "out")
    assert watched.overlapped == 8
    assert watched.most_waiting == readers + 1
    assert [Path(line["image"]["path"]).stem for line in lines(tmp_path / "out")] == list("01234567")


def test_what_is_asked_to_stop_reads_no_further(make_detector, tmp_path, make_pixels, save_picture):
    for number in range(20):
        save_picture(tmp_path / "parts" / f"{number:02}.png", make_pixels(seed=number))
    watched = Watched(make_detector(), 20, 1)

    def stop(done, *_):
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        inspect_folder(watched, [tmp_path / "parts"], tmp_path / "out", on_image=stop)
    assert len(lines(tmp_path / "out")) == 3 and watched.begun <= 3 + 4


def test_a_picture_the_runtime_fails_on_is_told_and_the_others_go_on(make_detector, parts, tmp_path, monkeypatch):
    detector = make_detector()
    judge = detector.judge

    def failing(prepared):
        if "good" in prepared.name:
            raise ImageError(f"{prepared.name}: the runtime failed")
        return judge(prepared)

    monkeypatch.setattr(detector, "judge", failing)
    summary = inspect_folder(detector, [parts], tmp_path / "out")
    assert (summary.read, summary.refused, summary.decisions["good"]) == (2, 2, 0)


@pytest.mark.parametrize("step", ["prepare", "judge"])
def test_a_picture_for_which_memory_does_not_suffice_stops_no_other(make_detector, parts, tmp_path, monkeypatch, step):
    detector, real = make_detector(), getattr(LoadedDetector, step)

    def full(self, given, *more):
        if "bad" in str(getattr(given, "name", given)):
            raise MemoryError
        return real(self, given, *more)

    monkeypatch.setattr(LoadedDetector, step, full)
    summary = inspect_folder(detector, [parts], tmp_path / "out")
    assert (summary.read, summary.refused, summary.exit_status) == (2, 2, 1)
    assert any("bad.tif: not enough memory to judge it" in refusal.reason for refusal in summary.refusals)
    assert len(lines(tmp_path / "out")) == 4
