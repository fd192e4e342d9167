"""One TOML file → a training for each of its runs → a record each under results/. Figures in tables come from these."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from weakspot.data.audit import Audit
from weakspot.data.layouts import read_layout
from weakspot.durable import make_folder, write_durably
from weakspot.errors import DataError, OutputError, SettingsError, TrainingError, WeakspotError, amount, shown
from weakspot.experiments.experiment import (
    Combination,
    Scale,
    combinations,
    read_experiment,
    split_of,
)
from weakspot.experiments.figures import draw_figure
from weakspot.experiments.kept_heat import keep_heat_maps
from weakspot.experiments.on_ray import Cluster, run_on_ray
from weakspot.experiments.place import Place
from weakspot.experiments.printed import write_printed
from weakspot.experiments.recorded import plain_record
from weakspot.experiments.records import refuse_other_pictures, refuse_other_settings
from weakspot.experiments.side_by_side import run_side_by_side
from weakspot.experiments.tables import write_tables
from weakspot.inspection.processor import usable_cores
from weakspot.jobs.begin import audited
from weakspot.jobs.observe import TrainingStopped
from weakspot.jobs.train import train
from weakspot.progress import Shows
from weakspot.runs import MARK, Run
from weakspot.settings import TrainSettings

RESUMED = "--resume: "  # with this a training says that what lies there is not what is asked for


def run_experiment(
    table: Path,
    results: Path,
    *,
    threads: int | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    only: str | None = None,
    scale: Scale | None = None,
    tables_only: bool = False,
    progress: Shows | None = None,
) -> list[Path]:
    """Run what has no record yet; a run that was stopped is gone on with. Returns the records' paths.

    threads: of each run, instead of those that the file gives; jobs: runs at a time, each in a process of its own, with
    an even share of the cores where nobody says the threads; ray: a cluster's address, or local for one of this
    machine, whose workers take the runs; only: the one run of this name; scale: of the pictures, instead of the file's;
    tables_only: run nothing. A run that fails stops none of the others; TrainingError names all of these at the end.
    Raises SettingsError, DataError before any run, for a record of something else, too.
    """
    experiment = read_experiment(table, scale)
    share = 1 if ray else max(1, usable_cores() // jobs) if jobs and jobs > 1 else None
    threads = threads or experiment.settings.get("threads", share)  # however many are left: going on takes the same
    place = Place(table=table, experiment=experiment, results=results, threads=threads, progress=progress)
    runs = _asked_for(place, only)
    left = [] if tables_only else [run for run in runs if not place.record(run).exists()]
    if left:
        _refuse_missing_data(place)
        for run in left:
            _refuse_without_test(place, place.settings(run))
    make_folder(place.folder)
    if left:
        write_tables(place.results)  # a record that none can be made from is named now, not after hours
    failures: dict[str, str] = {}
    if left and ray:
        try:
            failures = _run_by_ray(place, left, ray, jobs)
        finally:
            write_tables(place.results)
    elif len(left) == 1:
        _record(place, left[0], _audited(place, left[0]))
        write_tables(place.results)
    elif left:
        failures = _run_in_processes(place, left, jobs) if jobs and jobs > 1 else _run_here(place, left)
    if only is None or tables_only:
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
    for run, settings in [(run, place.settings(run)) for run in asked]:
        if place.record(run).exists():
            refuse_other_settings(place.record(run), settings)
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
        if place.record(run).exists():  # another process has made it meanwhile
            continue
        place.note(f"run {run.name}")
        try:
            _record(place, run, audit)
            write_tables(place.results)
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


def _run_by_ray(place: Place, runs: Sequence[Combination], address: str, at_a_time: int | None) -> dict[str, str]:
    """The same on a cluster's workers, which write the records where the training's folders are: all see both."""
    read_layout(Path(place.data), place.layout)
    assert place.threads is not None
    there = place.table.resolve(), place.results.resolve(), place.experiment.scale, place.threads
    place.note(f"{amount(len(runs), 'run')} by Ray, {amount(place.threads, 'thread')} each")
    calls = {run.name: (*there, run.name) for run in runs}
    failures = run_on_ray(run_there, calls, Cluster(address, at_a_time, place.threads), place.note)
    unseen = [run.name for run in runs if run.name not in failures and not place.record(run).exists()]
    reason = "its worker wrote a record that is not seen here; the results' folder must be one that all machines share"
    return failures | dict.fromkeys(unseen, reason)


def run_there(table: Path, results: Path, scale: Scale | None, threads: int, name: str, progress: Shows) -> None:
    """One run, in a worker of a cluster, that has no record yet; the tables are whoever asked's."""
    experiment = read_experiment(table, scale)
    place = Place(table=table, experiment=experiment, results=results, threads=threads, progress=progress)
    (run,) = _asked_for(place, name)
    if not place.record(run).exists():  # of a worker that died after it had written it
        _refuse_missing_data(place)
        _record(place, run, _audited(place, run))


def _audited(place: Place, run: Combination) -> Audit:
    audit = audited(Path(place.data), place.settings(run), place.layout, place.progress)
    on_record = [place.record(each) for each in combinations(place.experiment) if place.record(each).exists()]
    refuse_other_pictures(on_record, audit.fingerprint)
    return audit


def _record(place: Place, run: Combination, audit: Audit) -> None:
    """Train, or go on, then write the run's scores and record."""
    settings, training, record = place.settings(run), place.training(run), place.record(run)
    split = split_of(place.experiment, audit, settings, run.fold)
    try:
        result = train(
            place.data, settings, layout=place.layout, output=training, progress=place.progress,
            resume=(training / MARK).is_file(), audit=audit, split=split, title=run.name,
        )  # fmt: skip
    except TrainingStopped:
        raise TrainingStopped(f"stopped in {run.name}; nothing is lost: the same command goes on") from None
    except (SettingsError, DataError) as error:
        if not str(error).startswith(RESUMED):
            raise
        found = f"holds a training of something else ({str(error).removeprefix(RESUMED)})"
        raise OutputError(f"{shown(training)}: {found}; move it away, and the run is made again") from None
    plain = plain_record(place.experiment, run, settings, result)
    if place.experiment.figure and place.experiment.figure.startswith("heat"):
        keep_heat_maps(Run(training), result.split.train, settings, record.with_suffix(".heat"))
    write_durably(record.with_suffix(".scores.csv"), (training / "scores.csv").read_bytes())
    write_durably(record, json.dumps(plain, indent=1, allow_nan=False).encode())
    place.note("on record")
