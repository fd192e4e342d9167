"""Clients that do not wait for each other: a picture is sent at its moment, whether earlier ones are answered or not.

What an answer took is counted from that moment, so that a service which holds up its clients is not flattered.
"""

import asyncio
import json
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

IDLE = 3.0  # seconds after which a connection is not used again; the service closes it after 5
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Reply:
    """What came of one picture. status: 0 where the connection failed; at: seconds since the first moment."""

    key: str
    picture: int
    at: float
    seconds: float
    status: int
    body: bytes


class Client:
    """Any number of requests at once, each on a connection of its own; connections are used again."""

    def __init__(self, address: str, pictures: Sequence[bytes]) -> None:
        host, port = address.removeprefix("http://").split(":")
        self._host, self._port, self._pictures = host, int(port), pictures
        self._idle: list[tuple[float, Connection]] = []
        self._began = time.monotonic()

    async def send(self, number: int, key: str, moment: float | None = None) -> Reply:
        """Send the `number`-th picture, over and over the same ones. moment: when it was to be sent; None: now."""
        picture, moment = number % len(self._pictures), time.monotonic() if moment is None else moment
        try:
            status, body = await self._asked(self._pictures[picture], key)
        except (OSError, EOFError, ValueError):
            status, body = 0, b""
        return Reply(key, picture, moment - self._began, time.monotonic() - moment, status, body)

    async def offer(self, rate: float, seconds: float, name: str) -> list[Reply]:
        """Send at random moments, `rate` a second on average (a Poisson process), and wait for all answers."""
        rng, moment, sent = random.Random(name), time.monotonic(), []
        end = moment + seconds
        while (moment := moment + rng.expovariate(rate)) < end:
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            sent.append(asyncio.create_task(self.send(len(sent), f"{name}-{len(sent)}", moment)))
        return [await each for each in sent]

    async def repeat(self, at_once: int, seconds: float, name: str) -> list[Reply]:
        """Some that each send the next picture once the one before is answered."""
        end = time.monotonic() + seconds

        async def one(number: int) -> list[Reply]:
            found = []
            while time.monotonic() < end:
                found.append(await self.send(number + len(found), f"{name}-{number}-{len(found)}"))
            return found

        return [each for found in await asyncio.gather(*map(one, range(at_once))) for each in found]

    async def _asked(self, picture: bytes, key: str) -> tuple[int, bytes]:
        reader, writer = await self._connected()
        writer.write(
            f"POST /v1/inspections HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: image/png\r\n"
            f"Idempotency-Key: {key}\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
        )
        writer.write(picture)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await reader.readexactly(int(head.split("content-length:")[1].split()[0]))
        self._idle.append((time.monotonic(), (reader, writer)))
        return int(head.split()[1]), body

    async def _connected(self) -> Connection:
        while self._idle:
            since, connection = self._idle.pop()
            if time.monotonic() - since < IDLE and not connection[0].at_eof():
                return connection
            connection[1].close()
        return await asyncio.open_connection(self._host, self._port)


def journal(replies: Iterable[Reply], pictures: Sequence[bytes]) -> list[dict[str, Any]]:
    """What these clients know, as the ledger reads it."""
    digests = [sha256(picture).hexdigest() for picture in pictures]
    entries: list[dict[str, Any]] = []
    for each in replies:
        entries.append({"what": "sent", "key": each.key, "sha256": digests[each.picture]})
        if each.status in (200, 201):
            entries.append({"what": "answered", "key": each.key, "answer": json.loads(each.body)})
        elif each.status:
            entries.append({"what": "refused", "key": each.key, "status": each.status})
    return entries
