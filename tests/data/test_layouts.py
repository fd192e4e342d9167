"""Trees and tables → samples. Most pictures here are empty files, for a layout opens none of them; where a mask tells
the label, it is a real one."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from tests.hostile import encoded
from weakspot.data.labels import label_of
from weakspot.data.layouts import LAYOUTS, Sample, detect_layout, read_layout
from weakspot.errors import DataError, SettingsError


def tree(root, *names):
    """Empty files at the names given, folders for names that end with a slash."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def mask(path, marked):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(np.full((4, 4), 255 * marked, np.uint8), {".bmp": "BMP"}.get(path.suffix, "PNG")))


def ids_and_labels(samples):
    return [(sample.id, sample.label) for sample in samples]


def refusal(root, layout="auto"):
    with pytest.raises(DataError) as error:
        read_layout(root, layout)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_good_and_bad_folders_are_recognised(tmp_path):
    tree(tmp_path, "good/2.png", "good/1.png", "bad/1.png", "notes.txt", ".hidden", "good/Thumbs.db")
    samples = read_layout(tmp_path)
    assert detect_layout(tmp_path) == "folder"
    assert ids_and_labels(samples) == [("bad/1.png", 1), ("good/1.png", 0), ("good/2.png", 0)]
    assert [sample.group for sample in samples] == [sample.id for sample in samples]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("OK", "NG"),
        ("ok", "nok"),
        ("Normal", "Abnormal"),
        ("normal", "anomaly"),
        ("good", "defect"),
        ("pass", "FAIL"),
        ("Passed", "not_ok"),
        ("i.O.", "n.i.O."),
        ("no-defect", "Defective"),
        ("good", "Not OK"),
        ("normal", "anomalous"),
        ("no defect", "defect"),
        ("defect-free", "crack"),
        ("undamaged", "damaged"),
        ("intact", "scratches"),
        ("gut", "schlecht"),
        ("i.O.", "n. i. O."),
    ],
)
def test_the_usual_synonyms_mean_the_same(tmp_path, good, bad):
    tree(tmp_path, f"{good}/a.png", f"{bad}/b.png")
    assert {sample.path.name: sample.label for sample in read_layout(tmp_path)} == {"a.png": 0, "b.png": 1}


def test_words_that_may_mean_either_are_not_guessed(tmp_path):
    assert label_of("positive") is None
    tree(tmp_path, "positive/a.png", "negative/b.png")
    assert "rename" in refusal(tmp_path)


@pytest.mark.parametrize("path", ["NG/OK/1.png", "normal/bad/1.png", "good/part=3/n.i.O/1.png"])
def test_words_that_contradict_each_other_in_one_path_are_refused_by_its_name(tmp_path, path):
    message = refusal(tree(tmp_path, "good/a.png", "bad/b.png", path))
    assert f"{tmp_path / path}: its folders" in message
    assert "rename or move" in message


def test_a_contradiction_below_a_kind_of_defect_is_refused_too(tmp_path):
    tree(tmp_path, "train/good/0.png", "test/good/0.png", "test/crack/good/1.png", "test/crack/0.png")
    assert "test/crack/good/1.png: its folders" in refusal(tmp_path)


def test_a_kind_of_defect_speaks_where_no_other_word_does(tmp_path):
    tree(tmp_path, "good/hole/1.png", "hole/bad/2.png", "hole/3.png", "scratch/deep/4.png")
    samples = {sample.path.name: (sample.label, sample.kind) for sample in read_layout(tmp_path)}
    assert samples == {"1.png": (0, ""), "2.png": (1, ""), "3.png": (1, "hole"), "4.png": (1, "scratch/deep")}


def test_sub_folders_name_the_kind_of_defect_and_the_part(tmp_path):
    tree(
        tmp_path,
        "bad/scratch/1.png",
        "bad/dent/deep/2.png",
        "bad/scratch/part=17/3.png",
        "good/part=17/4.png",
        "good/lot 5/5.png",
    )
    samples = {sample.path.name: sample for sample in read_layout(tmp_path)}
    assert [samples[f"{n}.png"].kind for n in range(1, 6)] == ["scratch", "dent/deep", "scratch", "", ""]
    assert samples["3.png"].group == samples["4.png"].group == "17"
    assert samples["5.png"].group == "good/lot 5/5.png"


def test_train_and_test_folders_become_parts(tmp_path):
    tree(tmp_path, "train/good/1.png", "train/bad/2.png", "val/good/3.png", "test/bad/4.png", "test/good/5.png")
    assert [sample.part for sample in read_layout(tmp_path)] == ["test", "test", "train", "train", "train"]


@pytest.mark.parametrize("mask", ["1_mask.png", "1_label.bmp", "1_gt.png", "1.mask.png", "1-Mask.tif", "1_maske.png"])
def test_a_mask_beside_its_picture_is_no_part(tmp_path, mask, caplog):
    tree(tmp_path, "good/a.png", "good/a_mask.png", "bad/1.jpg", f"bad/{mask}", "bad/2_mask.png", "bad/x/1.jpg")
    samples = {sample.id: sample.mask and sample.mask.name for sample in read_layout(tmp_path)}
    assert samples == {"bad/1.jpg": mask, "bad/2_mask.png": None, "bad/x/1.jpg": None, "good/a.png": None}
    assert "taken for masks, not for parts" in caplog.text


def test_two_masks_beside_one_picture_are_refused(tmp_path):
    tree(tmp_path, "good/a.png", "bad/1.jpg", "bad/1_mask.png", "bad/1_gt.png")
    assert "1.jpg: two masks lie beside it" in refusal(tmp_path)


def test_a_mask_beside_an_mvtec_picture_is_no_part(tmp_path):
    tree(tmp_path, "train/good/0.png", "test/good/0.png", "test/crack/0.png", "test/crack/0_mask.png")
    assert [(sample.id, sample.mask and sample.mask.name) for sample in read_layout(tmp_path)] == [
        ("test/crack/0.png", "0_mask.png"),
        ("test/good/0.png", None),
        ("train/good/0.png", None),
    ]


def test_small_copies_and_what_systems_leave_are_no_parts(tmp_path):
    tree(tmp_path, "good/1.png", "good/thumb_1.jpg", "good/1_thumb.png", "good/.thumbnails/1.png", "good/._1.png")
    tree(tmp_path, "bad/2.png", "bad/@eaDir/2.png", "bad/__MACOSX/2.png", "bad/2.xmp", "bad/2.THM", "bad/thumb_9.png")
    assert [sample.id for sample in read_layout(tmp_path)] == ["bad/2.png", "bad/thumb_9.png", "good/1.png"]


@pytest.mark.parametrize("marks", [["run.json"], ["inspections.jsonl"], ["metrics.json", "report.html"]])
def test_a_folder_that_weakspot_wrote_holds_no_parts_and_is_named(tmp_path, marks, caplog):
    tree(tmp_path, "good/1.png", "bad/2.png", "bad/checked/overlays/2.png", *(f"bad/checked/{mark}" for mark in marks))
    tree(tmp_path, "bad/report/report.html", "bad/report/3.png")
    assert [sample.id for sample in read_layout(tmp_path)] == ["bad/2.png", "bad/report/3.png", "good/1.png"]
    assert f"{tmp_path / 'bad' / 'checked'}: left out, since weakspot wrote it (it holds {marks[0]})" in caplog.text


def test_the_folder_that_is_named_is_read_even_if_weakspot_wrote_it(tmp_path):
    assert len(read_layout(tree(tmp_path, "run.json", "good/1.png", "bad/2.png"))) == 2


def test_one_label_alone_is_read_where_that_is_enough(tmp_path):
    tree(tmp_path, "good/1.png", "good/2.png")
    assert len(read_layout(tmp_path)) == 2
    tree(tmp_path / "bad alone", "bad/1.png", "bad/2.png")
    assert len(read_layout(tmp_path / "bad alone", good_needed=False)) == 2
    assert "2 bad pictures and no good ones" in refusal(tmp_path / "bad alone")


def test_an_empty_folder_for_bad_ones_is_mentioned_and_read_as_none(tmp_path, caplog):
    assert [sample.label for sample in read_layout(tree(tmp_path, "good/a.png", "bad/"))] == [0]
    assert "bad: the folder holds no pictures; if there are bad ones, put them there" in caplog.text


def test_pictures_that_may_be_the_bad_ones_are_not_passed_over(tmp_path, caplog):
    message = refusal(tree(tmp_path / "1", "good/a.png", "kaputt/b.png"))
    assert "no bad pictures, and 1 picture in neither good/ nor bad/, such as" in message and "kaputt/b.png" in message
    assert len(read_layout(tree(tmp_path / "2", "good/a.png", "unsorted/b.png", "bad/"))) == 1
    assert len(read_layout(tree(tmp_path / "3", "good/a.png", "unsorted/b.png", "bad/c.png"))) == 2


def test_masks_are_paired_by_stem(tmp_path):
    tree(tmp_path, "bad/scratch/1.png", "bad/scratch/2.png", "good/1.png", "masks/2_mask.png", "masks/1.bmp")
    samples = {sample.id: sample.mask and sample.mask.name for sample in read_layout(tmp_path)}
    assert samples == {"bad/scratch/1.png": "1.bmp", "bad/scratch/2.png": "2_mask.png", "good/1.png": None}


def test_of_masks_with_one_name_the_one_in_the_same_sub_folder_counts(tmp_path):
    tree(tmp_path, "bad/dent/1.png", "bad/scratch/1.png", "good/a.png", "masks/dent/1.png", "masks/scratch/1.png")
    for sample in read_layout(tmp_path):
        assert sample.mask is None or sample.mask.parent.name == sample.kind


def test_one_mask_for_two_pictures_is_refused(tmp_path):
    tree(tmp_path, "bad/dent/1.png", "bad/scratch/1.png", "good/a.png", "masks/1.png")
    assert "more than one picture" in refusal(tmp_path)


def test_pictures_of_no_label_and_masks_of_no_picture_are_mentioned(tmp_path, caplog):
    tree(tmp_path, "good/a.png", "bad/b.png", "unsorted/c.png", "masks/z.png")
    with caplog.at_level(logging.WARNING):
        assert len(read_layout(tmp_path)) == 2
    assert "c.png" in caplog.text
    assert "z.png" in caplog.text


def test_a_file_of_any_other_kind_is_listed_so_that_it_is_refused_by_name(tmp_path):
    tree(tmp_path, "good/a.png", "bad/b.gif", "bad/c.heic", "bad/labels.csv")
    assert [sample.path.name for sample in read_layout(tmp_path, "folder")] == ["b.gif", "c.heic", "a.png"]


def test_linked_folders_are_entered_once(tmp_path):
    tree(tmp_path / "elsewhere", "a.png", "b.png")
    tree(tmp_path / "data", "bad/c.png")
    (tmp_path / "data" / "good").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
    assert len([sample for sample in read_layout(tmp_path / "data") if not sample.label]) == 2


@pytest.mark.parametrize("name", ["with space", "Größe 真", "-rf", "new\nline", "=cmd", "a,b;c\"d'"])
def test_names_of_all_kinds_can_be_sampled(tmp_path, name):
    tree(tmp_path, f"good/{name}.png", f"bad/{name}/{name}.png")
    samples = read_layout(tmp_path)
    assert [sample.id for sample in samples] == [f"bad/{name}/{name}.png", f"good/{name}.png"]
    assert all(sample.path.exists() for sample in samples)


def test_a_name_that_is_not_utf8_gets_an_id_that_is(tmp_path):
    tree(tmp_path, "good/a.png", "bad/")
    (tmp_path / "bad" / os.fsdecode(b"\xff.png")).touch()
    assert read_layout(tmp_path)[0].id == "bad/\\udcff.png"
    assert read_layout(tmp_path)[0].path.exists()


def test_the_order_is_that_of_the_ids(tmp_path):
    tree(tmp_path, *(f"{label}/{n}.png" for label in ("good", "bad") for n in (10, 9, 2, 1)))
    ids = [sample.id for sample in read_layout(tmp_path)]
    assert ids == sorted(ids)
    assert read_layout(tmp_path) == read_layout(tmp_path)


def test_what_is_missing_is_named(tmp_path):
    assert "no good ones" in refusal(tree(tmp_path / "2", "bad/a.png"))
    message = refusal(tree(tmp_path / "4", "bad/a.png", "good/"))
    assert "4/good: the folder holds no pictures" in message
    assert "no such folder" in refusal(tmp_path / "nowhere")
    assert "a single file" in refusal(tree(tmp_path / "5", "a.png") / "a.png")


def test_an_unknown_tree_is_answered_with_what_was_found_and_what_is_expected(tmp_path):
    message = refusal(tree(tmp_path, "scratches/a.png", "clean/b.png", "c.png"))
    for part in ("holds 2 folders (clean/, scratches/) and 1 file (c.png)", "or give one of: good/*.png", "(table)"):
        assert part in message
    assert "holds 1 folder (b/), which is no layout known here" in refusal(
        tree(tmp_path / "other", "b/c.png", "notes.txt")
    )
    (tmp_path / "empty").mkdir()
    assert "holds neither folders nor pictures" in refusal(tmp_path / "empty")


def test_an_unknown_layout_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(SettingsError, match="did you mean 'kolektorsdd'"):
        read_layout(tmp_path, "kolektorsd")


def test_every_layout_says_what_is_missing_in_an_empty_folder(tmp_path):
    for layout in LAYOUTS:
        refusal(tmp_path, layout)


def test_mvtec_gives_parts_kinds_and_masks(tmp_path):
    tree(
        tmp_path,
        "bottle/train/good/000.png",
        "bottle/test/good/000.png",
        "bottle/test/crack/000.png",
        "bottle/ground_truth/crack/000_mask.png",
    )
    for root in (tmp_path, tmp_path / "bottle"):
        samples = read_layout(root)
        assert detect_layout(root) == "mvtec"
        assert ids_and_labels(samples) == [
            ("test/crack/000.png", 1),
            ("test/good/000.png", 0),
            ("train/good/000.png", 0),
        ]
        assert [sample.part for sample in samples] == ["test", "test", "train"]
        assert (samples[0].kind, samples[0].mask.name) == ("crack", "000_mask.png")


def test_several_mvtec_categories_are_not_thrown_together(tmp_path):
    for category in ("bottle", "cable"):
        tree(tmp_path, f"{category}/train/good/0.png", f"{category}/test/good/0.png", f"{category}/test/crack/0.png")
    assert "bottle, cable" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".bmp", ".png"])
def test_kolektorsdd_takes_the_label_from_the_mask_and_the_group_from_the_item(tmp_path, suffix):
    tree(tmp_path, "kos01/Part0.jpg", "kos01/Part1.jpg", "kos02/Part0.jpg")
    for item, part, marked in (("kos01", 0, 0), ("kos01", 1, 1), ("kos02", 0, 0)):
        mask(tmp_path / item / f"Part{part}_label{suffix}", marked)
    samples = read_layout(tmp_path)
    assert detect_layout(tmp_path) == "kolektorsdd"
    assert ids_and_labels(samples) == [("kos01/Part0.jpg", 0), ("kos01/Part1.jpg", 1), ("kos02/Part0.jpg", 0)]
    assert [sample.group for sample in samples] == ["kos01", "kos01", "kos02"]
    (tmp_path / "kos02" / f"Part0_label{suffix}").unlink()
    assert "Part0_label is missing" in refusal(tmp_path)


def test_kolektorsdd2_gives_parts_and_labels(tmp_path):
    tree(tmp_path, "train/10000.png", "train/10001.png", "test/20000.png")
    for name, marked in (("train/10000", 0), ("train/10001", 1), ("test/20000", 1)):
        mask(tmp_path / f"{name}_GT.png", marked)
    assert detect_layout(tmp_path) == "kolektorsdd2"
    assert ids_and_labels(read_layout(tmp_path)) == [
        ("test/20000.png", 1),
        ("train/10000.png", 0),
        ("train/10001.png", 1),
    ]


def test_magnetic_tiles_near_in_time_are_one_group(tmp_path):
    tree(
        tmp_path,
        "MT_Free/Imgs/exp1_num_1000.jpg",
        "MT_Crack/Imgs/exp2_num_1290.jpg",
        "MT_Crack/Imgs/exp2_num_1290.png",
        "MT_Crack/Imgs/exp3_num_1580.jpg",
        "MT_Free/Imgs/exp1_num_1900.jpg",
        "MT_Free/Imgs/exp1_num_1900.png",
    )
    samples = {sample.path.stem: sample for sample in read_layout(tmp_path)}
    assert detect_layout(tmp_path) == "magnetic_tile"
    assert (
        samples["exp1_num_1000"].group
        == samples["exp2_num_1290"].group
        == samples["exp3_num_1580"].group
        != samples["exp1_num_1900"].group
    )
    assert samples["exp2_num_1290"].mask.name == "exp2_num_1290.png"
    assert (samples["exp2_num_1290"].label, samples["exp2_num_1290"].kind) == (1, "Crack")
    assert (samples["exp1_num_1900"].label, samples["exp1_num_1900"].mask) == (0, None)


def test_dagm_takes_the_label_from_the_presence_of_a_mask(tmp_path):
    tree(
        tmp_path,
        "Train/0001.PNG",
        "Train/0002.PNG",
        "Train/Label/0002_label.PNG",
        "Train/Label/Labels.txt",
        "Test/0003.PNG",
        "Test/Label/0003_label.PNG",
    )
    samples = read_layout(tmp_path)
    assert detect_layout(tmp_path) == "dagm"
    assert ids_and_labels(samples) == [("Test/0003.PNG", 1), ("Train/0001.PNG", 0), ("Train/0002.PNG", 1)]
    assert samples[2].mask.name == "0002_label.PNG"


def test_elpv_takes_certain_monocrystalline_cells(tmp_path):
    lines = [
        "images/cell0001.png  1.0  mono",
        "images/cell0002.png  0.0 mono",
        "images/cell0003.png 0.3333333333333333 mono",
        "images/cell0004.png 1.0 poly",
    ]
    tree(tmp_path, *(f"data/images/cell000{n}.png" for n in range(1, 5)))
    (tmp_path / "data" / "labels.csv").write_text("\n".join(lines))
    assert detect_layout(tmp_path) == detect_layout(tmp_path / "data") == "elpv"
    assert ids_and_labels(read_layout(tmp_path)) == [("images/cell0001.png", 1), ("images/cell0002.png", 0)]


def test_a_sample_without_a_root_is_named_by_its_whole_path():
    assert Sample(path=Path("/a/b.png"), label=0, group="g").id == "/a/b.png"


@pytest.mark.parametrize("content", [b"path;note\nK\xf6rner.png;sch\xf6n\n", b'path,"label\n', b"\xff\xfe\x00"])
def test_a_table_beside_good_and_bad_that_cannot_be_read_is_passed_over(tmp_path, content):
    (tmp_path / "notes.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"notes\.csv: (cannot be read as UTF-8|not a CSV table)"):
        detect_layout(tmp_path)  # the only thing there
    tree(tmp_path, "good/1.png", "bad/2.png")
    assert detect_layout(tmp_path) == "folder"
    for name, layout in (("notes.csv", "auto"), (".", "table")):
        with pytest.raises(DataError, match=r"notes\.csv: (cannot be read as UTF-8|not a CSV table)"):
            read_layout(tmp_path / name, layout)
