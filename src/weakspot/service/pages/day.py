"""What some days of a service amount to: counts, what verdicts show, and how the scores lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row

from weakspot.evaluation.charts import Histogram, edges_of, histogram_of
from weakspot.evaluation.intervals import (
    LimitCheck,
    Proportion,
    against_limit,
    needed_without_miss,
    share,
)
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.loaded import LoadedDetector
from weakspot.service import records
from weakspot.service.pages import counts
from weakspot.service.pages.counts import Span
from weakspot.service.pages.drift import Drift, drift_of
from weakspot.service.parts import Parts


@dataclass(frozen=True, kw_only=True)
class Rate(Proportion):
    """k of n parts; counted: "parts", or "pictures" where no two are known to show one part."""

    counted: str


@dataclass(frozen=True, kw_only=True)
class Told(Rate):
    """How many of the judged ones were otherwise than answered. judged of `of` pictures that were answered so."""

    title: str
    those: str
    judged: int
    of: int
    check: LimitCheck | None


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What thresholds make of the judged parts: bad ones that pass, good ones that are called bad, those left."""

    name: str
    good_below: float
    bad_from: float
    escapes: Rate
    false_alarms: Rate
    left: Rate


@dataclass(frozen=True, kw_only=True)
class Days:
    """Some days in UTC, the last of them `date`. others, judged_bad: pictures of the histogram's rows."""

    date: str
    since: str
    is_today: bool
    total: int
    counts: Mapping[str, int]
    rates: tuple[Told, ...]
    model: str
    model_sha256: str
    thresholds: Thresholds
    histogram: Histogram | None
    others: int
    judged_bad: int
    drift: Drift | None
    tried: tuple[Tried, ...]
    limits: Sequence[Row[Any]]


def days_of(parts: Parts, asked: date | None, days: int, tried: tuple[float, float] | None) -> Days:
    """So many days, the last of them the one asked for; None: today. tried: other thresholds, good_below and bad_from.

    Raises Problem where no model is active.
    """
    today = datetime.now(UTC).date()
    last = asked or today
    first = last - timedelta(days=days - 1)
    span, before = Span(_begin(first), _end(last)), Span(_begin(first - timedelta(days=7)), _begin(first))
    active = parts.detectors.active
    found = parts.store.read(lambda c: _of_scores(c, active, span, before))
    return Days(
        date=str(last),
        since=str(first),
        is_today=last == today,
        **parts.store.read(lambda c: _of_verdicts(c, span)),
        model=active.info.name,
        model_sha256=active.info.sha256,
        thresholds=active.model.thresholds,
        **found,
        tried=parts.store.read(lambda c: _all_tried(c, active, span.until, tried)),
    )


def _of_verdicts(connection: Connection, span: Span) -> dict[str, Any]:
    answered, limits = counts.decisions(connection, span), records.all_limits(connection)
    escapes, alarms = (limits[0].escapes, limits[0].false_alarms) if limits else (None, None)
    asked = (
        ("good", "bad", escapes, "Escapes: passed, and bad", "passed pictures"),
        ("bad", "good", alarms, "False alarms: called bad, and good", "pictures called bad"),
    )
    told = []
    for decision, verdict, limit, title, those in asked:
        row = counts.otherwise(connection, span, decision, verdict)
        rate = _rate(row.k, row.n, row.pictures)
        words: dict[str, Any] = {
            "title": title,
            "those": those,
            "judged": row.pictures or 0,
            "of": answered.get(decision, 0),
        }
        told.append(
            Told(**vars(rate), **words, check=_check(rate, limit, f"judged {rate.counted}, none of them {verdict}"))
        )
    return {"total": sum(answered.values()), "counts": answered, "rates": tuple(told), "limits": limits}


def _of_scores(connection: Connection, active: LoadedDetector, span: Span, before: Span) -> dict[str, Any]:
    model, limits = active.info.sha256, active.model.thresholds
    now = counts.scores(connection, model, span)
    if not now.n:
        return {"histogram": None, "others": 0, "judged_bad": 0, "drift": None}
    edges = edges_of([now.low, now.high], limits)
    all_, bad = (
        np.array(counts.binned(connection, model, span, [*map(float, edges)], bad=only)) for only in (False, True)
    )
    then = counts.scores(connection, model, before)
    of_before = np.array(counts.binned(connection, model, before, [*map(float, edges)]))
    drift = drift_of(now, all_, then, of_before, active.manifest.held_out_scores.get("good", ()), edges, bad)
    shown = {"histogram": histogram_of(all_ - bad, bad, edges, limits), "drift": drift}
    return shown | {"others": int((all_ - bad).sum()), "judged_bad": int(bad.sum())}


def _all_tried(
    connection: Connection, active: LoadedDetector, until: str, asked: tuple[float, float] | None
) -> tuple[Tried, ...]:
    """The thresholds in force, and others where some were asked for."""
    now = active.model.thresholds
    pairs = [("in force", now.good_below, now.bad_from), *([("tried", *asked)] if asked else [])]
    return tuple(_tried(connection, active.info.sha256, until, *pair) for pair in pairs)


def _tried(connection: Connection, model: str, until: str, name: str, good_below: float, bad_from: float) -> Tried:
    rows = {row.verdict: row for row in counts.at_thresholds(connection, model, until, good_below, bad_from)}
    bad, good = rows.get("bad"), rows.get("good")
    none = _rate(0, 0, 0)
    left = [(row.left, row.n, row.pictures) for row in (bad, good) if row is not None]
    return Tried(
        name=name,
        good_below=good_below,
        bad_from=bad_from,
        escapes=none if bad is None else _rate(bad.passed, bad.n, bad.pictures),
        false_alarms=none if good is None else _rate(good.called_bad, good.n, good.pictures),
        left=_rate(*map(sum, zip(*left, strict=True))) if left else none,
    )


def _rate(k: int | None, n: int, pictures: int | None) -> Rate:
    """None: a sum of nothing."""
    return Rate(k=k or 0, n=n, counted="parts" if n < (pictures or 0) else "pictures")


def _check(rate: Rate, limit: float | None, what: str) -> LimitCheck | None:
    if limit is None:
        return None
    if rate.n:
        return against_limit(rate.k, rate.n, limit, what)
    needed = needed_without_miss(limit)
    sentence = f"at most {share(limit)}: not shown yet, needs {needed:,} {what}"
    return LimitCheck(limit=limit, state="not shown yet", more_needed=needed, sentence=sentence)


def _begin(day: date) -> str:
    return f"{day}T00:00:00.000Z"


def _end(day: date) -> str:
    return f"{day}T24:00:00.000Z"
