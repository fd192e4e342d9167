"""Which pictures are removed, by age and by size. Answers, heat and verdicts stay, and so do judged pictures."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, exists, func, select, update

from weakspot.inspection.inspection import now
from weakspot.service.files import Files
from weakspot.service.limits import Limits
from weakspot.service.parts import Parts
from weakspot.service.store import Store
from weakspot.service.tables import inspections, pictures, verdicts

log = logging.getLogger(__name__)
EVERY = 600.0  # seconds
AT_ONCE = 1000  # pictures in one commit
_JUDGED = (
    exists()
    .where(inspections.c.picture_sha256 == pictures.c.sha256)
    .where(verdicts.c.inspection_id == inspections.c.id)
)
_UNJUDGED = and_(pictures.c.removed.is_(None), ~_JUDGED)


def start_retention(parts: Parts, stop: threading.Event) -> None:
    """Remove what is too old or too much now and then, until `stop` is set."""

    def work() -> None:
        _try(lambda: remove_marked(parts.store, parts.pictures))
        while True:
            _try(lambda: remove_old(parts.store, parts.pictures, parts.limits))
            if stop.wait(EVERY):
                return

    if parts.limits.keep_days is not None or parts.limits.keep_gigabytes is not None:
        threading.Thread(target=work, name="retention", daemon=True).start()


def remove_old(store: Store, files: Files, limits: Limits) -> int:
    """Remove what the limits do not keep, the oldest first → how many. A row says so before its file goes.

    None goes while somebody copies them. By age at most a day's pictures go: the clock may be wrong.
    """
    removed = 0
    before = store.read(lambda connection: _too_old_before(connection, limits))
    while True:
        with files.removing() as free:
            rows = store.read(lambda connection: _too_many(connection, limits, before)) if free else []
            if rows:
                store.write(partial(_mark, rows=rows))
            removed += _remove_files(store, files, [row.sha256 for row in rows])
        if not rows:
            return removed


def remove_marked(store: Store, files: Files) -> int:
    """Remove the files whose rows say that they are gone, and which are not → how many."""
    marked = select(pictures.c.sha256).where(pictures.c.removed.is_not(None))
    with files.removing() as free:
        names = store.read(lambda connection: connection.execute(marked).scalars().all()) if free else []
        return _remove_files(store, files, [name for name in names if files.path(name).exists()])


def _try(work: Callable[[], int]) -> None:
    """What fails now may be done at the next time, and nobody waits for it."""
    try:
        work()
    except Exception:
        log.exception("no picture was removed; it is tried again in %g minutes", EVERY / 60)


def _remove_files(store: Store, files: Files, names: Sequence[str]) -> int:
    removed = 0
    for name in names:
        try:
            removed += store.write(partial(_remove, files=files, name=name))
        except OSError as error:
            log.warning("picture %s: not removed (%s); it is tried again at the next start", name, error.strerror)
    return removed


def _too_old_before(connection: Connection, limits: Limits) -> str:
    """Before which time a picture is removed in this round for its age alone."""
    if limits.keep_days is None:
        return ""
    oldest = connection.execute(select(func.min(pictures.c.time)).where(_UNJUDGED)).scalar()
    before, most = _days_ago(limits.keep_days), oldest and _a_day_after(oldest)
    if not most or before <= most:
        return before
    log.warning(
        "pictures of more than one day are older than %g days, the first of %s; one day's go every %g minutes: "
        "if the clock is wrong, set it",
        limits.keep_days, oldest, EVERY / 60,
    )  # fmt: skip
    return most


def _too_many(connection: Connection, limits: Limits, before: str) -> list[Row[Any]]:
    """The oldest pictures that are not kept, some at once; those that somebody judged are kept and do not count."""
    there: Select[Any] = select(pictures.c.sha256, pictures.c.bytes, pictures.c.time).where(_UNJUDGED)
    oldest = connection.execute(there.order_by(pictures.c.time).limit(AT_ONCE)).all()
    excess = 0.0  # bytes
    if limits.keep_gigabytes is not None:
        held = connection.execute(select(func.sum(pictures.c.bytes)).where(_UNJUDGED)).scalar() or 0
        excess = held - limits.keep_gigabytes * 1e9
    found: list[Row[Any]] = []
    for row in oldest:
        if row.time >= before and excess <= 0:
            break
        found.append(row)
        excess -= row.bytes
    return found


def _mark(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Say that they are gone; not of those that came again since, which are younger."""
    these = pictures.c.sha256.in_([row.sha256 for row in rows]) & (pictures.c.time <= rows[-1].time)
    connection.execute(update(pictures).where(these).values(removed=now()))


def _remove(connection: Connection, files: Files, name: str) -> bool:
    """Whether it went. In the writer's turn: what has come again or was judged since stays."""
    this = pictures.c.sha256 == name
    row = connection.execute(select(pictures.c.removed, _JUDGED.label("judged")).where(this)).one()
    if row.removed is not None and row.judged:
        connection.execute(update(pictures).where(this).values(removed=None))
    if row.removed is None or row.judged:
        return False
    files.remove(name)
    return True


def _days_ago(days: float) -> str:
    return _as_text(datetime.now(UTC) - timedelta(days=days))


def _a_day_after(time: str) -> str:
    return _as_text(datetime.fromisoformat(time) + timedelta(days=1))


def _as_text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
