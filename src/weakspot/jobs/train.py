"""The main job: a folder of good and bad parts → a detector in one file, and a report on parts kept apart. And the same
from arrays."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from weakspot.data.audit import Audit, audit
from weakspot.data.layouts import read_layout
from weakspot.data.samples import Sample
from weakspot.data.splits import Split, draw_positives, hold_out, split_table
from weakspot.durable import write_durably
from weakspot.errors import DataError, OutputError, amount, shown
from weakspot.evaluation import words
from weakspot.evaluation.evaluate import Background, Evaluation
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import write_model_file
from weakspot.jobs.evaluate import evaluate_samples
from weakspot.jobs.learn import Learned, describe, learn
from weakspot.jobs.model import Origin, build_model, commit, loaded, machine, versions
from weakspot.jobs.observe import Observer, Progress, observing
from weakspot.jobs.pictures import Pictures, pictures_in_memory, pictures_of
from weakspot.jobs.plan import Plan, plan_training
from weakspot.runs import Run, open_run, refuse_taken, to_toml
from weakspot.settings import Size, TrainSettings, as_plain
from weakspot.training.machine import choose_machine
from weakspot.training.train import Machine


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training left: the model file, the report (None where no part was kept apart), the run's folder, and the
    outcome in words."""

    model: Path
    report: Path | None
    run: Path
    summary: str
    evaluation: Evaluation | None
    size: Size  # height, width at which it looks
    left_out: int  # pictures that could not be read, are too small or blank, and took no part

    @property
    def exit_status(self) -> int:
        """0 when every picture could take part; 1 otherwise, though there is a detector."""
        return 1 if self.left_out else 0


def train(
    data: Path | str,
    settings: TrainSettings,
    *,
    layout: str = "auto",
    output: Path,
    resume: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Audit, split, train, choose thresholds, write the model file, and report on the parts kept apart.

    data: a folder or table in one of the layouts; output: a new folder, or with `resume` the one of a run that was
    stopped. Raises DataError, TrainingError (also when nothing was learned), OutputError.
    """
    refuse_taken(output, resume)
    samples = read_layout(Path(data), layout)
    if progress:
        progress.note(
            f"{len(samples)} pictures, {sum(sample.label for sample in samples)} of them bad; looking at each before any training"
        )
    found = audit(samples, settings.read)
    split = split_for(found, settings)
    identity = {"data": str(data), "layout": layout, "settings": as_plain(settings)}
    run = open_run(output, resume, identity)
    with observing(run, progress) as observer:
        return train_split(split, found, settings, run, observer, title=Path(data).name, identity=identity)


def split_for(found: Audit, settings: TrainSettings) -> Split:
    """What trains and what is kept apart: as the layout says, else by groups; then the wanted number of bad pictures.

    Only what the audit calls readable is on either side. Raises DataError where that leaves a label without pictures.
    """
    samples = found.merged()
    for label, word in ((1, "bad"), (0, "good")):
        if not any(sample.label == label for sample in samples):
            reason = next(reason for sample, reason in found.left_out if sample.label == label)
            raise DataError(f"no {word} picture can take part, such as {reason}")
    if {sample.part for sample in samples} >= {"train", "test"} and {s.label for s in samples if s.part == "train"} == {
        0,
        1,
    }:
        split = Split("given by the data", *(tuple(s for s in samples if s.part == part) for part in ("train", "test")))
    elif settings.hold_out > 0:
        split = hold_out(samples, settings.hold_out, settings.seed)
    else:
        split = Split("everything trains", tuple(samples), ())
    if settings.positives is None:
        return split
    return replace(split, train=tuple(draw_positives(list(split.train), settings.positives, settings.seed)))


def train_split(
    split: Split,
    found: Audit,
    settings: TrainSettings,
    run: Run,
    observer: Observer,
    *,
    title: str,
    identity: dict[str, Any],
) -> TrainResult:
    """Train on one side of a split and report on the other, in a run's folder."""
    began = time.monotonic()
    _refuse_other_pictures(run, found)
    _write_beginnings(run, split, found, settings)
    for _, reason in found.left_out:
        observer.warn(f"takes no part: {reason}")
    pictures = pictures_of(split.train, settings.read)
    computer = choose_machine(settings)
    plan = _plan(pictures, settings, computer)
    observer.note(
        f"{len(split.train)} pictures train, {sum(s.label for s in split.train)} of them bad; {len(split.test)} are kept apart for the report"
    )
    observer.note(plan.words)
    images = pictures.fitted(plan.size)
    ids = [sample.id for sample in split.train]
    learned = learn(images, [sample.group for sample in split.train], ids, settings, computer, run.trainings, observer)
    origin = Origin(
        name=title,
        bit_depth=pictures.bit_depth,
        image_sizes=pictures.sizes,
        data_fingerprint=found.fingerprint,
        warnings=tuple(learned.choice.evidence["warnings"]),
    )
    model = write_model_file(run.model, build_model(learned, images, settings, origin, pictures.fit))
    observer.note(
        f"model written after {(time.monotonic() - began) / 60:.1f} min; judging {len(split.test)} pictures kept apart"
    )
    evaluation = (
        _evaluate(
            loaded(model), split, found, settings, learned, run, title, plan, pictures.hashes, time.monotonic() - began
        )
        if split.test
        else None
    )
    summary = _summary(evaluation, learned, found)
    run.write_state(
        {
            "identity": identity,
            "finished": True,
            "seconds": time.monotonic() - began,
            "summary": summary,
            "learned": describe(learned),
        }
    )
    return TrainResult(
        model=run.model,
        report=run.report if evaluation else None,
        run=run.folder,
        summary=summary,
        evaluation=evaluation,
        size=plan.size,
        left_out=len(found.left_out),
    )


def fit_arrays(
    images: Sequence[np.ndarray], labels: Sequence[int], settings: TrainSettings, groups: Sequence[str] | None = None
) -> LoadedDetector:
    """A detector from pictures in memory, (H, W) or (H, W, 3), uint8 or uint16, and their labels, 1 bad, 0 good;
    nothing is kept apart or written."""
    names = [f"picture {index}" for index in range(len(images))]
    pictures = pictures_in_memory(images, labels)
    computer = choose_machine(settings)
    size = settings.size or _plan(pictures, settings, computer).size
    fitted = pictures.fitted(size)
    with TemporaryDirectory(prefix="weakspot-") as folder, observing(None, None) as observer:
        learned = learn(fitted, list(groups or names), names, settings, computer, Path(folder), observer)
        return loaded(
            build_model(
                learned,
                fitted,
                settings,
                Origin(name="arrays", bit_depth=pictures.bit_depth, image_sizes=pictures.sizes),
            )
        )


def _plan(pictures: Pictures, settings: TrainSettings, computer: Machine) -> Plan:
    return plan_training(
        pictures.sizes, pictures.channels, pictures.bit_depth, len(pictures.labels), settings, computer
    )


def _refuse_other_pictures(run: Run, found: Audit) -> None:
    """What a resumed run has trained already must have seen the same pictures."""
    try:
        before = json.loads(run.audit.read_bytes())["fingerprint"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError):
        raise OutputError(
            f"{shown(run.audit)}: damaged, so that nobody can tell whether the pictures are still the same; begin a new run"
        ) from None
    if before != found.fingerprint:
        raise DataError(
            "--resume: the pictures or their labels are not those that the run was begun with; put them back, or begin a new run"
        )


def _write_beginnings(run: Run, split: Split, found: Audit, settings: TrainSettings) -> None:
    write_durably(run.settings, to_toml(as_plain(settings)).encode())
    write_durably(run.split, split_table(split).encode())
    write_durably(run.audit, json.dumps(found.as_dict(), indent=1, allow_nan=False).encode())


def _evaluate(
    detector: LoadedDetector,
    split: Split,
    found: Audit,
    settings: TrainSettings,
    learned: Learned,
    run: Run,
    title: str,
    plan: Plan,
    trained_on: frozenset[str],
    seconds: float,
) -> Evaluation:
    background = Background(
        title=title,
        data=f"{len(split.train)} pictures trained, {len(split.test)} were kept apart",
        held_out=True,
        trained_on=trained_on,
        split=split.name,
        parts={name: _counts(part) for name, part in (("training", split.train), ("test", split.test))},
        threshold_evidence=learned.choice.evidence,
        settings=as_plain(settings),
        training={
            "seed": settings.seed, "seconds": round(seconds), "size": f"{plan.size[0]} × {plan.size[1]}",
            "shares of the cells": ", ".join(f"{share:.0%}" for share in learned.recipe.network.top_fractions),
            "machine": machine(), "versions": versions(), "commit": commit(),
        },
        audit=tuple(finding.text for finding in found.findings),
        limits=learned.warnings,
    )  # fmt: skip
    return evaluate_samples(detector, split.test, run.folder, background, overwrite=True)


def _counts(samples: Sequence[Sample]) -> dict[str, int]:
    bad = sum(sample.label for sample in samples)
    return {"good": len(samples) - bad, "bad": bad, "parts": len({sample.group for sample in samples})}


def _summary(evaluation: Evaluation | None, learned: Learned, found: Audit) -> str:
    unread, unfit = len(found.unreadable), len(found.unfit)
    lines = [f"{amount(unread, 'picture')} could not be read and took no part: audit.json says which"] * bool(unread)
    lines += [f"{amount(unfit, 'picture')} took no part, too small or blank: audit.json says which"] * bool(unfit)
    lines += learned.warnings
    if evaluation is None:
        lines.append(
            "No part was kept apart, so nothing tests this detector yet: run `weakspot evaluate` on labelled pictures it has not seen."
        )
        lines += learned.choice.evidence["sentences"]
    else:
        lines.append(words.headline(evaluation))
        if "average_precision" in evaluation.metrics:
            lines.append(f"AP {evaluation.metrics['average_precision']:.3f} on pictures it has not seen")
    return "\n".join(lines)
