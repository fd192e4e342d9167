"""Toy parts that a service is sent, people judge, and trainings learn from in seconds; and rows of a store."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import tomli_w
from sqlalchemy import Connection, insert, select

from tests.service.server import Server, encoded
from weakspot.inspection.inspection import now
from weakspot.service import records
from weakspot.service.store import Store
from weakspot.service.tables import inspections, pictures

SIDE = 64  # pixels
SETTINGS = {
    "size": [SIDE, SIDE], "schedule": 0.04, "folds": 2, "threads": 1, "device": "cpu", "unlearned": "keep",
}  # fmt: skip


def toy(bad: bool, seed: int) -> bytes:
    """Grey noise as a PNG; on a bad part with a bright blot."""
    rng = np.random.default_rng(seed + 1000 * bad)
    pixels = rng.normal(100, 12, (SIDE, SIDE))
    if bad:
        y, x = rng.integers(4, SIDE - 16, 2)
        pixels[y : y + 10, x : x + 10] += 100
    return encoded(pixels.clip(0, 255).astype(np.uint8))


def judge(server: Server, picture: bytes, verdict: str, part: str = "") -> str:
    """Send a picture and say what it is → its id."""
    said = server.send(picture, **({"part": part} if part else {})).json()
    number: str = said.get("id") or said["result"]["id"]
    answer = server.client.post(f"/v1/inspections/{number}/verdicts", json={"verdict": verdict})
    assert answer.status_code == 201, answer.text
    return number


def settings_file(folder: Path, **more: object) -> Path:
    """Settings of a training that ends within seconds."""
    path = folder / "toy.toml"
    path.write_text(tomli_w.dumps(SETTINGS | more))
    return path


def write_parts(folder: Path, good: int = 10, bad: int = 4) -> Path:
    """A folder of labelled parts."""
    for word, number in (("good", good), ("bad", bad)):
        (folder / word).mkdir(parents=True)
        for seed in range(number):
            (folder / word / f"{seed:02}.png").write_bytes(toy(word == "bad", seed))
    return folder


def store_row(store: Store, decision: str, number: int, score: float | None = None, **how: Any) -> str:
    """Put an inspection into a store with one model, as it would be after a picture of such a score → its id."""
    id = f"{'0' if how.get('audited') else '1'}{str(uuid4())[1:]}"
    (model,) = store.read(records.all_models)
    raw = {"good": -3.0, "review": 0.0, "bad": 3.0}.get(decision) if score is None else score
    row = {
        "id": id, "time": how.get("time", now()), "picture_sha256": f"{number:064}", "model_sha256": model.sha256,
        "decision": decision, "raw_score": raw, "part": how.get("part"), "station": "", "request_sha256": "0" * 64,
        "answer": json.dumps({"good_below": -1.0, "bad_from": 1.0}),
    }  # fmt: skip

    def add(connection: Connection) -> None:
        if connection.execute(select(pictures).where(pictures.c.sha256 == row["picture_sha256"])).first() is None:
            connection.execute(insert(pictures), {"sha256": row["picture_sha256"], "bytes": 1, "time": row["time"]})
        connection.execute(insert(inspections), row)
        for verdict in how.get("verdicts", ()):
            records.add_verdict(connection, id, verdict, "me", "")

    store.write(add)
    return id
