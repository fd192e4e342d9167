"""Clients that send pictures without pause and write down what they were answered, for the tests and scripts/soak."""

import hashlib
import itertools
import threading
from pathlib import Path

import httpx

from tests.service.ledger import Journal
from tests.service.server import LEVELS, png

# A few of each, made once: this load is to meet the store, not the client's encoder.
PICTURES = [(decision, png(decision, seed)) for decision in LEVELS for seed in range(8)]


class Load:
    """Some clients at once, each request under a key of its own, until `stop`."""

    def __init__(self, address: str, journal: Path, name: str, clients: int = 3) -> None:
        self._stop, self._address, self._name = threading.Event(), address, name
        self.numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._send_all, args=(Journal(journal), client)) for client in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End them, whatever they wait for."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send_all(self, journal: Journal, client: int) -> None:
        with httpx.Client(base_url=self._address, timeout=30) as http:
            while not self._stop.is_set():
                number = next(self.numbers)
                decision, content = PICTURES[number % len(PICTURES)]
                key, digest = f"{self._name}-{client}-{number}", hashlib.sha256(content).hexdigest()
                journal.write(what="sent", key=key, sha256=digest, decision=decision)
                headers = {"content-type": "image/png", "idempotency-key": key}
                try:
                    answer = http.post("/v1/inspections", content=content, headers=headers)
                except httpx.TransportError:  # killed: stored or not, nobody knows
                    if self._stop.wait(0.05):
                        return
                    continue
                if answer.status_code == 201:
                    journal.write(what="answered", key=key, answer=answer.json())
                else:
                    journal.write(what="refused", key=key, status=answer.status_code)
