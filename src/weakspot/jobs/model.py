"""From what was learned to a model file: weights, graph, self-test, and all that tells what it is.

What the file says is checked before the training begins; none is made where a runtime answers differently.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weakspot.errors import OutputError, shown
from weakspot.inspection.drift import usual_of
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.manifest import (
    Ignored,
    ImageSizes,
    Manifest,
    ScoreStatistics,
    SelfTest,
    ThresholdRecord,
    safe_name,
)
from weakspot.inspection.model_file import ModelFile, read_model_file
from weakspot.inspection.rechecked import measure_bf16_margin
from weakspot.inspection.refusals import channel_levels
from weakspot.inspection.runtimes import open_runtime, present_runtimes
from weakspot.inspection.selftest import encode_selftest
from weakspot.jobs.judge import Verdict
from weakspot.jobs.learn import Learned
from weakspot.jobs.pictures import Pictures
from weakspot.jobs.recipes import fit_of
from weakspot.network.memory import hand_back_freed_memory
from weakspot.provenance import commit, machine, time_of_making, versions
from weakspot.settings import TrainSettings, as_plain
from weakspot.training.batches import TrainingImages
from weakspot.training.export import compare, export_graph, refuse_differences
from weakspot.training.state import Machine
from weakspot.training.train import scores

COMPARED = 4  # training pictures of each label on which runtimes must agree with torch
MOST_FOR_MARGIN = 40  # training pictures on which bf16 is held against fp32
CARD = """---
tags: [weakspot, surface-defects, weakly-supervised]
---

# {name}

Says of a picture whether the part on it is bad, and where. Trained {start} on labels by the picture, {masks}.

## Data

Looks at {looks}{but}. Fingerprint of the pictures: {fingerprint}.

## Thresholds

Raw score: bad from {bad_from:.3f}, good below {good_below:.3f}, between them for review.
Rule: {rule}, chosen on {chosen_on}.

{said}

## Limits

Not for safety functions. It knows defects like those it was shown; another product, camera or light needs another
training.
"""


def draft_manifest(
    name: str, pictures: Pictures, images: TrainingImages, settings: TrainSettings, computer: Machine, fingerprint: str
) -> Manifest:
    """All that a model file says and that is known before the training, so that no training ends in a refusal.

    fingerprint: of the data, empty for pictures in memory. Thresholds and self-test are blank.
    """
    heights, widths = zip(*pictures.sizes, strict=True)
    return Manifest(
        name=safe_name(name),
        thresholds=ThresholdRecord(bad_from=0, good_below=0, rule="none", chosen_on="nothing yet"),
        size=(images.pixels.shape[2], images.pixels.shape[3]),
        fit=fit_of(settings),
        channels=pictures.channels,
        bit_depth=pictures.bit_depth,
        image_sizes=ImageSizes(min=(min(heights), min(widths)), max=(max(heights), max(widths))),
        image_std_min=float(min(image.std() for image in images.pixels)),
        channel_levels=channel_levels(images.pixels.mean((2, 3))) if pictures.channels == 3 else None,
        usual=usual_of(images.pixels[images.labels == 0]),
        ignored=_ignored(pictures, images),
        read=settings.read,
        settings=_without_folder(as_plain(settings)),
        data_fingerprint=fingerprint,
        training_files=sorted(pictures.hashes),
        seed=settings.seed,
        versions=versions(),
        machine=machine(computer.threads, torch.backends.cpu.get_cpu_capability()),
        commit=commit(),
        created=time_of_making(),
        selftest=SelfTest(raw_score=0, heat_score=0),
    )


def _ignored(pictures: Pictures, images: TrainingImages) -> Ignored | None:
    return None if pictures.ignore is None or images.ignored is None else pictures.ignore.record(images.ignored.mean())


def build_model(draft: Manifest, learned: Learned, verdict: Verdict, images: TrainingImages) -> ModelFile:
    """The model in memory, its graph checked on every runtime present.

    Raises TrainingError where a runtime differs from torch: raw score and heat beyond 1e-4 relative, or a decision
    changed.
    """
    hand_back_freed_memory()  # the training is over
    detector = learned.detector.to("cpu").float()
    bad, good = (np.flatnonzero(images.labels == label) for label in (1, 0))
    tested = [*bad, *good][0]
    model = ModelFile(
        manifest=_completed(draft, learned, verdict, images, int(tested)),
        weights={name: tensor.numpy() for name, tensor in detector.state_dict().items()},
        graph=export_graph(detector, *draft.size, draft.bit_depth),
        selftest=encode_selftest(images.pixels[tested]),
        card="",
    )
    compared = [images.pixels[index] for index in (*bad[:COMPARED], *good[:COMPARED])]
    thresholds = verdict.choice.thresholds
    parities = [
        compare(
            detector,
            name,
            open_runtime(model, name, draft.machine["threads"]).run,
            compared,
            (thresholds.bad_from, thresholds.good_below),
        )
        for name in present_runtimes()
    ]
    refuse_differences(parities)
    spread = np.linspace(0, len(images.labels) - 1, min(MOST_FOR_MARGIN, len(images.labels))).astype(int)
    margin = measure_bf16_margin(model, [images.pixels[index] for index in spread], draft.machine["threads"])
    more = {"parity": {parity.runtime: asdict(parity) for parity in parities}, "bf16_margin": margin}
    manifest = model.manifest.model_copy(update=more)
    return replace(model, manifest=manifest, card=_card(manifest, verdict, bool(images.marked)))


def refuse_changed(path: Path) -> None:
    """Raise OutputError where a model file would be written anew whose thresholds a person has changed."""
    if path.is_file() and read_model_file(path).manifest.thresholds.changes:
        reason = "its thresholds were changed by hand, and would be lost if it were written anew"
        raise OutputError(f"{shown(path)}: {reason}; move it elsewhere first, or begin a new run")


def loaded(model: ModelFile) -> LoadedDetector:
    """The model ready to inspect, without a file, on as many threads as trained it."""
    return LoadedDetector(model, open_runtime(model, threads=model.manifest.machine["threads"]))


def _completed(draft: Manifest, learned: Learned, verdict: Verdict, images: TrainingImages, tested: int) -> Manifest:
    """The draft with what the training gave; tested: the picture of the self-test, asked here, on the processor."""
    answers = scores(learned.detector, images.part(np.array([tested])))
    held_out = _held_out(learned, images.labels)
    more = {
        "thresholds": ThresholdRecord.of(verdict.choice.thresholds),
        "score_statistics": {name: _statistics(raw) for name, raw in held_out.items()},
        "held_out_scores": {name: raw.tolist() for name, raw in held_out.items()},
        "network": _without_folder(asdict(learned.recipe.network)),
        "selftest": SelfTest(raw_score=float(answers.raw[0]), heat_score=float(answers.heat[0])),
        "warnings": [*verdict.choice.evidence["warnings"], *verdict.warnings],
    }
    return draft.model_copy(update=more)


def _without_folder(plain: dict[str, Any]) -> dict[str, Any]:
    """Plain settings, files that they name by their names alone: a model file names no folder."""
    paths = {key: plain[key] for key in ("weights_from", "ignore") if key in plain}
    return plain | {key: path and Path(path).name for key, path in paths.items()}


def _held_out(learned: Learned, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The scores out of fold by label; a label without pictures is left out."""
    if learned.held_out is None:
        return {}
    by_label = {name: learned.held_out.raw[labels == label] for label, name in ((0, "good"), (1, "bad"))}
    return {name: raw for name, raw in by_label.items() if len(raw)}


def _statistics(s: np.ndarray) -> ScoreStatistics:
    return ScoreStatistics(n=len(s), mean=float(s.mean()), std=float(s.std()), min=float(s.min()), max=float(s.max()))


def _card(manifest: Manifest, verdict: Verdict, by_masks: bool) -> str:
    """card.md: what this is, what it was made from, what it must not be used for. by_masks: whether any taught it."""
    height, width = manifest.size
    thresholds = manifest.thresholds
    sentences = (*verdict.choice.evidence.get("sentences", ()), *manifest.warnings)
    return CARD.format(
        name=manifest.name,
        looks=f"{height} × {width} pixels, {manifest.bit_depth} bit, {'grey' if manifest.channels == 1 else 'colour'}",
        but="" if (gone := manifest.ignored) is None else f", but for {gone.share:.0%}, white in {gone.name}",
        start=f"from the weights of {first}" if (first := manifest.settings["weights_from"]) else "from scratch",
        masks="and masks of bad ones" if by_masks else "without masks",
        fingerprint=manifest.data_fingerprint or "none",
        bad_from=thresholds.bad_from,
        good_below=thresholds.good_below,
        rule=thresholds.rule,
        chosen_on=thresholds.chosen_on,
        said="\n".join(f"- {sentence}" for sentence in sentences),
    )
