"""A disk that fails, and what a service says of it: nothing is taken for kept that may not be."""

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.server import Server, png
from tests.service.test_http import problem
from weakspot.errors import StoreError
from weakspot.service.parts import Parts
from weakspot.service.records import Sent

Start = Callable[..., Server]


def inspect(parts: Parts, content: bytes) -> str:
    """Send a picture without HTTP → the decision."""

    async def received() -> Sent:
        return Sent(content)

    return asyncio.run(parts.inspector.inspect(received)).decision


def failing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a call of the system say that the disk failed."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_after_a_failed_sync_of_a_picture_no_second_try_is_believed(parts: Parts, monkeypatch, call: str):
    with monkeypatch.context() as broken:
        failing(broken, call)
        with pytest.raises(StoreError):
            inspect(parts, png("bad"))
    assert parts.store.failed is not None, "the process ends"
    with pytest.raises(StoreError):
        inspect(parts, png("bad"))


def test_after_a_failed_sync_of_a_model_nothing_more_is_kept(parts: Parts, other_model: Path, monkeypatch):
    content = other_model.read_bytes()
    with monkeypatch.context() as broken:
        failing(broken, "fsync")
        with pytest.raises(StoreError):
            parts.detectors.register(content, "me")
    assert parts.store.failed is not None


def test_a_place_that_cannot_be_written_is_told_without_its_name(start: Start):
    server, picture = start(), png("bad", 7)
    inner = server.data / "pictures" / hashlib.sha256(picture).hexdigest()[:2]
    inner.rmdir()
    inner.touch()
    said = problem(server.send(picture), 507, "output")
    assert str(server.data) not in str(said) and "pictures/" not in str(said)
    assert str(inner) in "".join(server.said), "it is in the log"
    assert server.send(png("bad", 8)).status_code == 201


def test_a_damaged_model_is_told_without_its_place(start: Start, model: Path, other_model: Path):
    server = start()
    kind = {"content-type": "application/octet-stream"}
    sha256 = server.client.post("/v1/models", content=other_model.read_bytes(), headers=kind).json()["sha256"]
    shutil.copy(__file__, server.data / "models" / sha256[:2] / f"{sha256}.weakspot")
    said = problem(server.client.post(f"/v1/models/{sha256}/activate", json={"reason": ""}), 422, "modelfile")
    assert str(server.data) not in str(said) and sha256[:12] in said["detail"]


def test_without_a_model_no_picture_is_kept_and_the_figures_are_there(start: Start):
    server = start(model=None)
    problem(server.send(png("bad")), 503, "no-model")
    assert not [*(server.data / "pictures").glob("??/*")]
    figures = server.client.get("/metrics")
    assert figures.status_code == 200 and "weakspot_refused_total" in figures.text


def test_whatever_goes_wrong_with_a_heartbeat_it_is_not_ready_and_the_next_one_is_tried(parts: Parts, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(parts.store, "write", lambda _: 1 / 0)
        parts.health.beat()
    assert "ZeroDivisionError" in parts.health.checks()["store"]
    parts.health.beat()
    assert parts.health.checks()["store"] == "ok"
