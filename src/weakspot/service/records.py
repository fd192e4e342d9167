"""What is asked of the store and added to it: functions of a connection, run by `Store.read` and `Store.write`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, insert, select, update

from weakspot.errors import shown
from weakspot.inspection.inspection import Inspection, NotInspected, now
from weakspot.service.problems import Problem
from weakspot.service.tables import (
    activations,
    heat_maps,
    inspections,
    limits,
    models,
    outbox,
    pictures,
    thresholds,
    verdicts,
)

Verdict = Literal["good", "bad", "unsure", "withdrawn"]


@dataclass(frozen=True)
class Sent:
    """A picture as a client sent it, and what it said beside."""

    picture: bytes
    part: str | None = None
    station: str = ""  # "": none was named
    line: str | None = None
    key: str | None = None  # Idempotency-Key

    @property
    def sha256(self) -> str:
        """Of all that makes it this request and no other."""
        digest = hashlib.sha256(json.dumps([self.part, self.station, self.line]).encode())
        digest.update(self.picture)
        return digest.hexdigest()


def add_inspection(
    connection: Connection, sent: Sent, picture_sha256: str, entry: Inspection | NotInspected, heat_map: bytes | None
) -> str:
    """Keep an answer, its picture's name and its event in one commit → the answer as JSON."""
    if connection.execute(select(pictures.c.removed).where(pictures.c.sha256 == picture_sha256)).first() is None:
        row = {"sha256": picture_sha256, "bytes": len(sent.picture), "time": entry.time}
        connection.execute(insert(pictures), row)
    else:  # seen before; it may have been removed since
        connection.execute(
            update(pictures).where(pictures.c.sha256 == picture_sha256).values(removed=None, time=entry.time)
        )
    answer = json.dumps(entry.as_dict(), ensure_ascii=False, allow_nan=False)
    row = {
        "id": entry.id, "time": entry.time, "picture_sha256": picture_sha256, "model_sha256": entry.model.sha256,
        "decision": entry.decision, "raw_score": entry.raw_score if isinstance(entry, Inspection) else None,
        "part": sent.part, "station": sent.station, "line": sent.line, "key": sent.key, "request_sha256": sent.sha256,
        "answer": answer,
    }  # fmt: skip
    connection.execute(insert(inspections), row)
    if heat_map is not None:
        connection.execute(insert(heat_maps), {"inspection_id": entry.id, "png": heat_map})
    add_event(connection, "inspection", entry.id)
    return answer


def is_kept(connection: Connection, picture_sha256: str) -> bool:
    """Whether a row names this picture, and retention has not removed it."""
    this = (pictures.c.sha256 == picture_sha256) & pictures.c.removed.is_(None)
    return connection.execute(select(pictures.c.sha256).where(this)).first() is not None


def add_event(connection: Connection, kind: str, subject: str) -> None:
    """What other systems are to be told, in the commit of what it tells of."""
    connection.execute(insert(outbox), {"kind": kind, "subject": subject, "time": now()})


def earlier(connection: Connection, station: str, key: str) -> Row[Any] | None:
    """The inspection that was asked for under this key, if any."""
    mine = and_(inspections.c.station == station, inspections.c.key == key)
    return connection.execute(select(inspections).where(mine)).first()


def with_verdict() -> Select[Any]:
    """A query of inspections with the verdict in force, to be narrowed."""
    said = verdicts.alias()
    last = select(func.max(said.c.seq)).where(said.c.inspection_id == inspections.c.id).correlate(inspections)
    with_last = inspections.outerjoin(verdicts, verdicts.c.seq == last.scalar_subquery())
    return select(inspections, verdicts.c.verdict).select_from(with_last)


def find(connection: Connection, inspection: str) -> Row[Any] | None:
    """One inspection by its id, with the verdict in force."""
    return connection.execute(with_verdict().where(inspections.c.id == inspection)).first()


def find_all(connection: Connection, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Those of these inspections that there are, by their ids, with the verdict in force."""
    found = connection.execute(with_verdict().where(inspections.c.id.in_(ids))).all()
    return {row.id: row for row in found}


def of_picture(connection: Connection, sha256: str, limit: int) -> Sequence[Row[Any]]:
    """The newest inspections of one picture, whichever model answered, with the verdicts in force."""
    found = with_verdict().where(inspections.c.picture_sha256 == sha256).order_by(inspections.c.seq.desc())
    return connection.execute(found.limit(limit)).all()


@dataclass(frozen=True)
class Filters:
    """Which inspections are meant; None: any."""

    decision: str | None = None
    part: str | None = None
    station: str | None = None
    line: str | None = None
    model: str | None = None  # SHA-256
    verdict: str | None = None  # in force; "none": without one
    since: str | None = None  # RFC 3339 in UTC, included
    until: str | None = None  # not included


def newest(connection: Connection, filters: Filters, before: int | None, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` inspections, the newest first. before: a sequence number; None: from the newest."""
    columns = inspections.c
    found = with_verdict().order_by(columns.seq.desc()).limit(limit)
    equal = (
        (columns.decision, filters.decision),
        (columns.part, filters.part),
        (columns.station, filters.station),
        (columns.line, filters.line),
        (columns.model_sha256, filters.model),
    )
    for column, wanted in equal:
        found = found if wanted is None else found.where(column == wanted)
    if filters.verdict == "none":
        found = found.where(not_judged())
    elif filters.verdict is not None:
        found = found.where(verdicts.c.verdict == filters.verdict)
    found = found if filters.since is None else found.where(columns.time >= _to_milliseconds(filters.since))
    found = found if filters.until is None else found.where(columns.time < _to_milliseconds(filters.until))
    return connection.execute(found if before is None else found.where(columns.seq < before)).all()


def not_judged() -> ColumnElement[bool]:
    """Whether no verdict is in force, in a query of with_verdict."""
    return (verdicts.c.verdict == "withdrawn") | verdicts.c.verdict.is_(None)


def heat_map_of(connection: Connection, inspection: str) -> bytes | None:
    """The heat of an inspection as a 16-bit PNG; None where there is none."""
    return connection.execute(select(heat_maps.c.png).where(heat_maps.c.inspection_id == inspection)).scalar()


def add_verdict(
    connection: Connection, inspection: str, verdict: Verdict, by: str, reason: str, after: int | None = None
) -> Row[Any]:
    """One more judgement of a person → its row; the earlier ones stay.

    after: the number of the one that they believe in force, 0 for none. Raises Problem where it is another.
    """
    said = verdicts_of(connection, inspection)
    if after is not None and after != (said[-1].seq if said else 0):
        last = f"{shown(said[-1].by)} said {said[-1].verdict}" if said else "nobody has judged it"
        raise Problem(409, "judged-meanwhile", f"{last}, which stays; load the page again")
    row = {"inspection_id": inspection, "verdict": verdict, "time": now(), "by": by, "reason": reason}
    connection.execute(insert(verdicts).values(row))
    add_event(connection, "verdict", inspection)
    return verdicts_of(connection, inspection)[-1]


def verdicts_of(connection: Connection, inspection: str) -> Sequence[Row[Any]]:
    """Every judgement of one inspection, the oldest first."""
    return connection.execute(
        select(verdicts).where(verdicts.c.inspection_id == inspection).order_by(verdicts.c.seq)
    ).all()


def add_model(connection: Connection, sha256: str, name: str, by: str, bad_from: float, good_below: float) -> None:
    """Make a model known, with the thresholds of its file; nothing happens where it is known."""
    if connection.execute(select(models.c.name).where(models.c.sha256 == sha256)).first() is None:
        connection.execute(insert(models).values(sha256=sha256, name=name, time=now(), by=by))
        add_thresholds(connection, sha256, bad_from, good_below, by, "as its file has them")


def all_models(connection: Connection) -> Sequence[Row[Any]]:
    """Every model, in the order in which they came."""
    return connection.execute(select(models).order_by(models.c.time, models.c.sha256)).all()


def add_activation(connection: Connection, sha256: str, by: str, reason: str) -> None:
    """A model takes over."""
    connection.execute(insert(activations).values(model_sha256=sha256, time=now(), by=by, reason=reason))
    add_event(connection, "model", sha256)


def all_activations(connection: Connection) -> Sequence[Row[Any]]:
    """Who made which model active, when and why; the newest first."""
    return connection.execute(select(activations).order_by(activations.c.seq.desc())).all()


def add_thresholds(
    connection: Connection, sha256: str, bad_from: float, good_below: float, by: str, reason: str
) -> None:
    """A model's thresholds from now on."""
    row = {"model_sha256": sha256, "bad_from": bad_from, "good_below": good_below, "time": now(), "by": by}
    connection.execute(insert(thresholds).values(row | {"reason": reason}))


def thresholds_of(connection: Connection, sha256: str) -> Sequence[Row[Any]]:
    """Every pair of thresholds that a model had, the newest first."""
    mine = thresholds.c.model_sha256 == sha256
    return connection.execute(select(thresholds).where(mine).order_by(thresholds.c.seq.desc())).all()


def add_limits(connection: Connection, escapes: float | None, false_alarms: float | None, by: str, reason: str) -> None:
    """The plant's limits from now on."""
    row = {"escapes": escapes, "false_alarms": false_alarms, "time": now(), "by": by, "reason": reason}
    connection.execute(insert(limits).values(row))


def all_limits(connection: Connection) -> Sequence[Row[Any]]:
    """Every pair of limits that the plant gave, the newest first."""
    return connection.execute(select(limits).order_by(limits.c.seq.desc())).all()


def _to_milliseconds(time: str) -> str:
    """A time as rows have it, which are compared as text."""
    return time if "." in time else f"{time.removesuffix('Z')}.000Z"
