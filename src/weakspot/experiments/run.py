"""One TOML file → runs on named splits → a record each under results/. Figures in tables come from these records and
from nowhere else."""

import json
import shutil
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from weakspot.data.audit import Audit, audit
from weakspot.data.layouts import read_layout
from weakspot.data.splits import Split, kolektor_folds
from weakspot.durable import make_folder, write_durably
from weakspot.errors import SettingsError, shown
from weakspot.experiments.tables import write_tables
from weakspot.jobs.model import commit, machine, versions
from weakspot.jobs.observe import Progress, observing
from weakspot.jobs.train import TrainResult, split_for, train_split
from weakspot.runs import open_run
from weakspot.settings import TrainSettings, as_plain, read_settings, refuse_unknown_keys


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What one file asks for: every combination of recipe, fold and seed is a run."""

    data: str  # folder, relative to the file, or the word elpv
    layout: str = "auto"
    splits: Literal["official", "clean", "hold_out"] = "hold_out"
    folds: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0,)
    recipes: tuple[Literal["sharp", "paper"], ...] = ("sharp",)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedRun:
    """One run of an experiment."""

    name: str
    settings: TrainSettings
    split: Split


def run_experiment(
    table: Path, results: Path, *, progress: Progress | None = None, runs: Path | None = None
) -> list[Path]:
    """Run what has no record yet, in order; a run that was stopped is gone on with. Returns the records' paths.

    results: where records lie, in a folder named after the file; runs: where trainings lie while they run, default
    results/../runs.
    """
    experiment = read_experiment(table)
    folder, trainings = results / table.stem, (runs or results.parent / "runs") / table.stem
    make_folder(folder)
    data = experiment.data if experiment.layout == "elpv" else str(table.parent / experiment.data)
    records = []
    found: Audit | None = None
    for recipe, fold, seed in _combinations(experiment):
        record = folder / f"{_run_name(experiment, recipe, fold, seed)}.json"
        records.append(record)
        if record.exists():
            continue
        settings = replace(read_settings(TrainSettings, **experiment.settings), recipe=recipe, seed=seed)
        found = found or audit(read_layout(Path(data), experiment.layout), settings.read)
        planned = PlannedRun(record.stem, settings, _split(experiment, found, settings, fold))
        _run(planned, found, experiment, trainings / planned.name, record, progress)
        write_tables(results)
    return records


def read_experiment(table: Path) -> Experiment:
    """The file as an Experiment. Raises SettingsError naming the key."""
    try:
        values = tomllib.loads(table.read_text(encoding="utf-8"))
        refuse_unknown_keys(Experiment, values, where=shown(table))
        return TypeAdapter(Experiment).validate_python(values)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"{shown(table)}: {error}; needed is an experiment's TOML, such as experiments/elpv.toml"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{shown(table)}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _combinations(experiment: Experiment) -> Iterator[tuple[Any, int, int]]:
    for recipe in experiment.recipes:
        for seed in experiment.seeds:
            for fold in experiment.folds:
                yield recipe, fold, seed


def _run_name(experiment: Experiment, recipe: str, fold: int, seed: int) -> str:
    part = "hold_out" if experiment.splits == "hold_out" else f"{experiment.splits}-fold{fold}"
    return f"{recipe}-{part}-seed{seed}"


def _split(experiment: Experiment, found: Audit, settings: TrainSettings, fold: int) -> Split:
    if experiment.splits == "hold_out":
        return split_for(found, settings)
    return kolektor_folds(found.readable, experiment.splits)[
        fold
    ]  # the published lists, twins and all: `clean` drops them by name


def _run(
    planned: PlannedRun, found: Audit, experiment: Experiment, folder: Path, record: Path, progress: Progress | None
) -> None:
    identity = {"run": planned.name, "settings": as_plain(planned.settings)}
    run = open_run(folder, folder.exists(), identity)
    began = time.monotonic()
    commit()  # what runs now, whatever is committed meanwhile
    with observing(run, progress) as observer:
        result = train_split(
            planned.split, found, planned.settings, run, observer, title=planned.name, identity=identity
        )
    seconds = time.monotonic() - began
    write_durably(
        record, json.dumps(_record(planned, found, experiment, result, seconds), indent=1, allow_nan=False).encode()
    )
    shutil.copyfile(run.folder / "scores.csv", record.with_suffix(".scores.csv"))


def _record(
    planned: PlannedRun, found: Audit, experiment: Experiment, result: TrainResult, seconds: float
) -> dict[str, Any]:
    assert result.evaluation is not None
    learned = json.loads((result.run / "run.json").read_text())["learned"]
    return {
        "experiment": experiment.data.rstrip("/").rsplit("/", 1)[-1],
        "run": planned.name,
        "recipe": planned.settings.recipe,
        "split": {
            "name": experiment.splits,
            "run": planned.split.name,
            "train": len(planned.split.train),
            "test": len(planned.split.test),
        },
        "positives": sum(sample.label for sample in planned.split.train),
        "seed": planned.settings.seed,
        "size": list(result.size),
        "settings": as_plain(planned.settings),
        "data_fingerprint": found.fingerprint,
        "versions": versions(),
        "machine": machine(),
        "seconds": round(seconds, 1),
        "commit": commit(),
        "learned": learned,
        "metrics": result.evaluation.metrics,
        "intervals": {name: list(bounds) for name, bounds in result.evaluation.intervals.items()},
    }
