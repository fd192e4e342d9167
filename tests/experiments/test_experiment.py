"""What a file of an experiment asks for: its runs, their names and settings, and what it is refused for."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from weakspot.data.samples import Sample
from weakspot.errors import SettingsError
from weakspot.experiments.experiment import Experiment, combinations, read_experiment, settings_of, split_of
from weakspot.experiments.records import differing
from weakspot.settings import RecipeName, TrainSettings

HERE = Path(__file__).parents[2]
TABLES = sorted((HERE / "experiments").glob("*.toml"))


def written(folder: Path, text: str) -> Path:
    path = folder / "table.toml"
    path.write_bytes(text.encode())
    return path


def names(**asked: Any) -> list[str]:
    return [run.name for run in combinations(Experiment(data="x", **asked))]


def test_a_seed_moves_split_draw_and_weights_together(tmp_path: Path) -> None:
    experiment = read_experiment(written(tmp_path, "data = 'elpv'\nseeds = [0, 3]\n[settings]\npositives = 30"))
    runs = list(combinations(experiment))
    assert [run.name for run in runs] == ["sharp-hold_out-seed0", "sharp-hold_out-seed3"]
    chosen = settings_of(experiment, runs[1])
    assert chosen == TrainSettings(positives=30, split_seed=3, draw_seed=3, seed=3)


def test_seeds_of_the_weights_leave_split_and_draw_as_they_are() -> None:
    experiment = Experiment(data="x", seeds=(3,), weights_seeds=(0, 1))
    first, second = combinations(experiment)
    assert (first.name, second.name) == ("sharp-hold_out-seed3-weights0", "sharp-hold_out-seed3-weights1")
    assert settings_of(experiment, second) == TrainSettings(split_seed=3, draw_seed=3, seed=1)


def test_numbers_of_bad_pictures_are_an_axis_of_their_own_and_stand_in_the_names() -> None:
    experiment = Experiment(data="x", splits="clean", folds=(0, 2), positives=(5, 10), settings={"threads": 1})
    runs = list(combinations(experiment))
    assert [run.name for run in runs] == [
        "sharp-clean-fold0-bad5-seed0",
        "sharp-clean-fold2-bad5-seed0",
        "sharp-clean-fold0-bad10-seed0",
        "sharp-clean-fold2-bad10-seed0",
    ]
    assert [settings_of(experiment, run).positives for run in runs] == [5, 5, 10, 10]


def test_a_run_without_any_bad_picture_says_so_in_its_name() -> None:
    assert names(positives=(0,)) == ["sharp-hold_out-bad0-seed0"]
    assert names(settings={"positives": 30}) == ["sharp-hold_out-seed0"]


def test_threads_of_the_command_win_over_those_of_the_file() -> None:
    experiment = Experiment(data="x", settings={"threads": 1})
    (run,) = combinations(experiment)
    assert settings_of(experiment, run).threads == 1
    assert settings_of(experiment, run, threads=3).threads == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds = [0]", "table.toml: holds no data"),
        ("data = 'x'\nsplits = 'clean'\nfolds = [3]", r"folds = \[3\]; needed is a number from 0 to 2"),
        ("data = 'x'\nseeds = [true]", r"seeds = \[True\]; needed is a number from 0"),
        ("data = 'x'\npositives = [-1]", r"positives = \[-1\]; needed is a number from 0"),
        ("data = 'x'\nweights_seeds = [-1]", r"weights_seeds = \[-1\]; needed is a number from 0"),
        ("data = 'x'\nrecipe = ['sharp']", "unknown key 'recipe'; did you mean 'recipes'"),
        ("data = 'x'\n[settings]\nseed = 3", "settings.seed would be overruled by seeds or weights_seeds"),
        ("data = 'x'\n[settings]\nsplit_seed = 3", "settings.split_seed would be overruled by seeds"),
        ("data = 'x'\n[settings]\nrecipe = 'sharp'", "settings.recipe would be overruled by recipes"),
        (
            "data = 'x'\npositives = [5]\n[settings]\npositives = 3",
            "settings.positives would be overruled by positives",
        ),
        ("data = 'x'\nfolds = [0, 1]", r"folds = \[0, 1\], but a hold-out has none; leave folds out, or give splits"),
        ("data = 'x'\nseeds = [0, 1, 0]", r"seeds names 0 twice; name each once"),
        ("data = 'x'\nweights_seeds = [4, 4]", r"weights_seeds names 4 twice"),
        ("data = 'x'\nrecipes = ['sharp', 'sharp']", r"recipes names sharp twice"),
        ("data = 'x'\npositives = [5, 10, 10]", r"positives names 10 twice"),
        ("data = 'x'\nsplits = 'clean'\nfolds = [1, 1]", r"folds names 1 twice"),
        ("data = 'x'\nseeds = []", r"seeds is empty, so there is no run; name one, or leave it out"),
        (
            "data = 'x'\n[[variants]]\nname = 'a'\nsettings = { recipe = 'paper' }",
            "variant a: settings.recipe would be overruled by recipes",
        ),
        (
            "data = 'x'\nscale = 'half'\n[[variants]]\nname = 'a'\nsettings = { size = [64, 64] }",
            "variant a: settings.size would be overruled by scale",
        ),
        ("data = 'x'\n[[variants]]\nname = '../a'", "a variant is named ../a; needed are letters, digits and _ alone"),
        ("data = 'x'\n[[variants]]\nname = 'a-fold1'", "a variant is named a-fold1; needed are letters"),
        ("data = 'x'\n[[variants]]\nname = ''", "a variant is named ; needed are letters"),
        (
            "data = 'x'\n[[printed]]\nwhere = 'T'\nrecipe = 'papr'\nvalues = { average_precision = 1 }",
            r"printed value 1 \(T\): recipe = 'papr' is none of this experiment's \(sharp\)",
        ),
        (
            "data = 'x'\n[[printed]]\nwhere = 'T'\nrecipe = 'sharp'\nvariant = 'a'\nvalues = {}",
            r"variant = 'a' is none of this experiment's \(none\)",
        ),
        (
            "data = 'x'\npositives = [0, 5]\n[[printed]]\nwhere = 'T'\nrecipe = 'sharp'\npositives = 50\nvalues = {}",
            r"positives = 50 is none of this experiment's \(0, 5\)",
        ),
        (
            "data = 'x'\n[[printed]]\nwhere = 'T'\nname = 'a'\nvalues = { ap = 1 }",
            "printed = .*; input should be 'average_precision'",
        ),
    ],
)
def test_a_wrong_experiment_is_named_with_the_way_out(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_experiment(written(tmp_path, text))


def test_published_folds_train_on_as_many_bad_pictures_as_asked_for() -> None:
    samples = [
        Sample(path=Path(f"kos{item:02}/Part{part}.jpg"), label=int(part == 0), group=f"kos{item:02}")
        for item in range(1, 51)
        for part in range(3)
    ]
    audited: Any = SimpleNamespace(readable=samples, same_part=[], merged=lambda: samples)
    experiment = Experiment(data="x", splits="official", seeds=(0, 1), folds=(1,), settings={"positives": 5})
    drawn = [
        {s.id for s in split_of(experiment, audited, settings_of(experiment, run), run.fold).train if s.label}
        for run in combinations(experiment)
    ]
    assert [len(each) for each in drawn] == [5, 5]
    assert drawn[0] != drawn[1]


def test_an_experiment_may_come_from_a_windows_editor(tmp_path: Path) -> None:
    assert read_experiment(written(tmp_path, "\ufeffdata = 'elpv'\r\nseeds = [1]\r\n")).seeds == (1,)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.stem)
def test_every_experiment_can_be_read_and_its_runs_have_settings_and_names_of_their_own(table: Path) -> None:
    experiment = read_experiment(table)
    runs = list(combinations(experiment))
    assert len({run.name for run in runs}) == len(runs) > 0
    for run in (each for each in runs if each.recipe in get_args(RecipeName)):  # rivals may be built later
        settings_of(experiment, replace(run, positives=run.positives or None))


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("casting", 5),
        ("elpv", 5),
        ("magnetic_tile", 5),
        ("kolektorsdd_clean", 15),
        ("no_bad_elpv", 5),
        ("no_bad_magnetic_tile", 5),
        ("no_bad_kolektorsdd", 15),
        ("kolektorsdd_clean_few", 30),
        ("kolektorsdd_official", 15),
    ],
)
def test_the_default_recipe_is_tried_on_five_seeds(name: str, runs: int) -> None:
    experiment = read_experiment(HERE / "experiments" / f"{name}.toml")
    asked = list(combinations(experiment))
    assert len(asked) == runs
    assert len({run.seed for run in asked}) == 5
    assert experiment.recipes == ("sharp",)
    assert (experiment.positives == (0,)) == name.startswith("no_bad")


def test_recorded_runs_are_what_their_experiments_ask_for_today() -> None:
    """All that is on record stands in the settings of today's run of that name, but for settings that are gone."""
    for path in sorted((HERE / "results").glob("*/*.json")):
        record = json.loads(path.read_text())
        table = HERE / "experiments" / f"{path.parent.name}.toml"
        if "recipe" in record and table.exists():  # benchmarks write records of their own
            experiment = read_experiment(table)
            (run,) = (run for run in combinations(experiment) if run.name == record["run"])
            assert differing(record, settings_of(experiment, run)) == {}
