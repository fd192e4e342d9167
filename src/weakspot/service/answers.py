"""How errors are answered: problem+json, an id to look for in the log, nothing of the inside."""

import json
import logging
from http import HTTPStatus
from urllib.parse import urlencode
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response

from weakspot.errors import OutputError, SettingsError, StoreError, StoreFullError, WeakspotError, shown
from weakspot.service.pages.rendering import page
from weakspot.service.problems import Problem

log = logging.getLogger(__name__)


def problem_response(problem: Problem) -> Response:
    """A problem as RFC 9457 has it."""
    title = HTTPStatus(problem.status).phrase
    number = uuid4()
    said = {"type": f"urn:weakspot:{problem.kind}", "title": title, "status": problem.status, "detail": problem.detail}
    content = json.dumps(said | {"instance": f"urn:uuid:{number}"} | problem.more, ensure_ascii=True, allow_nan=False)
    return Response(content, problem.status, problem.headers, "application/problem+json")


def problem_page(request: Request, problem: Problem) -> Response:
    """The same for people: the page where one logs in, or what was found and the way out."""
    if problem.kind == "token":
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/log-in?{urlencode({'next': asked})}", 303)
    title = HTTPStatus(problem.status).phrase
    return page(request, "problem.html.j2", None, problem.status, title=title, detail=problem.detail)


def answer_errors(app: FastAPI) -> None:
    """Turn every error of a route into a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = _problem(error)
        request.app.state.metrics.refused.labels(problem.kind).inc()
        for_people = "text/html" in request.headers.get("accept", "")
        response = problem_page(request, problem) if for_people else problem_response(problem)
        if problem.status >= 500 and not isinstance(error, Problem):
            log.error(
                "%s %s: %s", request.method, shown(request.url.path), bytes(response.body).decode(), exc_info=error
            )
        return response

    for kind in (Problem, WeakspotError, RequestValidationError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, answer)


def _problem(error: Exception) -> Problem:
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
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        status = 400 if first["type"] == "json_invalid" else 422
        return Problem(status, "unfit", shown(f"{where}: {first['msg']}")[:500])
    if isinstance(error, HTTPException):
        kind = HTTPStatus(error.status_code).name.lower().replace("_", "-")
        return Problem(error.status_code, kind, str(error.detail), headers=dict(error.headers or {}))
    if isinstance(error, ClientDisconnect):
        return Problem(400, "gone", "the request ended before it was whole")
    return Problem(500, "unforeseen", "a mistake of ours; the log has more under this id")
