"""Whether the heat lies on the defect: cells and pixels against brute force, and the error that counting in steps is
said to have."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from weakspot.errors import MetricError
from weakspot.evaluation import localization


def heat_with(*hot, shape=(6, 8), value=0.9):
    heat = np.full(shape, 0.1, dtype=np.float32)
    for cell in hot:
        heat[cell] = value
    return heat


def mask_with(rows, columns, shape=(48, 64)):
    mask = np.zeros(shape, dtype=bool)
    mask[rows, columns] = True
    return mask


def pixel_metrics(heats, masks, limit=0.3):
    pixels = localization.PixelHeat()
    for heat, mask in zip(heats, masks, strict=True):
        pixels.add(heat, mask)
    return localization.as_metrics(pixels, limit)


def naive_cells(mask, height, width):
    cells = np.zeros((height, width), dtype=bool)
    for y, x in np.argwhere(mask):
        for i in range(height):
            for j in range(width):
                down = i * mask.shape[0] < (y + 1) * height and y * height < (i + 1) * mask.shape[0]
                across = j * mask.shape[1] < (x + 1) * width and x * width < (j + 1) * mask.shape[1]
                cells[i, j] |= down and across
    return cells


def naive_aupro(heats, masks, limit):
    """Threshold by threshold: the share of good pixels called bad, and the mean over defects of their share called
    bad."""
    flat, good = np.concatenate([h.ravel() for h in heats]), np.concatenate([(~m).ravel() for m in masks])
    defects = [(heat, labels == number) for heat, mask in zip(heats, masks, strict=True)
               for labels, n in [ndimage.label(mask, np.ones((3, 3)))] for number in range(1, n + 1)]  # fmt: skip
    points = [(0.0, 0.0)]
    for cut in np.unique(flat)[::-1]:
        points.append(
            ((flat[good] >= cut).mean(), float(np.mean([(heat[where] >= cut).mean() for heat, where in defects])))
        )
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 > limit and x1 > x0:
            y1, x1 = y0 + (y1 - y0) * max(0.0, limit - x0) / (x1 - x0), limit
        if x1 > x0:
            area += (x1 - x0) * (y0 + y1) / 2
        if x1 >= limit:
            break
    return area / limit


@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))), st.integers(1, 12), st.integers(1, 12))
def test_a_cell_is_bad_where_it_overlaps_any_pixel_of_the_mask(mask, height, width):
    assert (localization.cells_of_mask(mask, height, width) == naive_cells(mask, height, width)).all()


@pytest.mark.parametrize(
    ("hottest", "hit"), [((2, 3), True), ((4, 5), True), ((2, 1), True), ((5, 3), False), ((2, 6), False)]
)
def test_a_hit_is_at_most_two_cells_beside_the_mask(hottest, hit):
    mask = mask_with(slice(16, 20), slice(24, 28))  # cell (2, 3)
    assert localization.is_hit(heat_with(hottest), mask) is hit


def test_a_map_that_is_equally_hot_elsewhere_has_not_found_the_defect():
    mask = mask_with(slice(16, 20), slice(24, 28))
    assert localization.is_hit(heat_with((2, 3), (2, 4)), mask)
    assert not localization.is_hit(heat_with((2, 3), (0, 7)), mask)
    assert not localization.is_hit(np.zeros((6, 8), dtype=np.float32), mask)


def test_cells_as_hot_as_the_threshold_are_held_against_the_bad_ones():
    mask, heat = mask_with(slice(16, 20), slice(24, 28)), heat_with((2, 3), (2, 4), (5, 7))
    assert localization.cell_iou_of(heat_with((2, 3)), mask, threshold=0.5) == 1
    assert localization.cell_iou_of(heat, mask, threshold=0.5) == pytest.approx(1 / 3)
    assert localization.cell_iou_of(heat, mask, threshold=0.95) == 0


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 1.0]), st.booleans())
def test_pixel_metrics_equal_brute_force_within_the_error_they_state(seed, limit, tied):
    generator = np.random.default_rng(seed)
    heats = [(generator.random((6, 7)) ** 4).astype(np.float32) for _ in range(3)]
    if tied:
        heats = [np.round(heat * 4).astype(np.float32) / 4 for heat in heats]
    masks = [generator.random((6, 7)) < 0.2 for _ in range(2)] + [np.zeros((6, 7), dtype=bool)]
    masks[0][0, 0] = True
    flat, truth = np.concatenate([heat.ravel() for heat in heats]), np.concatenate([mask.ravel() for mask in masks])
    found = pixel_metrics(heats, masks, limit)
    assert abs(found["pixel_auroc"] - roc_auc_score(truth, flat)) <= found["pixel_auroc_error"] + 1e-12
    assert abs(found["pixel_ap"] - average_precision_score(truth, flat)) <= found["pixel_ap_error"] + 1e-12
    assert abs(found["pixel_aupro"] - naive_aupro(heats, masks, limit)) <= found["pixel_aupro_error"] + 1e-9


def test_heat_that_the_steps_cannot_tell_apart_widens_the_stated_error_to_hold_the_exact_figure():
    generator = np.random.default_rng(0)
    heat = (0.3 + 1e-6 * generator.random((20, 20))).astype(np.float32)  # all in one or two steps
    mask = heat > np.quantile(heat, 0.9)
    pixels = localization.PixelHeat()
    pixels.add(heat, mask)
    for metric, exact in ((pixels.auroc(), 1.0), (pixels.average_precision(), 1.0), (pixels.aupro(), 1.0)):
        assert metric.error > 0.01
        assert abs(metric.value - exact) <= metric.error + 1e-12


@given(hnp.arrays(np.float32, (1, 50), elements=st.floats(0, 1, width=32)))
def test_steps_rise_with_the_heat_from_end_to_end(heat):
    steps = localization._steps(np.sort(heat))
    assert (np.diff(steps) >= 0).all()


def test_the_two_halves_of_the_steps_meet_at_one_half():
    half = np.float32(0.5)
    lowest, below, above, highest = localization._steps(
        np.array([[0, np.nextafter(half, np.float32(0)), half, 1]], dtype=np.float32)
    )
    assert lowest == 0
    assert below < above == highest - below - 1


def test_heat_near_one_is_told_apart_as_finely_as_near_zero():
    low = np.float32([[1e-4, 1.001e-4]])
    assert np.diff(localization._steps(low))[0] > 0
    assert np.diff(localization._steps(1 - low))[0] < 0


def test_a_small_defect_weighs_as_much_as_a_large_one_in_aupro_alone():
    mask = np.zeros((40, 40), dtype=bool)
    mask[5:25, 5:25], mask[35, 35] = True, True
    heat = mask.astype(np.float32)
    heat[35, 35] = 0
    found = pixel_metrics([heat], [mask])
    assert found["pixel_aupro"] == pytest.approx(0.5, abs=0.08)
    assert found["pixel_ap"] > 0.99


def test_defects_that_touch_at_a_corner_are_one():
    pixels = localization.PixelHeat()
    pixels.add(np.eye(4, dtype=np.float32), np.eye(4, dtype=bool))
    assert pixels.defects == 1


def test_heat_is_stretched_over_the_picture_with_cells_kept_in_place():
    stretched = localization.resize_to_picture(heat_with((2, 3)), 48, 64)
    assert np.unravel_index(stretched.argmax(), stretched.shape) in [(y, x) for y in (19, 20) for x in (27, 28)]
    assert stretched.min() >= 0
    assert localization.resize_to_picture(heat_with((2, 3)), 6, 8) == pytest.approx(heat_with((2, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.01])
def test_heat_that_is_none_is_refused(value):
    heat, mask = heat_with((2, 3), value=value), mask_with(slice(16, 20), slice(24, 28))
    for measure in (
        localization.is_hit,
        lambda h, m: localization.cell_iou_of(h, m, 0.5),
        lambda h, m: localization.PixelHeat().add(h, m),
    ):
        with pytest.raises(MetricError, match="0 to 1"):
            measure(heat, mask)


def test_a_mask_that_marks_nothing_gives_no_figure():
    with pytest.raises(MetricError, match="marks nothing"):
        localization.is_hit(heat_with((2, 3)), np.zeros((48, 64), dtype=bool))
    with pytest.raises(MetricError, match="need both"):
        pixel_metrics([heat_with((2, 3))], [np.zeros((48, 64), dtype=bool)])
    with pytest.raises(MetricError, match="need both"):
        pixel_metrics([heat_with((2, 3))], [np.ones((48, 64), dtype=bool)])
