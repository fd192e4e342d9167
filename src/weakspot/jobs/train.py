"""The main job: a folder of good and bad parts → a detector in one file, and a report on parts kept apart."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weakspot.data.audit import Audit
from weakspot.data.findings import WRONG
from weakspot.data.samples import Sample
from weakspot.data.splits import Split
from weakspot.durable import refuse_below
from weakspot.errors import amount
from weakspot.evaluation import words
from weakspot.evaluation.evaluate import Background, Evaluation
from weakspot.inspection.manifest import Ignored, Manifest
from weakspot.inspection.model_file import write_model_file
from weakspot.jobs.begin import audited, folds_of, plan_of, record_beginnings, split_of
from weakspot.jobs.evaluate import evaluate_samples
from weakspot.jobs.judge import Verdict, judge
from weakspot.jobs.learn import Learned, learn
from weakspot.jobs.model import build_model, draft_manifest, loaded, refuse_changed
from weakspot.jobs.observe import Observer, observing
from weakspot.jobs.pictures import Pictures, pictures_of
from weakspot.jobs.plan import Plan, reduction, replanned
from weakspot.jobs.recipes import fit_of
from weakspot.progress import Shows
from weakspot.runs import MODEL, Run, open_run, refuse_taken, snapshot_of
from weakspot.settings import Fit, Size, TrainSettings, as_plain
from weakspot.training.batches import TrainingImages
from weakspot.training.machine import prepare, process_as_found

REDUCED = 1.5  # times, from which it is said what the size costs
TOLD_FROM = 1.3  # times slower or faster than planned, from which it is said how long it will take
# settings that may differ when a run is gone on with; of what is ignored the mask itself must be the same
SHAPES_NO_TRAINING = ("minutes", "threshold", "unlearned", "ignore")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training left: the model file, the report (None where no part was kept apart), its folder, the outcome."""

    model: Path
    report: Path | None
    run: Path
    split: Split
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
    progress: Shows | None = None,
    audit: Audit | None = None,
    split: Split | None = None,
    title: str | None = None,
    lasting: bool = True,
) -> TrainResult:
    """Audit, split, train, choose thresholds, write the model file, and report on the parts kept apart.

    data: a folder or table in one of the layouts; output: a new folder outside of it, or with `resume` the one of a run
    that was stopped; audit, split: of the data, and who trains, where the caller has them; title: the
    detector's name, else the data's; lasting: whether the output will still be there to go on with. The run's seconds
    are those of all its processes; of a killed one those until its last checkpoint.
    Raises DataError, TrainingError (also when nothing was learned), OutputError.
    """
    began = time.monotonic()
    refuse_taken(output, resume)
    refuse_below(output, Path(data))
    snapshot = snapshot_of(Path(data))  # before its pictures are looked at
    if audit is None:
        audit = audited(Path(data), settings, layout, progress)
    split = split or split_of(audit, settings)
    pictures = pictures_of(split.train, audit, settings)
    refuse_changed(output / MODEL)
    shaping = {key: value for key, value in as_plain(settings).items() if key not in SHAPES_NO_TRAINING}
    identity = {
        "data": os.path.realpath(data) if os.path.exists(data) else str(data),
        "snapshot": snapshot,
        "layout": layout,
        "settings": shaping,
        "masks_sha256": pictures.masks_sha256,
        "ignored_sha256": pictures.ignore and pictures.ignore.sha256,
    }
    with process_as_found(), open_run(output, resume, identity) as run, observing(run, progress, lasting) as observer:
        record_beginnings(run, split, audit, settings)
        before: float = run.state().get("seconds", 0.0)  # of the processes that the run had until now

        def seconds() -> float:
            return before + time.monotonic() - began

        observer.on_kept = lambda: run.record(seconds=seconds())
        for _, reason in audit.left_out:
            observer.warn(f"takes no part: {reason}")
        for reason in pictures.unused_masks:
            observer.warn(f"a mask is not used, only the label of its picture: {reason}")
        for finding in audit.findings:
            if finding.grade == WRONG:
                observer.warn(finding.text)
        plan = plan_of(run, pictures, settings)
        prepare(plan.machine)
        folds = folds_of(run, pictures.labels, [sample.group for sample in split.train], settings, observer)
        observer.note(_told_of(split, plan, pictures, fit_of(settings)))
        if not run.state().get("pace_is_known"):
            observer.on_pace = _heeding(run, plan, settings, observer)
        name = title or Path(data).resolve().name
        images, draft = _ready(pictures, settings, plan, name, audit)
        audit.decoded.clear()  # they have served
        try:
            learned = learn(images, folds, settings, plan.machine, pictures.light_share, observer)
        except _Late as late:
            plan, learned = late.plan, None
        if learned is None:  # outside of the except, whose traceback holds all that the first one took
            costs = _told_of_size(pictures, plan.size, fit_of(settings))
            observer.note("\n".join(filter(None, (f"slower than planned, so it begins again: {plan.words}", costs))))
            images, draft = _ready(pictures, settings, plan, name, audit)
            learned = learn(images, folds, settings, plan.machine, pictures.light_share, observer)
        groups, ids = [sample.group for sample in split.train], [sample.id for sample in split.train]
        observer.heed()
        verdict = judge(learned, pictures.labels, groups, ids, settings)
        observer.note(verdict.learned)
        model = write_model_file(run.model, build_model(draft, learned, verdict, images))
        observer.note(f"model written after {seconds() / 60:.1f} min")
        evaluation = None
        if split.test:
            sheet = run.contact_sheet if run.contact_sheet.exists() else None
            background = _background(split, audit, learned, verdict, draft, pictures, seconds(), sheet)
            judged = loaded(model), split.test, run.folder, background
            evaluation = evaluate_samples(*judged, lambda done, of: observer.heed(), overwrite=True)
        summary = _summary(evaluation, verdict, audit, pictures)
        run.record(finished=True, seconds=seconds(), summary=summary, learned=_described(learned, verdict))
    return TrainResult(
        model=run.model,
        report=run.report if evaluation else None,
        run=run.folder,
        split=split,
        summary=summary,
        evaluation=evaluation,
        size=plan.size,
        left_out=len(audit.left_out),
    )


class _Late(Exception):
    """A training that has begun takes far longer than it may; it goes by this plan."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.words)
        self.plan = plan


def _heeding(run: Run, plan: Plan, settings: TrainSettings, observer: Observer) -> Callable[[float], None]:
    """What takes the seconds of a step, and raises _Late where they ask for another plan; the run keeps the outcome.

    Where the plan stands and its minutes don't, it says so.
    """

    def heed_pace(step_seconds: float) -> None:
        other = replanned(plan, settings, step_seconds)
        run.record(plan=other.plain(), pace_is_known=True)
        if other != plan:
            shutil.rmtree(run.trainings, ignore_errors=True)
            raise _Late(other)
        pace = step_seconds / plan.step_seconds
        if not 1 / TOLD_FROM < pace < TOLD_FROM:
            observer.note(f"by the pace of its steps about {max(1, plan.minutes * pace):.0f} min in all")

    return heed_pace


def _ready(
    pictures: Pictures, settings: TrainSettings, plan: Plan, name: str, audit: Audit
) -> tuple[TrainingImages, Manifest]:
    """The pictures at the plan's size, and the draft of what the model file says."""
    images = pictures.fitted(plan.size, fit_of(settings))
    return images, draft_manifest(name, pictures, images, settings, plan.machine, audit.fingerprint)


def _told_of(split: Split, plan: Plan, pictures: Pictures, fit: Fit) -> str:
    bad = sum(sample.label for sample in split.train) or "none"
    apart = f"{len(split.test)} are kept apart for the report ({split.name})"
    who = f"{len(split.train)} pictures train, {bad} of them bad; {apart}{_told_of_masks(pictures)}"
    return "\n".join(filter(None, (who, plan.words, _told_of_size(pictures, plan.size, fit))))


def _told_of_size(pictures: Pictures, size: Size, fit: Fit) -> str:
    """What the size costs; empty where pictures are hardly reduced."""
    times = reduction(pictures, size, fit)
    if times < REDUCED:
        return ""
    thin = f"what is thinner than {round(2 * times)} of their own pixels can hardly be seen"
    return f"pictures are reduced {times:.1f} times: {thin} (a larger --size, or more --minutes, shows it)"


def _told_of_masks(pictures: Pictures) -> str:
    return f"; {len(pictures.masks)} of the bad ones are taught by their masks" if pictures.masks else ""


def _told_of_ignored(ignored: Ignored) -> str:
    return f"{ignored.share:.0%} of each picture, white in {ignored.name}; of one grey on the sheet of drawn defects"


def _background(
    split: Split,
    audit: Audit,
    learned: Learned,
    verdict: Verdict,
    draft: Manifest,
    pictures: Pictures,
    seconds: float,
    sheet: Path | None,
) -> Background:
    network, size = learned.recipe.network, draft.size
    doubted = {each["picture"] for each in verdict.choice.evidence["label_doubts"]["pictures"]}
    return Background(
        title=draft.name,
        data=f"{len(split.train)} pictures trained, {len(split.test)} were kept apart{_told_of_masks(pictures)}",
        held_out=True,
        trained_on=frozenset(pictures.hashes),
        drawn=sheet,
        split=split.name,
        parts={name: _counts(part) for name, part in (("training", split.train), ("test", split.test))},
        threshold_evidence=verdict.choice.evidence,
        settings=draft.settings,
        training={
            "seed": draft.seed, "seconds": round(seconds), "size": f"{size[0]} × {size[1]}",
            "reduced": f"{reduction(pictures, size, draft.fit):.1f} times",
            **({} if draft.ignored is None else {"not inspected": _told_of_ignored(draft.ignored)}),
            "shares of the cells": ", ".join(f"{share:.0%}" for share in network.top_fractions),
            "normalization": network.normalization, "evidence": verdict.learned,
            "machine": draft.machine, "versions": draft.versions, "commit": draft.commit,
        },
        audit=tuple(finding.text for finding in audit.findings),
        limits=verdict.warnings,
        doubted=tuple(sample for sample in split.train if sample.id in doubted),
    )  # fmt: skip


def _counts(samples: Sequence[Sample]) -> dict[str, int]:
    bad = sum(sample.label for sample in samples)
    return {"good": len(samples) - bad, "bad": bad, "parts": len({sample.group for sample in samples})}


def _summary(evaluation: Evaluation | None, verdict: Verdict, audit: Audit, pictures: Pictures) -> str:
    unread, unfit = len(audit.unreadable), len(audit.unfit)
    lines = [f"{amount(unread, 'picture')} could not be read and took no part: audit.json says which"] * bool(unread)
    lines += [f"{amount(unfit, 'picture')} took no part, too small or blank: audit.json says which"] * bool(unfit)
    lines += [*verdict.warnings, *verdict.choice.evidence["warnings"]]
    lines += verdict.choice.evidence["label_doubts"]["sentences"]
    bad, used = int(pictures.labels.sum()), len(pictures.masks)
    lines += [f"{used} of {bad} bad training pictures were taught by their masks"] * bool(used)
    if evaluation is None:
        way_on = "run `weakspot evaluate` on labelled pictures it has not seen"
        lines.append(f"No part was kept apart, so nothing tests this detector yet: {way_on}.")
        lines += verdict.choice.evidence["sentences"]
    else:
        lines.append(words.headline(evaluation))
        if "average_precision" in evaluation.metrics:
            lines.append(f"AP {evaluation.metrics['average_precision']:.3f} on pictures it has not seen")
    return "\n".join(lines)


def _described(learned: Learned, verdict: Verdict) -> dict[str, Any]:
    """What the run keeps of it, as plain values."""
    network = learned.recipe.network
    return {
        "top_fractions": network.top_fractions,
        "normalization": network.normalization,
        "evidence": verdict.learned,
        "lost": learned.lost,
        "thresholds": verdict.choice.evidence,
    }
