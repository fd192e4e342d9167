"""What is bounded: pictures on their way, and those who look at earlier ones while the line goes on."""

import socket
import time
from collections.abc import Callable

from tests.service.server import Server, png
from tests.service.test_http import problem

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
