"""What a client gets that asks wrongly: which thing, what was found, what is needed, the way out."""

import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.service.server import Server, png
from tests.service.test_http import problem
from weakspot.service import seldom
from weakspot.service.seldom import EACH, Seldom
from weakspot.service.unfit import of_pattern

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


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ("GET /v1/inspections/nope", 404, "no inspection of that name is here; those that are here: /stream, GET"),
        ("GET /v1/models/nope/thresholds", 404, "no model of that name is here"),
        ("GET /v1/inspections?limit=abc", 422, "limit: 'abc' in the address; needed is a whole number"),
        ("GET /v1/inspections?limit=0", 422, "limit: '0' in the address; needed is at least 1"),
        ("GET /v1/inspections?decision=foo", 422, "needed is 'good', 'review', 'bad' or 'not inspected'"),
        ("GET /v1/inspections?cursor=x", 422, "needed is `next` of the page before"),
        ("GET /v1/inspections?since=monday", 422, "needed is a time in UTC such as 2026-11-28T02:38:11Z"),
        ("GET /today?day=monday", 422, "day: 'monday' in the address; needed is a day such as 2026-11-28"),
        ("GET /v1/inspection", 404, "did you mean /v1/inspections? Pages begin at /inspect"),
        ("GET /nowhere/at/all", 404, "/nowhere/at/all: nothing is there; pages begin at /inspect"),
        ("POST /v1/inspections/", 404, "did you mean /v1/inspections?"),
        ("GET /review/", 404, "did you mean /review?"),
        ("PUT /v1/inspections", 405, "PUT is not taken here; take GET or POST"),
        ("POST /v1/users", 422, "no JSON was sent; needed is an object with name, password, scope, under Content-Type"),
        (
            'POST /v1/users {"name": "a", "scope": "admin"}',
            422,
            "password: missing in the JSON, which takes name, password, scope",
        ),
        (
            'POST /v1/users {"name": "a", "password": "quiet", "scope": "admin"}',
            422,
            "needed is at least 12 characters",
        ),
        ('POST /v1/users {"nam": "a"}', 422, "nam: unknown in the JSON; did you mean name? Known are name, password"),
        (
            'POST /v1/tokens {"name": "a", "scope": "all"}',
            422,
            "scope: 'all' in the JSON; needed is 'inspect', 'review'",
        ),
        ('POST /v1/tokens {"name": "a", ', 400, "the JSON cannot be read from its character 14 on"),
    ],
)
def test_a_refusal_says_what_was_found_what_is_needed_and_the_way_out(
    service: Server, asked: str, status: int, said: str
):
    method, path, body = (*asked.split(" ", 2), "")[:3]
    kind = {"content-type": "application/json"}
    answer = service.client.request(method, path, content=body or None, headers=kind if body else None)
    found = answer.json()["detail"]
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    assert said in found and "quiet" not in found and "should" not in found and "path." not in found


def test_a_page_that_is_not_there_says_so_in_words(service: Server):
    answer = service.client.get("/inspections/nope", headers={"accept": "text/html"})
    assert (
        answer.status_code == 404 and "no inspection of that name is here; those that are here: /stream" in answer.text
    )
    assert re.search("urn:uuid:[0-9a-f-]{36}", answer.text)


def test_every_pattern_of_the_interface_has_words(service: Server):
    found = set(re.findall(r'"pattern": ?("(?:[^"\\]|\\.)*")', service.client.get("/openapi.json").text))
    assert len(found) > 5
    assert not [each for each in found if of_pattern(json.loads(each)).startswith("text like")]


def test_a_type_is_needed_and_named_with_an_example(service: Server):
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):
        said = problem(service.client.post("/v1/inspections", content=png(), headers=headers), 415, "content-type")
        assert "curl --data-binary @0001.png -H 'Content-Type: image/png'" in said["detail"]


def test_each_problem_is_found_in_the_log_and_nothing_that_a_client_sent(start: Start):
    server = start()
    html = {"accept": "text/html"}
    answers = [
        server.client.get("/v1/inspections/Quaint"),
        server.client.get("/Quaint", headers=html),
        server.client.get("/v1/inspections?Quaint=1"),
        server.client.post("/v1/tokens", json={"name": "Quaint", "scope": "Quaint"}),
        server.client.get("/v1/models", headers={"host": "Quaint"}),
        server.client.request("QUAINT", "/v1/models"),
        server.send(b"Quaint", part="Quaint"),
        server.send(png(), part="Quaint\n"),
    ]
    told = [re.findall("urn:uuid:[0-9a-f-]{36}", answer.text) for answer in answers]
    assert all(len(each) == 1 for each in told)
    until = time.monotonic() + 30
    while told[-1][0] not in "".join(server.said) and time.monotonic() < until:
        time.sleep(0.05)
    lines = "".join(server.said)
    assert [each for (each,) in told if lines.count(each) != 1] == []
    assert "404 missing: GET /v1/inspections/{inspection}" in lines and "quaint" not in lines.lower()


def test_a_flood_of_refusals_is_counted_and_not_told_one_by_one(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(seldom, "monotonic", lambda: now[0])
    log, told = logging.getLogger("flooded"), []
    monkeypatch.setattr(log, "filters", [Seldom()])
    monkeypatch.setattr(log, "propagate", False)
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(log, "handlers", [handler])
    for number in range(2_500):
        log.warning("%s", f"n{number}", extra={"kind": "full"})
    log.warning("%s", "another", extra={"kind": "unfit"})
    assert told[:EACH] == [f"n{number}" for number in range(EACH)]
    assert told[EACH:] == [
        "n99 (89 more of this kind since the last one)", "n999 (899 more of this kind since the last one)", "another",
    ]  # fmt: skip
    now[0] += 61
    try:
        raise ValueError("Quaint")
    except ValueError:
        log.exception("%s", "later", extra={"kind": "full"})
    assert told[-1].startswith("later\n") and "ValueError (1,500 more of this kind" in told[-1]
    assert "test_asked.py" in told[-1] and 'ValueError("Quaint")' in told[-1] and "ValueError: Quaint" not in told[-1]
