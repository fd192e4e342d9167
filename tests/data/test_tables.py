"""A CSV with a row for each picture → samples."""

import pytest

from tests.data.test_layouts import ids_and_labels, refusal, tree
from weakspot.data.layouts import detect_layout, read_layout


def table(root, text, *names, file="table.csv"):
    tree(root, *names)
    (root / file).write_text(text, encoding="utf-8")
    return root / file


def test_a_table_gives_labels_groups_masks_and_parts(tmp_path):
    text = "path,label,group,mask,split\na b.png,good,17,,train\nsub/b.png,NG,17,m.png,test\n"
    path = table(tmp_path, text, "a b.png", "sub/b.png")
    for root in (path, tmp_path):
        samples = read_layout(root)
        assert ids_and_labels(samples) == [("a b.png", 0), ("sub/b.png", 1)]
        assert [sample.group for sample in samples] == ["17", "17"]
        assert [sample.part for sample in samples] == ["train", "test"]
        assert samples[1].mask == tmp_path / "m.png"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_anomalibs_columns_and_other_separators_are_understood(tmp_path, separator):
    rows = [
        ["image_path", "label", "label_index", "mask_path", "split"],
        ["a.png", "normal", "0", "", "train"],
        ["b.png", "scratch", "1", "b_m.png", "test"],
    ]
    path = table(tmp_path, "\ufeff" + "\r\n".join(separator.join(row) for row in rows), "a.png", "b.png")
    assert ids_and_labels(read_layout(path)) == [("a.png", 0), ("b.png", 1)]


def test_a_quoted_name_may_hold_a_newline(tmp_path):
    path = table(tmp_path, 'path,label\n"a\nb.png",0\nc.png,1\n', "a\nb.png", "c.png")
    assert read_layout(path)[0].path.exists()


def test_errors_in_a_table_name_the_row(tmp_path):
    for text, part in (
        ("path,label\na.png,0\nb.png,purple\n", "row 3: label 'purple'"),
        ("path,label\na.png,0\nb.png\n", "row 3 has 1 cells"),
        ("path,label\n,0\nb.png,1\n", "row 2 names no picture"),
        ("path,label,split\na.png,0,holdout\nb.png,1,test\n", "split 'holdout'"),
        ("path,label\na.png,0\na.png,1\n", "listed twice"),
        ("path,group\na.png,0\n", "no column label"),
        ("path,label\nx.png,0\ny.png,1\n", "none of its 2 pictures exists"),
        ('path,label\n"a.png,0\n', "not a CSV table"),
        ("", "no column path and no column label"),
    ):
        assert part in refusal(table(tmp_path, text, "a.png", "b.png"), "table")
    (tmp_path / "table.csv").write_bytes(b"path,label\n\xff.png,0\n")
    assert "UTF-8" in refusal(tmp_path / "table.csv", "table")


def test_a_folder_beside_a_table_of_something_else_is_still_a_folder(tmp_path):
    table(tmp_path, "when,what\n1,2\n", "good/a.png", "bad/b.png")
    assert detect_layout(tmp_path) == "folder"


def test_a_table_is_taken_before_folders(tmp_path):
    table(tmp_path, "path,label,group\ngood/a.png,0,x\nbad/b.png,1,x\n", "good/a.png", "bad/b.png")
    assert [sample.group for sample in read_layout(tmp_path)] == ["x", "x"]


def test_a_spreadsheet_s_own_habits_are_understood(tmp_path):
    rows = "path;label;group\r\na.png;in Ordnung;7\r\nb.png;Kratzer;8\r\n"
    for name, content in (
        ("mark.csv", rows.encode("utf-8-sig")),
        ("sep.csv", f"sep=;\r\n{rows}".encode("utf-8-sig")),
        ("unicode.csv", rows.replace(";", "\t").encode("utf-16")),
    ):
        tree(tmp_path / name, "a.png", "b.png")
        (tmp_path / name / name).write_bytes(content)
        samples = read_layout(tmp_path / name / name)
        assert ids_and_labels(samples) == [("a.png", 0), ("b.png", 1)]
        assert [sample.group for sample in samples] == ["7", "8"]
