"""What a client is told when it does not get what it asked for: a status, a word for programs, a line for people."""

from typing import Any

LISTED = {  # where those that are there can be seen
    "inspection": "/stream, GET /v1/inspections",
    "model": "/models, GET /v1/models",
    "comparison": "/models, GET /v1/comparisons",
    "training": "/train, GET /v1/trainings",
    "token": "GET /v1/tokens",
    "user": "GET /v1/users",
    "folder to train on": "/train, GET /v1/trainings",
}
SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing


class Problem(Exception):
    """One refusal, as RFC 9457 has it.

    status: of HTTP; kind: the word in `type`; detail: what was found, what is needed, the way out; more: further
    members; headers: such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        more: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.more, self.headers = more or {}, headers or {}


def full() -> Problem:
    """The queue takes no more."""
    return Problem(503, "full", "all places are taken; send it again in a second", headers={"Retry-After": "1"})


def missing(what: str) -> Problem:
    """There is no such thing."""
    way_out = f"those that are here: {LISTED[what]}" if what in LISTED else "take it from the page that names it"
    return Problem(404, "missing", f"no {what} of that name is here; {way_out}")
