"""What is bounded: pictures on their way, and those who look at earlier ones while the line goes on."""

import asyncio
import io
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.inspection.conftest import made_model, made_pixels
from tests.service.server import Server, encoded, png
from tests.service.test_http import problem
from weakspot.inspection.model_file import write_model_file
from weakspot.service import decoding, showing
from weakspot.service.app import make_app
from weakspot.service.decoding import Decoders
from weakspot.service.detectors import Computes
from weakspot.service.inspector import RECEIVING
from weakspot.service.limits import Limits
from weakspot.service.parts import Parts
from weakspot.service.problems import Problem
from weakspot.service.records import Sent
from weakspot.service.serve import Serving, opened
from weakspot.service.viewing import PLACES
from weakspot.settings import ReadSettings

Start = Callable[..., Server]


def until(found: Callable[[], bool]) -> bool:
    """Ask again and again, for a minute at most."""
    end = time.monotonic() + 60
    while not (yes := found()) and time.monotonic() < end:
        time.sleep(0.05)
    return yes


def test_who_sends_slowly_takes_no_place_from_the_line_and_there_are_not_without_number(start: Start):
    server = start("--queue", "1")
    slow = [connected(server) for _ in range(RECEIVING)]
    begun = head("POST /v1/inspections", 9999, "image/png") + b"x"
    for each in slow[1:]:
        each.sendall(begun)
    assert until(lambda: server.send(png()).status_code == 201)
    slow[0].sendall(begun)
    assert until(lambda: server.client.get("/readyz").json()["checks"]["queue"] == "full")
    problem(server.send(png()), 503, "full")
    for each in slow:
        each.close()
    assert until(lambda: server.send(png()).status_code == 201), "they went away"


def test_a_place_to_look_at_a_picture_is_held_until_what_leaves_is_made(parts: Parts, monkeypatch):
    answer = asyncio.run(parts.inspector.inspect(received))
    number, make, refused = json.loads(answer.json)["id"], showing._png, []

    def meanwhile(pixels: np.ndarray) -> bytes:
        with pytest.raises(Problem) as problem:
            showing.picture(parts, number)
        refused.append(problem.value.kind)
        return make(pixels)

    monkeypatch.setattr(showing, "_png", meanwhile)
    monkeypatch.setattr(parts.viewer, "_places", threading.BoundedSemaphore(1))
    for show in (showing.picture, showing.thumbnail):
        assert show(parts, number)
    assert refused == ["busy", "busy"]


async def received() -> Sent:
    """A picture as it came."""
    return Sent(png("bad"))


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Server]:
    """A service that waits three seconds for a request, a second for a picture, ten for a model file."""
    server = Server(tmp_path_factory.mktemp("hasty") / "data", "--receive-seconds", "1", model=model)
    yield server
    server.stop()


def connected(server: Server, most_unread: int | None = None) -> socket.socket:
    """A connection that gives up after a minute."""
    connection = socket.socket()
    connection.settimeout(60)
    if most_unread is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, most_unread)
    host, port = server.address.removeprefix("http://").split(":")
    connection.connect((host, int(port)))
    return connection


def head(what: str, length: int = 0, kind: str = "application/json") -> bytes:
    """Of a request."""
    return f"{what} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


def test_a_model_file_may_take_longer_than_a_picture(hasty: Server, other_model: Path):
    content = other_model.read_bytes()
    with connected(hasty) as connection:
        connection.sendall(head("POST /v1/models", len(content), "application/octet-stream"))
        for start in range(0, len(content), len(content) // 4):
            time.sleep(0.9)
            connection.sendall(content[start : start + len(content) // 4])
        assert connection.recv(100).startswith(b"HTTP/1.1 201")


def test_a_request_has_its_time_though_the_connection_was_opened_before(hasty: Server):
    """As browsers do."""
    with connected(hasty) as connection:
        for piece in (b"GET /livez HTTP/1.1\r\n", b"Host: localhost\r\n\r\n"):
            time.sleep(2)
            connection.sendall(piece)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("rest", [head("POST /v1/sessions", 99), b"POST /v1/sessions HTTP/1.1\r\nHost"])
def test_what_comes_behind_a_whole_request_and_does_not_end_is_cut_off(hasty: Server, rest: bytes):
    with connected(hasty) as connection:
        connection.sendall(head("GET /livez") + rest)
        got = b""
        with suppress(ConnectionResetError):
            while data := connection.recv(10_000):
                got += data
        assert got.startswith(b"HTTP/1.1 200") and got.count(b"HTTP/1.1") == 1


def test_whoever_does_not_read_an_answer_is_cut_off(hasty: Server):
    """A picture of noise is larger than what the system holds for it."""
    pixels = np.random.default_rng(0).integers(0, 256, (3000, 3000), np.uint8)
    last = {"connection": "close"}  # so that none is open that the service would end by itself
    sent = {"content": encoded(pixels), "headers": last | {"content-type": "image/png"}}
    answer = httpx.post(f"{hasty.address}/v1/inspections", **sent).json()
    where = f"/v1/inspections/{answer.get('id') or answer['result']['id']}"
    open_files = lambda: len(os.listdir(f"/proc/{hasty.process.pid}/fd"))  # noqa: E731
    assert len(httpx.get(f"{hasty.address}{where}/picture.png", headers=last, timeout=60).content) > 8_000_000
    before = open_files()
    with connected(hasty, 4096) as connection:
        connection.sendall(head(f"GET {where}/picture.png"))
        assert until(lambda: open_files() > before)
        assert until(lambda: open_files() == before)


def test_whoever_looks_at_pictures_holds_up_neither_the_line_nor_anybody_else(tmp_path: Path, model: Path):
    """The process that decodes for viewers is stopped; more of them wait than there are threads."""
    (tmp_path / "data").mkdir()
    how = {"computes": Computes("onnxruntime", "fp32", 1), "limits": Limits(decode_seconds=600)}
    with opened([model], Serving(data=tmp_path / "data", **how)) as parts:
        parts.health.beat()
        asyncio.run(look_while_the_line_runs(parts))


async def look_while_the_line_runs(parts: Parts) -> None:
    """See above."""
    transport = httpx.ASGITransport(make_app(parts, ["line"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://line") as client:
        send = lambda n: client.post("/v1/inspections", files={"picture": png("bad", n)})  # noqa: E731
        where = f"{(await send(0)).headers['location']}/overlay.png"
        assert (await client.get(where)).status_code == 200
        child = parts.viewer._decoders._free.queue[0].pid
        os.kill(child, signal.SIGSTOP)
        try:
            viewers = [asyncio.create_task(client.get(where)) for _ in range(60)]
            async with asyncio.timeout(60):
                while sum(each.done() for each in viewers) < 60 - PLACES:
                    await asyncio.sleep(0.01)
            for path in ("/livez", "/readyz", "/v1/models"):
                assert (await asyncio.wait_for(client.get(path), 30)).status_code == 200
            assert (await asyncio.wait_for(send(1), 30)).status_code == 201
            refused = [each.result() for each in viewers if each.done()]
            assert len(refused) == 60 - PLACES
            problem(refused[0], 503, "busy")
        finally:
            os.kill(child, signal.SIGCONT)
        assert Counter(each.status_code for each in await asyncio.gather(*viewers)) == {200: PLACES, 503: 60 - PLACES}


def test_a_picture_is_shown_as_the_model_of_its_answer_read_it(start: Start, tmp_path: Path):
    """Turned by what its file says, though today's model does not look at that."""
    turning = tmp_path / "turning.weakspot"
    write_model_file(turning, made_model(read=ReadSettings(orientation="apply")))
    server = start(model=turning)
    lying = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6  # orientation: turned by a quarter
    Image.fromarray(made_pixels(128).T.copy()).save(lying, "PNG", exif=exif)
    where = server.send(lying.getvalue()).headers["location"]
    shape = lambda: Image.open(io.BytesIO(server.client.get(f"{where}/picture.png").content)).size  # noqa: E731
    assert shape() == (96, 64)
    plain = tmp_path / "plain.weakspot"
    write_model_file(plain, made_model(name="plain"))
    kind = {"content-type": "application/octet-stream"}
    sha256 = server.client.post("/v1/models", content=plain.read_bytes(), headers=kind).json()["sha256"]
    assert server.client.post(f"/v1/models/{sha256}/activate", json={"reason": ""}).status_code == 204
    assert shape() == (96, 64)


def test_a_decoder_that_cannot_be_started_is_no_fault_of_the_picture(monkeypatch):
    decoders = Decoders(1, 30, 4)
    with monkeypatch.context() as broken:
        broken.setattr(decoding.sys, "executable", "/nothing/there")
        with pytest.raises(Problem) as refused:
            decoders.decode(png(), ReadSettings())
    assert refused.value.status == 503
    assert decoders.decode(png(), ReadSettings()).pixels.shape == (64, 96)
    decoders.close()
