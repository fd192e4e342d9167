"""How a service starts: what it says, whom it lets in, and that it ends when it is asked to meanwhile."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.service.server import Server, png
from tests.service.test_http import problem
from weakspot.service.serve import Serving, _listening

Start = Callable[..., Server]
STOPPED_AS_IT_STARTS = """
import os, signal, sys
from pathlib import Path
from weakspot.service import serve
begin = serve.start_retention
def stopped(parts, ended):
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    begin(parts, ended)
serve.start_retention = stopped
sys.exit(serve.serve([], serve.Serving(data=Path(sys.argv[1]), port=0)))
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 0), ("SIGINT", 130)])
def test_a_service_that_is_asked_to_stop_as_it_starts_stops(tmp_path: Path, name: str, status: int):
    command = [sys.executable, "-c", STOPPED_AS_IT_STARTS, str(tmp_path / "data"), name]
    done = subprocess.run(command, timeout=100, capture_output=True, text=True, env=os.environ)
    assert done.returncode == status, done.stderr


def test_the_model_that_answers_instead_of_the_one_given_is_named(start: Start, other_model: Path):
    start().stop()
    second = start(model=other_model)
    assert re.search("model made [0-9a-f]{6} answers, as it did last", "".join(second.said))
    assert [each["active"] for each in second.get("/v1/models")["models"]].count(True) == 1


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"x"), Path.unlink])
def test_a_model_that_cannot_be_opened_any_more_gives_way_to_the_one_given(start: Start, other_model: Path, spoil):
    first = start()
    first.stop()
    (kept,) = first.data.glob("models/*/*.weakspot")
    spoil(kept)
    alone = start(model=None)
    assert alone.address == "" and "it answered last: start with another model file" in "".join(alone.said)
    second = start(model=other_model)
    assert "it answered last, and the model given answers instead" in "".join(second.said)
    (active,) = [each for each in second.get("/v1/models")["models"] if each["active"]]
    assert active["name"] == second.send(png()).json()["model"]["name"] == "other"


def test_a_service_may_be_called_by_the_address_that_it_was_reached_at(start: Start):
    server = start("--host", "0.0.0.0")
    port = server.address.rsplit(":", 1)[1]
    assert httpx.get(f"http://127.0.0.2:{port}/livez").status_code == 200
    other = httpx.get(f"http://127.0.0.2:{port}/livez", headers={"host": "127.0.0.3"})
    problem(other, 421, "host")


def test_tokens_are_asked_for_on_loopback_where_that_is_wanted(start: Start):
    server = start("--tokens")
    problem(server.client.get("/v1/models"), 401, "token")
    token = (server.data / "admin.token").read_text().strip()
    server.client.headers["authorization"] = f"Bearer {token}"
    assert server.client.get("/v1/models").status_code == 200


def test_no_answer_waits_for_the_receipt_of_another(tmp_path: Path):
    """TCP_NODELAY on each connection: without it a calm client waits 40 ms for what follows the first packet."""

    async def is_set(listener: socket.socket) -> bool:
        found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made = writer.get_extra_info("socket")
            found.set_result(bool(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
            writer.close()

        server = await asyncio.start_server(connected, sock=listener)
        async with server:
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            return await found

    with _listening(Serving(data=tmp_path, port=0)) as listener, ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, is_set(listener)).result()
