"""Toy parts that a service is sent, people judge, and trainings learn from in seconds."""

from pathlib import Path

import numpy as np
import tomli_w

from tests.service.server import Server, encoded

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
