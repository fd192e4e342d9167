"""Which pictures are meant by files, folders and patterns, and what is said of the rest."""

import os
import re

import pytest

from weakspot.errors import DataError
from weakspot.inspection.sources import FEW, are_few, find_images


def names(*paths):
    return [path.name for path in find_images(paths).images]


def test_names_are_found_once_in_a_fixed_order(parts):
    assert names(parts / "sub", parts, str(parts / "*.png"), parts / "good.png") == [
        "doubtful.bmp",
        "bad.tif",
        "cut.png",
        "good.png",
    ]
    assert find_images([parts / "sub", parts, parts]) == find_images([parts / "sub", parts])


def test_a_handful_of_files_named_one_by_one_is_few(parts):
    assert are_few([parts / "good.png"]) and are_few([str(parts / "good.png")] * FEW)
    assert not are_few([parts / "good.png"] * (FEW + 1))
    assert (
        not are_few([parts])
        and not are_few([parts / "good.png", str(parts / "*.png")])
        and not are_few([parts / "missing.png"])
    )


def test_patterns_take_pictures_alone_and_a_name_that_exists_is_no_pattern(parts):
    assert names(str(parts / "*")) == ["cut.png", "good.png", "doubtful.bmp", "bad.tif"]
    assert names(str(parts / "**" / "*.tif")) == ["bad.tif"]
    (parts / "[x].png").write_bytes(b"")
    (parts / "x.png").write_bytes(b"")
    assert names(parts / "[x].png") == ["[x].png"]


def test_links_to_folders_are_not_followed_so_that_a_ring_ends_and_are_told_of(parts):
    (parts / "ring").symlink_to(parts)
    found = find_images([parts])
    assert len(found.images) == 4
    assert (
        found.passed_over
        == f"1 linked folder, such as {parts / 'ring'}; name them themselves if they shall be inspected"
    )
    assert len(find_images([parts / "ring"]).images) == 4


def test_pictures_of_kinds_that_are_not_read_are_taken_so_that_each_is_refused_by_name(parts):
    for name in ("a.gif", "b.WebP", "c.ico", "d.heic"):
        (parts / name).touch()
    assert (
        names(parts)
        == names(str(parts / "*"))
        == ["a.gif", "b.WebP", "c.ico", "cut.png", "d.heic", "good.png", "doubtful.bmp", "bad.tif"]
    )


def test_files_that_may_be_pictures_are_passed_over_with_a_word_and_texts_without_one(parts):
    assert find_images([parts]).passed_over == ""
    (parts / "0001").touch()
    (parts / "scan.001").touch()
    (parts / ".DS_Store").touch()
    assert find_images([parts]).passed_over.startswith(
        f"2 files without a picture's ending, such as {parts / '0001'}; "
    )
    assert find_images([str(parts / "*")]).passed_over == find_images([parts]).passed_over
    found = find_images([parts, parts / "0001"])
    assert [path.name for path in found.images][-1] == "0001" and [path.name for path in found.others] == ["scan.001"]


def test_where_no_picture_is_found_it_is_said_what_is_there(tmp_path):
    (tmp_path / "0001").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"no pictures found in .* \(passed over: 2 files without .*\); give files"):
        find_images([tmp_path])


@pytest.mark.parametrize("empty", ["nothing", "nothing/*.png", "beside"])
def test_a_folder_or_pattern_without_pictures_beside_others_is_told(parts, tmp_path, empty):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "scan").touch()
    with pytest.raises(DataError, match=rf"no pictures found in {re.escape(str(tmp_path / empty))}(;| \(passed over)"):
        find_images([parts, tmp_path / empty])


def test_hidden_files_in_a_folder_are_passed_over_without_a_word(parts):
    before = find_images([parts])
    for name in (".hidden.png", "._good.png", ".DS_Store"):
        (parts / name).write_bytes(b"a Mac left it")
    assert find_images([parts]) == before
    assert names(parts / ".hidden.png") == [".hidden.png"], "one that is named is meant"
