import io

import numpy as np
import pytest
from PIL import Image

from weakspot.inspection.inspection import ImageInfo, Inspection, ModelInfo
from weakspot.inspection.overlay import TURBO, colour, heat_map_png, heat_on_picture, overlay_png, render


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


def test_full_opacity_shows_the_bare_colours():
    heat = np.full((8, 12), 0.75)
    over = render(np.full((64, 96), 100, np.uint8), inspection(heat), opacity=1.0)
    assert np.array_equal(over[10, 10], colour(np.array(0.75)))


def test_the_legend_runs_from_cold_to_hot():
    for size in [(64, 64), (96, 64), (64, 640), (1408, 512)]:
        over = render(np.zeros(size, np.uint8), inspection(np.zeros((size[0] // 8, size[1] // 8))))
        row = over[(size[0] + over.shape[0]) // 2].astype(int)
        cold, hot = (np.abs(row - end).sum(1) for end in (TURBO[0], TURBO[255]))
        assert (cold.min(), hot.min()) == (0, 0)
        assert cold.argmin() < hot.argmin()


def test_the_mask_is_outlined_and_hides_nothing_of_the_defect():
    mask = np.zeros((64, 96), bool)
    mask[20:40, 20:60] = mask[50, 0:90] = True
    plain = render(np.full((64, 96), 100, np.uint8), inspection(np.zeros((8, 12))))
    over = render(np.full((64, 96), 100, np.uint8), inspection(np.zeros((8, 12))), mask)
    changed = (over != plain).any(2)
    assert changed[19, 20:60].all()
    assert changed[20:40, 60].all()
    assert changed[[49, 51], 0:90].all()
    assert not changed[:64][mask].any()
    assert changed.sum() < 2 * 2 * (20 + 40 + 90) + 20


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


def test_the_colours_are_turbo():
    matplotlib = pytest.importorskip("matplotlib")
    original = np.array(matplotlib.colormaps["turbo"].colors) * 255
    assert np.abs(TURBO - original).max() <= 3
