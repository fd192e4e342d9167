"""Who may do what, and what hostile requests, pictures and decoders get: a refusal, and nobody else notices."""

import json
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.inspection.conftest import made_model
from tests.service.server import Server, encoded, png
from tests.service.test_http import problem
from tests.service.test_learning import weakspot
from weakspot.errors import ImageError, SettingsError, WeakspotError
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.model_file import write_model_file
from weakspot.service import decoder, decoding
from weakspot.service.decoder import LENGTHS
from weakspot.service.decoding import Decoders
from weakspot.service.detectors import Computes
from weakspot.service.limits import Limits
from weakspot.service.records import Sent
from weakspot.service.retention import remove_old
from weakspot.service.serve import Serving, opened
from weakspot.settings import ReadSettings

Start = Callable[..., Server]
ANY, SHA, NUMBER = "00000000-0000-0000-0000-000000000000", "0" * 64, "0" * 36
ROLES = {  # which scope each route needs; "": none
    "POST /v1/inspections": "inspect",
    "GET /v1/inspections": "review",
    f"GET /v1/inspections/{ANY}": "inspect",
    f"GET /v1/inspections/{ANY}/heat-map.png": "inspect",
    f"GET /v1/inspections/{ANY}/overlay.png": "inspect",
    f"GET /v1/inspections/{ANY}/picture.png": "inspect",
    f"POST /v1/inspections/{ANY}/verdicts": "review",
    "GET /v1/models": "review",
    "POST /v1/models": "admin",
    f"POST /v1/models/{SHA}/activate": "admin",
    "POST /v1/models/roll-back": "admin",
    f"GET /v1/models/{SHA}/thresholds": "review",
    f"POST /v1/models/{SHA}/thresholds": "admin",
    "GET /v1/limits": "review",
    "POST /v1/limits": "admin",
    "GET /v1/comparisons": "review",
    "POST /v1/comparisons": "admin",
    f"GET /v1/comparisons/{ANY}": "review",
    f"POST /v1/comparisons/{ANY}/cancel": "admin",
    f"DELETE /v1/comparisons/{ANY}": "admin",
    "GET /v1/trainings": "admin",
    "POST /v1/trainings": "admin",
    f"GET /v1/trainings/{ANY}": "admin",
    f"POST /v1/trainings/{ANY}/start": "admin",
    f"POST /v1/trainings/{ANY}/cancel": "admin",
    f"POST /v1/trainings/{ANY}/register": "admin",
    f"DELETE /v1/trainings/{ANY}": "admin",
    "POST /v1/tokens": "admin",
    "GET /v1/tokens": "admin",
    f"DELETE /v1/tokens/{NUMBER}": "admin",
    "POST /v1/users": "admin",
    "GET /v1/users": "admin",
    "DELETE /v1/users/u": "admin",
    "POST /v1/passwords": "admin",
    "POST /v1/sessions": "",
    "GET /livez": "",
    "GET /readyz": "",
    "GET /metrics": "inspect",
    "GET /v2": "",
    "GET /v2/health/live": "",
    "GET /v2/health/ready": "",
    "GET /v2/models/made": "inspect",
    "GET /v2/models/made/ready": "inspect",
}
BODIES = {"verdicts": {"verdict": "bad"}, "thresholds": {"bad_from": 1, "good_below": 0, "reason": "r"}}
BODIES |= {"activate": {"reason": ""}, "roll-back": {"reason": ""}, "tokens": {"name": "n", "scope": "inspect"}}
BODIES |= {"users": {"name": "u", "password": "long enough", "scope": "review"}}
BODIES |= {"passwords": {"name": "u", "password": "long enough now"}}
BODIES |= {"sessions": {"name": "u", "password": "x"}}
BODIES |= {"trainings": {"source": "0" * 32}, "comparisons": {"one": SHA, "other": "1" * 64}}
SCOPES = ["inspect", "review", "admin"]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, model: Path):
    """A service on every address that takes 10 kB a request, with its first token."""
    data = tmp_path_factory.mktemp("plant") / "data"
    server = Server(data, "--host", "0.0.0.0", "--megabytes", "0.01", model=model)
    server.client.headers["authorization"] = f"Bearer {(data / 'admin.token').read_text().strip()}"
    yield server, data
    server.stop()


def test_the_first_token_is_for_its_owner_alone_and_kept_nowhere_in_the_clear(plant: tuple[Server, Path]):
    _, data = plant
    assert stat.S_IMODE((data / "admin.token").stat().st_mode) == 0o600
    token = (data / "admin.token").read_text().strip().encode()
    stored = [path for path in data.rglob("*") if path.is_file() and path.name != "admin.token"]
    assert not any(token in path.read_bytes() for path in stored if "store.sqlite-shm" not in path.name)


def test_every_route_asks_for_the_scope_of_the_table_and_no_route_is_missing(plant: tuple[Server, Path]):
    server, _ = plant
    tokens = {"": ""}
    for scope in SCOPES:
        said = server.client.post("/v1/tokens", json={"name": f"for {scope}", "scope": scope}).json()
        tokens[scope] = said["token"]
    described = server.get("/openapi.json")["paths"]
    assert sum(len(methods) for methods in described.values()) == len(ROLES)
    for route, needed in ROLES.items():
        method, path = route.split()
        for scope, token in tokens.items():
            headers = {"authorization": f"Bearer {token}"} if token else {}
            body = BODIES.get(path.rsplit("/", 1)[-1]) if method == "POST" else None
            answer = httpx.request(method, server.address + path, json=body, headers=headers)
            enough = not needed or (scope and SCOPES.index(scope) >= SCOPES.index(needed))
            refused = 401 if not scope else 403
            expected_kind = {401: "token", 403: "scope"}[refused]
            got = answer.headers["content-type"] == "application/problem+json" and answer.json()["type"]
            assert (got == f"urn:weakspot:{expected_kind}") == (not enough), (route, scope, answer.text)


def test_a_revoked_and_an_expired_token_open_nothing(plant: tuple[Server, Path]):
    server, _ = plant
    made = server.client.post("/v1/tokens", json={"name": "gone", "scope": "admin"}).json()
    short = server.client.post("/v1/tokens", json={"name": "short", "scope": "admin", "hours": 1e-9}).json()
    assert server.client.delete(f"/v1/tokens/{made['id']}").status_code == 204
    for token in (made["token"], short["token"], "weakspot_x"):
        answer = httpx.get(f"{server.address}/v1/models", headers={"authorization": f"Bearer {token}"})
        problem(answer, 401, "token")


def test_a_person_logs_in_and_a_guesser_is_stopped(plant: tuple[Server, Path]):
    server, data = plant
    person = {"name": "Ada", "password": "correct horse battery", "scope": "review"}
    assert server.client.post("/v1/users", json=person).status_code == 204
    problem(server.client.post("/v1/users", json=person), 409, "taken")
    assert b"correct horse" not in b"".join(path.read_bytes() for path in data.glob("store.sqlite*"))
    log_in = {"name": "Ada", "password": "correct horse battery"}
    token = httpx.post(f"{server.address}/v1/sessions", json=log_in).json()["token"]
    where = server.send(png("review")).headers["location"]
    as_ada = {"authorization": f"Bearer {token}"}
    said = httpx.post(f"{server.address}{where}/verdicts", json={"verdict": "bad"}, headers=as_ada)
    assert said.json()["by"] == "Ada"
    for _ in range(4):
        wrong = httpx.post(f"{server.address}/v1/sessions", json=log_in | {"password": "x"})
    problem(wrong, 401, "wrong")
    problem(httpx.post(f"{server.address}/v1/sessions", json=log_in), 429, "too-many-tries")
    problem(httpx.post(f"{server.address}/v1/sessions", json=log_in | {"name": "nobody"}), 401, "wrong")


def test_another_host_and_another_sites_page_are_refused(service: Server):
    problem(service.client.get("/livez", headers={"host": "evil.example"}), 421, "host")
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        answer = service.client.post("/v1/inspections", files={"picture": png()}, headers=headers)
        problem(answer, 403, "foreign")
    mine = {"origin": service.address, "sec-fetch-site": "same-origin"}
    assert service.client.post("/v1/inspections", files={"picture": png()}, headers=mine).status_code == 201


def test_every_answer_forbids_scripts_of_others_and_guessing_of_types(service: Server):
    for path in ("/livez", "/nothing", "/v1/models"):
        headers = service.client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and "server" not in headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "image/svg+xml"}, 415),
        ({"content-type": "image/png", "content-encoding": "gzip"}, 415),
        ({"content-type": "multipart/form-data"}, 400),
        ({"content-type": "multipart/form-data; boundary=x"}, 400),
        ({"content-type": "image/png", "idempotency-key": "k" * 201}, 422),
    ],
)
def test_requests_of_another_kind_are_refused(service: Server, headers: dict[str, str], status: int):
    answer = service.client.post("/v1/inspections", content=b"x", headers=headers)
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"verdict": NaN}', b'{"verdict": "\\ud800"}', b"\xef\xbb\xbf{}", b"1" * 10_000, b"\0"]
)
def test_json_that_is_none_is_refused(service: Server, content: bytes):
    where = f"/v1/inspections/{ANY}/verdicts"
    answer = service.client.post(where, content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 404, 413, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_json_under_another_type_changes_nothing(service: Server):
    """A form of another site can send text/plain without asking first."""
    where = service.send(png()).headers["location"]
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = service.client.post(f"{where}/verdicts", content=b'{"verdict":"bad"}', headers={"content-type": kind})
        assert answer.status_code == 422
    assert service.get(where)["verdict"] is None


def test_a_body_beyond_the_limit_is_refused_with_and_without_its_length(plant: tuple[Server, Path]):
    server, _ = plant
    for content in (b"x" * 20_000, iter([b"x" * 5_000] * 4)):
        answer = server.client.post("/v1/inspections", content=content, headers={"content-type": "image/png"})
        problem(answer, 413, "too-large")
    assert server.send(png()).status_code == 201


def test_words_of_clients_come_back_as_they_were_sent(service: Server):
    for word in (
        "<script>alert(1)</script>",
        '"><img src=x onerror=1>',
        "{{7*7}}",
        "=1+1",
        "../../x",
        "%00",
        "Ü漢",
        "Teil\u00a04711",
        "部品\u30001",
    ):
        where = service.send(png(), part=word).headers["location"]
        assert service.get(where)["part"] == word
    for word in ("a\nb", "a\0b", "a\u2028b", "x" * 201):
        problem(service.send(png(), part=word), 422, "text")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_with_400_or_the_end(service: Server, sent: bytes):
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            got = connection.recv(65536)
        except OSError:  # closed on us, at any moment
            got = b""
    assert got[9:12] in (b"", b"400", b"404", b"405"), got[:100]
    assert service.send(png()).status_code == 201


def test_the_decoder_that_hangs_dies_or_talks_nonsense_costs_one_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    spoiled = (tmp_path / "spoiled.py").absolute()
    monkeypatch.setattr(decoding.sys, "executable", str(spoiled))
    read = ReadSettings()
    python = "#!/bin/sh\nexec {} -c '{}'\n"
    says = 'import sys; from weakspot.service.decoder import *; out = sys.stdout.buffer; send(out, {{}}, b""); '
    import sys as real

    for then in (
        "import time; time.sleep(60)",
        "sys.stdin.buffer.read(16); import os; os.abort()",
        'send(out, {{"shape": [10, 10], "dtype": "uint8", "warnings": []}}, b"short")',
        'out.write(b"\\xff" * 16); out.flush()',
    ):
        spoiled.write_text(python.format(decoder.sys.orig_argv[0], (says + then).replace("{{", "{").replace("}}", "}")))
        spoiled.chmod(0o755)
        decoders = Decoders(1, 0.5, 4)
        with pytest.raises(ImageError, match="could not be decoded"):
            decoders.decode(png(), read)
        monkeypatch.setattr(decoding.sys, "executable", real.orig_argv[0])
        decoders._seconds = 30
        assert decoders.decode(png(), read).pixels.shape == (64, 96), "the next picture is decoded by another child"
        decoders.close()
        monkeypatch.setattr(decoding.sys, "executable", str(spoiled))


def test_old_pictures_go_judged_ones_and_all_answers_stay(start: Start, tmp_path: Path, model: Path):
    server = start()
    judged, plain = (server.send(png("bad", seed)).json()["id"] for seed in (1, 2))
    server.client.post(f"/v1/inspections/{judged}/verdicts", json={"verdict": "bad"})
    server.stop()
    with opened([], Serving(data=tmp_path / "data")) as parts:
        assert remove_old(parts.store, parts.pictures, Limits()) == 0
        assert remove_old(parts.store, parts.pictures, Limits(keep_gigabytes=0.001)) == 0
        parts.store.write(lambda c: c.exec_driver_sql("UPDATE pictures SET time = '2020-01-01T00:00:00.000Z'").rowcount)
        assert remove_old(parts.store, parts.pictures, Limits(keep_days=100)) == 1
    server = start()
    problem(server.client.get(f"/v1/inspections/{plain}/overlay.png"), 410, "removed")
    assert server.client.get(f"/v1/inspections/{judged}/overlay.png").status_code == 200
    assert server.client.get(f"/v1/inspections/{plain}/heat-map.png").status_code == 200
    server.send(png("bad", 2))
    assert server.client.get(f"/v1/inspections/{plain}/overlay.png").status_code == 200, "it came again"


def test_the_description_holds_against_the_service(service: Server):
    """Requests made up from the OpenAPI description: none finds a mistake of ours, each answer is as described."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi import checks

    schema = schemathesis.openapi.from_url(f"{service.address}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) == len(ROLES)
    held = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
    quick = settings(
        max_examples=3, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for operation in operations:

        def holds(case: Any) -> None:
            answer = case.call()
            assert answer.status_code not in (500, 501, 502), answer.text
            case.validate_response(answer, checks=held)

        quick(given(operation.as_strategy())(holds))()
    assert service.send(png()).status_code == 201


@pytest.mark.parametrize("name", ["Via", "X-Forwarded-For", "Forwarded"])
def test_what_a_proxy_passed_on_needs_a_token_on_loopback_too(service: Server, name: str):
    """Else whoever reaches the proxy would be its administrator."""
    problem(service.client.get("/v1/models", headers={name: "x"}), 401, "token")


def test_a_request_that_needs_little_is_refused_before_much_is_read(service: Server):
    problem(service.client.post("/v1/tokens", content=b"x" * 100_000), 413, "too-large")
    problem(service.client.post("/v1/tokens", content=iter([b"x"])), 411, "length")


def test_signals_of_the_whole_group_leave_the_decoder_to_its_picture():
    """Ctrl-C and systemd send them to every process; the picture would be told to be at fault."""
    command = [sys.executable, "-m", "weakspot.service.decoder", "4"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdout.read(LENGTHS.size + 2)  # ready: an empty object
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGTERM)
        picture = png()
        child.stdin.write(LENGTHS.pack(2, len(picture)) + b"{}" + picture)
        child.stdin.flush()
        about, _ = LENGTHS.unpack(child.stdout.read(LENGTHS.size))
        assert "error" not in json.loads(child.stdout.read(about))
        child.kill()


@pytest.mark.parametrize(
    ("of_model", "of_service", "way_out"),
    [
        (64, 1, "take a smaller picture, or serve with a larger --megapixels"),
        (1, 64, "take a smaller picture, or train with a larger max_megapixels"),
        (1, 1, "train with a larger max_megapixels and serve with a larger --megapixels"),
    ],
)
def test_who_sends_too_many_pixels_is_told_what_allows_more(
    tmp_path: Path, of_model: int, of_service: int, way_out: str
):
    path = tmp_path / "model.weakspot"
    write_model_file(path, made_model(read=ReadSettings(max_megapixels=of_model)))
    (tmp_path / "data").mkdir()
    how = {"computes": Computes("onnxruntime", "fp32", 1), "limits": Limits(megapixels=of_service)}
    with opened([path], Serving(data=tmp_path / "data", **how)) as parts:
        answer = parts.inspector._inspect(Sent(encoded(np.zeros((1100, 1000), np.uint8))))
        assert way_out in json.loads(answer.json)["reason"]


def test_a_decoder_for_which_memory_does_not_suffice_names_the_flag_that_allows_more(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(decoding.sys, "executable", shutil.which("false"))
    with pytest.raises(WeakspotError, match="allow more than 4 GB by --decode-gigabytes"):
        Decoders(1, 30, 4).start()
    flags = weakspot("serve", "--decode-gigabytes", 0.5, "--data", tmp_path / "data")
    assert flags == 2 and not [*(tmp_path / "data").glob("*")]


@pytest.mark.parametrize("far", [2e9, 1e308])
def test_thresholds_far_beyond_any_score_are_refused(service: Server, far: float):
    sha256 = service.get("/v1/models")["models"][0]["sha256"]
    for pair in ({"bad_from": far, "good_below": 0}, {"bad_from": 0, "good_below": -far}):
        wanted = pair | {"reason": "never bad"}
        problem(service.client.post(f"/v1/models/{sha256}/thresholds", json=wanted), 422, "unfit")
    with pytest.raises(SettingsError, match="up to ±1e\\+09"):
        Thresholds(bad_from=far, good_below=0, rule="by hand", chosen_on="")
    assert service.client.get("/today").status_code == 200
