"""What a client meets: pictures in, answers out and kept, verdicts, models; a real server, a real store."""

import hashlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from tests.inspection.conftest import made_model
from tests.service.server import Server, encoded, png
from weakspot.inspection.model_file import write_model_file
from weakspot.service import records
from weakspot.service.detectors import Computes
from weakspot.service.parts import Parts
from weakspot.service.problems import Problem
from weakspot.service.serve import Serving, opened

ROOT = Path(__file__).parents[2]
Start = Callable[..., Server]


def problem(answer: httpx.Response, status: int, kind: str) -> dict:
    """The refusal, of the one shape that all have, with nothing of the inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert (said["status"], said["type"]) == (status, f"urn:weakspot:{kind}")
    assert said["detail"] and said["instance"].startswith("urn:uuid:")
    assert "Traceback" not in answer.text and "/weakspot/" not in answer.text and "SQL" not in answer.text
    return said


@pytest.mark.parametrize("decision", ["good", "review", "bad"])
def test_a_picture_is_answered_by_the_published_schema_and_kept(service: Server, decision: str):
    content = png(decision)
    answer = service.send(content, part="4711", station="s1", line="l3")
    assert answer.status_code == 201
    result = answer.json()
    schema = Draft202012Validator(json.loads((ROOT / "docs" / "inspection.schema.json").read_text()))
    schema.validate(result)
    assert result["decision"] == decision
    assert result["image"]["sha256"] == hashlib.sha256(content).hexdigest()
    kept = service.get(answer.headers["location"])
    assert kept == {
        "result": result, "part": "4711", "station": "s1", "line": "l3", "verdict": None, "verdicts": []
    }  # fmt: skip


def test_a_form_says_the_same_as_a_raw_body(service: Server):
    form = {"files": {"picture": ("../../etc/passwd", png("bad"), "text/html")}, "data": {"part": "7", "line": "l9"}}
    answer = service.client.post("/v1/inspections", **form)
    assert (answer.status_code, answer.json()["decision"], answer.json()["image"]["path"]) == (201, "bad", None)
    kept = service.get(answer.headers["location"])
    assert (kept["part"], kept["station"], kept["line"]) == ("7", None, "l9")


def test_the_maps_show_what_was_found(service: Server):
    pixels = np.full((64, 96), 60, np.uint8) + np.random.default_rng(0).integers(0, 20, (64, 96)).astype(np.uint8)
    pixels[16:32, 48:64] = 250
    where = service.send(encoded(pixels)).headers["location"]

    def shown(name: str) -> np.ndarray:
        answer = service.client.get(f"{where}/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    heat = shown("heat-map.png")
    assert heat.shape == (8, 12) and heat.max() == heat[2, 6] > 60_000 and np.median(heat) < 1000
    red = shown("overlay.png")
    assert red.shape[1] == 96 and red[20, 56, 0] > red[20, 56, 2]
    assert np.array_equal(shown("picture.png"), pixels)
    assert shown("heat-map.png?colours=turbo").shape == (8, 12, 3)


@pytest.mark.parametrize("content", [b"", b"no picture", png()[:300], b"<svg onload=alert(1)>", png(seed=4)[:-20]])
def test_what_cannot_be_read_is_kept_as_not_inspected_and_never_good(service: Server, content: bytes):
    said = problem(service.send(content), 422, "not-inspected")
    assert said["result"]["decision"] == "not inspected"
    kept = service.get(f"/v1/inspections/{said['result']['id']}")
    assert kept["result"] == said["result"]
    problem(service.client.get(f"/v1/inspections/{said['result']['id']}/heat-map.png"), 404, "missing")


def test_the_same_key_gets_the_same_answer_and_another_picture_none(service: Server):
    first = service.send(png("bad", 1), key="k1", station="a")
    again = service.send(png("bad", 1), key="k1", station="a")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    problem(service.send(png("bad", 2), key="k1", station="a"), 422, "other-request")
    elsewhere = service.send(png("bad", 2), key="k1", station="b")
    assert elsewhere.status_code == 201 and elsewhere.json()["id"] != first.json()["id"]


def test_one_key_sent_by_many_at_once_is_one_inspection(service: Server):
    answers: list[httpx.Response] = []
    content = png("good", 77)
    threads = [
        threading.Thread(target=lambda: answers.append(service.send(content, key="once", station="many")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.status_code for each in answers} <= {200, 201, 409}
    assert len({each.json()["id"] for each in answers if each.status_code < 400}) == 1
    assert len(service.get("/v1/inspections", station="many")["inspections"]) == 1


def test_pages_hold_each_inspection_once_though_others_come_meanwhile(service: Server):
    sent = [service.send(png("good", seed), station="paged").json()["id"] for seed in range(7)]
    seen, cursor = [], {}
    while True:
        page = service.get("/v1/inspections", station="paged", limit=3, **cursor)
        seen += [each["result"]["id"] for each in page["inspections"]]
        service.send(png("good", 50), station="paged")
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == sent[::-1]


def test_filters_choose(service: Server):
    for decision in ("good", "bad", "bad"):
        service.send(png(decision, 9), station="filtered", part=f"p-{decision}")
    count = lambda **query: len(service.get("/v1/inspections", station="filtered", **query)["inspections"])  # noqa: E731
    assert (count(), count(decision="bad"), count(part="p-good"), count(line="x")) == (3, 2, 1, 0)
    assert (count(since="2099-01-01T00:00:00Z"), count(until="2099-01-01T00:00:00Z")) == (0, 3)
    assert (count(verdict="none"), count(verdict="bad"), count(model="0" * 64)) == (3, 0, 0)


def test_verdicts_are_added_and_the_last_one_counts(service: Server):
    where = service.send(png("review", 3)).headers["location"]
    for said in ({"verdict": "bad", "reason": "scratch"}, {"verdict": "withdrawn"}, {"verdict": "good"}):
        assert service.client.post(f"{where}/verdicts", json=said).status_code == 201
    kept = service.get(where)
    assert (kept["verdict"], [each["verdict"] for each in kept["verdicts"]]) == ("good", ["bad", "withdrawn", "good"])
    assert kept["verdicts"][0]["reason"] == "scratch" and kept["verdicts"][0]["by"] == "local"
    problem(service.client.post(f"{where}/verdicts", json={"verdict": "fine"}), 422, "unfit")
    problem(service.client.post(f"/v1/inspections/{'0' * 36}/verdicts", json={"verdict": "bad"}), 404, "missing")


def test_what_was_kept_is_there_after_a_restart(start: Start, url: str):
    server = start("--store", url)
    answer = server.send(png("bad"), key="k").json()
    server.client.post(f"/v1/inspections/{answer['id']}/verdicts", json={"verdict": "good"})
    assert server.stop() == 0
    again = start("--store", url, model=None)
    kept = again.get(f"/v1/inspections/{answer['id']}")
    assert (kept["result"], kept["verdict"]) == (answer, "good")
    assert again.send(png("bad"), key="k").json() == answer


def test_another_model_takes_over_and_back_without_a_request_lost(start: Start, other_model: Path):
    server = start()
    first = server.get("/v1/models")["models"][0]["sha256"]
    kind = {"content-type": "application/octet-stream"}
    sent = server.client.post("/v1/models", content=other_model.read_bytes(), headers=kind)
    other = sent.json()["sha256"]
    assert (sent.status_code, other) == (201, hashlib.sha256(other_model.read_bytes()).hexdigest())
    answers: list[httpx.Response] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.address, timeout=60) as client:
            while not stop.is_set():
                answers.append(
                    client.post("/v1/inspections", content=png("bad"), headers={"content-type": "image/png"})
                )

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    why = {"json": {"reason": "a test"}}
    assert server.client.post(f"/v1/models/{other}/activate", **why).status_code == 204
    assert server.client.post("/v1/models/roll-back", **why).json() == {"sha256": first}
    problem(server.client.post("/v1/models/roll-back", **why), 409, "nothing-before")
    assert server.client.post(f"/v1/models/{other}/activate", **why).status_code == 204
    stop.set()
    for thread in threads:
        thread.join()
    assert {each.status_code for each in answers} == {201}
    told = {(each.json()["model"]["sha256"], each.json()["decision"]) for each in answers}
    assert told <= {(first, "bad"), (other, "review")}, "each answer is that of the model it names"
    switched = [each["model_sha256"] for each in server.get("/v1/models")["activations"]]
    assert switched == [other, first, other, first]
    server.stop()
    assert start().send(png("bad")).json()["model"]["sha256"] == other, "the active one stays, whatever is given first"


def test_each_roll_back_goes_one_further_back_and_a_bad_model_does_not_come_again(parts: Parts, tmp_path: Path):
    known = [row.sha256 for row in parts.store.read(records.all_models)]
    for name in "bc":
        write_model_file(tmp_path / f"{name}.weakspot", made_model(name=name))
        known.append(parts.detectors.register((tmp_path / f"{name}.weakspot").read_bytes(), "me"))
        parts.detectors.activate(known[-1], "me", "")
    first, second, third = known
    assert [parts.detectors.roll_back("me", "bad") for _ in range(2)] == [second, first]
    with pytest.raises(Problem, match="no other model was active before"):
        parts.detectors.roll_back("me", "")
    parts.detectors.activate(third, "me", "")
    assert parts.detectors.roll_back("me", "") == first == parts.detectors.active.info.sha256


def test_a_store_of_either_kind_answers_alike(start: Start, url: str):
    """One key twice, pages, filters, verdicts, a log-in, figures."""
    server = start("--store", url, "--tokens")
    server.client.headers["authorization"] = f"Bearer {(server.data / 'admin.token').read_text().strip()}"
    first = server.send(png("bad", 1), key="k", station="a", part="Teil 7")
    again = server.send(png("bad", 1), key="k", station="a", part="Teil 7")
    assert (first.status_code, again.status_code, first.json()) == (201, 200, again.json())
    problem(server.send(png("bad", 2), key="k", station="a"), 422, "other-request")
    problem(server.send(b"no picture", station="b"), 422, "not-inspected")
    page = server.get("/v1/inspections", limit=1)
    older = server.get("/v1/inspections", limit=1, cursor=page["next"])
    assert [each["inspections"][0]["result"]["decision"] for each in (page, older)] == ["not inspected", "bad"]
    where = first.headers["location"]
    for said in ("bad", "withdrawn", "good"):
        assert server.client.post(f"{where}/verdicts", json={"verdict": said}).status_code == 201
    count = lambda **query: len(server.get("/v1/inspections", **query)["inspections"])  # noqa: E731
    assert (count(verdict="good"), count(verdict="bad"), count(part="Teil 7"), count(verdict="none")) == (1, 0, 1, 1)
    assert server.client.get(f"{where}/overlay.png").status_code == 200
    person = {"name": "Ada", "password": "correct horse battery"}
    assert server.client.post("/v1/users", json=person | {"scope": "review"}).status_code == 204
    problem(server.client.post("/v1/users", json=person | {"scope": "review"}), 409, "taken")
    assert server.client.post("/v1/sessions", json=person).status_code == 201
    assert server.get("/readyz")["ready"] and server.stop() == 0


def test_a_file_that_is_no_model_changes_nothing(service: Server, model: Path):
    before = service.get("/v1/models")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    for wrong in (b"", b"PK\3\4 no model", bytes(content)):
        kind = {"content-type": "application/octet-stream"}
        problem(service.client.post("/v1/models", content=wrong, headers=kind), 422, "modelfile")
    problem(service.client.post(f"/v1/models/{'0' * 64}/activate", json={"reason": ""}), 404, "missing")
    assert service.get("/v1/models") == before
    assert service.send(png("bad")).json()["decision"] == "bad"


def test_thresholds_move_and_their_history_stays(start: Start, url: str):
    server = start("--store", url)
    sha256 = server.get("/v1/models")["models"][0]["sha256"]
    old = server.send(png("bad"))
    wanted = {"bad_from": 8.0, "good_below": -2.0, "reason": "false alarms"}
    assert server.client.post(f"/v1/models/{sha256}/thresholds", json=wanted).status_code == 204
    new = server.send(png("bad")).json()
    assert (old.json()["decision"], new["decision"], new["bad_from"]) == ("bad", "review", 8.0)
    assert server.get(old.headers["location"])["result"]["decision"] == "bad"
    assert [each["bad_from"] for each in server.get(f"/v1/models/{sha256}/thresholds")] == [8.0, 1.0]
    crossed = wanted | {"bad_from": -3.0}
    problem(server.client.post(f"/v1/models/{sha256}/thresholds", json=crossed), 422, "settings")
    server.stop()
    assert start("--store", url).send(png("bad")).json()["decision"] == "review"


def test_health_figures_and_what_the_open_inference_protocol_asks(service: Server):
    assert service.get("/livez") == service.get("/v2/health/live") == {"live": True}
    assert service.get("/readyz") == {"ready": True, "checks": dict.fromkeys(["store", "disk", "model", "queue"], "ok")}
    assert service.get("/v2/health/ready") == {"ready": True, "live": True}
    assert service.get("/v2")["name"] == "weakspot"
    about = service.get("/v2/models/made")
    assert about["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 1, 64, 96]}]
    assert service.get("/v2/models/made/ready")["ready"] is True
    problem(service.client.get("/v2/models/other"), 404, "missing")
    service.send(png("bad"))
    text = service.client.get("/metrics").text
    assert 'weakspot_inspections_total{decision="bad"' in text and "weakspot_queue_length 0.0" in text


def test_too_many_pictures_are_refused_at_once_and_nothing_else_goes_wrong(start: Start):
    server = start("--queue", "2")
    answers: list[httpx.Response] = []

    def ask(number: int) -> None:
        answers.append(server.send(png("good", number), station="load"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken, refused = ([each for each in answers if each.status_code == status] for status in (201, 503))
    assert taken and refused and len(taken) + len(refused) == 40
    problem(refused[0], 503, "full")
    assert refused[0].headers["retry-after"] == "1"
    assert len(server.get("/v1/inspections", station="load", limit=100)["inspections"]) == len(taken)
    assert server.send(png()).status_code == 201


def test_a_sender_that_drips_is_cut_off_while_others_are_served(start: Start):
    server = start("--receive-seconds", "1")
    host, port = server.address.removeprefix("http://").split(":")
    heads = (b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"GET /livez HT")
    bodied = (
        b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n"
    )
    slow = [socket.create_connection((host, int(port))) for _ in range(6)]
    for number, each in enumerate(slow):
        each.sendall((*heads, bodied)[number % 3])
    ended, got = set(), {}
    end = time.monotonic() + 30
    while len(ended) < len(slow) and time.monotonic() < end:
        assert server.send(png()).status_code == 201
        for number, each in enumerate(slow):
            try:
                each.sendall(b"x")
                each.settimeout(0.05)
                data = each.recv(4096)
                got[number] = got.get(number, b"") + data
                if not data:
                    ended.add(number)
            except TimeoutError:
                continue
            except OSError:
                ended.add(number)
    assert ended == set(range(6))
    assert b" 408 " in got[2]


def test_a_second_service_on_the_same_data_is_refused_and_told_who_is_there(service: Server, start: Start):
    second = start(data=service.data)
    assert second.address == "" and second.stop() == 1
    assert f"process {service.process.pid}" in "".join(second.said)


def test_a_store_that_is_gone_is_not_made_anew(start: Start, tmp_path: Path, model: Path):
    (tmp_path / "data").mkdir()
    with opened([model], Serving(data=tmp_path / "data", computes=Computes("onnxruntime", "fp32", 1))):
        pass
    for each in (tmp_path / "data").glob("store.sqlite*"):
        each.unlink()
    server = start()
    assert server.address == "" and server.stop() == 1 and "is gone" in "".join(server.said)


def test_a_store_that_fails_ends_the_service_and_answers_no_picture(start: Start, tmp_path: Path):
    server = start()
    for each in (tmp_path / "data").glob("store.sqlite*"):
        each.rename(each.with_name(f"away-{each.name}"))
    problem(server.send(png()), 503, "store")
    assert server.process.wait(60) == 1
    assert "moved or replaced" in "".join(server.said)
