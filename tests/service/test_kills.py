"""Killed under load at random moments: every answer that was given is kept. The judge of that is itself tested."""

import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.ledger import check, entries
from tests.service.load import Load
from tests.service.server import Server


def url_of(data: Path) -> str:
    return f"sqlite:///{data / 'store.sqlite'}"


def killed(start: Callable[..., Server], place: Path, kills: int, *words: str) -> Path:
    """Load a service on place/data and kill it, again and again; the journal of what its clients saw."""
    rng, journal = random.Random(5), place / "journal.jsonl"
    for number in range(kills):
        server = start(*words)
        load = Load(server.address, journal, f"kill{number}")
        time.sleep(rng.uniform(0.1, 1.0))
        server.stop(signal.SIGKILL)
        load.stop()
    return journal


def test_three_kills_under_load_lose_nothing_that_was_answered(start: Callable[..., Server], tmp_path: Path):
    journal = entries(killed(start, tmp_path, 3))
    assert sum(each["what"] == "answered" for each in journal) > 5
    server = start()  # ready again, and what was sent without an answer gets the one that is stored, or a first one
    assert server.get("/readyz")["ready"] is True
    server.stop()
    found = check(journal, tmp_path / "data", url_of(tmp_path / "data"))
    assert found == {kind: [] for kind in found}


def test_a_kill_loses_nothing_on_postgresql_either(start: Callable[..., Server], tmp_path: Path, postgresql: str):
    import psycopg

    with psycopg.connect(postgresql.format("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE killed")
    url = postgresql.format("killed")
    journal = entries(killed(start, tmp_path, 2, "--store", url))
    found = check(journal, tmp_path / "data", url)
    assert found == {kind: [] for kind in found} and any(each["what"] == "answered" for each in journal)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """Data and journal of a service that nobody killed."""
    place = tmp_path_factory.mktemp("undisturbed")
    server = Server(place / "data", model=model)
    load = Load(server.address, place / "journal.jsonl", "calm", clients=2)
    while next(load.numbers) < 40:
        time.sleep(0.05)
    load.stop()
    server.stop()
    return place


WRONGS = {
    "lost": "DELETE FROM inspections WHERE seq = 3",
    "altered": "UPDATE inspections SET answer = replace(answer, 'defect_score\": ', 'defect_score\": 1') WHERE seq = 3",
    "outbox": "DELETE FROM outbox WHERE seq = (SELECT max(seq) FROM outbox)",
    "phantom": "UPDATE inspections SET key = 'nobody' WHERE seq = 3",
    "doubled": "UPDATE inspections SET station = 'x', key = (SELECT key FROM inspections WHERE seq = 4) WHERE seq = 3",
}


def check_after(undisturbed: Path, place: Path, statement: str = "") -> set[str]:
    """Which kinds of wrong the ledger tells after one statement against the store."""
    shutil.copytree(undisturbed, place / "copy")
    data = place / "copy" / "data"
    with sqlite3.connect(data / "store.sqlite") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(statement or "SELECT 1")
    connection.close()
    found = check(entries(place / "copy" / "journal.jsonl"), data, url_of(data))
    return {kind for kind, names in found.items() if names}


def test_the_ledger_finds_nothing_where_nothing_is_wrong(undisturbed: Path, tmp_path: Path):
    assert check_after(undisturbed, tmp_path) == set()


@pytest.mark.parametrize("kind", WRONGS)
def test_the_ledger_tells_what_is_wrong(undisturbed: Path, tmp_path: Path, kind: str):
    assert kind in check_after(undisturbed, tmp_path, WRONGS[kind])


@pytest.mark.parametrize("kind", ["flipped", "gone"])
def test_the_ledger_tells_a_picture_that_is_not_what_was_sent(undisturbed: Path, tmp_path: Path, kind: str):
    data = shutil.copytree(undisturbed, tmp_path / "copy") / "data"
    path = next((data / "pictures").glob("??/*"))
    path.write_bytes(path.read_bytes()[:-1] + b"x") if kind == "flipped" else path.unlink()
    assert check(entries(tmp_path / "copy" / "journal.jsonl"), data, url_of(data))["picture"]


def test_the_ledger_tells_what_was_refused_and_is_stored(undisturbed: Path):
    journal = entries(undisturbed / "journal.jsonl")
    key = next(each["key"] for each in journal if each["what"] == "answered")
    seen = [each for each in journal if (each["what"], each["key"]) != ("answered", key)]
    seen.append({"what": "refused", "key": key, "status": 503})
    assert check(seen, undisturbed / "data", url_of(undisturbed / "data"))["refused_but_stored"] == [key]


def test_the_ledger_tells_a_database_that_is_damaged(undisturbed: Path, tmp_path: Path):
    data = shutil.copytree(undisturbed, tmp_path / "copy") / "data"
    with sqlite3.connect(data / "store.sqlite") as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'verdicts'").fetchone()[0]
    connection.close()
    with open(data / "store.sqlite", "r+b") as file:  # a table that holds nothing, so that all else can be read
        file.seek((page - 1) * size)
        file.write(b"\xff" * 8)
    assert check(entries(tmp_path / "copy" / "journal.jsonl"), data, url_of(data))["database"]
