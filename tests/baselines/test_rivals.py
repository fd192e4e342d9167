"""Every rival by its name: its network as published, and a folder of parts to a model file that inspects."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.training.toys import toy_images
from weakspot.baselines.recipes import RIVALS
from weakspot.baselines.resnet import ResNet18, load_weights
from weakspot.errors import DataError, SettingsError
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import read_model_file
from weakspot.inspection.tiling import needs_tiles
from weakspot.jobs.judge import judge
from weakspot.jobs.learn import Learned, learn
from weakspot.jobs.observe import Observer
from weakspot.jobs.pictures import pictures_in_memory
from weakspot.jobs.recipes import recipe
from weakspot.jobs.train import TrainResult, train
from weakspot.jobs.verify import verify_on
from weakspot.network.detector import PARTS, Detector
from weakspot.settings import TrainSettings
from weakspot.training.state import Machine
from weakspot.training.train import run_training, start_training

WITH_MASKS = {name for name, each in RIVALS.items() if each.needs_masks}
LARGE = {"unet_masks", "deeplab_masks", "segdec_masks", "bozic2021"}  # slow to train or to export
WITHOUT_BAD = {"patchcore", "synthetic_only"}
SIDE = 72  # pixels


QUICK = TrainSettings(schedule=0.004, size=(64, 64), folds=0, threads=1, unlearned="keep", hold_out=0.0)


def settings_of(name: str, **more: object) -> TrainSettings:
    masks = "use" if name in WITH_MASKS else "ignore"
    return replace(QUICK, **({"recipe": name, "masks": masks} | more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad parts, each bad one with a mask of its bright blot."""
    folder = tmp_path_factory.mktemp("parts")
    images = toy_images(4, 6, side=SIDE)
    for index, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        shown = {"bad" if label else "good": pixels[0]}
        if label:
            shown["masks"] = (pixels[0] > 160).astype(np.uint8) * 255
        for kind, picture in shown.items():
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(picture).save(folder / kind / f"part {index}.png")
    return folder


def detector_of(name: str, channels: int = 1) -> Detector:
    chosen = recipe(TrainSettings(recipe=name), channels)  # type: ignore[arg-type]
    return Detector(chosen.network, 100, 30, chosen.parts_of)


def weights(detector: Detector, *parts: str) -> int:
    return sum(weight.numel() for part in parts or PARTS for weight in getattr(detector, part).parameters())


PUBLISHED: Mapping[str, tuple[float, int]] = {  # millions of weights, with so many decimals
    "segdec_masks": (15.7, 1),  # Tabernik et al. 2019, table 1, by its kernels
    "bozic2021": (15.7, 1),  # the same network
    "unet_masks": (31.1, 1),  # Ronneberger et al. 2015, figure 1, 31.0 by its kernels, and the decision network
    "deeplab_masks": (41.1, 1),  # Chen et al. 2018, Xception-65 and decoder
    "mil_lse": (0.34, 2),  # the narrow network
    "patchcore": (0.34, 2),
    "synthetic_only": (0.34, 2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_has_as_many_weights_as_the_published_one(name: str):
    millions, decimals = PUBLISHED[name]
    assert round(weights(detector_of(name)) / 1e6, decimals) == millions


def test_the_classifier_has_the_weights_of_resnet_18():
    """11,689,512 in torchvision's, for colour pictures and a thousand classes."""
    assert weights(detector_of("resnet18_cam", channels=3), "shared") + 512 * 1000 + 1000 == 11_689_512


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("size", [(64, 64), (65, 129), (72, 96)])
def test_the_heat_lies_on_cells_whatever_the_size(name: str, size: tuple[int, int]):
    made = detector_of(name).eval()
    with torch.no_grad():
        answer = made(torch.rand(1, 1, *size) * 255)
    assert answer.heat.shape == (1, 1, *(-(-side // 8) for side in size))
    assert answer.raw_score.shape == answer.heat_score.shape == (1,)


def weights_file(folder: Path) -> str:
    """Weights of ResNet-18 for colour pictures and a thousand classes, as others keep them."""
    path, classifier = (
        folder / "resnet18.safetensors",
        {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)},
    )
    save_file(detector_of("resnet18_cam", channels=3).shared.state_dict() | classifier, path)
    return str(path)


def trained(name: str, parts: Path, folder: Path, **more: object) -> TrainResult:
    return train(parts, settings_of(name, **more), output=folder / "run")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in RIVALS])
def test_a_rival_trains_to_a_model_file_that_every_runtime_takes_and_that_inspects(
    name: str, parts: Path, tmp_path: Path
):
    weights_from = weights_file(tmp_path) if name == "resnet18_cam" else None
    result = trained(name, parts, tmp_path, weights_from=weights_from)
    model = read_model_file(result.model)
    first = "resnet18.safetensors" if weights_from else None
    assert model.manifest.settings["weights_from"] == model.manifest.network["weights_from"] == first, "no folder"
    assert (f"the weights of {first}" if first else "from scratch") in model.card
    assert model.manifest.settings["recipe"] == name
    assert ("and masks of bad ones" if name in WITH_MASKS else "without masks") in model.card
    assert model.manifest.network["body"] == RIVALS[name].network.body
    detector = LoadedDetector.load_exact(result.model)
    verified = detector.verify()
    assert verified and all(each.ok for each in verified)
    picture = next((parts / "bad").iterdir())
    parity = verify_on(detector, [picture], threads=1)
    assert parity.ok, "torch computes the rival's own network"
    wide = replace(model, manifest=model.manifest.model_copy(update={"size": (512, 512)}))
    needs_tiles(wide, 1000)  # a network of other cells is never asked for its tiles
    inspection = detector.inspect(picture)
    assert inspection.decision in ("good", "review", "bad")
    assert inspection.heat_map.shape == (8, 8)


@pytest.mark.parametrize("name", sorted(WITH_MASKS))
def test_a_recipe_that_learns_from_masks_reads_none_that_it_was_not_told_to(name: str):
    images = toy_images()
    with pytest.raises(SettingsError, match=f"{name} learns from masks .*; add --masks use, or .*--recipe sharp"):
        pictures_in_memory([image[0] for image in images.pixels], images.labels, "rgb", TrainSettings(recipe=name))


@pytest.mark.parametrize("name", sorted(WITH_MASKS))
def test_a_recipe_that_learns_from_masks_is_refused_pictures_one_by_one(name: str, parts: Path, tmp_path: Path):
    with pytest.raises(SettingsError, match=f"one_by_one.*; the recipe {name} learns from batches"):
        trained(name, parts, tmp_path, pairing="one_by_one")


@pytest.mark.parametrize("name", sorted({*RIVALS} - WITHOUT_BAD - WITH_MASKS))
def test_a_recipe_that_cannot_do_without_bad_pictures_says_so(name: str):
    images = toy_images(bad=0)
    with pytest.raises(DataError, match=f"{name} needs at least 2 bad ones.*--recipe sharp"):
        pictures_in_memory([image[0] for image in images.pixels], images.labels, "rgb", TrainSettings(recipe=name))


@pytest.mark.parametrize("name", sorted({*RIVALS} - WITH_MASKS))
def test_a_recipe_that_has_no_use_for_masks_says_so(name: str, parts: Path, tmp_path: Path):
    what = "good pictures alone" if name in WITHOUT_BAD else "labels by the picture alone"
    with pytest.raises(SettingsError, match=f"{name} learns from {what}"):
        trained(name, parts, tmp_path, masks="use")


@pytest.mark.parametrize("name", sorted(WITHOUT_BAD))
def test_bad_pictures_change_no_weight_of_what_is_not_shown_them(name: str, parts: Path, tmp_path: Path):
    with_bad, without = trained(name, parts, tmp_path / "with"), None
    rule = {"rule": "false_alarms"}
    without = trained(name, parts, tmp_path / "without", positives=0, threshold=rule)
    one, other = (read_model_file(result.model).weights for result in (with_bad, without))
    own = {key for key in one if not np.array_equal(one[key], other[key])}
    assert own == set()


def learn_by(name: str, **more: object) -> tuple[Learned, TrainSettings]:
    """Folds and a final training on toy pictures in memory."""
    settings = settings_of(name, folds=2, **more)
    return learn(TOYS, np.arange(10) % 2, settings, Machine(), 0.0, Observer(None, None)), settings


TOYS = toy_images(4, 6)


@pytest.mark.parametrize("name", sorted(WITHOUT_BAD))
def test_what_was_shown_no_bad_picture_says_so_and_is_judged_by_drawn_defects(name: str):
    learned, settings = learn_by(name)
    verdict = judge(learned, TOYS.labels, [*"abcdefghij"], [*"abcdefghij"], settings)
    assert learned.drawn is not None and len(learned.drawn) == 6
    assert verdict.learned.startswith("the detector learned from good pictures and drawn defects")
    assert "it was shown no bad picture: all that it knows of defects was drawn" in verdict.warnings


def test_a_network_that_searches_nothing_is_trained_once_however_dark_its_heat_is(monkeypatch: pytest.MonkeyPatch):
    begun: list[str] = []
    monkeypatch.setattr("weakspot.jobs.learn.LOST_BELOW", 1.1)  # so that any search would be lost
    monkeypatch.setattr(Observer, "begin", lambda observer, name, *rest: begun.append(name))
    learned, _ = learn_by("mil_lse")
    assert begun == ["fold 0", "fold 1", "final"] and learned.lost == ()


def test_other_weights_in_the_same_file_are_another_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []
    monkeypatch.setattr(Observer, "begin", lambda observer, name, training, identity: seen.append(identity))
    monkeypatch.setattr("weakspot.jobs.learn.run_training", lambda training: None)
    for _ in range(2):
        learn_by("resnet18_cam", weights_from=weights_file(tmp_path))
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize("name", ["mil_lse", "resnet18_cam", "patchcore"])
def test_a_rival_learns_where_memory_is_spared_too(name: str):
    whole = recipe(settings_of(name, schedule=0.001), channels=1)
    kept = [run_training(start_training(whole, TOYS, 0, Machine(small=small))).state_dict() for small in (False, True)]
    assert all(torch.allclose(kept[0][key], kept[1][key], atol=1e-3) for key in kept[0] if "search" not in key)


def test_the_page_of_rivals_has_them_all():
    page = (Path(__file__).parents[2] / "docs" / "rivals.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == {*RIVALS}


def test_weights_from_a_file_are_what_the_classifier_begins_with(tmp_path: Path):
    given = load_file(path := weights_file(tmp_path))
    chosen = recipe(TrainSettings(recipe="resnet18_cam", weights_from=path), channels=1)
    begun = Detector(chosen.network, 0, 1, chosen.parts_of).shared.state_dict()
    assert torch.equal(begun["conv1.weight"], given["conv1.weight"].sum(1, keepdim=True))
    assert all(torch.equal(begun[name], given[name]) for name in begun if name != "conv1.weight")


def test_a_file_of_older_weights_that_counts_no_batches_is_taken(tmp_path: Path):
    older = {name: value for name, value in load_file(weights_file(tmp_path)).items() if "num_batches" not in name}
    save_file(older, path := tmp_path / "older.safetensors")
    load_weights(trunk := ResNet18(channels=1), path)
    assert torch.equal(trunk.layer1[0].conv1.weight, older["layer1.0.conv1.weight"])


@pytest.mark.parametrize("shape", [(64,), (64, 4, 7, 7), (64, 2, 7, 7)])
def test_a_first_layer_that_sees_no_colour_picture_is_refused(tmp_path: Path, shape: tuple[int, ...]):
    given = load_file(weights_file(tmp_path)) | {"conv1.weight": torch.zeros(shape)}
    save_file(given, path := tmp_path / "other.safetensors")
    with pytest.raises(SettingsError, match="1 tensors are not those of ResNet-18, such as conv1.weight"):
        load_weights(ResNet18(channels=1), path)


def test_a_file_of_other_weights_is_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    for asked, said in ((path, "not those of ResNet-18"), (tmp_path / "none", "cannot be read")):
        chosen = recipe(TrainSettings(recipe="resnet18_cam", weights_from=str(asked)), channels=1)
        with pytest.raises(SettingsError, match=f"weights_from .*{said}"):
            Detector(chosen.network, 0, 1, chosen.parts_of)
    with pytest.raises(SettingsError, match="mil_lse begins with random weights: leave it out"):
        recipe(replace(settings_of("mil_lse"), weights_from=str(path)), channels=1)
