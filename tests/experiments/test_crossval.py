"""A cross-validation on a small folder: what it leaves, that nothing is run twice, and what it is refused for."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.test_train import write_parts
from weakspot.errors import DataError, OutputError, SettingsError
from weakspot.experiments import run as module
from weakspot.experiments.crossval import Crossval, crossval
from weakspot.experiments.experiment import combinations, read_experiment, settings_of

TOML = """
folds = 0
top_fractions = [0.05]
threads = 1
pairs = 1
"""


def asked(place: Path, **more: Any) -> dict[str, Any]:
    (place / "small.toml").write_text(TOML)
    given = {"data": place / "parts", "output": place / "out", "folds": "2", "size": (64, 64), "schedule": 0.004}
    return given | {"settings": place / "small.toml"} | more


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossval")
    write_parts(folder / "parts", bad=4, good=6)
    return folder


@pytest.fixture(scope="module")
def finished(place: Path) -> Crossval:
    return crossval(**asked(place))


def test_every_picture_is_judged_once_by_a_detector_that_had_not_seen_it(finished: Crossval, place: Path):
    with finished.scores.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["id"] for row in rows) == sorted(
        path.relative_to(place / "parts").as_posix() for path in (place / "parts").rglob("*.png")
    )
    assert {row["seed"] for row in rows} == {"sharp-groups-seed0"}
    for row in rows:
        split = (place / "out" / "runs" / "crossval" / row["fold"] / "split.csv").read_text()
        assert next(line for line in split.splitlines() if line.startswith(row["id"])).endswith("test")


def test_figures_are_pooled_and_by_fold_and_stand_in_the_report(finished: Crossval, place: Path):
    figures = json.loads((place / "out" / "crossval.json").read_text())
    assert figures == json.loads(json.dumps(finished.figures))
    (seed,) = figures["by_seed"]
    assert len(seed["fold_average_precision"]) == figures["folds"] == 2
    assert figures["mean"]["average_precision"] == pytest.approx(sum(seed["fold_average_precision"]) / 2)
    assert {"pooled_average_precision", "false_positives_at_full_recall", "escapes"} <= set(figures["mean"])
    assert figures["deviation"] == {}, "one seed has none"
    page = finished.report.read_text()
    assert "AP, one ranking over all folds" in page
    assert page.count("data:image/jpeg") == 10
    assert "in truth bad: on the wrong side of" in page
    assert "http" not in page.replace("http-equiv", "")


def test_what_is_on_record_is_not_run_again_and_another_question_is_refused(
    finished: Crossval, place: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "train", lambda *_, **__: pytest.fail("it was run again"))
    assert crossval(**asked(place)).figures == finished.figures
    with pytest.raises(
        OutputError, match="out: was begun with recipes = .*'sharp'.*; give the same, or choose another"
    ):
        crossval(**asked(place, recipe="paper"))
    with pytest.raises(OutputError, match="parts: is not empty|lies in"):
        crossval(**asked(place, output=place / "parts"))


@pytest.mark.parametrize("folds", ["1", "three", "101"])
def test_folds_that_cannot_be_are_named(place: Path, folds: str):
    with pytest.raises(SettingsError, match=f"--folds {folds}; needed is clean, official, or a number from 2 to 100"):
        crossval(**asked(place, folds=folds, output=place / "other"))
    assert not (place / "other").exists()


def test_folds_are_compared_at_one_size(place: Path):
    with pytest.raises(SettingsError, match="look at one size; give --size"):
        crossval(**asked(place, size=None, output=place / "other"))


def test_split_draw_and_weights_have_seeds_of_their_own(tmp_path: Path):
    text = "data = 'x'\nsplits = 'groups'\nseeds = [7]\nsplit_seed = 1\ndraw_seed = 2\nweights_seeds = [3, 4]"
    (tmp_path / "a.toml").write_text(text)
    experiment = read_experiment(tmp_path / "a.toml")
    drawn = [settings_of(experiment, run) for run in combinations(experiment)]
    assert [(each.split_seed, each.draw_seed, each.seed) for each in drawn] == [(1, 2, 3), (1, 2, 4)]


def test_missing_data_leave_the_output_free(place: Path, tmp_path: Path):
    with pytest.raises(DataError, match="nowhere"):
        crossval(**asked(place, data=tmp_path / "nowhere", output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [{"seeds": (0, 0)}, {"settings": "seed.toml"}])
def test_a_refused_call_leaves_the_output_free(place: Path, tmp_path: Path, more: dict[str, Any]):
    (tmp_path / "seed.toml").write_text("seed = 3")
    more = more | ({"settings": tmp_path / "seed.toml"} if "settings" in more else {})
    with pytest.raises(SettingsError, match="^crossval: "):
        crossval(**asked(place, output=tmp_path / "out", **more))
    assert not (tmp_path / "out").exists()


def test_seeds_are_added_and_never_dropped(finished: Crossval, place: Path):
    with pytest.raises(OutputError, match=r"was begun with seeds = \(0,\), not \(1,\)"):
        crossval(**asked(place, seeds=(1,)))
