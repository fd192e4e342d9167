"""What is decided before a training: who trains, what the run begins with, its plan and its folds.

All of it is written into the run, and read when the run is gone on with.
"""

import json
from pathlib import Path

import numpy as np

from weakspot.data.audit import Audit
from weakspot.data.audit import audit as audit_samples
from weakspot.data.layouts import read_layout
from weakspot.data.splits import Split, fold_numbers, make_split, split_table
from weakspot.durable import write_durably
from weakspot.errors import DataError, OutputError, shown
from weakspot.jobs.observe import Observer
from weakspot.jobs.pictures import Pictures
from weakspot.jobs.plan import Plan, plan_training
from weakspot.jobs.recipes import draws_defects
from weakspot.progress import Shows
from weakspot.runs import Run
from weakspot.settings import TrainSettings, to_toml
from weakspot.training.machine import choose_machine, prepare

KEPT_DECODED = 2**30  # bytes of decoded pictures that wait in memory for their size; the rest is decoded again


def audited(data: Path, settings: TrainSettings, layout: str, progress: Shows | None) -> Audit:
    """The pictures, each decoded once and kept for the training; no mask is opened."""
    samples = read_layout(data, layout)
    if progress:
        bad = sum(sample.label for sample in samples) or "none"
        progress.note(f"{len(samples)} pictures, {bad} of them bad; looking at each before any training")
    keep = 0 if settings.memory == "small" else KEPT_DECODED
    return audit_samples(samples, settings.read, masks=False, keep=keep)


def split_of(audit: Audit, settings: TrainSettings) -> Split:
    """Who trains and who is kept apart, as the settings say."""
    return make_split(
        audit,
        given=settings.split == "given",
        hold_out=settings.hold_out,
        split_seed=settings.split_seed,
        positives=settings.positives,
        draw_seed=settings.draw_seed,
    )


def record_beginnings(run: Run, split: Split, audit: Audit, settings: TrainSettings) -> None:
    """What the run begins with; a resumed one must begin with the same pictures, parts and split."""
    table = split_table(split)
    _refuse_others(run, audit, table)
    write_durably(run.settings, to_toml(settings))
    write_durably(run.split, table.encode())
    write_durably(run.audit, json.dumps(audit.as_dict(), indent=1, allow_nan=False).encode())


def plan_of(run: Run, pictures: Pictures, settings: TrainSettings) -> Plan:
    """The run's plan, made once: a clock that is read again would choose another size."""
    plain = run.state().get("plan")
    if plain is not None:
        return Plan.read(plain)
    machine = choose_machine(settings)
    prepare(machine)
    plan = plan_training(pictures, settings, machine)
    run.record(plan=plan.plain())
    return plan


def folds_of(
    run: Run | None, labels: np.ndarray, groups: list[str], settings: TrainSettings, observer: Observer
) -> np.ndarray | None:
    """The fold in which each picture is held out; None where none are asked for, or too few parts allow none."""
    if settings.folds < 2:
        return None
    recorded = None if run is None else run.state().get("folds")
    if recorded is not None:
        return np.array(recorded, int)
    try:
        needs_bad = not draws_defects(settings)
        folds = fold_numbers(labels, groups, settings.folds, settings.split_seed, needs_bad=needs_bad)
    except DataError as error:
        observer.warn(f"no folds: {error}")
        return None
    if run is not None:
        run.record(folds=folds.tolist())
    return folds


def _refuse_others(run: Run, audit: Audit, table: str) -> None:
    """What a resumed run has trained already must have seen the same pictures, parted in the same way."""
    try:
        before, split = json.loads(run.audit.read_bytes())["fingerprint"], run.split.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (ValueError, KeyError):
        reason = "damaged, so that nobody can tell whether the pictures are still the same"
        raise OutputError(f"{shown(run.audit)}: {reason}; begin a new run") from None
    begun = "that the run was begun with; put them back, or begin a new run"
    if before != audit.fingerprint:
        raise DataError(f"--resume: the pictures or their labels are not those {begun}")
    if split != table:
        raise DataError(f"--resume: the parts or the split are not those {begun}")
