"""What is bounded: pictures on their way, and those who look at earlier ones while the line goes on."""

import asyncio
import io
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.inspection.conftest import made_model, made_pixels
from tests.service.server import Server, png
from tests.service.test_http import problem
from weakspot.inspection.model_file import write_model_file
from weakspot.service import decoding
from weakspot.service.app import make_app
from weakspot.service.decoding import Decoders
from weakspot.service.detectors import Computes
from weakspot.service.limits import Limits
from weakspot.service.parts import Parts
from weakspot.service.problems import Problem
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


def test_a_picture_on_its_way_holds_a_place_and_gives_it_back(start: Start):
    server = start("--queue", "1")
    host, port = server.address.removeprefix("http://").split(":")
    head = (
        b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(head + b"x")
        assert until(lambda: server.client.get("/readyz").json()["checks"]["queue"] == "full")
        problem(server.send(png()), 503, "full")
    assert until(lambda: server.send(png()).status_code == 201), "its sender went away"


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
