"""What a file of an experiment asks for: which settings its runs get, and what it is refused for."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from weakspot.data.samples import Sample
from weakspot.errors import SettingsError
from weakspot.experiments.run import Experiment, read_experiment, settings_of, split_of
from weakspot.settings import TrainSettings

HERE = Path(__file__).parents[2]


def written(folder: Path, text: str) -> Path:
    path = folder / "table.toml"
    path.write_bytes(text.encode())
    return path


def test_a_seed_moves_split_draw_and_weights_together(tmp_path: Path) -> None:
    experiment = read_experiment(written(tmp_path, "data = 'elpv'\nseeds = [0, 3]\n[settings]\npositives = 30"))
    chosen = settings_of(experiment, "paper", 3)
    assert chosen == TrainSettings(recipe="paper", positives=30, split_seed=3, draw_seed=3, seed=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds = [0]", "table.toml: holds no data"),
        ("data = 'x'\nfolds = [3]", r"folds = \[3\]; needed is a number from 0 to 2"),
        ("data = 'x'\nseeds = [true]", r"seeds = \[True\]; needed is a number from 0"),
        ("data = 'x'\nrecipe = ['sharp']", "unknown key 'recipe'; did you mean 'recipes'"),
        ("data = 'x'\n[settings]\nseed = 3", "settings.seed would be overruled by seeds"),
        ("data = 'x'\n[settings]\nsplit_seed = 3", "settings.split_seed would be overruled by seeds"),
        ("data = 'x'\n[settings]\nrecipe = 'sharp'", "settings.recipe would be overruled by recipes"),
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
    experiment = Experiment(data="x", splits="official", settings={"positives": 5})
    drawn = [
        {s.id for s in split_of(experiment, audited, settings_of(experiment, "sharp", seed), 1).train if s.label}
        for seed in (0, 1)
    ]
    assert [len(each) for each in drawn] == [5, 5]
    assert drawn[0] != drawn[1]


def test_an_experiment_may_come_from_a_windows_editor(tmp_path: Path) -> None:
    assert read_experiment(written(tmp_path, "\ufeffdata = 'elpv'\r\nseeds = [1]\r\n")).seeds == (1,)


def test_recorded_runs_are_what_their_experiments_ask_for_today() -> None:
    """All that is on record stands in the settings of today's run of that name, but for settings that are gone."""
    for path in sorted((HERE / "results").glob("*/*.json")):
        record = json.loads(path.read_text())
        table = HERE / "experiments" / f"{path.parent.name}.toml"
        if "recipe" in record and table.exists():  # benchmarks write records of their own
            experiment = read_experiment(table)
            asked = settings_of(experiment, record["recipe"], record["seed"])
            recorded = {key: value for key, value in record["settings"].items() if key not in ("masks", "top_fraction")}
            assert asked == TrainSettings(**recorded | dict.fromkeys(("split_seed", "draw_seed"), record["seed"]))
