"""What an inspection in pieces is given: nothing named passes unseen, nothing is judged twice, faults are told."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weakspot.cli import flags
from weakspot.errors import DataError, OutputError, SettingsError, StorageError
from weakspot.inspection import cluster
from weakspot.inspection.cluster import How, inspect_many

HERE = How(runtime="onnxruntime", precision="fp32", threads=1, images_a_piece=2)


def rows(output: Path) -> list[tuple[str, str]]:
    """Each picture's name and decision, in order."""
    parts = json.loads((output / "manifest.json").read_text())["parts"]
    found = [row for part in parts for row in pq.read_table(output / part["file"]).to_pylist()]
    return [(Path(row["image"]["path"]).name, row["decision"]) for row in found]


def test_a_missing_name_beside_others_is_refused_by_name_and_ends_nothing(model_path, parts, tmp_path):
    given = [str(parts / "gone.png"), str(parts / "good.png")]
    tally = inspect_many(model_path, given, str(tmp_path / "out"), HERE)
    assert rows(tmp_path / "out") == [("gone.png", "not inspected"), ("good.png", "good")]
    assert tally.exit_status == 1


@pytest.mark.parametrize("empty", ["nothing", "nothing/*.png"])
def test_an_empty_folder_or_pattern_beside_others_is_told(model_path, parts, tmp_path, empty):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no pictures found in .*nothing"):
        inspect_many(model_path, [str(parts), str(tmp_path / empty)], str(tmp_path / "out"), HERE)


def test_from_another_working_folder_the_same_pictures_are_gone_on_with(model_path, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(parts)
    inspect_many(model_path, ["good.png", "sub"], str(tmp_path / "out"), HERE)
    before = rows(tmp_path / "out")
    (tmp_path / "out" / "done" / "00000.json").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="begun with other inputs"):
        inspect_many(model_path, ["good.png", "sub"], str(tmp_path / "out"), HERE)
    again = inspect_many(model_path, [str(parts / "good.png"), str(parts / "sub")], "out", HERE)
    assert again.judged_now == 1 and rows(tmp_path / "out") == before


def test_a_picture_under_two_names_is_judged_once(model_path, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(parts)
    (parts / "list.txt").write_text("sub/../good.png\n   \n")
    addresses = [f"file://{parts}/good.png", f"file://localhost{parts}/g%6Fod.png"]
    given = ["good.png", str(parts / "good.png"), *addresses, "list.txt"]
    inspect_many(model_path, given, str(tmp_path / "out"), HERE)
    assert rows(tmp_path / "out") == [("good.png", "good")]


def test_a_file_of_another_computer_is_refused(model_path, parts, tmp_path):
    with pytest.raises(DataError, match="file://plant/a.png: of the computer plant"):
        inspect_many(model_path, ["file://plant/a.png"], str(tmp_path / "out"), HERE)


def test_a_new_folder_is_written_by_its_address_too(model_path, parts, tmp_path):
    inspect_many(model_path, [str(parts / "good.png")], f"file://{tmp_path}/new/out", HERE)
    assert rows(tmp_path / "new" / "out") == [("good.png", "good")]


def test_what_a_killed_worker_left_is_gone_once_all_is_done(model_path, parts, tmp_path):
    inspect_many(model_path, [str(parts / "good.png")], str(tmp_path / "out"), HERE)
    (tmp_path / "out" / "manifest.json").unlink()
    for folder in ("", "parts", "done"):
        (tmp_path / "out" / folder / ".weakspot-0123456789abcdef.tmp").write_bytes(b"half")
    inspect_many(model_path, [str(parts / "good.png")], str(tmp_path / "out"), HERE)
    assert (tmp_path / "out" / "manifest.json").exists() and not list((tmp_path / "out").rglob(".weakspot-*"))


def test_a_list_in_latin_1_is_told(model_path, parts, tmp_path):
    (parts / "list.txt").write_bytes("good.png\nGröße.png\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"list.txt: Gr.*e.png is no UTF-8 and no such file; write the list again"):
        inspect_many(model_path, [str(parts / "list.txt")], str(tmp_path / "out"), HERE)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_where_no_cluster_listens_ray_is_not_asked(address):
    with pytest.raises(StorageError, match=rf"--ray {address}: no cluster answers"):
        cluster.started(address, 1)


@pytest.mark.parametrize(("places", "workers"), [(["new/", "s3://x/y"], None), (["list.txt"], None), (["new/"], 2)])
def test_what_pieces_alone_heed_is_refused_without_them(tmp_path, monkeypatch, places, workers):
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("a.png\n")
    with pytest.raises(SettingsError, match=r"--workers 2: of Ray alone" if workers else r": addresses, lists .*; add"):
        flags.refuse_many(places, workers)
    flags.refuse_many(["new/", "plain.txt"], None)


def test_a_list_in_utf_16_is_read(model_path, parts, tmp_path):
    (parts / "list.txt").write_text("good.png\nsub/doubtful.bmp\n", encoding="utf-16")
    inspect_many(model_path, [str(parts / "list.txt")], str(tmp_path / "out"), HERE)
    assert rows(tmp_path / "out") == [("good.png", "good"), ("doubtful.bmp", "review")]
    (parts / "cut.txt").write_bytes("good.png".encode("utf-16")[:-1])
    with pytest.raises(DataError, match=r"cut.txt: no text"):
        inspect_many(model_path, [str(parts / "cut.txt")], str(tmp_path / "other"), HERE)


def test_a_folder_of_tables_with_a_column_by_dictionary_is_read(model_path, parts, tmp_path):
    folder = parts / "these.parquet"
    folder.mkdir()
    paths = pa.array([str(parts / "good.png"), str(parts / "sub" / "doubtful.bmp")])
    for number in range(2):
        pq.write_table(pa.table({"path": paths[number : number + 1].dictionary_encode()}), folder / f"{number}.parquet")
    inspect_many(model_path, [str(folder)], str(tmp_path / "out"), HERE)
    assert rows(tmp_path / "out") == [("good.png", "good"), ("doubtful.bmp", "review")]


def test_a_table_of_something_else_is_told_before_anything_is_written(model_path, parts, tmp_path):
    pq.write_table(pa.table({"label": [1]}), parts / "a.parquet")
    with pytest.raises(DataError, match="its columns are label"):
        inspect_many(model_path, [str(parts / "good.png"), str(parts / "a.parquet")], str(tmp_path / "out"), HERE)
    assert not (tmp_path / "out").exists()


def damaged(table: Path, parts: Path) -> None:
    """Whole at both ends, where its form is told; not between."""
    pq.write_table(
        pa.table({"path": [str(parts / "good.png")] * 2000}), table, compression="none", use_dictionary=False
    )
    content = bytearray(table.read_bytes())
    content[4:2000] = b"\xff" * 1996
    table.write_bytes(content)


def in_latin_1(table: Path, parts: Path) -> None:
    names = pa.Array.from_buffers(pa.string(), 1, pa.array([b"gr\xfcn.png"]).buffers())
    pq.write_table(pa.table({"path": names}), table)


@pytest.mark.parametrize("make", [damaged, in_latin_1])
def test_a_table_damaged_in_its_middle_or_of_another_encoding_is_told(model_path, parts, tmp_path, make):
    make(tmp_path / "t.parquet", parts)
    with pytest.raises(DataError, match=r"t\.parquet: "):
        inspect_many(model_path, [str(tmp_path / "t.parquet")], str(tmp_path / "out"), HERE)
