"""What pages count of the store, counted there: of a day there may be more inspections than Python should see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, case, exists, func, literal_column, select

from weakspot.service.tables import inspections, verdicts

_COLUMNS = inspections.c
_PART = func.coalesce(_COLUMNS.part, _COLUMNS.picture_sha256).label("unit")  # where no part is named: the picture


@dataclass(frozen=True)
class Span:
    """Inspections from a time on until another, RFC 3339 in UTC."""

    since: str
    until: str

    @property
    def inside(self) -> ColumnElement[bool]:
        """The condition."""
        return (_COLUMNS.time >= self.since) & (_COLUMNS.time < self.until)


def judged(*columns: ColumnElement[Any]) -> Select[Any]:
    """A query of inspections whose verdict in force is good or bad, found from the verdicts, which are fewer."""
    later = verdicts.alias()
    again = exists().where(later.c.inspection_id == verdicts.c.inspection_id, later.c.seq > verdicts.c.seq)
    both = inspections.join(verdicts, verdicts.c.inspection_id == _COLUMNS.id)
    return select(*columns).select_from(both).where(verdicts.c.verdict.in_(("good", "bad")), ~again)


def decisions(connection: Connection, span: Span) -> dict[str, int]:
    """How many inspections there are of each decision."""
    found = select(_COLUMNS.decision, func.count()).where(span.inside).group_by(_COLUMNS.decision)
    return {row[0]: row[1] for row in connection.execute(found)}


def scores(connection: Connection, model: str, span: Span) -> Row[Any]:
    """n, mean, low and high of the raw scores that a model gave; all but n None where there are none."""
    raw = _COLUMNS.raw_score
    told = (func.count(raw).label("n"), func.avg(raw).label("mean"), func.min(raw).label("low"))
    return connection.execute(select(*told, func.max(raw).label("high")).where(*_of(model, span))).one()


def binned(connection: Connection, model: str, span: Span, edges: Sequence[float], bad: bool = False) -> list[int]:
    """How many raw scores lie between each two edges, the outer bins open; bad: of those judged bad alone."""
    bin_, n = _bin_of(edges, 0).label("bin"), func.count()
    asked = judged(bin_, n).where(verdicts.c.verdict == "bad") if bad else select(bin_, n)
    rows = connection.execute(asked.where(*_of(model, span)).group_by(literal_column("bin")))
    found = {row[0]: row[1] for row in rows}
    return [found.get(place, 0) for place in range(len(edges) - 1)]


def otherwise(connection: Connection, span: Span, decision: str, verdict: str) -> Row[Any]:
    """Of the judged parts that were answered so: k of n are otherwise, on so many pictures. A part is where one is."""
    is_so = func.max(case((verdicts.c.verdict == verdict, 1), else_=0)).label("is_so")
    parts = judged(_PART, is_so, func.count().label("pictures")).where(_COLUMNS.decision == decision, span.inside)
    each = parts.group_by(_PART.element).subquery()
    told = (func.sum(each.c.is_so).label("k"), func.sum(each.c.pictures).label("pictures"))
    return connection.execute(select(func.count().label("n"), *told).select_from(each)).one()


def at_thresholds(connection: Connection, model: str, until: str, good_below: float, bad_from: float) -> list[Row[Any]]:
    """Of the judged parts of each verdict: n, and how many have a picture that would be passed, called bad, left."""
    raw = _COLUMNS.raw_score
    left = func.max(case(((raw >= good_below) & (raw < bad_from), 1), else_=0)).label("is_left")
    extremes = func.min(raw).label("low"), func.max(raw).label("high")
    asked = judged(_PART, verdicts.c.verdict, left, *extremes, func.count().label("pictures"))
    asked = asked.where(*_of(model, Span("", until)), raw.is_not(None))
    each = asked.group_by(_PART.element, verdicts.c.verdict).subquery()
    passed = func.sum(case((each.c.low < good_below, 1), else_=0)).label("passed")
    called = func.sum(case((each.c.high >= bad_from, 1), else_=0)).label("called_bad")
    counts = (func.count().label("n"), passed, called, func.sum(each.c.is_left).label("left"))
    found = select(each.c.verdict, *counts, func.sum(each.c.pictures).label("pictures")).group_by(each.c.verdict)
    return [*connection.execute(found).all()]


def _of(model: str, span: Span) -> tuple[ColumnElement[bool], ...]:
    return _COLUMNS.model_sha256 == model, _COLUMNS.raw_score.is_not(None), span.inside


def _bin_of(edges: Sequence[float], first: int) -> ColumnElement[Any]:
    """The number of the bin by halving: comparisons alone, so that both databases put each score where Python does."""
    if len(edges) == 2:
        return literal_column(str(first))
    half = len(edges) // 2
    lower, upper = _bin_of(edges[: half + 1], first), _bin_of(edges[half:], first + half)
    return case((_COLUMNS.raw_score < edges[half], lower), else_=upper)
