"""How errors are answered: problem+json, an id that is found again in the log, nothing of the inside."""

import json
import logging
from collections.abc import Sequence
from http import HTTPMethod, HTTPStatus
from urllib.parse import urlencode
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response

from weakspot.errors import OutputError, SettingsError, StoreError, StoreFullError, WeakspotError
from weakspot.service.pages.rendering import page
from weakspot.service.problems import Problem
from weakspot.service.seldom import SELDOM
from weakspot.service.unfit import problem_of_address, problem_of_values

log = logging.getLogger(__name__)
log.addFilter(SELDOM)
logging.getLogger("uvicorn.error").addFilter(SELDOM)  # what is no HTTP at all, and what was raised, which it logs again


def refusal(request: Request, problem: Problem, error: Exception | None = None) -> Response:
    """A problem as it is answered, counted and logged under the id that the answer names. error: what was raised."""
    instance = f"urn:uuid:{uuid4()}"
    request.app.state.metrics.refused.labels(problem.kind).inc()
    _log(request, problem, instance, error)
    if "text/html" in request.headers.get("accept", ""):
        return _page(request, problem, instance)
    title = HTTPStatus(problem.status).phrase
    said = {"type": f"urn:weakspot:{problem.kind}", "title": title, "status": problem.status, "detail": problem.detail}
    content = json.dumps(said | {"instance": instance} | problem.more, ensure_ascii=True, allow_nan=False)
    return Response(content, problem.status, problem.headers, "application/problem+json")


def answer_errors(app: FastAPI, routes: Sequence[APIRoute]) -> None:
    """Turn every error of a route into a problem. routes: all that there are."""

    async def answer(request: Request, error: Exception) -> Response:
        return refusal(request, _problem(error, request, routes), error)

    for kind in (Problem, WeakspotError, RequestValidationError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, answer)


def _log(request: Request, problem: Problem, instance: str, error: Exception | None) -> None:
    """One line, and nothing in it that a client sent."""
    method = request.method if request.method in HTTPMethod.__members__ else "?"
    where = getattr(request.scope.get("route"), "path", "no route")
    told = f"{instance} {problem.status} {problem.kind}: {method} {where}"
    kind = {"kind": problem.kind}
    if problem.status < 500 or isinstance(error, Problem | None):
        log.warning("%s", told, extra=kind)
    elif isinstance(error, WeakspotError):
        log.error("%s: %s", told, error, extra=kind)
    else:
        log.error("%s", told, extra=kind, exc_info=error)


def _page(request: Request, problem: Problem, instance: str) -> Response:
    """For people: the page where one logs in, or what was found and the way out."""
    if problem.kind == "token":
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/log-in?{urlencode({'next': asked})}", 303)
    title = HTTPStatus(problem.status).phrase
    return page(request, "problem.html.j2", None, problem.status, title=title, detail=problem.detail, instance=instance)


def _problem(error: Exception, request: Request, routes: Sequence[APIRoute]) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, StoreFullError):
        return Problem(507, "disk-full", "the disk is full; nothing was kept; free some space and send it again")
    if isinstance(error, StoreError):
        return Problem(503, "store", "the store failed; nothing was kept; send it again", headers={"Retry-After": "5"})
    if isinstance(error, OutputError):
        return Problem(507, "output", "the disk could not be written; nothing was kept; the log says where and why")
    if isinstance(error, WeakspotError):
        kind = type(error).__name__.removesuffix("Error").lower()
        status = 422 if isinstance(error, SettingsError) or kind in ("modelfile", "image") else 507
        return Problem(status, kind, str(error))
    if isinstance(error, RequestValidationError):
        return problem_of_values(error, request)
    if isinstance(error, HTTPException):
        return problem_of_address(error, request, routes)
    if isinstance(error, ClientDisconnect):
        return Problem(400, "gone", "the request ended before it was whole")
    return Problem(500, "unforeseen", "a mistake of ours; the log has more under this id")
