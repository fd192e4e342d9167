"""`weakspot serve`, killed NUMBER times at random moments under load, has stored each answer that it gave, as given.

`tests/service/ledger.py` is the judge.
"""

import os
import random
import signal
import socket
import time
import urllib.request
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import weakspot.service.serve  # noqa: F401 (before the first fork, so that a start takes no seconds)
from soaks.processes import fork
from tests.inspection.conftest import made_model
from tests.service.ledger import check as hold_together
from tests.service.ledger import entries
from tests.service.load import Load
from weakspot.inspection.model_file import write_model_file


def run(number: int) -> dict[str, Any]:
    """Kill and start again under load; what the clients' journal and the store say when held together."""
    rng, killed_at, ready_after = random.Random(4), [], []
    with TemporaryDirectory() as folder:
        data, journal, model = Path(folder) / "data", Path(folder) / "journal.jsonl", Path(folder) / "made.weakspot"
        write_model_file(model, made_model())
        for done in range(number):
            began = time.monotonic()
            process, address = start_service(data, model)
            ready_after.append(round(time.monotonic() - began, 2))
            load, wait = Load(address, journal, f"kill{done}"), rng.uniform(0, 1)
            time.sleep(wait)
            os.kill(process, signal.SIGKILL)
            assert os.WIFSIGNALED(os.waitpid(process, 0)[1]), "it ended before it was killed"
            load.stop()
            killed_at.append(round(wait, 2))
            if (done + 1) % 10 == 0:
                print(f"kill {done + 1} of {number}", flush=True)
        seen = entries(journal)
        return {
            "kills": number, **Counter(each["what"] for each in seen),
            **hold_together(seen, data, f"sqlite:///{data / 'store.sqlite'}"),
            "seconds_until_ready": {"median": sorted(ready_after)[number // 2], "most": max(ready_after)},
            "seconds_to_kill": killed_at,
        }  # fmt: skip


def went_well(record: dict[str, Any]) -> bool:
    """Whether nothing of what may not happen did."""
    return not any(
        record[kind]
        for kind in ("lost", "doubled", "altered", "phantom", "refused_but_stored", "picture", "outbox", "database")
    )


def start_service(data: Path, model: Path) -> tuple[int, str]:
    """`weakspot serve` in a fork of this process, once it is ready; its number and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", str(model), "--data", str(data), "--port", str(port)]
    process = fork([*words, *"--runtime onnxruntime --threads 1".split()], silent=2)
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{address}/readyz", timeout=5).close()
            return process, address
        except OSError:
            time.sleep(0.02)
    raise TimeoutError("the service was not ready within a minute")
