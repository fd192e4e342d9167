"""What goes over HTTP, as OpenAPI describes it. The result of a picture is docs/inspection.schema.json's."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from weakspot.inspection.inspection import MOST_SCORE
from weakspot.service.records import Verdict

Text = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
Reason = Field("", max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")
_SHA256 = "5f" * 32
RESULT: dict[str, Any] = {
    "schema_version": 1,
    "id": "0b1f4c1e-6b1c-4a52-9a53-1b5f3d0f8a11",
    "image": {"path": None, "sha256": _SHA256, "width": 512, "height": 1408},
    "model": {"name": "part", "sha256": _SHA256},
    "decision": "bad",
    "defect_score": 0.98,
    "raw_score": 3.9,
    "bad_from": 1.2,
    "good_below": -0.7,
    "regions": [{"x": 96, "y": 24, "width": 40, "height": 48, "cells": 25, "score": 0.99}],
    "heat_map": {"path": None, "overlay": None},
    "milliseconds": {"read": 4.1, "infer": 20.3, "total": 24.9},
    "warnings": [],
    "time": "2026-11-28T02:38:11.123Z",
}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ImageOut(Strict):
    """Which picture."""

    path: str | None = None
    sha256: str | None
    width: int | None
    height: int | None


class ModelOut(Strict):
    """Which model answered."""

    name: str
    sha256: str


class RegionOut(Strict):
    """Where a defect lies, in the picture's pixels."""

    x: int
    y: int
    width: int
    height: int
    cells: int
    score: float


class Result(Strict):
    """What is said of one picture, as docs/inspection.schema.json has it."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [RESULT]})
    schema_version: Literal[1]
    id: str
    image: ImageOut
    model: ModelOut
    decision: Literal["good", "review", "bad", "not inspected"]
    time: str
    defect_score: float | None = None
    raw_score: float | None = None
    bad_from: float | None = None
    good_below: float | None = None
    regions: list[RegionOut] | None = None
    heat_map: dict[str, str | None] | None = None
    milliseconds: dict[str, float] | None = None
    warnings: list[str] | None = None
    reason: str | None = None


class VerdictOut(Strict):
    """One judgement of a person. number: greater than those of all that were said before."""

    number: int
    verdict: Verdict
    time: str
    by: str
    reason: str


class Kept(Strict):
    """One inspection as it is kept: the result, what came with the picture, and the verdict in force."""

    result: Result
    part: str | None
    station: str | None
    line: str | None
    verdict: Verdict | None


class KeptWhole(Kept):
    """The same with every verdict, the oldest first."""

    verdicts: list[VerdictOut]


class Page(Strict):
    """Some inspections, the newest first. next: `cursor` of the following page; null at the end."""

    inspections: list[Kept]
    next: str | None


class VerdictIn(Strict):
    """What a person says of a part; `withdrawn` takes the last word back.

    after: the number of the verdict that is believed in force, 0 for none; where it is another: 409.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"verdict": "bad", "reason": "scratch"}]})
    verdict: Verdict
    reason: str = Reason
    after: int | None = Field(None, ge=0, le=10**18)


class ModelRow(Strict):
    """One model. thresholds: in force, raw scores."""

    sha256: str
    name: str
    time: str
    by: str
    active: bool
    bad_from: float
    good_below: float


class Activation(Strict):
    """Which model took over, when, by whom and why."""

    model_sha256: str
    time: str
    by: str
    reason: str


class Models(Strict):
    """Every model, and who switched what; the newest switch first."""

    models: list[ModelRow]
    activations: list[Activation]


class Registered(Strict):
    """The SHA-256 of a model file, by which it is named from now on."""

    sha256: str


class Why(Strict):
    """Why something is changed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "trained on June's parts"}]})
    reason: str = Reason


class ThresholdsIn(Strict):
    """Raw scores: at or above bad_from bad, below good_below good, between them review."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"bad_from": 1.5, "good_below": 0.2, "reason": "false alarms"}]},
    )
    bad_from: float = Field(ge=-MOST_SCORE, le=MOST_SCORE)
    good_below: float = Field(ge=-MOST_SCORE, le=MOST_SCORE)
    reason: str = Field(min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$")


class ThresholdsOut(Strict):
    """A pair of thresholds that was or is in force."""

    bad_from: float
    good_below: float
    time: str
    by: str
    reason: str


class LimitsIn(Strict):
    """What the plant allows: at most this share of the passed ones is bad, of those called bad is good; null: any."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"escapes": 0.001, "false_alarms": 0.2, "reason": "contract of June"}]},
    )
    escapes: float | None = Field(None, gt=0, lt=1)
    false_alarms: float | None = Field(None, gt=0, lt=1)
    reason: str = Field(min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$")


class LimitsOut(Strict):
    """Limits that are or were in force."""

    escapes: float | None
    false_alarms: float | None
    time: str
    by: str
    reason: str


class ProblemOut(BaseModel):
    """Why not, as RFC 9457 has it."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:weakspot:full",
                    "title": "Service Unavailable",
                    "status": 503,
                    "detail": "all places are taken; send it again in a second",
                    "instance": "urn:uuid:0b1f4c1e-6b1c-4a52-9a53-1b5f3d0f8a11",
                }
            ]
        },
    )
    type: str
    title: str
    status: int
    detail: str
    instance: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's words for these refusals."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
    return {status: {"description": _MEANS[status], "content": content} for status in statuses}


_MEANS = {
    400: "cannot be read", 401: "a token is needed", 403: "this token may not", 404: "no such thing",
    408: "too slow", 409: "not now", 410: "removed", 413: "too large", 415: "of another kind", 421: "another host",
    422: "cannot be", 429: "too many tries", 503: "not now: full, or not ready", 507: "the disk is full",
}  # fmt: skip
