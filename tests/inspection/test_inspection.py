import json
import math
import re

import numpy as np
import pytest

from weakspot.errors import ImageError, SettingsError
from weakspot.inspection.inspection import (
    ROW,
    ImageInfo,
    Inspection,
    ModelInfo,
    NotInspected,
    Region,
    Thresholds,
    decide,
    find_regions,
    flat_row,
    now,
    sigmoid,
)

THRESHOLDS = Thresholds(bad_from=2.0, good_below=-1.0, rule="best_f1", chosen_on="out of fold")


def made(**changes) -> Inspection:
    values = {
        "image": ImageInfo("a.png", "0" * 64, 96, 64),
        "model": ModelInfo("made", "1" * 64),
        "decision": "bad",
        "defect_score": sigmoid(3.0),
        "raw_score": 3.0,
        "heat_score": 4.0,
        "bad_from": 2.0,
        "good_below": -1.0,
        "heat_map": np.zeros((8, 12), np.float32),
        "regions": (Region(8, 16, 24, 8, 3, 0.9), Region(0, 0, 8, 8, 1, 0.6)),
        "milliseconds": {"read": 1.23456, "infer": 2.0, "total": 3.3},
    }
    return Inspection(**(values | changes))


def test_the_decision_changes_exactly_at_the_thresholds():
    cases = {
        2.0: "bad",
        1e300: "bad",
        math.nextafter(2.0, 0): "review",
        -1.0: "review",
        math.nextafter(-1.0, -2): "good",
        -1e300: "good",
    }
    assert {score: decide(score, THRESHOLDS) for score in cases} == cases


def test_without_a_gap_nothing_is_for_review():
    together = Thresholds(bad_from=0.5, good_below=0.5, rule="", chosen_on="")
    assert [decide(score, together) for score in (0.49, 0.5, 0.51)] == ["good", "bad", "bad"]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_decides_nothing(score):
    with pytest.raises(ImageError, match="not judged"):
        decide(score, THRESHOLDS)


@pytest.mark.parametrize("region_from", [0.0, -1.0, 1.5, math.nan])
def test_a_heat_that_marks_everything_or_nothing_is_refused(region_from):
    with pytest.raises(SettingsError, match="region_from"):
        Thresholds(bad_from=0, good_below=0, rule="", chosen_on="", region_from=region_from)


def test_the_sigmoid_neither_overflows_nor_leaves_its_range():
    assert sigmoid(0.0) == 0.5
    assert (sigmoid(-1000.0), sigmoid(1000.0)) == (0.0, 1.0)
    assert sigmoid(2.0) == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert sigmoid(-2.0) == pytest.approx(1 - sigmoid(2.0))


def test_touching_cells_are_one_region_diagonals_too_and_the_hottest_comes_first():
    heat = np.zeros((4, 6), np.float32)
    heat[0, 0], heat[1, 1] = 0.6, 0.7
    heat[3, 4:] = 0.9, 0.5
    assert find_regions(heat, 32, 48, 0.5) == (
        Region(x=32, y=24, width=16, height=8, cells=2, score=pytest.approx(0.9)),
        Region(x=0, y=0, width=16, height=16, cells=2, score=pytest.approx(0.7)),
    )


def test_no_hot_cell_no_region_and_all_hot_one_region_of_the_whole_picture():
    assert find_regions(np.full((4, 6), 0.49, np.float32), 500, 301, 0.5) == ()
    assert find_regions(np.full((4, 6), 0.5, np.float32), 500, 301, 0.5) == (Region(0, 0, 301, 500, 24, 0.5),)


def test_regions_cover_their_cells_on_pictures_of_any_size():
    """Every pixel in a hot cell lies in the box; the box exceeds its cells by less than a pixel on each side."""
    for height, width in [(64, 96), (61, 93), (1000, 77), (5, 7)]:
        heat = np.zeros((8, 12), np.float32)
        heat[3, 5:7] = 1
        (region,) = find_regions(heat, height, width, 0.5)
        left, right, top, bottom = width * 5 / 12, width * 7 / 12, height * 3 / 8, height * 4 / 8
        assert left - 1 < region.x <= left
        assert right <= region.x + region.width < right + 1
        assert top - 1 < region.y <= top
        assert bottom <= region.y + region.height < bottom + 1


@pytest.mark.parametrize("side", [65, 70, 100, 130, 500])
@pytest.mark.parametrize("scale", [1, 3])
def test_regions_lie_on_their_cells_where_the_size_is_no_whole_number_of_them(side, scale):
    cells = -(-side // 8)
    for cell in (cells - 2, cells - 1):
        heat = np.zeros((cells, cells), np.float32)
        heat[cell, cell] = 1
        (region,) = find_regions(heat, scale * side, scale * side, 0.5, (side, side))
        assert (region.x, region.x + region.width) == (8 * cell * scale, min(8 * cell + 8, side) * scale)
        assert (region.y, region.height) == (region.x, region.width)


def test_a_ring_and_what_lies_inside_it_are_two_regions():
    heat = np.zeros((5, 5), np.float32)
    heat[[0, 4], :] = heat[:, [0, 4]] = 0.8
    heat[2, 2] = 0.9
    assert [region.cells for region in find_regions(heat, 40, 40, 0.5)] == [1, 16]


def test_a_result_is_plain_json():
    published = made(warnings=("a note",)).as_dict("heat_maps/1.png", "overlays/1.png")
    assert json.loads(json.dumps(published, allow_nan=False)) == published
    assert published["regions"][0] == {"x": 8, "y": 16, "width": 24, "height": 8, "cells": 3, "score": 0.9}
    assert published["heat_map"] == {"path": "heat_maps/1.png", "overlay": "overlays/1.png"}
    assert published["milliseconds"]["read"] == 1.235
    assert "heat_score" not in published


def test_a_row_is_the_flat_subset_with_the_hottest_region():
    row = flat_row(made().as_dict())
    assert tuple(row) == ROW
    assert (row["regions"], row["region_x"], row["region_score"]) == (2, 8, 0.9)
    assert (row["image_path"], row["model_name"], row["reason"]) == ("a.png", "made", None)
    assert flat_row(made(regions=()).as_dict())["region_x"] is None


def test_a_refused_picture_has_the_same_columns_and_no_score():
    row = flat_row(NotInspected(ImageInfo("b.png"), ModelInfo("made", "1" * 64), "cut short").as_dict())
    assert tuple(row) == ROW
    assert (row["decision"], row["reason"], row["raw_score"], row["regions"]) == (
        "not inspected",
        "cut short",
        None,
        None,
    )


def test_names_that_are_no_unicode_are_written_as_escapes():
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    for entry in (
        made(image=ImageInfo(name, "0" * 64, 1, 1)),
        NotInspected(ImageInfo(name), ModelInfo("m", "1" * 64), f"{name}: no"),
    ):
        assert entry.as_dict()["image"]["path"] == "caf\\udce9.png"
        json.dumps(entry.as_dict(), ensure_ascii=False).encode("utf-8")


def test_every_inspection_has_its_own_id_and_a_time_in_utc():
    assert made().id != made().id
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now())
