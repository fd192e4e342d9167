"""A service in a process of its own, as a plant runs it, and a client of it; used by the tests and by scripts/soak."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.inspection.conftest import made_pixels

LEVELS = {"good": 60, "review": 128, "bad": 200}


def png(decision: str = "good", seed: int = 0) -> bytes:
    """A picture on which the made detector decides so."""
    return encoded(made_pixels(LEVELS[decision], seed))


def encoded(pixels: np.ndarray) -> bytes:
    """Pixels as a PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


class Server:
    """`weakspot serve` and what it said."""

    def __init__(self, data: Path, *words: str, model: Path | None = None, before: Sequence[str] = ()) -> None:
        """before: words before the command, of a program that becomes it."""
        self.data = data
        options = ["--data", str(data), "--port", "0", "--runtime", "onnxruntime", "--threads", "1", *words]
        command = [*before, sys.executable, "-m", "weakspot", "serve", *([str(model)] if model else []), *options]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        self.said: list[str] = []
        self.address = self._address()
        self.client = httpx.Client(base_url=self.address, timeout=60)
        if self.address:
            threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True).start()  # type: ignore[arg-type]

    def _address(self) -> str:
        """Where it listens; "" where it ended instead."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"listens on (http://127\.0\.0\.1|http://0\.0\.0\.0):(\d+)", line):
                return f"http://127.0.0.1:{found[2]}"
        self.process.wait()
        return ""

    def send(self, picture: bytes, key: str | None = None, **said: str) -> httpx.Response:
        """One picture, raw."""
        headers = {"content-type": "image/png"} | ({"idempotency-key": key} if key else {})
        return self.client.post("/v1/inspections", content=picture, params=said, headers=headers)

    def get(self, path: str, **query: Any) -> Any:
        """What is answered, as JSON."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it → its exit status."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(60)
