"""Models: list, register, make active, roll back, thresholds."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool

from weakspot.service import records
from weakspot.service.bodies import Activation, ModelRow, Models, Registered, ThresholdsIn, ThresholdsOut, Why, problems
from weakspot.service.parts import MayAdmin, MayReview, Service
from weakspot.service.problems import Problem
from weakspot.service.receiving import whole_body

router = APIRouter(prefix="/v1/models", tags=["models"])
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="of the model file")]
MOST_BYTES = 1_000_000_000
_file = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}, "required": True}


@router.get("", responses=problems(401, 403))
def listed(parts: Service, _: MayReview) -> Models:
    """Every model, which one is active, and who switched what."""
    switches = parts.store.read(records.all_activations)
    active = switches[0].model_sha256 if switches else None
    rows = []
    for row in parts.store.read(records.all_models):
        now = parts.store.read(partial(records.thresholds_of, sha256=row.sha256))[0]
        about = {"sha256": row.sha256, "name": row.name, "time": row.time, "by": row.by}
        rows.append(ModelRow(**about, active=row.sha256 == active, bad_from=now.bad_from, good_below=now.good_below))
    told = [
        Activation(model_sha256=each.model_sha256, time=each.time, by=each.by, reason=each.reason) for each in switches
    ]
    return Models(models=rows, activations=told)


@router.post(
    "",
    status_code=201,
    responses=problems(401, 403, 408, 413, 415, 422, 503, 507),
    openapi_extra={"requestBody": _file},
)
async def register(request: Request, parts: Service, who: MayAdmin) -> Registered:
    """Send a model file, *.weakspot. It is checked and kept, and does not answer before it is made active."""
    if request.headers.get("content-type", "") != "application/octet-stream":
        raise Problem(415, "content-type", "send the model file as application/octet-stream")
    content = await whole_body(request, MOST_BYTES, parts.limits.model_seconds)
    return Registered(sha256=await run_in_threadpool(parts.detectors.register, content, who.name))


@router.post("/{sha256}/activate", status_code=204, responses=problems(400, 401, 403, 404, 415, 422, 503, 507))
def activate(sha256: Sha256, why: Why, parts: Service, who: MayAdmin) -> None:
    """Let this model answer. It is opened and tested first; until then the other one answers, and no request waits."""
    parts.detectors.activate(sha256, who.name, why.reason)


@router.post("/roll-back", responses=problems(400, 401, 403, 409, 415, 422, 503, 507))
def roll_back(why: Why, parts: Service, who: MayAdmin) -> Registered:
    """Let the model answer that did before the active one."""
    return Registered(sha256=parts.detectors.roll_back(who.name, why.reason))


@router.get("/{sha256}/thresholds", responses=problems(401, 403, 404, 422))
def thresholds(sha256: Sha256, parts: Service, _: MayReview) -> list[ThresholdsOut]:
    """A model's thresholds, the newest first; the first pair is in force."""
    parts.detectors.path(sha256)
    rows = parts.store.read(lambda c: records.thresholds_of(c, sha256))
    return [
        ThresholdsOut(bad_from=r.bad_from, good_below=r.good_below, time=r.time, by=r.by, reason=r.reason) for r in rows
    ]


@router.post("/{sha256}/thresholds", status_code=204, responses=problems(400, 401, 403, 404, 415, 422, 503, 507))
def set_thresholds(sha256: Sha256, wanted: ThresholdsIn, parts: Service, who: MayAdmin) -> None:
    """Change a model's thresholds from the next picture on; earlier answers stay as they were given."""
    parts.detectors.set_thresholds(sha256, wanted.bad_from, wanted.good_below, who.name, wanted.reason)
