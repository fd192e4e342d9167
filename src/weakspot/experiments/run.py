"""One TOML file → a training for each of its runs → a record each under results/. Figures in tables come from these."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weakspot.data.audit import Audit
from weakspot.data.layouts import read_layout
from weakspot.durable import make_folder, write_durably
from weakspot.errors import DataError, SettingsError, TrainingError, WeakspotError, amount, shown
from weakspot.experiments.experiment import (
    Combination,
    Experiment,
    Scale,
    combinations,
    read_experiment,
    settings_of,
    split_of,
)
from weakspot.experiments.figures import draw_figure
from weakspot.experiments.kept_heat import keep_heat_maps
from weakspot.experiments.printed import write_printed
from weakspot.experiments.records import refuse_other_pictures, refuse_other_settings
from weakspot.experiments.side_by_side import run_side_by_side
from weakspot.experiments.tables import write_tables
from weakspot.inspection.model_file import read_model_file
from weakspot.inspection.processor import usable_cores
from weakspot.jobs.begin import audited
from weakspot.jobs.observe import TrainingStopped
from weakspot.jobs.train import TrainResult, train
from weakspot.progress import Shows
from weakspot.runs import MARK, Run
from weakspot.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the runs of one file share: what they are asked for, and where things lie."""

    table: Path
    experiment: Experiment
    results: Path  # records lie in a folder named after the file, trainings in runs/ beside it
    threads: int | None  # of each run; None: as many as cores
    progress: Shows | None

    @property
    def is_word(self) -> bool:
        """Whether the data are those of the package elpv-dataset, and no folder of that name."""
        asked, layout = self.experiment.data, self.experiment.layout
        return asked == "elpv" and layout in ("auto", "elpv") and not (self.table.parent / asked).exists()

    @property
    def data(self) -> str:
        """The folder of the pictures, or the word elpv."""
        return self.experiment.data if self.is_word else str(self.table.parent / self.experiment.data)

    @property
    def layout(self) -> str:
        """How the folder is read."""
        return "elpv" if self.is_word else self.experiment.layout

    @property
    def folder(self) -> Path:
        """Where the records lie, and the table and figure made from them."""
        return self.results / self.table.stem

    def record(self, run: Combination) -> Path:
        """Where the run's record lies once it is done."""
        return self.folder / f"{run.name}.json"

    def training(self, run: Combination) -> Path:
        """Where the run's training lies."""
        return self.results.parent / "runs" / self.table.stem / run.name

    def settings(self, run: Combination) -> TrainSettings:
        """The settings of a run."""
        return settings_of(self.experiment, run, self.threads)

    def note(self, text: str) -> None:
        """A line for whoever looks on."""
        if self.progress:
            self.progress.note(text)


def run_experiment(
    table: Path,
    results: Path,
    *,
    threads: int | None = None,
    jobs: int = 1,
    only: str | None = None,
    scale: Scale | None = None,
    tables_only: bool = False,
    progress: Shows | None = None,
) -> list[Path]:
    """Run what has no record yet; a run that was stopped is gone on with. Returns the records' paths.

    threads: of each run, instead of those that the file gives; jobs: runs at a time, each in a process of its own, with
    an even share of the cores where nobody says the threads; only: the one run of this name; scale: of the pictures,
    instead of the file's; tables_only: run nothing. A run that fails stops none of the others; TrainingError names all
    of these at the end. Raises SettingsError, DataError before any run, for a record of something else, too.
    """
    experiment = read_experiment(table, scale)
    share = max(1, usable_cores() // jobs) if jobs > 1 else None  # however many are left: going on takes the same
    threads = threads or experiment.settings.get("threads", share)
    place = Place(table=table, experiment=experiment, results=results, threads=threads, progress=progress)
    runs = _asked_for(place, only)
    make_folder(place.folder)
    left = [run for run in runs if not place.record(run).exists() and not tables_only]
    if left:
        _refuse_missing_data(place)
    failures: dict[str, str] = {}
    if len(left) == 1:
        _record(place, left[0], _audited(place, left[0]))
    elif left:
        failures = _run_here(place, left) if jobs == 1 else _run_in_processes(place, left, jobs)
    if only is None:
        tabulate(place)
    if failures:
        others = ", the others are on record" if len(failures) < len(left) else ""
        each = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise TrainingError(f"{len(failures)} of {amount(len(left), 'run')} failed{others}: {each}")
    return [place.record(run) for run in runs if place.record(run).exists()]


def tabulate(place: Place) -> None:
    """Tables and the figure anew, from all records of the experiment."""
    write_tables(place.results)
    if place.experiment.printed or place.experiment.figure:
        rows = write_printed(place.experiment, place.folder)
        draw_figure(place.experiment, rows, place.folder, place.note)


def _refuse_missing_data(place: Place) -> None:
    """Raise DataError that names the data and where to get them."""
    if not place.is_word and not Path(place.data).exists():
        source = place.experiment.source
        way_out = f"get it from {source}, and put it there" if source else "put it there, or correct data in the file"
        raise DataError(f"{shown(place.data)}: is not there, and {shown(place.table)} needs it; {way_out}")


def _asked_for(place: Place, only: str | None) -> list[Combination]:
    """The runs, their settings tried before any begins."""
    runs = list(combinations(place.experiment))
    asked = [run for run in runs if only in (None, run.name)]
    if not asked:
        names = ", ".join(run.name for run in runs)
        raise SettingsError(f"{shown(place.table)}: has no run {shown(only)}; its runs are {names}")
    for settings in [place.settings(run) for run in asked]:
        _refuse_without_test(place, settings)
    for run in asked:
        if place.record(run).exists():
            refuse_other_settings(place.record(run), place.settings(run))
    return asked


def _refuse_without_test(place: Place, settings: TrainSettings) -> None:
    """Raise SettingsError where nothing would be kept apart: no hold-out, and no test side that the data give."""
    if place.experiment.splits != "hold_out" or settings.hold_out > 0:
        return
    samples = read_layout(Path(place.data), place.layout)
    if settings.split == "own" or not any(sample.part == "test" for sample in samples):
        found = "settings.hold_out is 0, so no picture would be kept apart and there would be nothing to record"
        raise SettingsError(f"{shown(place.table)}: {found}; give a hold_out above 0")


def _run_here(place: Place, runs: Sequence[Combination]) -> dict[str, str]:
    """One run after the other; a name and a reason for each that failed."""
    audit, failures = _audited(place, runs[0]), {}
    for run in runs:
        place.note(f"run {run.name}")
        try:
            _record(place, run, audit)
        except TrainingStopped:
            raise
        except Exception as error:  # whatever it is, it is this run's alone; it is named, and fails the command
            reason = str(error) if isinstance(error, WeakspotError) else f"{type(error).__name__}: {error}"
            place.note(f"{run.name}: {reason}")
            failures[run.name] = reason
    return failures


def _run_in_processes(place: Place, runs: Sequence[Combination], jobs: int) -> dict[str, str]:
    """The same, `jobs` at a time: each is this command again, for one run."""
    read_layout(Path(place.data), place.layout)  # what is wrong with all is said once
    assert place.threads is not None
    command = [sys.executable, "-m", "weakspot", "experiment", str(place.table), "-o", str(place.results)]
    command += ["--scale", place.experiment.scale] if place.experiment.scale else []
    commands = {run.name: [*command, "--threads", str(place.threads), "--run", run.name] for run in runs}
    place.note(f"{amount(len(runs), 'run')}, {jobs} at a time, {amount(place.threads, 'thread')} each")
    return run_side_by_side(commands, jobs, lambda name, line: place.note(f"{name}: {line}"))


def _audited(place: Place, run: Combination) -> Audit:
    audit = audited(Path(place.data), place.settings(run), place.layout, place.progress)
    on_record = [place.record(each) for each in combinations(place.experiment) if place.record(each).exists()]
    refuse_other_pictures(on_record, audit.fingerprint)
    return audit


def _record(place: Place, run: Combination, audit: Audit) -> None:
    """Train, or go on, then write the run's scores and record, and the tables anew."""
    settings, training, record = place.settings(run), place.training(run), place.record(run)
    split = split_of(place.experiment, audit, settings, run.fold)
    try:
        result = train(
            place.data, settings, layout=place.layout, output=training, progress=place.progress,
            resume=(training / MARK).is_file(), audit=audit, split=split, title=run.name,
        )  # fmt: skip
    except TrainingStopped:
        raise TrainingStopped(f"stopped in {run.name}; nothing is lost: the same command goes on") from None
    plain = _plain_record(place.experiment, run, settings, result)
    if place.experiment.figure and place.experiment.figure.startswith("heat"):
        keep_heat_maps(Run(training), result.split.train, settings, record.with_suffix(".heat"))
    write_durably(record.with_suffix(".scores.csv"), (training / "scores.csv").read_bytes())
    write_durably(record, json.dumps(plain, indent=1, allow_nan=False).encode())
    write_tables(place.results)
    place.note("on record")


def _plain_record(
    experiment: Experiment, run: Combination, settings: TrainSettings, result: TrainResult
) -> dict[str, Any]:
    if result.evaluation is None:
        raise SettingsError(
            f"{run.name}: nothing was kept apart, so there is nothing to record; give a hold_out above 0"
        )
    manifest, state = read_model_file(result.model).manifest, Run(result.run).state()
    split = {"train": len(result.split.train), "test": len(result.split.test)}
    return {
        "experiment": experiment.data.rstrip("/").rsplit("/", 1)[-1],
        "run": manifest.name,
        "recipe": settings.recipe,
        "variant": run.variant.name if run.variant else None,
        "scale": experiment.scale,
        "split": {"name": experiment.splits, "run": result.split.name, **split},
        "positives": sum(sample.label for sample in result.split.train),
        "seed": run.seed,
        "weights_seed": run.weights_seed,
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
