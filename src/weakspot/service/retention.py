"""Which pictures are removed, by age and by size. Answers, heat and verdicts stay, and so do judged pictures."""

import logging
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Connection, exists, func, select, update

from weakspot.errors import WeakspotError
from weakspot.inspection.inspection import now
from weakspot.service.files import Files
from weakspot.service.limits import Limits
from weakspot.service.parts import Parts
from weakspot.service.store import Store
from weakspot.service.tables import inspections, pictures, verdicts

log = logging.getLogger(__name__)
EVERY = 600.0  # seconds
AT_ONCE = 1000  # pictures in one commit


def start_retention(parts: Parts, stop: threading.Event) -> None:
    """Remove what is too old or too much now and then, until `stop` is set."""

    def work() -> None:
        while True:
            try:
                remove_old(parts.store, parts.pictures, parts.limits)
            except WeakspotError as error:
                log.warning("no picture was removed: %s", error)
            if stop.wait(EVERY):
                return

    if parts.limits.keep_days is not None or parts.limits.keep_gigabytes is not None:
        threading.Thread(target=work, name="retention", daemon=True).start()


def remove_old(store: Store, files: Files, limits: Limits) -> int:
    """Remove what the limits do not keep, the oldest first → how many. A row says so before its file goes."""
    removed = 0
    while names := store.write(lambda connection: _mark(connection, limits)):
        for name in names:
            store.write(partial(_remove, files=files, name=name))
        removed += len(names)
    return removed


def _mark(connection: Connection, limits: Limits) -> list[str]:
    """Mark some as removed → their names."""
    judged = (
        exists()
        .where(inspections.c.picture_sha256 == pictures.c.sha256)
        .where(verdicts.c.inspection_id == inspections.c.id)
    )
    there = select(pictures.c.sha256, pictures.c.bytes, pictures.c.time).where(pictures.c.removed.is_(None))
    oldest = connection.execute(there.where(~judged).order_by(pictures.c.time).limit(AT_ONCE)).all()
    held = connection.execute(select(func.sum(pictures.c.bytes)).where(pictures.c.removed.is_(None))).scalar() or 0
    most = None if limits.keep_gigabytes is None else limits.keep_gigabytes * 1e9
    names = []
    for row in oldest:
        too_old = limits.keep_days is not None and row.time < _days_ago(limits.keep_days)
        if not too_old and (most is None or held <= most):
            break
        names.append(row.sha256)
        held -= row.bytes
    if names:
        connection.execute(update(pictures).where(pictures.c.sha256.in_(names)).values(removed=now()))
    return names


def _remove(connection: Connection, files: Files, name: str) -> None:
    """In the writer's turn, so that a picture which has just come again is not taken away."""
    marked = select(pictures.c.removed).where(pictures.c.sha256 == name)
    if connection.execute(marked).scalar() is not None:
        files.remove(name)


def _days_ago(days: float) -> str:
    then = datetime.now(UTC) - timedelta(days=days)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
