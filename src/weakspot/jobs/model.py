"""From what was learned to a model file: weights, graph, self-test, and all that tells what it is. None where a runtime
disagrees."""

import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.manifest import ImageSizes, Manifest, ScoreStatistics, SelfTest, ThresholdRecord
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.runtimes import open_runtime, present_runtimes
from weakspot.inspection.selftest import encode_selftest
from weakspot.jobs.learn import Learned
from weakspot.network.memory import hand_back_freed_memory
from weakspot.settings import Size, TrainSettings, as_plain
from weakspot.training.export import FREE_SIZES_FROM, Parity, compare, export_graph, refuse_differences
from weakspot.training.images import TrainingImages

PACKAGES = ("weakspot", "torch", "numpy", "onnxruntime", "openvino", "pillow")
COMPARED = 4  # training pictures of each label on which runtimes must agree with torch
CARD = """---
tags: [weakspot, surface-defects, weakly-supervised]
---

# {name}

Says of a picture whether the part on it is bad, and where. Trained from scratch on labels by the picture, without masks.

## Data

Looks at {looks}. Fingerprint of the pictures: {fingerprint}.

## Thresholds

Raw score: bad from {bad_from:.3f}, good below {good_below:.3f}, between them for review. Rule: {rule}, chosen on {chosen_on}.

{said}

## Limits

Not for safety functions. It knows defects like those it was shown; another product, camera or light needs another training.
"""
Fit = Callable[[int, Size], np.ndarray]  # number of a training picture, another size → (C, h, w)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a detector comes from, as its file tells."""

    name: str
    bit_depth: int
    image_sizes: list[Size]  # of the training pictures, as files
    data_fingerprint: str = ""
    warnings: tuple[str, ...] = ()


def build_model(
    learned: Learned, images: TrainingImages, settings: TrainSettings, origin: Origin, fit: Fit | None = None
) -> ModelFile:
    """The model in memory, its graph checked on every runtime present, at the model's size and (where `fit` can make
    them) at two others.

    Raises TrainingError where a runtime differs from torch: raw score and heat beyond 1e-4 relative, or a decision
    changed.
    """
    hand_back_freed_memory()  # the training is over
    detector = learned.detector.to("cpu").float()
    size: Size = images.pixels.shape[2], images.pixels.shape[3]
    graph = export_graph(detector, *size, origin.bit_depth)
    first_bad = images.pixels[int(np.flatnonzero(images.labels == 1)[0])]
    raw, heat = _torch_scores(learned, first_bad)
    model = ModelFile(
        manifest=_manifest(learned, images, settings, origin, SelfTest(raw_score=raw, heat_score=heat)),
        weights={name: tensor.numpy() for name, tensor in detector.state_dict().items()},
        graph=graph,
        selftest=encode_selftest(first_bad),
        card="",
    )
    parities = check_parity(model, learned, _pictures_to_compare(images, size, fit))
    manifest = model.manifest.model_copy(update={"parity": {parity.runtime: asdict(parity) for parity in parities}})
    return replace(model, manifest=manifest, card=_card(manifest, learned))


def check_parity(model: ModelFile, learned: Learned, pictures: list[np.ndarray]) -> list[Parity]:
    """Every runtime present beside torch; raises TrainingError where one differs."""
    thresholds = learned.choice.thresholds
    parities = [
        compare(
            learned.detector,
            name,
            open_runtime(model, name).run,
            pictures,
            (thresholds.bad_from, thresholds.good_below),
        )
        for name in present_runtimes()
        if name != "torch"
    ]
    refuse_differences(parities)
    return parities


def _pictures_to_compare(images: TrainingImages, size: Size, fit: Fit | None) -> list[np.ndarray]:
    chosen = [int(index) for label in (1, 0) for index in np.flatnonzero(images.labels == label)[:COMPARED]]
    pictures = [images.pixels[index] for index in chosen]
    if fit is not None and min(size) >= FREE_SIZES_FROM:
        others = [
            (max(128, side_h), max(128, side_w))
            for side_h, side_w in ((size[0] + 8, size[1] - 8), (size[0] * 3 // 4, size[1] * 3 // 4))
        ]
        pictures += [fit(index, other) for index in chosen[:2] for other in others]
    return pictures


def _manifest(
    learned: Learned, images: TrainingImages, settings: TrainSettings, origin: Origin, selftest: SelfTest
) -> Manifest:
    heights, widths = zip(*origin.image_sizes, strict=True)
    return Manifest(
        name=origin.name,
        thresholds=ThresholdRecord.of(learned.choice.thresholds),
        score_statistics=_statistics(learned),
        size=(images.pixels.shape[2], images.pixels.shape[3]),
        channels=images.pixels.shape[1],
        bit_depth=origin.bit_depth,
        image_sizes=ImageSizes(min=(min(heights), min(widths)), max=(max(heights), max(widths))),
        image_std_min=float(min(image.std() for image in images.pixels)),
        read=settings.read,
        settings=as_plain(settings),
        network=asdict(learned.recipe.network),
        data_fingerprint=origin.data_fingerprint,
        seed=settings.seed,
        versions=versions(),
        machine=machine(),
        commit=commit(),
        selftest=selftest,
        warnings=[*origin.warnings, *learned.warnings],
    )


def _statistics(learned: Learned) -> dict[str, ScoreStatistics]:
    if learned.held_out is None:
        return {}
    found = {}
    for name, label in (("good", 0), ("bad", 1)):
        values = learned.held_out.raw_scores[learned.held_out.labels == label]
        found[name] = ScoreStatistics(
            n=len(values),
            mean=float(values.mean()),
            std=float(values.std()),
            min=float(values.min()),
            max=float(values.max()),
        )
    return found


@torch.no_grad()
def _torch_scores(learned: Learned, picture: np.ndarray) -> tuple[float, float]:
    answer = learned.detector(torch.from_numpy(picture.astype(np.float32))[None])
    return float(answer.raw_score), float(answer.heat_score)


def versions() -> dict[str, str]:
    """Versions of what computed, by package."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the bits may depend on: processor, instruction set, threads. No name of the machine."""
    return {
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
    }


@lru_cache(maxsize=1)
def commit() -> str:
    """The commit of the checkout that this runs from, as it was when first asked; empty where it runs from an installed
    package."""
    here = Path(__file__).resolve().parents[3]
    if not (here / ".git").exists():
        return ""
    asked = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def _card(manifest: Manifest, learned: Learned) -> str:
    """card.md: what this is, what it was made from, what it must not be used for."""
    height, width = manifest.size
    thresholds = manifest.thresholds
    said = [f"- {sentence}" for sentence in (*learned.choice.evidence.get("sentences", ()), *manifest.warnings)]
    return CARD.format(
        name=manifest.name,
        looks=f"{height} × {width} pixels, {manifest.bit_depth} bit, {'grey' if manifest.channels == 1 else 'colour'}",
        fingerprint=manifest.data_fingerprint or "none",
        bad_from=thresholds.bad_from,
        good_below=thresholds.good_below,
        rule=thresholds.rule,
        chosen_on=thresholds.chosen_on,
        said="\n".join(said),
    )


def loaded(model: ModelFile) -> LoadedDetector:
    """The model ready to inspect, without a file."""
    return LoadedDetector(model, open_runtime(model))
