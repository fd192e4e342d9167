"""Comparisons of two models of a service: what is asked of the process that makes one, and what came of it."""

import json
from typing import Any

from weakspot.jobs.compare import told_apart
from weakspot.service import records
from weakspot.service.parts import Parts
from weakspot.service.problems import Problem, missing
from weakspot.service.tasks import RESULT, Task


def begin(parts: Parts, one: str, other: str, by: str) -> str:
    """Begin to compare two known models, each at its thresholds in force → the id of that. Raises Problem."""
    if one == other:
        raise Problem(422, "same", "the same model twice; choose two that differ")
    asked = [_asked(parts, sha256) for sha256 in (one, other)]
    title = " and ".join(told_apart([(each["name"], each["sha256"]) for each in asked]))
    return parts.tasks.add("comparison", "compare", by, {"title": title, "models": asked})


def result_of(task: Task) -> dict[str, Any] | None:
    """What came of a comparison; None where it is not done."""
    return dict(json.loads((task.folder / RESULT).read_bytes())) if task.outcome == "done" else None


def _asked(parts: Parts, sha256: str) -> dict[str, Any]:
    row = next((each for each in parts.store.read(records.all_models) if each.sha256 == sha256), None)
    if row is None:
        raise missing("model")
    limits = parts.store.read(lambda c: records.thresholds_of(c, sha256))[0]
    where = {"path": str(parts.detectors.path(sha256).absolute()), "name": row.name, "sha256": sha256}
    return where | {"bad_from": limits.bad_from, "good_below": limits.good_below}
