"""What is unlike the training pictures is never called good."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from weakspot.inspection.drift import FEWEST, changes, figures, unlike, usual_of
from weakspot.inspection.folder import inspect_folder
from weakspot.inspection.manifest import Usual


def part(seed: int, light: int = 0) -> np.ndarray:
    """A dark picture with a lighter bar, and noise; its raw score is low."""
    pixels = np.random.default_rng(seed).integers(20, 60, (64, 96)) + light + seed % 5
    pixels[20:40, 10:50] += 30
    return pixels.clip(0, 255).astype(np.uint8)


def blurred(pixels: np.ndarray) -> np.ndarray:
    return np.mean([np.roll(pixels, (i, j), (0, 1)) for i in range(-2, 3) for j in range(-2, 3)], axis=0).astype(
        np.uint8
    )


CHANGED = {
    "brightness": lambda pixels: np.clip(pixels.astype(int) + 60, 0, 255).astype(np.uint8),
    "contrast": lambda pixels: np.clip(pixels.astype(int) * 2 - 50, 0, 255).astype(np.uint8),
    "sharpness": blurred,
    "likeness": lambda pixels: np.roll(pixels, (25, 40), (0, 1)),
}


@pytest.fixture(scope="module")
def usual() -> Usual:
    found = usual_of([part(seed)[None] for seed in range(20)])
    assert found is not None
    return found


@pytest.fixture
def detector(make_detector: Any, usual: Usual) -> Any:
    return make_detector(usual=usual)


def test_another_good_part_is_not_unlike(detector):
    for seed in range(100, 130):
        found = detector.inspect(part(seed))
        assert (found.decision, found.warnings) == ("good", ())


@pytest.mark.parametrize("figure", CHANGED)
def test_a_changed_picture_is_for_review_and_says_in_what(detector, figure):
    found = detector.inspect(CHANGED[figure](part(100)))
    assert found.decision == "review"
    (warning,) = found.warnings
    assert warning.startswith("unlike the training pictures: ") and f"{figure} " in warning


def test_what_is_bad_stays_bad_however_unlike(detector):
    found = detector.inspect(part(100, light=170))
    assert found.decision == "bad" and found.warnings


def test_models_without_the_figures_judge_as_before(make_detector):
    found = make_detector().inspect(CHANGED["likeness"](part(100)))
    assert (found.decision, found.warnings) == ("good", ())


def test_figures_do_not_depend_on_the_depth(usual):
    layout = np.array(usual.layout)
    eight, sixteen = (figures(image, layout) for image in (part(1)[None], part(1)[None].astype(np.uint16) * 257))
    assert eight == pytest.approx(sixteen, abs=1e-4)


def test_few_good_pictures_tell_no_range():
    assert usual_of([part(seed)[None] for seed in range(FEWEST - 1)]) is None


def test_many_pictures_together_tell_a_change_that_none_tells_by_itself(usual):
    layout = np.array(usual.layout)
    same = [figures(part(seed)[None], layout) for seed in range(100, 140)]
    lighter = [figures(part(seed, light=6)[None], layout) for seed in range(100, 140)]
    assert not any(unlike(row, usual) for row in lighter)
    assert changes(same, usual) == []
    (change,) = changes(lighter, usual)
    assert (change.figure, change.pictures) == ("brightness", 40)
    assert change.distance > 0.8 and change.chance < 1e-6 and change.stability_index > 0.25
    assert changes(lighter[:29], usual) == []  # too few to tell


def test_inspect_tells_that_its_pictures_have_changed(detector, tmp_path: Path, caplog):
    (tmp_path / "new").mkdir()
    for seed in range(100, 130):
        Image.fromarray(part(seed, light=6)).save(tmp_path / "new" / f"{seed}.png")
    summary = inspect_folder(detector, [tmp_path / "new"], tmp_path / "out")
    assert summary.decisions["good"] == 30
    assert [change.figure for change in summary.changes] == ["brightness"]
    assert "brightness of 30 images differs from the training's" in caplog.text
