"""The experiments of the paper: variants and scales, records that are refused, ours beside printed, and figures."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.experiments.test_run import TOML, asked_for
from tests.experiments.test_tables import recorded
from weakspot import cli
from weakspot.cli.flags import numbers
from weakspot.data.samples import Sample
from weakspot.data.splits import group_folds
from weakspot.errors import DataError, SettingsError
from weakspot.experiments.experiment import combinations, read_experiment, settings_of
from weakspot.experiments.figures import draw_figure, heat_of
from weakspot.experiments.printed import rows_of, write_printed
from weakspot.experiments.records import read_record, refuse_other_pictures, refuse_other_settings
from weakspot.experiments.run import run_experiment
from weakspot.experiments.shipped import FOLDER, RESULTS, find_experiment, states
from weakspot.settings import TrainSettings

VARIED = """
data = "x"
scale = "quarter"
splits = "clean"
folds = [0, 1]
recipes = ["paper"]
positives = [5, 10]
figure = "lines"
[[variants]]
name = "with"
[[variants]]
name = "without"
settings = { paper = { localization = "off" } }
[[printed]]
where = "Table 6"
recipe = "paper"
variant = "with"
positives = 10
values = { average_precision = 0.98, false_positives_at_full_recall = 51 }
[[printed]]
where = "Table 6"
name = "ViDi"
values = { average_precision = 0.99 }
[[printed]]
where = "Table 5"
name = "mean of both"
variants = ["with", "without"]
values = { average_precision = 0.9 }
[settings.paper]
alpha = 4.0
"""


@pytest.fixture
def varied(tmp_path: Path) -> Path:
    (tmp_path / "varied.toml").write_text(VARIED)
    return tmp_path / "varied.toml"


def fill(table: Path, folder: Path, scale: Any = None, only: str = "") -> None:
    """A record and scores of each run: AP 0.9 with, 0.7 without, more by 0.05 for 10 bad pictures."""
    for run in combinations(experiment := read_experiment(table, scale)):
        if only in run.name:
            settings = {"positives": run.positives, "size": settings_of(experiment, run).size}
            ap = 0.7 + 0.2 * ("without" not in run.name) + 0.05 * (run.positives == 10)
            metrics = {
                "average_precision": ap,
                "false_positives_at_full_recall": 3,
                "false_negatives": 1,
                "false_positives": 2,
            }
            about = {"recipe": "paper", "variant": run.variant and run.variant.name, "scale": experiment.scale}
            recorded(folder, run.name, **about, size=settings["size"], settings=settings, metrics=metrics)


def test_variants_and_scale_stand_in_names_and_settings(varied: Path):
    experiment = read_experiment(varied, "half")
    runs = list(combinations(experiment))
    assert len(runs) == 8
    assert runs[-1].name == "paper-without-half-clean-fold1-bad10-seed0"
    last = settings_of(experiment, runs[-1])
    assert (last.size, last.paper.localization, last.paper.alpha) == ((704, 256), "off", 4.0)
    assert settings_of(experiment, runs[0]).paper.localization == "on"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scale = 'half'\n[settings]\nsize = [64, 64]", "settings.size would be overruled by scale"),
        ("[[variants]]\nname = 'a'\n[[variants]]\nname = 'a'", "variants names a twice"),
        ("[[variants]]\nname = 'a'\nsetting = {}", "variants.*setting"),
        ("scale = 'tiny'", "scale = 'tiny'"),
        ("splits = 'groups'\nparts = 4\nfolds = [4]", "needed is a number from 0 to 3, for there are 4"),
    ],
)
def test_what_makes_no_experiment_is_named(tmp_path: Path, text: str, said: str):
    (tmp_path / "a.toml").write_text(f"data = 'x'\n{text}")
    with pytest.raises(SettingsError, match=said):
        read_experiment(tmp_path / "a.toml")


def test_ours_stand_beside_what_is_printed_and_what_nobody_ran_stands_apart(varied: Path, tmp_path: Path):
    fill(varied, tmp_path / "varied")
    rows = write_printed(read_experiment(varied), tmp_path / "varied")
    by_name = {(row.name, row.positives): row for row in rows}
    assert by_name["paper, with", 10].printed == {"average_precision": 0.98, "false_positives_at_full_recall": 51}
    assert by_name["paper, with", 10].ours["average_precision"] == pytest.approx(0.95)
    assert by_name["paper, with", 10].ours["false_positives_at_full_recall"] == 6, "of both folds"
    assert by_name["paper, with", 10].ours["false_negatives"] == 2
    assert by_name["mean of both", None].ours["average_precision"] == pytest.approx(0.825)
    text = (tmp_path / "varied" / "table.md").read_text()
    assert "| paper, with | 10 | 1 | 0.950 | " in text
    assert "Printed, not run here" in text and "| ViDi |  |  | 0.990 | Table 6 |" in text
    assert len(json.loads((tmp_path / "varied" / "table.json").read_text())["rows"]) == len(rows)


def test_a_seed_that_lacks_a_fold_stands_beside_nothing_that_is_printed_of_all_of_them(varied: Path, tmp_path: Path):
    fill(varied, tmp_path / "varied")
    (tmp_path / "varied" / "paper-with-quarter-clean-fold1-bad10-seed0.json").unlink()
    rows = write_printed(read_experiment(varied), tmp_path / "varied")
    assert [row.ours for row in rows if (row.name, row.positives) == ("paper, with", 10)] == [{}], "printed alone"
    assert "mean of both" not in {row.name for row in rows}
    text = (tmp_path / "varied" / "table.md").read_text()
    assert "paper-with-quarter-clean-bad10-seed0: in no row, for of its folds only 0 is on record.\n" in text


def test_what_is_printed_of_one_row_stands_there_though_another_of_the_same_table_was_run(varied: Path, tmp_path: Path):
    more = '[[printed]]\nwhere = "Table 6"\nrecipe = "paper"\nvariant = "with"\npositives = 5\n'
    more += "values = { average_precision = 0.97 }\n"
    varied.write_text(VARIED.replace("[settings.paper]", more + "[settings.paper]"))
    fill(varied, tmp_path / "varied", only="bad10")
    alone = [row for row in rows_of(read_experiment(varied), tmp_path / "varied") if row.size is None]
    assert {(row.name, row.positives) for row in alone} == {("paper, with", 5), ("ViDi", None)}


def test_a_printed_value_without_a_number_of_bad_pictures_is_of_the_one_number_that_all_runs_have(tmp_path: Path):
    text = "data = 'x'\nrecipes = ['paper']\n[[printed]]\nwhere = 'T'\nrecipe = 'paper'\n"
    (tmp_path / "a.toml").write_text(text + "values = { average_precision = 0.9 }\n[settings]\npositives = 30")
    recorded(tmp_path / "a", "paper-hold_out-seed0", recipe="paper", settings={"positives": 30})
    (row,) = rows_of(read_experiment(tmp_path / "a.toml"), tmp_path / "a")
    assert row.ours["average_precision"] == 0.5 and row.printed == {"average_precision": 0.9}


def test_a_size_has_a_table_of_its_own_and_means_wait_for_all_their_runs(varied: Path, tmp_path: Path):
    fill(varied, tmp_path / "varied")
    fill(varied, tmp_path / "varied", scale="half", only="-with-")
    rows = write_printed(read_experiment(varied), tmp_path / "varied")
    text = (tmp_path / "varied" / "table.md").read_text()
    first, second = text.index("## 352 × 128 pixels, scale quarter"), text.index("## 704 × 256 pixels, scale half")
    assert first < text.index("mean of both") < second
    assert [row.size for row in rows if row.name == "mean of both"] == [(352, 128)]
    assert {row.scale for row in rows if row.size == (704, 256)} == {"half"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "damaged, no record"),
        ("[1]", "damaged, no record"),
        ('{"run": "a"}', "of another version, without recipe"),
    ],
)
def test_a_record_that_is_none_is_named_with_the_way_out(tmp_path: Path, content: str, said: str):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=f"a.json: .*{said}.*; move it away, and the run is made again"):
        read_record(tmp_path / "a.json")


def test_a_record_of_other_settings_or_other_pictures_is_no_record_of_this_run(tmp_path: Path):
    settings = {"seed": 0, "schedule": 0.5, "threads": 7}
    about = {"settings": settings, "data_fingerprint": "a" * 64}
    recorded(tmp_path, "sharp-hold_out-seed0", **about)
    path = tmp_path / "sharp-hold_out-seed0.json"
    refuse_other_settings(path, TrainSettings(schedule=0.5))
    with pytest.raises(DataError, match=r"made with schedule = 0.5, and now 1.0 is asked for"):
        refuse_other_settings(path, TrainSettings())
    refuse_other_pictures([path], "a" * 64)
    with pytest.raises(DataError, match=r"other pictures or labels \(fingerprint aaaaaaaa, those here have bbbbbbbb\)"):
        refuse_other_pictures([path], "b" * 64)
    recorded(tmp_path, "sharp-hold_out-seed0", **about | {"settings": {"recipe": "forgotten"}})
    with pytest.raises(DataError, match="a record of another version .*recipe = 'forgotten'"):
        refuse_other_settings(path, TrainSettings())


def test_a_file_of_weights_is_recorded_without_its_folder_and_is_still_the_same(tmp_path: Path):
    asked = TrainSettings(recipe="resnet18_cam", weights_from="/data/resnet18.safetensors")
    recorded(tmp_path, "a-seed0", settings={"recipe": "resnet18_cam", "weights_from": "resnet18.safetensors"})
    refuse_other_settings(tmp_path / "a-seed0.json", asked)
    with pytest.raises(DataError, match="made with weights_from = 'resnet18.safetensors', and now 'other'"):
        refuse_other_settings(tmp_path / "a-seed0.json", TrainSettings(recipe="resnet18_cam", weights_from="x/other"))


def test_an_experiment_is_found_by_its_name_and_an_unknown_one_is_told_the_nearest():
    assert find_experiment("fig5_positives") == FOLDER / "fig5_positives.toml"
    with pytest.raises(SettingsError, match="no experiment is named fig5_positive; did you mean fig5_positives?"):
        find_experiment("fig5_positive")


def test_the_list_names_every_experiment_with_minutes_and_how_many_records_there_are(tmp_path: Path):
    found = {state.name: state for state in states(tmp_path, "half")}
    assert set(found) == {path.stem for path in FOLDER.glob("*.toml")}
    fig5 = found["fig5_positives"]
    assert (fig5.done, fig5.needed, fig5.minutes) == (0, 72, 72 * 4 * 4)
    done = CliRunner().invoke(cli.app, ["experiment", "--list", "--json"])
    assert "fig5_positives" in {each["name"] for each in json.loads(done.stdout)}


def test_missing_data_are_named_with_where_to_get_them(tmp_path: Path):
    (tmp_path / "small.toml").write_text("source = 'its authors (CC BY)'\n" + TOML.format(seeds="[0]", schedule=1))
    with pytest.raises(DataError, match=r"parts: is not there, and .*small.toml needs it; get it from its authors"):
        run_experiment(tmp_path / "small.toml", tmp_path / "results")


def test_tables_alone_run_nothing(tmp_path: Path):
    table = asked_for(tmp_path)
    assert run_experiment(table, tmp_path / "results", tables_only=True) == []
    assert not (tmp_path / "runs").exists()
    assert (tmp_path / "results" / "README.md").exists()


def test_folds_by_groups_test_every_picture_once_and_keep_parts_whole():
    samples = [Sample(path=Path(f"{n}.png"), label=n % 2, group=f"part {n // 4}.{n % 2}") for n in range(48)]
    found: Any = SimpleNamespace(merged=lambda: samples)
    folds = group_folds(found, 3, seed=1)
    assert sorted(str(s.path) for fold in folds for s in fold.test) == sorted(str(s.path) for s in samples)
    for fold in folds:
        assert not {s.group for s in fold.train} & {s.group for s in fold.test}
    with pytest.raises(DataError, match="40 folds are wanted, the parts allow 12; take --folds 12"):
        group_folds(found, 40, seed=1)


def heat(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.full((8, 8), 100, np.uint8)).save(folder / f"bad-0-{name}.png")


DRAWN = [path.stem for path in sorted(FOLDER.glob("fig*.toml"))]


@pytest.mark.parametrize("name", DRAWN)
def test_each_figure_of_the_paper_is_drawn_from_what_is_on_record(name: str, tmp_path: Path):
    pytest.importorskip("matplotlib")
    table, folder, said = FOLDER / f"{name}.toml", tmp_path / name, list[str]()
    fill(table, folder)
    experiment = read_experiment(table)
    for run in combinations(experiment):
        heat(folder / f"{run.name}.heat", "picture", "mask", "localization-00030", "fine-tuning-00300")
    draw_figure(experiment, rows_of(experiment, folder), folder, said.append)
    assert said == []
    with Image.open(folder / "figure.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize("settings", ["", 'settings = { paper = { alpha = 4.0, freeze = "off" } }'])
def test_bars_take_what_a_variant_leaves_out_and_numbers_that_the_file_no_longer_asks_for(
    tmp_path: Path, settings: str
):
    pytest.importorskip("matplotlib")
    text = (
        "data = 'x'\nscale = 'half'\nrecipes = ['paper']\nfigure = 'bars'\npositives = [{}]\n[[variants]]\nname = 'a'\n"
    )
    (tmp_path / "a.toml").write_text(text.format("5, 10") + settings)
    fill(tmp_path / "a.toml", tmp_path / "a")
    (tmp_path / "a.toml").write_text(text.format("5") + settings)
    experiment, said = read_experiment(tmp_path / "a.toml"), list[str]()
    draw_figure(experiment, rows_of(experiment, tmp_path / "a"), tmp_path / "a", said.append)
    assert said == [] and (tmp_path / "a" / "figure.png").exists()


def test_heat_of_a_variant_is_shown_once_whatever_the_numbers_of_bad_pictures(varied: Path, tmp_path: Path):
    fill(varied, folder := tmp_path / "varied")
    for run in combinations(experiment := read_experiment(varied)):
        heat(folder / f"{run.name}.heat", "localization-00030")
    shown = [path.name.split("-")[1] for path in heat_of(folder, rows_of(experiment, folder))]
    assert shown == ["with", "without"]


def test_a_scale_is_refused_where_the_file_says_the_size(tmp_path: Path):
    (tmp_path / "a.toml").write_text("data = 'x'\n[settings]\nsize = [64, 64]")
    with pytest.raises(SettingsError, match="a.toml: has no scale: its pictures have the size .*; leave --scale out"):
        read_experiment(tmp_path / "a.toml", "half")


def test_without_matplotlib_or_records_a_line_says_so(varied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    experiment, said = read_experiment(varied), list[str]()
    (tmp_path / "varied").mkdir()
    draw_figure(experiment, [], tmp_path / "varied", said.append)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    draw_figure(experiment, [], tmp_path / "varied", said.append)
    assert said[-1].endswith("no figure is: pip install 'weakspot[paper]'")
    assert not (tmp_path / "varied" / "figure.png").exists()


def test_heat_through_a_training_is_kept_beside_the_record_and_no_picture_of_the_data(tmp_path: Path):
    table = asked_for(tmp_path, seeds="[0]", schedule=0.04, bad=4, good=4)
    more = 'figure = "heat_through_training"\niterations = [30, 60]\nrecipes = ["paper"]\n'
    table.write_text(more + table.read_text() + "third_kernel = 3\nprecision = 'fp32'\n")
    run_experiment(table, tmp_path / "results")
    folder = tmp_path / "results" / "small"
    kept = {path.name.partition("-")[2].partition("-")[2] for path in (folder / "paper-hold_out-seed0.heat").iterdir()}
    assert kept == {"localization-00030.png", "decision-00030.png"}
    record = read_record(folder / "paper-hold_out-seed0.json")
    assert (record["variant"], record["scale"]) == (None, None)
    assert {"heat_average_precision", "mean_heat_average_precision"} <= record["metrics"].keys()
    assert (folder / "table.md").is_file()
    pytest.importorskip("matplotlib")
    before = (folder / "figure.png").read_bytes()
    assert run_experiment(table, tmp_path / "results", tables_only=True) == [folder / "paper-hold_out-seed0.json"]
    assert (folder / "figure.png").read_bytes() == before, "made from what is kept alone"


@pytest.mark.parametrize("seeds", ["a", "0,,1", "0;1", "-1"])
def test_seeds_that_are_none_are_named(seeds: str):
    with pytest.raises(SettingsError, match=f"--seeds '{seeds}'; needed are whole numbers with commas"):
        numbers("--seeds", seeds)


def test_what_the_page_on_the_paper_says_was_measured_is_what_the_records_say():
    page = (FOLDER.parent / "docs" / "paper.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| ([\d.]+) \| \[(\w+)\]\(\.\./(results/\S+\.json)\) \|", page)
    assert len(rows) >= 4
    for said, metric, path in rows:
        assert float(said) == round(json.loads((FOLDER.parent / path).read_text())["metrics"][metric], 4), path


def test_tables_beside_printed_values_are_made_from_the_records(tmp_path: Path):
    for table in sorted(FOLDER.glob("*.toml")):
        made = RESULTS / table.stem / "table.md"
        if made.exists():
            shutil.copytree(made.parent, tmp_path / table.stem)
            write_printed(read_experiment(table), tmp_path / table.stem)
            again = (tmp_path / table.stem / "table.md").read_text(encoding="utf-8")
            assert again == made.read_text(encoding="utf-8"), "write it anew with --tables-only; never by hand"
