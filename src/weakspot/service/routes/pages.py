"""Addresses of the pages. Each needs the scope that its answers need over the HTTP interface."""

import re
from collections import Counter
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import BeforeValidator
from starlette.responses import RedirectResponse

from weakspot.service import records, showing
from weakspot.service.accounts import SESSION, SESSION_HOURS
from weakspot.service.pages.changes import changes_of
from weakspot.service.pages.day import days_of
from weakspot.service.pages.queue import MOST_COUNTED, reasons, to_review, waiting
from weakspot.service.pages.rendering import ASSETS, page
from weakspot.service.pages.seen import seen
from weakspot.service.pages.tasks import in_words
from weakspot.service.parts import MayInspect, MayReview, Service, refuse_forged
from weakspot.service.problems import Problem, missing
from weakspot.service.records import Filters
from weakspot.service.routes.inspections import Id, lasting
from weakspot.service.routes.models import listed
from weakspot.service.routes.trainings import told

router = APIRouter(include_in_schema=False)
NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
PAGE = 60  # inspections
RECENT = 10  # comparisons
MOST_OTHERS = 20  # answers to one picture
Word = Annotated[
    str | None, Query(max_length=200, pattern=NO_CONTROLS), BeforeValidator(lambda text: text or None)
]  # "": any
Minute = Annotated[  # as a browser's field has it, in UTC
    str | None,
    Query(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$"),
    BeforeValidator(lambda text: text or None),
]
Raw = Annotated[float | None, Query(allow_inf_nan=False)]  # a raw score
Field = Annotated[str, Form(max_length=200)]


@router.get("/static/{name}")
def static(name: str) -> Response:
    """A style or script, kept by browsers: another one has another address."""
    if name not in ASSETS:
        raise missing("file")
    kind, text = ASSETS[name]
    return Response(text, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})


@router.get("/favicon.ico")
def icon() -> Response:
    """Where programs look for a picture of the service that read no page."""
    return static("icon.svg")


@router.get("/")
def start() -> Response:
    """The first page."""
    return RedirectResponse("/inspect", 303)


@router.get("/log-in")
def log_in_page(request: Request, next: str = "/") -> Response:
    """Name and password."""
    return page(request, "log_in.html.j2", None, next=next, person="", problem="")


@router.post("/log-in")
def log_in(
    request: Request, parts: Service, name: Field = "", password: Field = "", token: Field = "", next: str = Form("/")
) -> Response:
    """A cookie for a shift that no script can read and no other site's page can send."""
    try:
        token = token.strip() or parts.accounts.log_in(name, password)
        if parts.accounts.who(token) is None:
            raise Problem(401, "wrong", "this token opens nothing; ask an administrator for another")
    except Problem as problem:
        return page(request, "log_in.html.j2", None, problem.status, next=next, person=name, problem=problem.detail)
    answer = RedirectResponse(_ours(next), 303)
    answer.set_cookie(SESSION, token, max_age=SESSION_HOURS * 3600, httponly=True, samesite="strict")
    return answer


@router.post("/log-out")
def log_out(request: Request, parts: Service, csrf: Field = "") -> Response:
    """End what logging in began; a token of a machine goes on elsewhere."""
    token = request.cookies.get(SESSION, "")
    refuse_forged(token, csrf)
    parts.accounts.end_session(token)
    answer = RedirectResponse("/log-in", 303)
    answer.delete_cookie(SESSION)
    return answer


@router.get("/inspect")
def inspect(
    request: Request, parts: Service, who: MayInspect, id: Annotated[list[Id] | None, Query(max_length=50)] = None
) -> Response:
    """Try it: pictures are dropped, and those of the address are shown."""
    found = [seen(showing.found(parts, each)) for each in id or ()]
    counted = Counter(each.decision for each in found).most_common()
    return page(request, "inspect.html.j2", who, found=found, counted=counted, may_change=who.may("admin"))


@router.get("/inspections/{inspection}")
def inspection(request: Request, inspection: Id, parts: Service, who: MayInspect) -> Response:
    """One picture large, and all that was said of it."""
    row = showing.found(parts, inspection)
    one, may_judge = seen(row), who.may("review")
    said = parts.store.read(lambda c: records.verdicts_of(c, inspection))
    others = parts.store.read(lambda c: records.of_picture(c, row.picture_sha256, MOST_OTHERS)) if may_judge else []
    facts = [("model", f"{one.model} ({one.model_sha256[:12]})")]
    facts += [(name, text) for name, text in (("station", one.station), ("line", one.line)) if text]
    facts += [("took", one.milliseconds)] if one.milliseconds else []
    values: dict[str, Any] = {"one": one, "facts": facts, "verdicts": said, "may_judge": may_judge}
    values["others"] = [seen(each) for each in others if each.id != inspection]
    return page(request, "inspection.html.j2", who, **values)


@router.get("/stream")
def stream(
    request: Request,
    parts: Service,
    who: MayReview,
    decision: Word = None,
    verdict: Word = None,
    station: Word = None,
    line: Word = None,
    part: Word = None,
    model: Word = None,
    since: Minute = None,
    until: Minute = None,
    cursor: Annotated[int | None, Query(ge=0, le=10**18)] = None,
) -> Response:
    """What was answered, the newest first; the address holds the filters and the place."""
    filters = Filters(decision, part, station, line, model, verdict, _utc(since), _utc(until))
    rows = parts.store.read(lambda c: records.newest(c, filters, cursor, PAGE))
    chosen = {name: text for name, text in (vars(filters) | {"since": since, "until": until}).items() if text}
    older = f"/stream?{urlencode(chosen | {'cursor': rows[-1].seq})}" if len(rows) == PAGE else ""
    values: dict[str, Any] = {
        "newest": f"/stream?{urlencode(chosen)}",
        "older": older,
        "live": cursor is None,
        "filtered": bool(chosen),
    }
    known = parts.store.read(records.all_models)
    return page(request, "stream.html.j2", who, found=[*map(seen, rows)], filters=chosen, models=known, **values)


@router.get("/review")
def review(request: Request, parts: Service, who: MayReview) -> Response:
    """What people are to judge, one picture after the other."""
    rows, words, n = parts.store.read(lambda c: (to_review(c), reasons(c), waiting(c)))
    values: dict[str, Any] = {"queue": [*map(seen, rows)], "last": {row.id: row.last_verdict or 0 for row in rows}}
    return page(request, "review.html.j2", who, **values, reasons=words, waiting=n, most=MOST_COUNTED)


@router.get("/review/judged")
def judged(parts: Service, _: MayReview, id: Annotated[list[Id] | None, Query(max_length=100)] = None) -> list[str]:
    """Those of these inspections that somebody has judged."""
    rows = parts.store.read(lambda c: records.find_all(c, id or ()))
    return [each for each, row in rows.items() if row.verdict not in (None, "withdrawn")]


@router.get("/today")
def today(
    request: Request,
    parts: Service,
    who: MayReview,
    day: Annotated[date | None, Query(ge=date(2000, 1, 1), le=date(9000, 1, 1))] = None,
    days: Annotated[int, Query(ge=1, le=366)] = 1,
    good_below: Raw = None,
    bad_from: Raw = None,
) -> Response:
    """What some days amount to, and what other thresholds would have done."""
    both = None if good_below is None or bad_from is None else (good_below, bad_from)
    crossed = both if both and both[0] > both[1] else None
    found = days_of(parts, day, days, None if crossed else both)
    values: dict[str, Any] = {"day": found, "days": days, "crossed": crossed, "may_change": who.may("admin")}
    return page(request, "today.html.j2", who, **values)


@router.get("/models")
def models(
    request: Request, parts: Service, who: MayReview, model: Word = None, good_below: Raw = None, bad_from: Raw = None
) -> Response:
    """Which models there are, and who changed what. model and thresholds: tried elsewhere, to be set here."""
    known = listed(parts, who)
    active = next((each for each in known.models if each.active), None)
    names = {each.sha256: each.name for each in known.models}
    values: dict[str, Any] = {"known": known, "active": active, "names": names, "may_change": who.may("admin")}
    is_tried = active is not None and model == active.sha256 and None not in (good_below, bad_from)
    values["tried"] = {"good_below": good_below, "bad_from": bad_from} if is_tried else None
    values["changes"] = parts.store.read(lambda c: changes_of(c, [*names]))
    compared = [(told(task), in_words(task)) for task in parts.tasks.all("comparison")[:RECENT]]
    return page(request, "models.html.j2", who, comparisons=compared, **values)


@router.get("/inspections/{inspection}/thumbnail.png")
def thumbnail(inspection: Id, parts: Service, _: MayInspect) -> Response:
    """The picture, small."""
    return lasting(showing.thumbnail(parts, inspection))


def _utc(minute: str | None) -> str | None:
    """RFC 3339 of a field's date and time."""
    return minute and f"{minute}{':00' * (len(minute) == 16)}Z"


def _ours(address: str) -> str:
    """An address within this service, and none of another site."""
    return address if re.fullmatch(r"/(?!/)[^\\\x00-\x20]*", address) else "/"
