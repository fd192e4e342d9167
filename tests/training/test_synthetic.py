"""Drawn defects repeat to the bit, show where they say, and leave everything else as it was."""

import numpy as np
import pytest

from weakspot.training.defect_fills import FILLS
from weakspot.training.defect_shapes import SHAPES
from weakspot.training.synthetic import contact_sheet, draw_defect, part_of


def surfaces(
    count: int = 4, shape: tuple[int, ...] = (1, 96, 80), dtype: type = np.uint8, grain: float = 6.0
) -> list[np.ndarray]:
    """Good images: bands from left to right, and grain."""
    rng = np.random.default_rng(7)
    scale = 1 if dtype == np.uint8 else 257
    bands = 120 + 30 * np.sin(np.arange(shape[2]) / 9)
    return [((bands + rng.normal(0, grain, shape)) * scale).clip(0, 255 * scale).astype(dtype) for _ in range(count)]


def disc_on_black(side: int = 96, radius: int = 20) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    part = np.hypot(y - side / 2, x - side / 2) < radius
    noise = np.random.default_rng(3).normal(0, 2, (1, side, side))
    return (10 + noise + part * 150).clip(0, 255).astype(np.uint8)


def test_the_same_generator_draws_the_same_defects():
    images = surfaces()
    one, other = (np.random.default_rng([5, 2]) for _ in range(2))
    for image in images:
        first, second = draw_defect(image, one, 20.0, images), draw_defect(image, other, 20.0, images)
        assert np.array_equal(first.image, second.image) and np.array_equal(first.cells, second.cells)


def test_a_stream_can_be_gone_on_with_from_the_generators_state():
    images, rng = surfaces(), np.random.default_rng(1)
    draw_defect(images[0], rng, 20.0, images)
    state = rng.bit_generator.state
    expected = draw_defect(images[1], rng, 20.0, images)
    resumed = np.random.default_rng(99)
    resumed.bit_generator.state = state
    assert np.array_equal(draw_defect(images[1], resumed, 20.0, images).image, expected.image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_depth_and_channels_stay_and_the_good_image_is_not_touched(dtype: type, channels: int):
    images = surfaces(shape=(channels, 70, 85), dtype=dtype)
    before, rng = [image.copy() for image in images], np.random.default_rng(0)
    std = float(images[0].std())
    for n in range(60):
        drawn = draw_defect(images[n % 4], rng, std, images)
        assert drawn.image.dtype == dtype and drawn.image.shape == (channels, 70, 85)
        assert drawn.cells.shape == (9, 11) and drawn.cells.dtype == bool
    assert all(np.array_equal(image, kept) for image, kept in zip(images, before))


def test_a_bad_cell_has_changed_and_shows_it_and_other_cells_have_hardly_changed():
    images, rng = surfaces(), np.random.default_rng(0)
    for n in range(200):
        image = images[n % 4]
        drawn = draw_defect(image, rng, 20.0, images)
        changed = (drawn.image != image).any(0).reshape(12, 8, 10, 8).sum((1, 3))
        assert (changed[drawn.cells] >= 3).all(), (drawn.shape, drawn.fill)
        assert drawn.cells.any() == (drawn.shape != "none")


def test_every_shape_and_every_fill_is_drawn_and_all_sizes_occur():
    images, rng = surfaces(), np.random.default_rng(0)
    drawn = [draw_defect(images[n % 4], rng, 20.0, images) for n in range(600)]
    assert {one.shape for one in drawn} - {"none"} == set(SHAPES)
    assert {one.fill for one in drawn} - {"none"} == set(FILLS)
    sizes = [one.cells.sum() for one in drawn]
    assert min(sizes) <= 1 and max(sizes) > 0.2 * 120 and sum(one.shape == "none" for one in drawn) < 6


def test_a_copy_of_the_same_grain_is_not_called_a_defect():
    """On pure grain a piece of it put elsewhere shows nothing and is not taught, unless it is brighter or darker."""
    images, rng = surfaces(grain=20.0), np.random.default_rng(0)
    flat = [(image.astype(float) - np.sin(np.arange(80) / 9) * 30).clip(0, 255).astype(np.uint8) for image in images]
    drawn = [draw_defect(flat[n % 4], rng, 20.0, flat) for n in range(400)]
    patches = [
        one.image.astype(float).mean(0)[one.cells.repeat(8, 0).repeat(8, 1)].mean()
        for one in drawn
        if one.fill == "patch"
    ]
    assert len(patches) > 5 and np.median(np.abs(np.array(patches) - 120)) > 5


def test_a_part_on_its_background_is_found_and_defects_lie_on_it():
    image, rng = disc_on_black(), np.random.default_rng(0)
    part = part_of(image, float(image.std()))
    assert part is not None and 0.7 < part.sum() / (np.pi * 20**2) < 1.4
    near = part.reshape(12, 8, 12, 8).any((1, 3))
    drawn = [draw_defect(image, rng, float(image.std()), (image,)) for _ in range(100)]
    on_part = sum((one.cells & near).sum() for one in drawn) / sum(one.cells.sum() for one in drawn)
    assert on_part > 0.65


def test_a_part_that_fills_the_image_has_no_background():
    assert all(part_of(image, 20.0) is None for image in surfaces())
    assert part_of(np.full((1, 64, 64), 90, np.uint8), 1.0) is None


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_surface_can_be_drawn_on(level: int):
    rng = np.random.default_rng(0)
    blank = np.full((1, 64, 64), level, np.uint8)
    assert sum(draw_defect(blank, rng, 5.0).cells.any() for _ in range(20)) > 10


def test_patches_come_from_images_of_other_sizes_too():
    rng, others = np.random.default_rng(0), surfaces(shape=(1, 33, 150))
    for _ in range(100):
        draw_defect(surfaces(1)[0], rng, 20.0, others)


def test_the_contact_sheet_outlines_what_is_taught():
    sheet = contact_sheet(surfaces(), np.random.default_rng(0), 20.0, count=8, columns=4)
    assert sheet.dtype == np.uint8 and sheet.ndim == 3 and sheet.shape[2] == 3
    assert sheet.shape[0] == 2 * (96 * 2 + 4) and sheet.shape[1] == 4 * (80 * 2 + 4)
    assert (sheet == (255, 0, 0)).all(-1).sum() > 100


def test_the_contact_sheet_takes_colour_in_16_bits():
    sheet = contact_sheet(
        surfaces(shape=(3, 64, 64), dtype=np.uint16), np.random.default_rng(0), 5000.0, count=3, columns=2
    )
    assert sheet.shape[2] == 3 and 50 < np.median(sheet) < 200


def test_good_images_may_come_as_one_array():
    stack = np.stack(surfaces())
    one, other = (draw_defect(stack[0], np.random.default_rng(4), 20.0, others) for others in (stack, list(stack)))
    assert np.array_equal(one.image, other.image)
