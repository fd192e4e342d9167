"""Clients that send pictures without pause and write down what they were answered, for the tests and scripts/soak."""

import hashlib
import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.service.ledger import Journal
from tests.service.server import LEVELS, png

Picture = tuple[str | None, bytes]  # the decision to expect, None where it is not known, and a file
# A few of each, made once: this load is to meet the store, not the client's encoder.
PICTURES: list[Picture] = [(decision, png(decision, seed)) for decision in LEVELS for seed in range(8)]


class Load:
    """Some clients at once, each request under a key of its own, until `stop`."""

    def __init__(
        self, address: str, journal: Path, name: str, clients: int = 3, pictures: Sequence[Picture] = PICTURES
    ) -> None:
        self._stop, self._address, self._name, self._pictures = threading.Event(), address, name, pictures
        self.numbers = itertools.count()
        self.statuses: list[int] = []  # of every answer, as they came
        self._threads = [
            threading.Thread(target=self._send_all, args=(Journal(journal), client)) for client in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, answers: int, status: int = 201) -> None:
        """Until so many more of this status came."""
        wanted, end = self.statuses.count(status) + answers, time.monotonic() + 60
        while self.statuses.count(status) < wanted:
            assert time.monotonic() < end, f"{status} did not come {answers} times within a minute"
            time.sleep(0.01)

    def stop(self) -> None:
        """End them, whatever they wait for."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send_all(self, journal: Journal, client: int) -> None:
        with httpx.Client(base_url=self._address, timeout=30) as http:
            while not self._stop.is_set():
                number = next(self.numbers)
                decision, content = self._pictures[number % len(self._pictures)]
                key, digest = f"{self._name}-{client}-{number}", hashlib.sha256(content).hexdigest()
                journal.write(what="sent", key=key, sha256=digest, decision=decision, at=time.monotonic())
                headers = {"content-type": "image/png", "idempotency-key": key}
                try:
                    answer = http.post("/v1/inspections", content=content, headers=headers)
                except httpx.TransportError:  # killed: stored or not, nobody knows
                    if self._stop.wait(0.05):
                        return
                    continue
                ended = time.monotonic()
                self.statuses.append(answer.status_code)
                if answer.status_code == 201:
                    journal.write(what="answered", key=key, answer=answer.json(), at=ended)
                else:
                    journal.write(what="refused", key=key, status=answer.status_code)
