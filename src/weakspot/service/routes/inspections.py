"""Sending pictures, looking at what was answered, and saying what is so."""

import json
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Row

from weakspot.service import records, showing
from weakspot.service.bodies import Kept, KeptWhole, Page, Result, VerdictIn, VerdictOut, problems
from weakspot.service.parts import MayInspect, MayReview, Service
from weakspot.service.problems import Problem, full
from weakspot.service.receiving import RAW, read_away, sent_picture
from weakspot.service.records import Filters, Verdict

router = APIRouter(prefix="/v1/inspections", tags=["inspections"])
Id = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$", description="an inspection's `id`")]
Time = Annotated[str | None, Query(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$", description="RFC 3339, UTC")]
Word = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
_binary = {"schema": {"type": "string", "format": "binary"}}
_form = {
    "schema": {
        "type": "object",
        "required": ["picture"],
        "properties": {
            "picture": {"type": "string", "format": "binary"},
            **{name: {"type": "string", "maxLength": 200} for name in ("part", "station", "line")},
        },
    }
}
_sent = {"requestBody": {"required": True, "content": {"multipart/form-data": _form, **dict.fromkeys(RAW, _binary)}}}
_key = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 200},
    "description": "the same key and picture get the same answer, however often they are sent",
}
_of_raw = [
    {"name": name, "in": "query", "schema": {"type": "string", "maxLength": 200}}
    for name in ("part", "station", "line")
]
_png: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": _binary}}}


@router.post(
    "",
    status_code=201,
    response_model=Result,
    responses=problems(400, 401, 403, 408, 409, 413, 415, 422, 503, 507),
    openapi_extra={**_sent, "parameters": [_key, *_of_raw]},
)
async def inspect(request: Request, parts: Service, _: MayInspect) -> Response:
    """Judge one picture. The answer is on disk when it comes; 422 with `result` is *not inspected*, never good."""
    if parts.inspector.is_full:
        await read_away(request)
        raise full()
    parts.health.refuse_when_disk_is_low()
    answer = await parts.inspector.inspect(lambda: sent_picture(request, parts.limits))
    result = json.loads(answer.json)
    if answer.decision == "not inspected":
        raise Problem(422, "not-inspected", result["reason"], {"result": result})
    where = {"Location": f"/v1/inspections/{result['id']}"}
    return Response(answer.json, 200 if answer.repeated else 201, where, "application/json")


@router.get("", response_model_exclude_unset=True, responses=problems(401, 403, 422))
def page(
    parts: Service,
    _: MayReview,
    decision: Literal["good", "review", "bad", "not inspected"] | None = None,
    part: Word = None,
    station: Word = None,
    line: Word = None,
    model: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="SHA-256")] = None,
    verdict: Literal["good", "bad", "unsure", "none"] | None = None,
    since: Time = None,
    until: Time = None,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page:
    """Inspections, the newest first; rows that come meanwhile do not shift the pages."""
    filters = Filters(decision, part, station, line, model, verdict, since, until)
    before = None if cursor is None else int(cursor)
    rows = parts.store.read(lambda c: records.newest(c, filters, before, limit))
    following = str(rows[-1].seq) if len(rows) == limit else None
    return Page(inspections=[kept(row) for row in rows], next=following)


@router.get("/{inspection}", response_model_exclude_unset=True, responses=problems(401, 403, 404, 422))
def one(inspection: Id, parts: Service, _: MayInspect) -> KeptWhole:
    """One inspection with every verdict on it."""
    row = showing.found(parts, inspection)
    said = parts.store.read(lambda c: records.verdicts_of(c, inspection))
    return KeptWhole(**dict(kept(row)), verdicts=[*map(_verdict, said)])


@router.post("/{inspection}/verdicts", status_code=201, responses=problems(400, 401, 403, 404, 409, 415, 422, 503, 507))
def judge(inspection: Id, said: VerdictIn, parts: Service, who: MayReview) -> VerdictOut:
    """Say what a part is. Verdicts are added and never changed; the last one is in force."""
    showing.found(parts, inspection)
    add = partial(records.add_verdict, inspection=inspection, verdict=said.verdict, reason=said.reason)
    return _verdict(parts.store.write(lambda c: add(c, by=who.name, after=said.after)))


@router.get(
    "/{inspection}/heat-map.png", response_class=Response, responses={**_png, **problems(401, 403, 404, 410, 422)}
)
def heat_map(
    inspection: Id,
    parts: Service,
    _: MayInspect,
    colours: Annotated[
        Literal["grey", "turbo", "layer"], Query(description="grey: 16 bits, the map itself; layer: to lie over it")
    ] = "grey",
) -> Response:
    """The heat, a pixel a cell; 0 is heat 0, the largest value heat 1."""
    made = {"grey": showing.heat_of, "turbo": showing.heat_in_colour, "layer": showing.heat_as_layer}
    return lasting(made[colours](parts, inspection))


@router.get(
    "/{inspection}/overlay.png", response_class=Response, responses={**_png, **problems(401, 403, 404, 410, 422, 503)}
)
def overlay(inspection: Id, parts: Service, _: MayInspect) -> Response:
    """The picture with its heat over it, at most 2048 pixels a side."""
    return lasting(showing.overlay(parts, inspection))


@router.get(
    "/{inspection}/picture.png", response_class=Response, responses={**_png, **problems(401, 403, 404, 410, 422, 503)}
)
def picture(inspection: Id, parts: Service, _: MayInspect) -> Response:
    """The picture, decoded and written anew, so that nothing but pixels reaches a browser."""
    return lasting(showing.picture(parts, inspection))


def _verdict(row: Row[Any]) -> VerdictOut:
    return VerdictOut(number=row.seq, verdict=row.verdict, time=row.time, by=row.by, reason=row.reason)


def kept(row: Row[Any]) -> Kept:
    """A row as it is answered."""
    verdict: Verdict | None = row.verdict
    result = Result(**json.loads(row.answer))
    return Kept(result=result, part=row.part, station=row.station or None, line=row.line, verdict=verdict)


def lasting(png: bytes) -> Response:
    """What an id shows never changes, so that a browser need not ask again."""
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=31536000, immutable"})
