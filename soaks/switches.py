"""NUMBER times another model takes over in `weakspot serve` or the one before comes back, while clients send pictures.

Each answer names a model and is, bit for bit, what that model says of that picture; none is refused, late or lost.
"""

import json
import math
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from soaks.processes import compared, in_ms
from soaks.trained import SIZE, pngs, train_shortly
from tests.service.ledger import check, entries
from tests.service.load import Load
from tests.service.server import Server
from weakspot.inspection.loaded import LoadedDetector
from weakspot.settings import Size

OWN = ("id", "time", "milliseconds")  # what no two answers to one picture share
CALM = 3.0  # seconds under load without a switch, to compare with

Switch = tuple[float, float, str]  # begun, done, whose turn it is from then on


def run(number: int, size: Size = SIZE) -> dict[str, Any]:
    """Switch, twice at least, under load; what clients were answered beside what each model answers in this process."""
    with TemporaryDirectory() as folder:
        place, pictures = Path(folder), pngs(8, size)
        models = [place / "one.weakspot", place / "two.weakspot"]
        for seed, model in enumerate(models):
            train_shortly(model, size, seed)
        expected = {**answers_of(models[0], pictures), **answers_of(models[1], pictures)}
        server = Server(place / "data", "--precision", "fp32", model=models[0])
        load = Load(server.address, place / "journal.jsonl", "load", pictures=[(None, each) for each in pictures])
        time.sleep(CALM)
        began = time.monotonic()
        switches = switched(server, models[1].read_bytes(), number)
        ended = time.monotonic()
        load.stop()
        status, seen = server.stop(), entries(place / "journal.jsonl")
        found = check(seen, place / "data", f"sqlite:///{place / 'data' / 'store.sqlite'}")
    answered = [each["answer"]["model"]["sha256"] for each in seen if each["what"] == "answered"]
    calm, switching = in_ms(taken(seen, -math.inf, began)), in_ms(taken(seen, began, ended))
    return {
        "switches": len(switches), "size": size, "seconds": round(ended - began, 1), "exit_status": status,
        **Counter(each["what"] for each in seen), "by_model": Counter(sha256[:12] for sha256 in answered),
        "switch_ms": in_ms([done - begun for begun, done, _ in switches]), "calm_ms": calm, "switching_ms": switching,
        "targets": compared([("p99 while switching, times that of before", "<=", 2, switching["p99"] / calm["p99"])]),
        **wrong(seen, expected, switches), **found,
    }  # fmt: skip


def went_well(record: dict[str, Any]) -> bool:
    """Whether nothing of what may not happen did, and both models answered."""
    kinds = ("dropped", "other", "late", "lost", "doubled", "altered", "phantom", "picture", "outbox", "database")
    return not any(record[kind] for kind in kinds) and not record["exit_status"] and len(record["by_model"]) == 2


def switched(server: Server, other: bytes, number: int) -> list[Switch]:
    """Register the other model, then switch to it and roll back in turn."""
    first = server.get("/v1/models")["models"][0]["sha256"]
    kind = {"content-type": "application/octet-stream"}
    second = server.client.post("/v1/models", content=other, headers=kind).raise_for_status().json()["sha256"]
    rng, switches = random.Random(6), list[Switch]()
    for done in range(number):
        time.sleep(rng.uniform(0, 0.2))  # so that some pictures meet no switch and some two
        path, began = "roll-back" if done % 2 else f"{second}/activate", time.monotonic()
        server.client.post(f"/v1/models/{path}", json={"reason": "a long test"}).raise_for_status()
        switches.append((began, time.monotonic(), first if done % 2 else second))
        if (done + 1) % 100 == 0:
            print(f"switch {done + 1} of {number}", flush=True)
    return switches


def answers_of(model: Path, pictures: Sequence[bytes]) -> dict[tuple[str, str], dict[str, Any]]:
    """What a model says in this process, by its own SHA-256 and each picture's."""
    detector = LoadedDetector.load(model, "onnxruntime", 1, "fp32")
    found = [json.loads(json.dumps(detector.inspect(picture).as_dict())) for picture in pictures]
    return {(each["model"]["sha256"], each["image"]["sha256"]): without_own(each) for each in found}


def without_own(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer but for what is its alone."""
    return {name: value for name, value in answer.items() if name not in OWN}


def wrong(
    seen: list[dict[str, Any]], expected: dict[tuple[str, str], dict[str, Any]], switches: list[Switch]
) -> dict[str, list[str]]:
    """Keys of what may not be, by kind.

    dropped: sent and not answered; other: not what the model named says; late: of a model whose turn it was neither
    when the picture was sent nor at any time until it was answered.
    """
    answered = {each["key"]: each for each in seen if each["what"] == "answered"}
    sent = {each["key"]: each for each in seen if each["what"] == "sent"}
    kinds: dict[str, list[str]] = {"dropped": sorted(sent.keys() - answered.keys()), "other": [], "late": []}
    for key, each in answered.items():
        model = each["answer"]["model"]["sha256"]
        if without_own(each["answer"]) != expected.get((model, sent[key]["sha256"])):
            kinds["other"].append(key)
        if model not in turns_within(switches, sent[key]["at"], each["at"]):
            kinds["late"].append(key)
    return kinds


def turns_within(switches: list[Switch], since: float, until: float) -> set[str]:
    """The models whose turn it was at any time from `since` to `until`; during a switch it is that of both."""
    before = [sha256 for _, done, sha256 in switches if done <= since][-1:]
    return {
        *(before or [switches[1][2]]),
        *(sha256 for begun, done, sha256 in switches if done > since and begun <= until),
    }


def taken(seen: list[dict[str, Any]], since: float, until: float) -> list[float]:
    """Seconds from sent to answered, of what was sent in this time."""
    sent = {each["key"]: each["at"] for each in seen if each["what"] == "sent" and since <= each["at"] < until}
    return [each["at"] - sent[each["key"]] for each in seen if each["what"] == "answered" and each["key"] in sent]
