"""Very many pictures in pieces: what may be named, what comes out, and that no interruption loses or doubles any."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator

from weakspot.cli import app
from weakspot.errors import DataError, OutputError, SettingsError, StorageError
from weakspot.inspection import cluster, picture_tables, pieces, piecework
from weakspot.inspection.cluster import How, inspect_many
from weakspot.inspection.folder import inspect_folder
from weakspot.inspection.loaded import LoadedDetector

HERE = How(runtime="onnxruntime", precision="fp32", threads=1, images_a_piece=2)


def rows(output: Path) -> list[dict]:
    """All results that the manifest of a finished inspection names, in order."""
    parts = json.loads((output / "manifest.json").read_text())["parts"]
    return [row for part in parts for row in pq.read_table(output / part["file"]).to_pylist()]


def told(found: list[dict]) -> list[tuple[str, str]]:
    return [(Path(row["image"]["path"]).name, row["decision"]) for row in found]


def content(output: Path) -> dict[str, str]:
    """What lies in an output folder, without what judging took."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in output.glob("parts/*")}
    for path in output.glob("done/*"):
        record = json.loads(path.read_text())
        found[path.name] = str(record | {"seconds": 0})
    return found


def test_a_folder_is_judged_as_without_pieces(make_detector, model_path, parts, tmp_path):
    tally = inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE)
    assert (tally.decisions, tally.pieces, tally.exit_status) == (
        Counter({"good": 1, "review": 1, "bad": 1, "not inspected": 1}), 2, 1
    )  # fmt: skip
    inspect_folder(LoadedDetector.load(model_path, "onnxruntime", 1, "fp32"), [parts], tmp_path / "plain")
    plain = [json.loads(line) for line in (tmp_path / "plain" / "inspections.jsonl").read_text().splitlines()]
    own = ("id", "time", "milliseconds", "heat_map")
    for row, line in zip(rows(tmp_path / "out"), plain, strict=True):
        assert {key: row[key] for key in line if key not in own} == {key: line[key] for key in line if key not in own}


def test_what_was_refused_and_warned_of_is_known_at_the_end_also_of_pieces_done_before(model_path, parts, tmp_path):
    for number in range(14):
        (parts / f"empty{number:02}.png").write_bytes(b"")
    for _ in range(2):
        tally = inspect_many(model_path, [str(parts)], str(tmp_path / "out"), replace(HERE, images_a_piece=30))
        assert len(tally.refusals) == pieces.MOST_REFUSALS and "cut.png" in tally.refusals[0]
    assert tally.judged_now == 0 and "refusals" not in (tmp_path / "out" / "manifest.json").read_text()
    record = tmp_path / "out" / "done" / "00000.json"
    old = {key: value for key, value in json.loads(record.read_text()).items() if key not in ("refusals", "warnings")}
    record.write_text(json.dumps(old))  # as it was written before these were kept
    tally = inspect_many(model_path, [str(parts)], str(tmp_path / "out"), replace(HERE, images_a_piece=30))
    assert (tally.judged_now, tally.refusals) == (0, [])


def test_every_row_fits_the_schema(model_path, parts, tmp_path):
    inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE)
    schema = json.loads((Path(__file__).parents[2] / "docs" / "inspection.schema.json").read_text(encoding="utf-8"))
    left_out = {"milliseconds": {"read": 0, "infer": 0, "total": 0}, "heat_map": {"path": None, "overlay": None}}
    for row in rows(tmp_path / "out"):
        refused = row["decision"] == "not inspected"
        line = {key: value for key, value in row.items() if value is not None} | ({} if refused else left_out)
        Draft202012Validator(schema).validate(line)


def test_lists_and_patterns_and_tables_name_pictures(model_path, parts, tmp_path):
    (parts / "some.txt").write_text("good.png\n\nsub/doubtful.bmp\nmissing.png\n")
    given = [str(parts / "some.txt"), str(parts / "*.png"), str(parts / "sub" / "*.bmp")]
    inspect_many(model_path, given, str(tmp_path / "out"), HERE)
    assert told(rows(tmp_path / "out")) == [
        ("good.png", "good"), ("doubtful.bmp", "review"), ("missing.png", "not inspected"), ("cut.png", "not inspected")
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["paths", "bytes", "both"])
@pytest.mark.parametrize("rows_a_group", [2, 5])
def test_a_parquet_table_holds_paths_or_files(model_path, parts, tmp_path, monkeypatch, kind, rows_a_group):
    for name in ("BATCH", "PATHS"):
        monkeypatch.setattr(picture_tables, name, 3)
    names = ["good.png", "sub/doubtful.bmp", "cut.png", "sub/deeper/bad.tif", "good.png"]
    files = [(parts / name).read_bytes() for name in names]
    table = {"path": names, "image": files} if kind == "both" else {kind.rstrip("s"): names}
    table = {"bytes": files} if kind == "bytes" else table
    pq.write_table(pa.table(table), parts / "these.parquet", row_group_size=rows_a_group)
    tally = inspect_many(model_path, [str(parts / "these.parquet")], str(tmp_path / "out"), HERE)
    found = rows(tmp_path / "out")
    assert (tally.pieces, [row["decision"] for row in found]) == (3, ["good", "review", "not inspected", "bad", "good"])
    assert len({row["id"] for row in found}) == 5
    assert found[3]["image"]["sha256"] == hashlib.sha256(files[3]).hexdigest()
    where = {
        "paths": "deeper/bad.tif",
        "both": "sub/deeper/bad.tif",
        "bytes": "these.parquet#" + ("1.1" if rows_a_group == 2 else "0.3"),
    }
    assert found[3]["image"]["path"].endswith(where[kind])


def test_a_plan_that_parts_tables_by_their_groups_alone_is_gone_on_with(model_path, parts, tmp_path):
    names = ["good.png", "sub/doubtful.bmp", "sub/deeper/bad.tif"]
    pq.write_table(pa.table({"path": names}), parts / "these.parquet", row_group_size=3)
    inputs, out = [str(parts / "these.parquet")], tmp_path / "out"
    inspect_many(model_path, inputs, str(out), replace(HERE, images_a_piece=9))
    head, piece = map(json.loads, (out / "plan.jsonl").read_text().splitlines())
    del piece["first_row"], piece["end_row"]
    (out / "plan.jsonl").write_text(f"{json.dumps(head)}\n{json.dumps(piece)}\n")
    assert inspect_many(model_path, inputs, str(out), HERE).judged_now == 1
    assert [row["decision"] for row in rows(out)] == ["good", "review", "bad"]


def test_a_table_in_the_topmost_folder_names_pictures_there(monkeypatch):
    monkeypatch.setattr(piecework, "rows", lambda *_: iter([("a.png", None), ("/data/b.png", None)]))
    found = piecework.sources(pieces.Piece(0, table="/these.parquet"))
    assert [each.path for each in found] == ["/a.png", "/data/b.png"]


@pytest.mark.parametrize("name", ["list.txt", "these.parquet", "good.png"])
def test_the_form_that_was_asked_for_holds_for_pieces_however_few_names_are_given(parts, monkeypatch, name):
    """A list or a table may name millions."""
    asked = []
    monkeypatch.setattr(cluster, "inspect_many", lambda *given: asked.append(given[3].memory))
    monkeypatch.setattr("weakspot.terminal.show_tally", lambda *_: None)
    (parts / name).touch()
    with pytest.raises(AttributeError):  # there is no exit status
        app(["inspect", "a.weakspot", str(parts / name), "-o", "out", "--parquet", "--quiet"], standalone_mode=False)
    assert asked == ["fast"]


@pytest.mark.parametrize(("make", "said"), [
    (lambda place: pq.write_table(pa.table({"label": [1]}), place / "a.parquet"), "its columns are label"),
    (lambda place: (place / "a.parquet").write_bytes(b"PAR1 no"), "no Parquet table"),
    (lambda place: None, "a.parquet: no such table"),
])  # fmt: skip
def test_a_table_of_something_else_is_told(model_path, tmp_path, make, said):
    make(tmp_path)
    with pytest.raises(DataError, match=said):
        inspect_many(model_path, [str(tmp_path / "a.parquet")], str(tmp_path / "out"), HERE)


@pytest.mark.parametrize("inputs", [["empty"], ["missing.txt"], ["empty.txt"]])
def test_no_pictures_are_told_before_anything_is_written(model_path, tmp_path, monkeypatch, inputs):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("empty.txt").touch()
    with pytest.raises(DataError, match=r"no pictures found in|no such list"):
        inspect_many(model_path, inputs, "out", HERE)
    assert not Path("out").exists()


def interrupted(monkeypatch, after: int, error: BaseException) -> None:
    """The piece after so many fails once its part is written and before its record is."""
    keep, count = pieces.storage.write, Counter[str]()

    def write(place: str, content: bytes) -> None:
        count[place.split(os.sep)[-2]] += 1
        if count["done"] > after:
            count["done"] = -99
            raise error
        keep(place, content)

    monkeypatch.setattr(pieces.storage, "write", write)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("the storage failed")])
def test_an_interrupted_inspection_goes_on_and_ends_in_the_same_bytes(model_path, parts, tmp_path, monkeypatch, error):
    inspect_many(model_path, [str(parts)], str(tmp_path / "whole"), replace_pieces(1))
    copied = tmp_path / "out"
    copied.mkdir()
    for name in ("plan.jsonl", "model.weakspot"):
        shutil.copy(tmp_path / "whole" / name, copied / name)
    with monkeypatch.context() as patch:
        interrupted(patch, 2, error)
        with pytest.raises(type(error)):
            inspect_many(model_path, [str(parts)], str(copied), HERE)
    assert len(list(copied.glob("done/*"))) == 2 and not (copied / "manifest.json").exists()
    again = inspect_many(model_path, [str(parts)], str(copied), HERE)
    assert (again.judged_now, again.pieces) == (2, 4)
    assert content(copied) == content(tmp_path / "whole")


def replace_pieces(images: int) -> How:
    return How(runtime="onnxruntime", precision="fp32", threads=1, images_a_piece=images)


def test_a_second_one_in_the_same_folder_is_refused_by_name(model_path, parts, tmp_path):
    with pytest.raises(OutputError, match=r"process \d+ on .* inspects into it; wait for it"):
        inspect_many(
            model_path, [str(parts)], str(tmp_path / "out"), HERE,
            lambda *_: inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE),
        )  # fmt: skip
    assert inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE).total == 4


def test_pictures_that_came_later_are_not_mixed_in(model_path, parts, tmp_path, save_picture):
    inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE)
    save_picture(parts / "later.png")
    again = inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE)
    assert (again.judged_now, again.total) == (0, 4)


@pytest.mark.parametrize("damage", [
    lambda part, record: part.unlink(),
    lambda part, record: part.write_bytes(part.read_bytes()[:-1]),
    lambda part, record: record.unlink(),
    lambda part, record: record.write_text("{"),
    lambda part, record: record.write_text(record.read_text().replace('"plan": "', '"plan": "0')),
])  # fmt: skip
def test_a_piece_of_which_part_or_record_is_not_whole_is_judged_again(model_path, parts, tmp_path, damage):
    out = tmp_path / "out"
    inspect_many(model_path, [str(parts)], str(out), HERE)
    before = content(out)
    damage(out / "parts" / "part-00001.parquet", out / "done" / "00001.json")
    assert inspect_many(model_path, [str(parts)], str(out), HERE).judged_now == 1
    assert content(out) == before


def test_another_model_other_inputs_and_other_files_are_refused(model_path, model, parts, tmp_path, make_model):
    from weakspot.inspection.model_file import write_model_file

    out, other = tmp_path / "out", tmp_path / "other.weakspot"
    inspect_many(model_path, [str(parts)], str(out), HERE)
    write_model_file(other, make_model(name="other"))
    with pytest.raises(OutputError, match="was begun with another model"):
        inspect_many(other, [str(parts)], str(out), HERE)
    with pytest.raises(OutputError, match="was begun with other inputs"):
        inspect_many(model_path, [str(parts / "sub")], str(out), HERE)
    (out / "plan.jsonl").write_text("{}\n")
    with pytest.raises(OutputError, match=r"plan.jsonl: damaged"):
        inspect_many(model_path, [str(parts)], str(out), HERE)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").touch()
    with pytest.raises(OutputError, match="holds other files"):
        inspect_many(model_path, [str(parts)], str(tmp_path / "taken"), HERE)
    with pytest.raises(OutputError, match="whose pictures its own would join"):
        inspect_many(model_path, [str(parts)], str(parts / "out"), HERE)


def test_a_full_disk_is_told_and_what_was_done_is_kept(model_path, parts, tmp_path, monkeypatch):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def do_piece(*given):
        done = piecework.do_piece(*given)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
        return done

    monkeypatch.setattr(cluster, "do_piece", do_piece)
    try:
        with pytest.raises(OutputError, match="part-00001"):
            inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monkeypatch.undo()
    assert inspect_many(model_path, [str(parts)], str(tmp_path / "out"), HERE).judged_now == 1
    assert not list((tmp_path / "out").rglob("*.tmp"))


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "weakspot", "inspect", *map(str, words), "--quiet"]


def test_killed_at_any_moment_the_command_goes_on_where_it_was(model_path, tmp_path, save_picture, make_pixels):
    """kill -9 of the driver, which here also judges, between two of its pieces."""
    for number in range(60):
        save_picture(tmp_path / "new" / f"{number:02}.png", make_pixels((60, 128, 200)[number % 3], number))
    how = ("--parquet", "--piece", 1, "--runtime", "onnxruntime", "--threads", 1)
    words = command(model_path, tmp_path / "new", "-o", tmp_path / "out", *how)
    for least in (1, 10, 30):
        process = subprocess.Popen(words)
        while len(list((tmp_path / "out" / "done").glob("*.json"))) < least:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert subprocess.run(words).returncode == 0
    assert told(rows(tmp_path / "out")) == [
        (f"{number:02}.png", ("good", "review", "bad")[number % 3]) for number in range(60)
    ]


@pytest.mark.parametrize("begun", ["nothing", "out", "out/plan.jsonl"])
def test_sigterm_while_it_begins_leaves_what_can_be_gone_on_with(model_path, parts, tmp_path, begun):
    words = command(model_path, parts, "-o", tmp_path / "out", "--parquet", "--piece", 1, "--runtime", "onnxruntime")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while begun != "nothing" and not (tmp_path / begun).exists():
        assert process.poll() is None, "it ended before it was asked to"
        time.sleep(0.001)
    process.terminate()
    assert "Traceback" not in process.communicate()[1]
    assert process.returncode in (-signal.SIGTERM, 1), "killed, or it was as fast; a picture cannot be read"
    assert subprocess.run(words).returncode == 1
    assert told(rows(tmp_path / "out")) == [
        ("cut.png", "not inspected"), ("good.png", "good"), ("doubtful.bmp", "review"), ("bad.tif", "bad")
    ]  # fmt: skip


def test_flags_that_do_nothing_in_pieces_are_refused(monkeypatch, model_path, parts, tmp_path):
    from weakspot.cli import flags

    with pytest.raises(SettingsError, match=r"--heat-maps: not with --parquet and --ray"):
        flags.refuse_beside("--parquet and --ray", overlays=False, heat_maps=True)
    done = subprocess.run(
        command(model_path, parts, "-o", tmp_path / "out", "--parquet", "--overlays"), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "") and "--overlays: not with --parquet and --ray" in done.stderr
