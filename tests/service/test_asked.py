"""What a client gets that asks wrongly: which thing, what was found, what is needed, the way out."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.service.server import Server, png
from tests.service.test_http import problem

ANY = "00000000-0000-0000-0000-000000000000"
Start = Callable[..., Server]


def form(server: Server, *fields: tuple[str, Any], **more: Any) -> httpx.Response:
    """A form as curl -F sends it."""
    return server.client.post("/v1/inspections", files=[("picture", ("x.png", png())), *fields], **more)


def text(name: str, value: str) -> tuple[str, Any]:
    return name, (None, value)


@pytest.mark.parametrize("name", ["prat", "Part"])
def test_a_misspelt_name_is_refused_with_the_nearest_and_all_known(service: Server, name: str):
    """Else a picture would be kept without its part."""
    for answer in (form(service, text(name, "5")), service.send(png(), **{name: "5"})):
        said = problem(answer, 422, "unknown")["detail"]
        assert said.startswith(f"{name}: unknown in the ") and "did you mean part?" in said and "station" in said
    asked = problem(service.client.get("/v1/inspections?decison=bad"), 422, "unknown")["detail"]
    assert "did you mean decision? Known are cursor, decision, limit, line" in asked


def test_every_route_refuses_a_name_that_it_does_not_know(service: Server):
    described = service.get("/openapi.json")["paths"]
    asked = [(method, path) for path, methods in described.items() for method in methods]
    asked += [
        ("get", path) for path in ("/", "/inspect", "/stream", "/review", "/today", "/models", "/train", "/log-in")
    ]
    for method, path in asked:
        where = re.sub("{[a-z0-9_]+}", ANY, path)
        answer = service.client.request(method, f"{where}?nonsense=1", json={} if method == "post" else None)
        said = problem(answer, 422, "unknown")["detail"]
        assert said.startswith("nonsense: unknown in the address; "), (method, path)


def test_what_is_given_twice_is_refused(service: Server):
    found = [
        form(service, text("part", "a"), text("part", "b")),
        form(service, ("picture", ("y.png", png()))),
        service.client.get("/v1/inspections?limit=1&limit=2"),
        form(service, headers=[("Idempotency-Key", "k3"), ("Idempotency-Key", "k4")]),
    ]
    where = service.send(png()).headers["location"]
    twice = b'{"verdict": "good", "verdict": "bad"}'
    found += [
        service.client.post(f"{where}/verdicts", content=twice, headers={"content-type": "application/json"}),
        service.client.post(
            "/log-in", content=b"name=a&name=b", headers={"content-type": "application/x-www-form-urlencoded"}
        ),
    ]
    names = ["part", "picture", "limit", "idempotency-key", "verdict", "name"]
    for answer, name in zip(found, names, strict=True):
        assert f"{name}: 2 times in the " in problem(answer, 422, "twice")["detail"]
    assert service.get(where)["verdict"] is None
    ids = [service.send(png()).json()["id"] for _ in range(2)]
    assert service.client.get("/inspect", params={"id": ids}).status_code == 200, "a list may hold several"


def test_a_form_says_everything_in_itself(service: Server):
    problem(form(service, params={"part": "5"}), 422, "unknown")
    said = problem(form(service, ("part", ("part.txt", b"4711"))), 422, "text")
    assert said["detail"].startswith("part: is a file; needed is text")
    said = problem(service.client.post("/v1/inspections", files=[text("picture", "x")]), 422, "no-picture")
    assert said["detail"].startswith("picture: it is text; needed is a file")
    many = [text(f"f{number}", "") for number in range(30)]
    assert "more than 20 fields" in problem(form(service, *many), 400, "form")["detail"]
    assert "longer than" in problem(form(service, text("part", "x" * 9_000)), 400, "form")["detail"]
