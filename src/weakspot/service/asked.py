"""Names in what a client asks: each known and given once, or what it meant would be done without, silently."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from fastapi import Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from weakspot.errors import quoted
from weakspot.service.problems import Problem

SINGLE = ("authorization", "content-type", "idempotency-key", "x-csrf-token")  # headers
STATIC = "/static/{name}"  # whose query is but a mark of its version
MOST_LETTERS = 60  # of a name that is told


async def refuse_unknown_of_anybody(request: Request) -> None:
    """A dependency of every route: the same, where no other dependency asks first who may know (`knows_who`)."""
    if not any(hasattr(each.call, "knows_who") for each in request.scope["route"].dependant.dependencies):
        await refuse_unknown(request)


async def refuse_unknown(request: Request) -> None:
    """Raise Problem for an unknown name, and for one that is given twice.

    Of the query, of a form or of JSON, where the route declares it; unknown names in JSON are found where it is read.
    """
    route = request.scope["route"]
    refuse_twice("the headers", [name for name in request.headers if name in SINGLE])
    if request.query_params and route.path != STATIC:
        known, many = _query_of(route)
        refuse_names("the address", [name for name, _ in request.query_params.multi_items()], known, many)
    if route.body_field is None:
        return
    if isinstance(route.body_field.field_info, params.Form):
        names = [name for name, _ in (await request.form()).multi_items()]
        refuse_names("the form", names, [each.alias for each in route.dependant.body_params])
    elif "json" in request.headers.get("content-type", "") and (content := await request.body()):
        json.loads(content, object_pairs_hook=_once)


def refuse_names(where: str, names: Sequence[str], known: Collection[str], many: Collection[str] = ()) -> None:
    """Raise Problem unless each name is known and, but those of `many`, there once."""
    for name in names:
        if name not in known:
            raise Problem(422, "unknown", f"{quoted(name, MOST_LETTERS)}: unknown in {where}; {ways_out(name, known)}")
    refuse_twice(where, [name for name in names if name not in many])


def refuse_twice(where: str, names: Sequence[str]) -> None:
    """Raise Problem for a name that is there more than once: nobody knows which one was meant."""
    for name, times in Counter(names).items():
        if times > 1:
            raise Problem(
                422,
                "twice",
                f"{quoted(name, MOST_LETTERS)}: {times} times in {where}; give it once, or send two requests",
            )


def ways_out(name: str, known: Collection[str]) -> str:
    """The known name that is nearest, and all of them."""
    if not known:
        return "nothing may be given there; leave it out"
    near = get_close_matches(name, known, n=1)
    return f"{f'did you mean {near[0]}? ' if near else ''}Known are {', '.join(sorted(known))}"


def _query_of(route: APIRoute) -> tuple[list[str], list[str]]:
    """Names in the query that a route knows, and which of these may be there more than once."""
    declared = [each for each in get_flat_params(route.dependant) if isinstance(each.field_info, params.Query)]
    described = (route.openapi_extra or {}).get("parameters", ())  # of a route that reads its query itself
    known = [each.alias for each in declared] + [each["name"] for each in described if each["in"] == "query"]
    return known, [each.alias for each in declared if _is_list(each.field_info.annotation)]


def _is_list(annotation: Any) -> bool:
    """Whether many values may be given: list[…], or such a one or None."""
    return any(get_origin(each) is list for each in (annotation, *get_args(annotation)))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    refuse_twice("the JSON", [name for name, _ in pairs])
    return dict(pairs)
