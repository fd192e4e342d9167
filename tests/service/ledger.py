"""What a client knows it was answered, held against what the store has: the one judge of whether anything was lost.

The client writes down each request before it is sent and each answer once it came, both synced.
"""

import json
import os
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DatabaseError

from weakspot.service.files import Files


class Journal:
    """A client's own record, a JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (as long as the client)

    def write(self, **entry: Any) -> None:
        """One line, on disk when this returns."""
        self._file.write(json.dumps(entry).encode() + b"\n")
        os.fsync(self._file.fileno())


def entries(path: Path) -> list[dict[str, Any]]:
    """What a journal holds."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def check(journal: list[dict[str, Any]], data: Path, url: str) -> dict[str, list[str]]:
    """What is wrong, by kind; each list is empty where all is well. The service must not run.

    lost: answered and not stored; phantom: stored and never sent; altered: stored otherwise than answered or sent;
    doubled: one key twice; refused_but_stored; picture: missing or of another content; outbox: not one event.
    """
    sent = {each["key"]: each for each in journal if each["what"] == "sent"}
    answered = {each["key"]: each for each in journal if each["what"] == "answered"}
    refused = {each["key"] for each in journal if each["what"] == "refused"} - answered.keys()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, key, picture_sha256, answer FROM inspections")).all()
        events = Counter(connection.execute(text("SELECT subject FROM outbox WHERE kind = 'inspection'")).scalars())
        sound = _sound(connection) if engine.name == "sqlite" else "ok"
    engine.dispose()
    stored = {row.key: row for row in rows}
    pictures = Files(data / "pictures")
    return {
        "lost": sorted(answered.keys() - stored.keys()),
        "phantom": sorted(stored.keys() - sent.keys()),
        "altered": [key for key, row in stored.items() if key in sent and _differs(row, sent[key], answered.get(key))],
        "doubled": [key for key, count in Counter(row.key for row in rows).items() if count > 1],
        "refused_but_stored": sorted(refused & stored.keys()),
        "picture": [
            row.key for row in rows if not pictures.path(row.picture_sha256).is_file() or _damaged(pictures, row)
        ],
        "outbox": [row.key for row in rows if events[row.id] != 1],
        "database": [] if sound == "ok" else [str(sound)],
    }


def nothing_wrong(journal: Path, data: Path) -> None:
    """Assert that a client's journal and the store in a data folder agree."""
    found = check(entries(journal), data, f"sqlite:///{data / 'store.sqlite'}")
    assert found == {kind: [] for kind in found}


def _sound(connection: Connection) -> str:
    try:
        return str(connection.execute(text("PRAGMA integrity_check")).scalar())
    except DatabaseError as error:  # so damaged that it cannot even be checked
        return str(error.orig)


def _differs(row: Any, sent: dict[str, Any], answered: dict[str, Any] | None) -> bool:
    answer = json.loads(row.answer)
    return (
        row.picture_sha256 != sent["sha256"]
        or (sent.get("decision") or answer["decision"]) != answer["decision"]
        or (answered is not None and answer != answered["answer"])
    )


def _damaged(pictures: Files, row: Any) -> bool:
    return sha256(pictures.path(row.picture_sha256).read_bytes()).hexdigest() != row.picture_sha256
