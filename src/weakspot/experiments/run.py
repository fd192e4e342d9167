"""One TOML file → runs on named splits → a record each under results/. Figures in tables come from these alone."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from weakspot.data.audit import Audit
from weakspot.data.splits import Split, kolektor_folds, with_positives
from weakspot.durable import make_folder, write_durably
from weakspot.errors import SettingsError, shown
from weakspot.experiments.tables import write_tables
from weakspot.inspection.model_file import read_model_file
from weakspot.jobs.begin import audited
from weakspot.jobs.train import TrainResult, train
from weakspot.progress import Shows
from weakspot.runs import MARK, Run
from weakspot.settings import Range, RecipeName, Seed, Settings, TrainSettings, read_settings

# A run's seed is all three of these: other parts are tested, other bad ones train, other weights.
DRAWN = ("split_seed", "draw_seed", "seed")


@dataclass(frozen=True, kw_only=True)
class Experiment(Settings):
    """What one file asks for: every combination of recipe, fold and seed is a run."""

    data: str  # folder, relative to the file, or the word elpv
    layout: str = "auto"
    splits: Literal["official", "clean", "hold_out"] = "hold_out"
    folds: tuple[Annotated[int, Range(0, 2, 0)], ...] = (0,)  # of the published ones
    seeds: tuple[Seed, ...] = (0,)  # a spread over them is one over all that is drawn
    recipes: tuple[RecipeName, ...] = ("sharp",)
    settings: dict[str, Any] = field(default_factory=dict)


def run_experiment(
    table: Path, results: Path, *, threads: int | None = None, progress: Shows | None = None, runs: Path | None = None
) -> list[Path]:
    """Run what has no record yet, in order; a run that was stopped is gone on with. Returns the records' paths.

    results: where records lie, in a folder named after the file; runs: where trainings lie (results/../runs).
    """
    experiment = read_experiment(table)
    folder, trainings = results / table.stem, (runs or results.parent / "runs") / table.stem
    make_folder(folder)
    data = experiment.data if experiment.layout == "elpv" else str(table.parent / experiment.data)
    records = []
    audit: Audit | None = None
    for recipe, fold, seed in _combinations(experiment):
        record = folder / f"{_run_name(experiment, recipe, fold, seed)}.json"
        records.append(record)
        if record.exists():
            continue
        settings, place = settings_of(experiment, recipe, seed, threads), trainings / record.stem
        audit = audit or audited(Path(data), settings, experiment.layout, progress)
        result = train(
            data, settings, layout=experiment.layout, output=place, resume=(place / MARK).is_file(), progress=progress,
            audit=audit, split=split_of(experiment, audit, settings, fold), title=record.stem,
        )  # fmt: skip
        shutil.copyfile(place / "scores.csv", record.with_suffix(".scores.csv"))
        write_durably(record, json.dumps(_record(experiment, settings, result), indent=1, allow_nan=False).encode())
        write_tables(results)
    return records


def read_experiment(table: Path) -> Experiment:
    """The file as an Experiment. Raises SettingsError naming the key."""
    experiment = read_settings(Experiment, table)
    for key in ("recipe", *DRAWN):
        if key in experiment.settings:
            by = "recipes" if key == "recipe" else "seeds"
            raise SettingsError(f"{shown(table)}: settings.{key} would be overruled by {by}; say it there alone")
    return experiment


def settings_of(experiment: Experiment, recipe: str, seed: int, threads: int | None = None) -> TrainSettings:
    """The settings of one run. Its seed draws who is tested, which bad pictures train, and the weights together."""
    given = {**experiment.settings, "recipe": recipe, **dict.fromkeys(DRAWN, seed)}
    return read_settings(TrainSettings, **given | ({} if threads is None else {"threads": threads}))


def _combinations(experiment: Experiment) -> Iterator[tuple[Any, int, int]]:
    for recipe in experiment.recipes:
        for seed in experiment.seeds:
            for fold in experiment.folds:
                yield recipe, fold, seed


def _run_name(experiment: Experiment, recipe: str, fold: int, seed: int) -> str:
    part = "hold_out" if experiment.splits == "hold_out" else f"{experiment.splits}-fold{fold}"
    return f"{recipe}-{part}-seed{seed}"


def split_of(experiment: Experiment, audit: Audit, settings: TrainSettings, fold: int) -> Split | None:
    """The published list, of which `clean` drops the twins by name; None where the settings say who trains."""
    if experiment.splits == "hold_out":
        return None
    return with_positives(kolektor_folds(audit, experiment.splits)[fold], settings.positives, settings.draw_seed)


def _record(experiment: Experiment, settings: TrainSettings, result: TrainResult) -> dict[str, Any]:
    assert result.evaluation is not None
    manifest, state = read_model_file(result.model).manifest, Run(result.run).state()
    split = {"train": len(result.split.train), "test": len(result.split.test)}
    return {
        "experiment": experiment.data.rstrip("/").rsplit("/", 1)[-1],
        "run": manifest.name,
        "recipe": settings.recipe,
        "split": {"name": experiment.splits, "run": result.split.name, **split},
        "positives": sum(sample.label for sample in result.split.train),
        "seed": settings.seed,
        "size": list(result.size),
        "settings": manifest.settings,
        "data_fingerprint": manifest.data_fingerprint,
        "versions": manifest.versions,
        "machine": manifest.machine,
        "seconds": round(state["seconds"], 1),
        "commit": manifest.commit,
        "learned": state["learned"],
        "promises": result.evaluation.promises,
        "metrics": result.evaluation.metrics,
        "intervals": {name: list(bounds) for name, bounds in result.evaluation.intervals.items()},
    }
