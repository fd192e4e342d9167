"""Whether a service can do its work: each check by name, and what must be tried again and again for it."""

import logging
import shutil
import threading
from pathlib import Path

from sqlalchemy import Connection, delete, insert

from weakspot.errors import StoreError
from weakspot.inspection.inspection import now
from weakspot.service.detectors import Detectors
from weakspot.service.inspector import Inspector
from weakspot.service.limits import Limits
from weakspot.service.problems import Problem
from weakspot.service.store import Store
from weakspot.service.tables import heartbeat

log = logging.getLogger(__name__)
EVERY = 10.0  # seconds between two writes that only show that the store can be written


class Health:
    """What /readyz says. `start` begins the writes."""

    def __init__(self, data: Path, store: Store, detectors: Detectors, inspector: Inspector, limits: Limits) -> None:
        self._data, self._store, self._detectors = data, store, detectors
        self._inspector, self._limits = inspector, limits
        self._written = "not tried yet"

    def checks(self) -> dict[str, str]:
        """Each thing that is looked at: "ok", or what is wrong."""
        return {
            "store": self._written if self._store.failed is None else "failed; the service ends",
            "disk": self._disk(),
            "model": self._model(),
            "queue": "full" if self._inspector.is_full else "ok",
        }

    def refuse_when_disk_is_low(self) -> None:
        """Raise Problem before the disk is full, so that review and reading still work."""
        if self._disk() != "ok":
            raise Problem(507, "disk-full", "the disk is nearly full; free some space and send it again")

    def beat(self) -> None:
        """Write something, synced, and remember how that went, whatever that is."""
        try:
            self._store.write(_write_time)
            self._written = "ok"
        except StoreError as error:
            self._written = str(error).partition(": ")[2]
        except Exception as error:
            log.exception("the store could not be written")
            self._written = f"cannot be written ({type(error).__name__}); the log has more"

    def start(self, stop: threading.Event) -> None:
        """Beat until `stop` is set."""
        self.beat()

        def beats() -> None:
            while not stop.wait(EVERY):
                self.beat()

        threading.Thread(target=beats, name="health", daemon=True).start()

    def _disk(self) -> str:
        try:
            free = shutil.disk_usage(self._data).free
        except OSError:
            return "the data folder is gone"
        self._inspector.metrics.free.set(free)
        least = self._limits.reserve_megabytes * 1e6
        return "ok" if free >= least else f"{free / 1e6:.0f} MB free, needed are {least / 1e6:.0f}"

    def _model(self) -> str:
        try:
            self._detectors.active  # noqa: B018 (it passed its self-test when it was opened)
        except Problem as problem:
            return problem.detail
        return "ok"


def _write_time(connection: Connection) -> None:
    connection.execute(delete(heartbeat))
    connection.execute(insert(heartbeat).values(id=1, time=now()))
