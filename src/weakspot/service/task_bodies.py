"""What goes over HTTP of trainings and comparisons, as OpenAPI describes it."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from weakspot.service.bodies import Strict
from weakspot.service.tasks import Outcome, Step

_SHA256 = "5f" * 32


class SourceOut(Strict):
    """What may be trained on; `name` is what a training is asked for by."""

    name: str
    title: str


class TaskOut(Strict):
    """A training or a comparison. step: what was begun last; why: how that ended, in words."""

    id: str
    title: str
    time: str
    by: str
    step: Step
    outcome: Outcome
    why: str


class Trainings(Strict):
    """What may be trained on, and every training, the newest first."""

    sources: list[SourceOut]
    trainings: list[TaskOut]


class TrainingIn(Strict):
    """On what to train, and how many minutes that may take; null: as the service's administrator set it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"source": "verdicts", "minutes": 30}]})
    source: str = Field(pattern="^(verdicts|[0-9a-f]{32})$")
    minutes: float | None = Field(None, gt=0, le=100_000)


class Begun(Strict):
    """The id of what was begun."""

    id: str


class ComparisonIn(Strict):
    """Two models by their SHA-256."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"one": _SHA256, "other": "6e" * 32}]})
    one: str = Field(pattern="^[0-9a-f]{64}$")
    other: str = Field(pattern="^[0-9a-f]{64}$")


class ComparisonOut(TaskOut):
    """A comparison and, once it is done, what `weakspot compare --json` prints."""

    result: dict[str, Any] | None
    step: Literal["compare"]
