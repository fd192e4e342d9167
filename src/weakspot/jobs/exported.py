"""An exported graph, run as other programs run it, and held against the model file that it was made from."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakspot.data.reading import fit_image
from weakspot.inspection.inspection import Decision, Inspection, Thresholds, decide, sigmoid
from weakspot.inspection.manifest import Manifest
from weakspot.inspection.runtimes import EXACT, openvino_core, require_runtime
from weakspot.jobs.export_graph import DECISIONS, OUTPUTS, Target

Answers = dict[str, NDArray[Any]]  # by the names of the outputs
RUNTIMES: dict[Target, str] = {"onnx": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class Difference:
    """How an exported graph answered on some pictures, beside the model file in fp32.

    score, heat_map: the largest differences, both of [0, 1], NaN where an answer is no number; changed: decisions by
    the thresholds; outside_review: those of them that are good or bad now, so that no person looks at them;
    passed_unlike: pictures that it calls good, and weakspot holds for review as unlike the training's.
    """

    images: int
    score: float
    heat_map: float
    changed: int
    outside_review: int
    passed_unlike: int


def open_exported(target: Target, file: Path, threads: int) -> Callable[[NDArray[Any]], Answers]:
    """What answers by an exported file, on its own runtime in fp32: `image` → Answers. Raises SettingsError."""
    library, outputs = require_runtime(RUNTIMES[target]), OUTPUTS[target]
    if target == "onnx":
        options = library.SessionOptions()
        options.intra_op_num_threads = threads
        session = library.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        return lambda image: dict(zip(outputs, session.run(outputs, {"image": image})))
    options = {**EXACT, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino_core(library, os.getpid()).compile_model(str(file), "CPU", options)

    def answer(image: NDArray[Any]) -> Answers:
        found = compiled({"image": image})
        return {name: np.array(found[name]) for name in outputs}

    return answer


def as_input(pixels: NDArray[Any], manifest: Manifest, target: Target) -> NDArray[Any]:
    """A picture, (H, W) or (H, W, 3), as the exported graph takes it; what any program must do, and no more."""
    channels = manifest.channels if target == "onnx" else 3
    planes = fit_image(pixels, pixels.shape[:2], channels, manifest.bit_depth)  # at its own size: not resized
    return planes[None] if target == "onnx" else np.ascontiguousarray(planes.transpose(1, 2, 0)[None, ..., ::-1])


def decision_of(answers: Answers, thresholds: Thresholds) -> Decision:
    """What a program reads of the outputs. Without `decision`: bad by the label, good by the score."""
    if "decision" in answers:
        return DECISIONS[int(answers["decision"].item())]
    if answers["pred_label"].item():
        return "bad"
    return "good" if answers["pred_score"].item() < sigmoid(thresholds.good_below) else "review"


def difference(expected: Sequence[Inspection], found: Sequence[Answers], thresholds: Thresholds) -> Difference:
    """The model file's inspections against an exported graph's answers on the same pictures, at least one.

    Decisions are compared by the thresholds alone: what is unlike the training's no graph knows.
    """
    pairs = list(zip(expected, found, strict=True))
    scores = [abs(float(other["pred_score"].item()) - one.defect_score) for one, other in pairs]
    heat = [np.abs(other["anomaly_map"][0, 0] - one.heat_map).max() for one, other in pairs]
    now = [(decide(one.raw_score, thresholds), decision_of(other, thresholds)) for one, other in pairs]
    changed = [after for before, after in now if after != before]
    outside = sum(decision != "review" for decision in changed)
    unlike = sum(before != one.decision and after == "good" for (before, after), one in zip(now, expected, strict=True))
    return Difference(len(pairs), float(np.max(scores)), float(np.max(heat)), len(changed), outside, unlike)
