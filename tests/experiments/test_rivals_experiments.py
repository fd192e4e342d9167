"""The rivals on other materials: the splits and seeds of the default's experiments, and that each trains as asked."""

import json
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image

from tests.training.toys import toy_images
from weakspot.experiments.experiment import combinations, read_experiment, settings_of
from weakspot.experiments.run import run_experiment
from weakspot.experiments.shipped import FOLDER
from weakspot.jobs.recipes import needs_masks
from weakspot.settings import as_plain

SETS = {
    "rivals_elpv": "elpv",
    "rivals_magnetic_tile": "magnetic_tile",
    "rivals_magnetic_tile_masks": "magnetic_tile",
    "rivals_casting": "casting",
}
JOINED = {"rivals_elpv": "ablation_elpv_recipes", "rivals_magnetic_tile": "ablation_magnetic_tile_recipes"}
NO_MASKS = {"resnet18_cam", "bozic2021", "mil_lse", "patchcore", "synthetic_only"}
FREE = {"recipe", "masks", "folds", "threshold"}  # what a rival may have otherwise


@pytest.mark.parametrize("name", [*SETS, *JOINED.values()])
def test_a_rival_is_tested_on_what_the_default_is_and_by_seeds_that_it_has(name: str):
    beside = SETS.get(name) or SETS[next(rivals for rivals, joined in JOINED.items() if joined == name)]
    rivals, default = (read_experiment(FOLDER / f"{each}.toml") for each in (name, beside))
    assert (rivals.data, rivals.layout, rivals.splits) == (default.data, default.layout, default.splits)
    assert rivals.seeds == (3, 4, 5) and set(rivals.seeds) <= set(default.seeds)
    of_default = {run.seed: settings_of(default, run) for run in combinations(default)}
    for run in combinations(rivals):
        one, other = as_plain(settings_of(rivals, run)), as_plain(of_default[run.seed])
        assert {key for key in one if one[key] != other[key]} <= FREE


@pytest.mark.parametrize("name", SETS)
def test_every_rival_without_masks_is_tried_and_those_with_masks_where_there_are_some(name: str):
    asked = [read_experiment(FOLDER / f"{each}.toml") for each in (name, JOINED.get(name)) if each]
    recipes = {recipe for experiment in asked for recipe in experiment.recipes}
    masks = {needs_masks(settings_of(asked[0], run)) for run in combinations(asked[0])}
    assert recipes == NO_MASKS or masks == {name.endswith("masks")} == {True}
    assert all(experiment.minutes_a_run > 0 and experiment.claim for experiment in asked)


def small(name: str, folder: Path) -> Path:
    """The file with a few toy pictures instead of its own, and hardly any iterations."""
    images = toy_images(8, 12, side=72)
    for index, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        shown = {"bad" if label else "good": pixels[0]}
        if label:
            shown["masks"] = (pixels[0] > 160).astype(np.uint8) * 255
        for kind, picture in shown.items():
            (folder / "parts" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / "parts" / kind / f"part {index}.png")
    experiment = as_plain(read_experiment(FOLDER / f"{name}.toml"))
    changed = {"data": "parts", "layout": "folder", "seeds": [3]}
    settings = experiment["settings"] | {"positives": 3, "size": [64, 64], "schedule": 0.004}
    kept = {key: value for key, value in (experiment | changed).items() if value not in (None, ()) and key != "printed"}
    (folder / f"{name}.toml").write_text(tomli_w.dumps(kept | {"settings": settings}))
    return folder / f"{name}.toml"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rivals_casting", "rivals_magnetic_tile_masks"])  # among them all eight
def test_each_rival_trains_with_the_settings_that_its_file_has(name: str, tmp_path: Path):
    table = small(name, tmp_path)
    made = [json.loads(path.read_text()) for path in run_experiment(table, tmp_path / "results")]
    assert [record["recipe"] for record in made] == list(read_experiment(table).recipes)
    assert all(record["metrics"]["average_precision"] > 0 and record["positives"] == 3 for record in made)
