"""What the framework refuses, in people's words: which thing, what was found, what is needed, the way out."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from weakspot.errors import quoted
from weakspot.service.asked import MOST_LETTERS, ways_out
from weakspot.service.problems import Problem, missing

SECRET = ("password", "token")  # what is never said back
NAMED = {"sha256": "model", "number": "token", "name": "user"}  # by a part of an address; others are called as it is
NEEDED: Mapping[str, Callable[[dict[str, Any]], str]] = {  # by pydantic's word for what is wrong
    "int_parsing": lambda ctx: "a whole number",
    "int_type": lambda ctx: "a whole number",
    "int_from_float": lambda ctx: "a whole number",
    "float_parsing": lambda ctx: "a number",
    "float_type": lambda ctx: "a number",
    "finite_number": lambda ctx: "a finite number",
    "string_type": lambda ctx: "text",
    "string_unicode": lambda ctx: "text in UTF-8",
    "string_too_short": lambda ctx: f"at least {ctx['min_length']} characters",
    "string_too_long": lambda ctx: f"at most {ctx['max_length']} characters",
    "too_long": lambda ctx: f"at most {ctx['max_length']} of them",
    "greater_than": lambda ctx: f"more than {ctx['gt']:g}",
    "greater_than_equal": lambda ctx: f"at least {ctx['ge']}",
    "less_than": lambda ctx: f"less than {ctx['lt']:g}",
    "less_than_equal": lambda ctx: f"at most {ctx['le']}",
    "literal_error": lambda ctx: ctx["expected"],
    "string_pattern_mismatch": lambda ctx: of_pattern(ctx["pattern"]),
    "date_from_datetime_parsing": lambda ctx: "a day such as 2026-11-28",
    "date_parsing": lambda ctx: "a day such as 2026-11-28",
}
PATTERNS = {  # what stands in a pattern: what is needed
    r"\x00": "printable characters, in one line but for reasons",
    "verdicts|": "the `name` of a source of GET /v1/trainings",
    "{64}": "a model's SHA-256: 64 characters of 0-9 and a-f",
    "{36}": "an id: 36 characters of 0-9, a-f and -",
    "{8}(-": "an id: 36 characters of 0-9, a-f and -",
    r"\d{4}-": "a time in UTC such as 2026-11-28T02:38:11Z",
    "{1,18}": "`next` of the page before",
}


def problem_of_values(error: RequestValidationError, request: Request) -> Problem:
    """A value of a request that cannot be: a name that is unknown before one that is missing, which it may be."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    kind, (place, *names) = first["type"], first["loc"]
    if kind == "json_invalid":
        why = f"the JSON cannot be read from its character {names[0]} on ({first['ctx']['error'].lower()})"
        return Problem(400, "unfit", f"{why}; send one object in UTF-8")
    if place == "path":
        return missing(NAMED.get(names[0], str(names[0])))
    name = quoted(".".join(map(str, names)), MOST_LETTERS)
    known = _known(request.scope["route"]) if place == "body" else []
    where = {"query": "the address", "body": "the JSON"}.get(place, place)
    if kind == "extra_forbidden":
        return Problem(422, "unknown", f"{name}: unknown in {where}; {ways_out(str(names[-1]), known)}")
    if not names:
        needed = f"an object with {', '.join(known)}" if known else "an object"
        return Problem(422, "unfit", f"no JSON was sent; needed is {needed}, under Content-Type: application/json")
    if kind == "missing":
        return Problem(422, "unfit", f"{name}: missing in {where}, which takes {', '.join(known)}")
    found = "" if names[-1] in SECRET else f" {quoted(repr(first['input']), MOST_LETTERS)}"
    needed = NEEDED[kind](first.get("ctx", {})) if kind in NEEDED else str(first["msg"]).lower()
    return Problem(422, "unfit", f"{name}:{found} in {where}; needed is {needed}")


def problem_of_address(error: HTTPException, request: Request, routes: Sequence[APIRoute]) -> Problem:
    """An address at which nothing is, a method that it does not take, a body that cannot be read.

    routes: all that there are.
    """
    path, headers = request.url.path, dict(error.headers or {})
    if error.status_code == 405:
        taken = sorted({method for route in routes if route.path_regex.match(path) for method in route.methods or ()})
        headers["Allow"] = ", ".join(taken)
        told = f"{quoted(request.method, 20)} is not taken here; take {' or '.join(taken) or 'another address'}"
        return Problem(405, "method-not-allowed", told, headers=headers)
    if error.status_code == 404:
        near = _nearest(path, routes)
        told = f"{quoted(path)}: nothing is there; {f'did you mean {near}? Pages' if near else 'pages'}"
        return Problem(404, "not-found", f"{told} begin at /inspect, /openapi.json describes the interface")
    if error.status_code != 400:
        return Problem(error.status_code, "refused", str(error.detail), headers=headers)
    return Problem(400, "unfit", "the body cannot be read as what its Content-Type says; send JSON in UTF-8, or a form")


def of_pattern(pattern: str) -> str:
    """What a pattern asks for."""
    return next((words for part, words in PATTERNS.items() if part in pattern), f"text like {pattern}")


def _nearest(path: str, routes: Sequence[APIRoute]) -> str:
    """The address that was probably meant; "" where none is near."""
    bare = path.rstrip("/")
    if any(route.path_regex.match(bare) for route in routes):
        return quoted(bare)
    return next(iter(get_close_matches(path, {route.path for route in routes}, n=1, cutoff=0.8)), "")


def _known(route: APIRoute) -> list[str]:
    """Names in the JSON that a route takes."""
    model = route.body_field.field_info.annotation if route.body_field is not None else None
    return [*getattr(model, "model_fields", ())]
