"""Which pictures are meant by files, folders and patterns."""

from weakspot.inspection.sources import list_images


def test_names_are_found_once_in_a_fixed_order(parts):
    found = list_images([parts / "sub", parts, str(parts / "*.png"), parts / "good.png"])
    assert [path.name for path in found] == ["doubtful.bmp", "bad.tif", "cut.png", "good.png"]
    assert found == list_images([parts / "sub", parts])


def test_patterns_take_pictures_alone_and_a_name_that_exists_is_no_pattern(parts):
    assert [path.name for path in list_images([str(parts / "*")])] == ["cut.png", "good.png", "doubtful.bmp", "bad.tif"]
    assert [path.name for path in list_images([str(parts / "**" / "*.tif")])] == ["bad.tif"]
    (parts / "[x].png").write_bytes(b"")
    (parts / "x.png").write_bytes(b"")
    assert [path.name for path in list_images([parts / "[x].png"])] == ["[x].png"]


def test_links_to_folders_are_not_followed_so_that_a_ring_ends(parts):
    (parts / "ring").symlink_to(parts)
    assert len(list_images([parts])) == 4
