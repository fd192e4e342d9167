"""What is not inspected takes no part: no loss, no score, no drawn defect, and no decision depends on it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.jobs.test_train import SETTINGS, write_parts
from tests.training.toys import toy_images
from weakspot.errors import ImageError, SettingsError
from weakspot.inspection.ignore_mask import blanked, check_proportions, pixels_of, read_ignore_mask
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import read_model_file
from weakspot.inspection.tiling import TiledRuntime
from weakspot.jobs.recipes import recipe
from weakspot.jobs.train import train
from weakspot.jobs.verify import verify_on
from weakspot.network.detector import Detector, heat_score, top_means
from weakspot.settings import NetworkSettings, TrainSettings
from weakspot.training.batches import TrainingImages, View, endless_batches, endless_drawings, endless_pairs
from weakspot.training.losses import search_loss, synthetic_loss
from weakspot.training.synthetic import draw_defect

CELLS = np.zeros((8, 8), bool)
CELLS[2:6, 3:7] = True
PIXELS = pixels_of(CELLS, (64, 64))


def test_losses_are_those_of_the_cells_that_are_left():
    torch.manual_seed(0)
    heat, known = torch.randn(4, 1, 8, 8), (torch.rand(4, 1, 8, 8) > 0.8).float()
    ignored, labels = torch.zeros(4, 1, 8, 8, dtype=torch.bool), torch.tensor([1.0, 0, 1, 0])
    ignored[..., 5:] = True
    for shares in ((0.05,), (0.05, 0.3)):
        assert torch.allclose(top_means(heat, shares, ignored), top_means(heat[..., :5], shares))
        found = search_loss(heat, labels, shares, 2, ignored)
        assert torch.allclose(found, search_loss(heat[..., :5], labels, shares, 2))
    found = synthetic_loss(heat, known, 0.05, ignored)
    assert torch.allclose(found, synthetic_loss(heat[..., :5], known[..., :5], 0.05))


def test_no_loss_pulls_at_an_ignored_cell():
    heat = torch.randn(2, 1, 8, 8, requires_grad=True)
    ignored = torch.from_numpy(CELLS).expand(2, 1, 8, 8)
    known = torch.ones(2, 1, 8, 8)
    loss = search_loss(heat, torch.tensor([1.0, 0]), (0.1,), 1, ignored) + synthetic_loss(heat, known, 0.1, ignored)
    loss.backward()
    assert (heat.grad[ignored] == 0).all() and (heat.grad[~ignored] != 0).all()


def test_nothing_is_drawn_where_it_is_ignored():
    images = toy_images(1, 6).pixels[:, :, :64, :64]
    drawn = [draw_defect(images[n % 6], np.random.default_rng(n), 20.0, images, PIXELS) for n in range(60)]
    assert sum(each.seen.any() for each in drawn) > 50
    for number, each in enumerate(drawn):
        assert not (each.seen & PIXELS).any()
        assert np.array_equal(each.image[:, PIXELS], images[number % 6][:, PIXELS])
    whole = draw_defect(images[0], np.random.default_rng(0), 20.0, images, np.ones((64, 64), bool))
    assert not whole.seen.any()


def test_what_is_ignored_moves_with_its_picture():
    """Under a view the ignored cells are those over which its blank pixels lie."""
    pixels = np.random.default_rng(0).integers(100, 200, (4, 1, 64, 64), np.uint8)
    pixels[:, :, PIXELS] = 0
    images = TrainingImages(pixels, np.array([1, 0, 0, 1]), ignored=PIXELS)
    ways = 8, 0.0, 8
    batches = endless_batches(
        endless_pairs(images.labels, (0,), *ways), 2, endless_drawings(images, 2, (0,), *ways), images, "cpu"
    )
    moved = 0
    for _ in range(10):
        batch = next(batches)
        seen = images.seen(batch.views)
        share = torch.nn.functional.avg_pool2d((seen == 0).float(), 8)
        assert torch.equal(batch.ignored, share >= 0.5)
        moved += int((batch.ignored != torch.from_numpy(CELLS)).any())
    assert moved > 5


def test_without_a_mask_a_drawn_view_is_what_it_was():
    images = toy_images(2, 4)
    drawings = endless_drawings(images, 2, (0,), 4, 0.0, 8)
    for _ in range(3):
        views, _ = next(drawings)
        for view in views:
            plain = images.seen((View(view.index, view.mirror, shift=(0, 0), drawn=view.drawn),))
            assert torch.equal(images.seen((view,)), plain)


def made(**network: object) -> Detector:
    torch.manual_seed(0)
    settings = NetworkSettings(body="narrow", decision="heat", top_fractions=(0.05, 0.2), **network)  # type: ignore[arg-type]
    detector = Detector(settings, mean=110, std=50)
    detector.train()
    with torch.no_grad():
        detector(torch.rand(2, 1, 64, 64) * 255)
    detector.ignored = torch.from_numpy(CELLS.astype(np.float32))
    return detector.eval()


@pytest.mark.parametrize("normalization", ["training", "picture"])
@torch.no_grad()
def test_a_detectors_answer_is_that_of_the_cells_that_are_left(normalization):
    detector = made(normalization=normalization)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64), np.uint8)
    other = image.copy()
    other[:, PIXELS] = 255 - image[:, PIXELS]
    one, two = (detector(torch.from_numpy(each)[None]) for each in (image, other))
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))
    assert (one.heat.sigmoid()[0, 0][torch.from_numpy(CELLS)] == 0).all()
    detector.ignored = None
    plain = detector(torch.from_numpy(blanked(image, PIXELS))[None])
    score = heat_score(plain.heat, (0.05, 0.2), torch.from_numpy(CELLS))
    assert one.raw_score.item() == pytest.approx(score.item(), abs=0.02), "levels are rounded there"


def write_mask(path: Path, side: int = 72) -> Path:
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : 3 * side // 4, side // 2 :] = 255
    Image.fromarray(mask).save(path)
    return path


def under(mask: Path, folder: Path, seed: int) -> None:
    """Something else under the mask on every picture."""
    white, rng = np.asarray(Image.open(mask)) > 0, np.random.default_rng(seed)
    for path in folder.rglob("*.png"):
        pixels = np.array(Image.open(path))
        pixels[white] = rng.integers(0, 256, white.sum())
        Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ignored")


@pytest.fixture(scope="module")
def finished(place: Path):
    settings = replace(SETTINGS, size=(72, 72), ignore=str(write_mask(place / "clamps.png")))
    return train(write_parts(place / "parts"), settings, output=place / "run")


def test_a_model_trained_with_a_mask_decides_alike_whatever_lies_under_it(finished, place: Path):
    detector = LoadedDetector.load(finished.model, "onnxruntime", 1)
    white = np.asarray(Image.open(place / "clamps.png")) > 0
    for path in sorted((place / "parts").rglob("*.png"))[:4]:
        pixels = np.array(Image.open(path))
        other = pixels.copy()
        other[white] = np.random.default_rng(1).integers(0, 256, white.sum())
        one, two = detector.inspect(pixels), detector.inspect(other)
        assert (one.raw_score, one.decision, one.warnings) == (two.raw_score, two.decision, two.warnings)
        assert np.array_equal(one.heat_map, two.heat_map)


def test_what_lies_under_the_mask_changes_no_weight_and_no_threshold(finished, place: Path):
    write_parts(place / "others")
    under(place / "clamps.png", place / "others", 5)
    settings = replace(SETTINGS, size=(72, 72), ignore=str(place / "clamps.png"))
    other = read_model_file(train(place / "others", settings, output=place / "other run").model)
    model = read_model_file(finished.model)
    assert all(np.array_equal(model.weights[name], other.weights[name]) for name in model.weights)
    assert model.thresholds == other.thresholds and model.manifest.usual == other.manifest.usual


def test_the_mask_is_told_in_model_file_card_and_report(finished, place: Path):
    model = read_model_file(finished.model)
    kept = model.manifest.ignored
    assert (kept.name, kept.height, kept.width) == ("clamps.png", 72, 72) and 0.3 < kept.share < 0.4
    assert model.weights["ignored"].shape == (9, 9) and model.weights["ignored"].mean() == pytest.approx(kept.share)
    assert model.manifest.settings["ignore"] == "clamps.png", "no folder"
    assert "white in clamps.png" in model.card
    assert "white in clamps.png" in finished.report.read_text()
    assert "white in clamps.png" in json.dumps(json.loads((finished.run / "metrics.json").read_text())["background"])


def test_every_runtime_tiles_and_torch_answer_alike(finished, place: Path):
    detector = LoadedDetector.load(finished.model, "onnxruntime", 1)
    assert verify_on(detector, [place / "parts"], 1).ok
    path = next((place / "parts").rglob("*.png"))
    tiled = LoadedDetector(detector.model, TiledRuntime(detector.model, "onnxruntime", 1))
    one, two = detector.inspect(path), tiled.inspect(path)
    assert one.raw_score == pytest.approx(two.raw_score, abs=1e-4)
    assert np.abs(one.heat_map - two.heat_map).max() < 1e-4


def test_a_mask_of_the_inspection_is_added_to_the_models(finished, place: Path):
    mask = np.zeros((72, 72), np.uint8)
    mask[:16] = 255
    Image.fromarray(mask).save(place / "more.png")
    path = next((place / "parts").rglob("*.png"))
    heat = LoadedDetector.load(finished.model, "onnxruntime", 1, ignore=place / "more.png").inspect(path).heat_map
    own = read_model_file(finished.model).weights["ignored"] > 0
    assert (heat[own] == 0).all() and (heat[:2] == 0).all() and (heat[2:][~own[2:]] > 0).all()
    Image.fromarray(255 - np.asarray(Image.open(place / "clamps.png"))).save(place / "rest.png")
    with pytest.raises(SettingsError, match="--ignore: leaves nothing"):
        LoadedDetector.load(finished.model, "onnxruntime", 1, ignore=place / "rest.png")


def test_pictures_of_other_proportions_than_the_mask_are_refused(finished, place: Path, tmp_path: Path):
    with pytest.raises(ImageError, match="of other proportions than the mask"):
        LoadedDetector.load(finished.model, "onnxruntime", 1).inspect(np.zeros((72, 80), np.uint8))
    write_mask(tmp_path / "a.png", 100)
    Image.fromarray(np.asarray(Image.open(tmp_path / "a.png"))[:80]).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"part \d+\.png: 72 × 72 pixels, of other proportions than the mask"):
        train(place / "parts", replace(SETTINGS, ignore=str(tmp_path / "a.png")), output=tmp_path / "run")


def test_a_picture_that_takes_other_cells_than_its_mask_is_refused_though_its_proportions_are_near():
    """Whole cells are taken where a shape is kept, so what is ignored would lie a row of cells lower on it."""
    check_proportions("a.png", 246, 128, (250, 128), (128, 64), "stretch")
    with pytest.raises(ImageError, match="a.png: 128 × 246 pixels, of other proportions than the mask"):
        check_proportions("a.png", 246, 128, (250, 128), (128, 64), "keep")


def test_pictures_and_mask_take_the_same_cells_in_training_too(tmp_path: Path):
    write_parts(tmp_path / "parts")
    for path in (tmp_path / "parts").rglob("*.png"):
        Image.fromarray(np.resize(np.asarray(Image.open(path)), (246, 128))).save(path)
    mask = np.zeros((250, 128), np.uint8)
    mask[230:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    settings = replace(SETTINGS, size=(128, 64), fit="keep", ignore=str(tmp_path / "mask.png"))
    with pytest.raises(ImageError, match=r"128 × 246 pixels, of other proportions than the mask"):
        train(tmp_path / "parts", settings, output=tmp_path / "run")


def test_grey_that_is_not_white_is_inspected(tmp_path: Path):
    mask = np.full((64, 64), 3, np.uint8)
    mask[:8, :8] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    cells = read_ignore_mask(tmp_path / "mask.png", 1).cells((64, 64), "stretch", touched=True)
    assert cells.sum() == 1 and cells[0, 0]


@pytest.mark.parametrize(("level", "what"), [(0, "nothing"), (127, "nothing"), (255, "everything")])
def test_a_mask_of_one_grey_is_refused_before_a_run_is_begun(place: Path, tmp_path: Path, level: int, what: str):
    Image.fromarray(np.full((72, 72), level, np.uint8)).save(tmp_path / "mask.png")
    write_parts(tmp_path / "parts")
    with pytest.raises(ImageError, match=f"mask.png: ignores {what}; make white what is to be ignored"):
        train(tmp_path / "parts", replace(SETTINGS, ignore=str(tmp_path / "mask.png")), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["paper", "patchcore", "mil_lse", "resnet18_cam"])
def test_recipes_that_look_at_whole_pictures_refuse_a_mask(name):
    with pytest.raises(SettingsError, match=f"ignore = 'a.png'; the recipe {name} looks at whole pictures"):
        recipe(TrainSettings(recipe=name, ignore="a.png"), 1)
