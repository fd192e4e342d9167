import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weakspot.inspection.inspection import ImageInfo, Inspection, ModelInfo, sigmoid
from weakspot.inspection.overlay import TURBO, colour, heat_map_png, heat_on_picture, overlay_png, render

ROOT = Path(__file__).parents[2]


def inspection(heat: np.ndarray, decision: str = "bad") -> Inspection:
    return Inspection(
        image=ImageInfo(None),
        model=ModelInfo("m", "0" * 64),
        decision=decision,
        defect_score=0.987,
        raw_score=4.3,
        heat_score=1.0,
        bad_from=0.0,
        good_below=0.0,
        heat_map=heat.astype(np.float32),
    )


def test_cold_parts_of_the_picture_stay_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96)).astype(np.uint8)
    over = render(pixels, inspection(np.zeros((8, 12))))
    assert np.array_equal(over[:64], np.dstack([pixels] * 3))
    assert over.shape[0] > 64
    assert over.shape[1:] == (96, 3)


def test_the_scale_is_fixed_whatever_else_the_picture_holds():
    """The same heat has the same colour beside a hotter place and without one."""
    pixels = np.full((64, 96), 100, np.uint8)
    alone, beside = np.zeros((8, 12)), np.zeros((8, 12))
    alone[:3, :3] = beside[:3, :3] = 0.5
    beside[5:, 9:] = 1.0
    assert np.array_equal(render(pixels, inspection(alone))[:16, :16], render(pixels, inspection(beside))[:16, :16])


def test_heat_that_is_no_defect_is_not_coloured_and_what_is_hot_is():
    pixels = np.full((64, 96), 100, np.uint8)
    for heat, coloured in ((0.17, False), (0.35, False), (0.4, False), (0.5, True), (0.9, True)):
        over = render(pixels, inspection(np.full((8, 12), heat)))[:64]
        assert (over != 100).any() == coloured, heat


@pytest.mark.parametrize(
    ("raw", "good_below", "bad_from", "decision", "said"),
    [
        (9.3, 8.1, 12.1, "review", "raw 9.3 < 12.1"),
        (13.0, 8.1, 12.1, "bad", "raw 13 >= 12.1"),
        (7.9, 8.1, 12.1, "good", "raw 7.9 < 8.1"),
        (-9.3, -8.1, 0.0, "good", "raw -9.3 < -8.1"),
        (1.0, -1.0, 2.0, "review", "0.731"),
    ],
)
def test_a_score_never_reads_as_a_thresholds_other_side(raw, good_below, bad_from, decision, said):
    score = {"raw_score": raw, "defect_score": sigmoid(raw), "good_below": good_below, "bad_from": bad_from}
    assert replace(inspection(np.zeros((8, 12)), decision), **score).score_text(3) == said


def test_a_decision_is_told_where_its_score_has_no_room():
    pixels, cold = np.zeros((150, 200), np.uint8), inspection(np.zeros((19, 25)), "review")
    long = replace(cold, raw_score=9.31234, defect_score=sigmoid(9.31234), bad_from=12.1234)
    assert (render(pixels, long)[150:, :80] > 128).any()


def test_a_hot_place_is_half_its_colour():
    over = render(np.full((64, 96), 100, np.uint8), inspection(np.full((8, 12), 0.75)))
    assert np.abs(over[10, 10].astype(int) - (colour(np.array(0.75)).astype(int) + 100) / 2).max() <= 1


def test_the_legend_runs_from_cold_to_hot():
    for size in [(64, 64), (96, 64), (64, 640), (1408, 512)]:
        over = render(np.zeros(size, np.uint8), inspection(np.zeros((size[0] // 8, size[1] // 8))))
        row = over[(size[0] + over.shape[0]) // 2].astype(int)
        cold, hot = (np.abs(row - end).sum(1) for end in (TURBO[0], TURBO[255]))
        assert (cold.min(), hot.min()) == (0, 0)
        assert cold.argmin() < hot.argmin()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((64, 96), np.uint8),
        np.zeros((64, 96, 3), np.uint8),
        np.zeros((64, 96), np.uint16),
        np.zeros((64, 96, 3), np.uint16),
    ],
)
def test_every_kind_of_picture_can_be_shown(pixels):
    assert render(pixels, inspection(np.ones((8, 12)))).dtype == np.uint8


def test_sixteen_bits_are_shown_by_their_depth():
    pixels = np.full((64, 96), 40_000, np.uint16)
    assert render(pixels, inspection(np.zeros((8, 12))))[5, 5, 0] == round(40_000 / 257)


@pytest.mark.parametrize(("size", "shown"), [
    ((64, 96), (64, 96)), ((2048, 1024), (2048, 1024)), ((1024, 4096), (512, 2048)), ((5000, 3000), (2048, 1229)),
    ((8, 40_000), (1, 2048)),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_overlay_is_at_most_2048_pixels_long(size, shown, dtype):
    over = render(np.full(size, 100 * (257 if dtype == np.uint16 else 1), dtype), inspection(np.zeros((8, 12))))
    assert (over.shape[0] > shown[0], over.shape[1]) == (True, shown[1])
    assert (over[: shown[0]] == 100).all()


@pytest.mark.parametrize(("dtype", "colours"), [("uint16", ""), ("uint8", ", 3")])
def test_an_overlay_of_62_megapixels_takes_little_more_memory_than_the_picture(dtype, colours):
    """In a process of its own, since memory is counted from its highest point."""
    script = (
        "import resource, numpy as np; from tests.inspection.test_overlay import inspection\n"
        "from weakspot.inspection.overlay import overlay_png\n"
        f"pixels = np.full((7936, 7812{colours}), 100, np.{dtype}); pixels[0] = 1\n"
        "overlay_png(pixels[:99, :99], inspection(np.zeros((8, 12))))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "overlay_png(pixels, inspection(np.zeros((8, 12))))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < 500  # MiB


def test_an_overlay_is_a_png_without_metadata():
    image = Image.open(io.BytesIO(overlay_png(np.zeros((64, 96), np.uint8), inspection(np.ones((8, 12))))))
    assert (image.format, image.mode, image.info) == ("PNG", "RGB", {})


def test_the_raw_map_keeps_its_values_in_sixteen_bits():
    heat = np.linspace(0, 1, 96, dtype=np.float32).reshape(8, 12)
    stored = np.asarray(Image.open(io.BytesIO(heat_map_png(heat))))
    assert stored.dtype == np.uint16
    assert np.abs(stored / 65535 - heat).max() < 1e-5


def test_heat_is_spread_over_the_picture_in_place():
    heat = np.zeros((8, 12), np.float32)
    heat[2, 3] = 1
    spread = heat_on_picture(heat, 640, 960)
    assert spread.shape == (640, 960)
    assert np.unravel_index(spread.argmax(), spread.shape)[0] // 80 == 2
    assert np.unravel_index(spread.argmax(), spread.shape)[1] // 80 == 3


@pytest.mark.parametrize("side", [65, 70, 100, 500])
def test_heat_lies_in_place_where_the_size_is_no_whole_number_of_cells(side):
    cells = -(-side // 8)
    heat = np.zeros((cells, cells), np.float32)
    heat[:, cells - 2] = 1
    spread = heat_on_picture(heat, side, side, (side, side))[side // 2]
    first = 8 * (cells - 2)
    assert spread[first + 3 : first + 5].min() > 0.9, "in the middle of the cell"
    assert spread[first - 1] == pytest.approx(spread[first + 8] if side > first + 8 else 0.4375, abs=1e-3)


def test_the_colours_are_turbo():
    matplotlib = pytest.importorskip("matplotlib")
    original = np.array(matplotlib.colormaps["turbo"].colors) * 255
    assert np.abs(TURBO - original).max() <= 3
