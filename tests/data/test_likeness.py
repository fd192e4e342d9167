"""Pictures of the same are found, whatever was done to the file; parts that only look alike are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from weakspot.data.likeness import near_pairs, thumbnail


def rough(count, seed=0, shape=(200, 160)):
    """Even surfaces, each with a texture of its own, under one broad light."""
    rng = np.random.default_rng(seed)
    light = np.add.outer(np.linspace(0, 60, shape[0]), np.linspace(0, 40, shape[1]))
    return [
        np.clip(90 + light + 40 * gaussian_filter(rng.normal(size=shape), 3), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def machined(count, seed=0):
    """Parts of one drawing in a fixture: each a little moved and turned, with a faint texture of its own, in other
    light and noise."""
    rng = np.random.default_rng(seed)
    drawing = Image.new("L", (160, 128), 60)
    pen = ImageDraw.Draw(drawing)
    pen.rounded_rectangle((15, 15, 145, 113), 10, fill=150)
    for x, y, radius in ((40, 40, 10), (120, 40, 10), (80, 64, 22), (40, 90, 6), (120, 90, 6)):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=30, outline=220, width=2)
    parts = []
    for _ in range(count):
        textured = np.asarray(drawing, np.float32) + 12 * gaussian_filter(rng.normal(size=(128, 160)), 2)
        placed = Image.fromarray(np.clip(textured, 0, 255).astype(np.uint8)).rotate(
            rng.normal(0, 0.3), Image.Resampling.BICUBIC, translate=tuple(rng.normal(0, 1, 2))
        )
        parts.append(
            np.clip(np.asarray(placed) * rng.uniform(0.85, 1.15) + rng.normal(0, 2, (128, 160)), 0, 255).astype(
                np.uint8
            )
        )
    return parts


def found(pictures):
    return [(pair.first, pair.second) for pair in near_pairs(np.stack([thumbnail(picture) for picture in pictures]))]


def as_jpeg(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def noisy(picture):
    return np.clip(picture + np.random.default_rng(5).normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


CHANGES = {
    "compressed": as_jpeg,
    "smaller": lambda p: np.asarray(Image.fromarray(p).resize((p.shape[1] * 3 // 4, p.shape[0] * 3 // 4))),
    "darker": lambda p: (p * 0.7).astype(np.uint8),
    "noisier": noisy,
    "in 16 bits": lambda p: p.astype(np.uint16) * 257,
    "in colour": lambda p: np.repeat(p[..., None], 3, axis=2),
}
TURNS = {
    "mirrored left–right": lambda p: p[:, ::-1],
    "mirrored top–bottom": lambda p: p[::-1],
    "turned by 90°": lambda p: np.rot90(p, -1),
    "turned by 180°": lambda p: np.rot90(p, 2),
    "turned by 270°": lambda p: np.rot90(p, 1),
    "mirrored left–right and turned by 90°": lambda p: np.rot90(p[:, ::-1], -1),
    "mirrored left–right and turned by 270°": lambda p: np.rot90(p[:, ::-1], 1),
}


@pytest.mark.parametrize("kind", [rough, machined])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_is_found_and_no_other_pair(kind, change):
    pictures = kind(30)
    pictures += [change(pictures[3]), change(pictures[17])]
    assert found(pictures) == [(3, 30), (17, 31)]


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_copy_is_found_with_its_turn(turn):
    pictures = rough(20)
    pictures.append(np.ascontiguousarray(TURNS[turn](pictures[3])))
    pairs = near_pairs(np.stack([thumbnail(picture) for picture in pictures]))
    assert [(pair.first, pair.second) for pair in pairs] == [(3, 20)]
    assert pairs[0].turn == turn


@pytest.mark.parametrize("count", [2, 5, 11, 12, 20, 60, 200])
def test_parts_that_only_look_alike_are_not_called_copies(count):
    assert len(found(machined(count))) <= 1
    assert found(rough(count)) == []


def test_a_family_of_copies_is_found_whole():
    pictures = rough(60)
    pictures += [noisy(pictures[0]), as_jpeg(pictures[0]), (pictures[0] * 0.8).astype(np.uint8)]
    assert found(pictures) == [
        (first, second) for first in (0, 60, 61, 62) for second in (60, 61, 62) if first < second
    ]


def test_of_few_pictures_only_the_same_pixels_are_called_copies():
    pictures = machined(6)
    assert found([*pictures, np.ascontiguousarray(np.repeat(pictures[2][:, ::-1, None], 3, axis=2))]) == [(2, 6)]
    assert found(pictures[:1]) == []


def test_pictures_without_texture_are_like_nothing():
    assert found([np.full((64, 64), level, np.uint8) for level in (0, 0, 9, 255)] * 5) == []


def test_the_answer_does_not_depend_on_chance():
    pictures = [*machined(40), *machined(40)[:3]]
    assert found(pictures) == found(pictures)
