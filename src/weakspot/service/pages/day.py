"""What a day of a service amounts to: counts, the scores with the thresholds in force, and what verdicts show."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from sqlalchemy import Row

from weakspot.evaluation.charts import Histogram, histogram
from weakspot.evaluation.intervals import Interval, clopper_pearson
from weakspot.inspection.inspection import Thresholds
from weakspot.service import records
from weakspot.service.parts import Parts


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How many of the judged ones were otherwise than answered. k of n judged, of `of` answered so."""

    title: str
    those: str
    k: int
    n: int
    of: int

    @property
    def interval(self) -> Interval:
        """Exact, 95 %; there must be a judged one."""
        return clopper_pearson(self.k, self.n)


@dataclass(frozen=True, kw_only=True)
class Day:
    """One day in UTC. others, judged_bad: pictures of the histogram's rows, all of the active model."""

    date: str
    is_today: bool
    total: int
    counts: Counter[str]
    rates: tuple[Rate, Rate]
    model: str
    thresholds: Thresholds | None
    histogram: Histogram | None
    others: int
    judged_bad: int


def day_of(parts: Parts, asked: date | None) -> Day:
    """The counts, rates and scores of a day; None: of today. Raises Problem where no model is active."""
    today = datetime.now(UTC).date()
    day = asked or today
    since, until = f"{day}T00:00:00.000Z", f"{day}T24:00:00.000Z"
    rows = parts.store.read(lambda c: records.between(c, since, until))
    active = parts.detectors.active
    limits = active.model.thresholds
    of_active = [row for row in rows if row.model_sha256 == active.info.sha256 and row.raw_score is not None]
    bad = np.array([row.verdict == "bad" for row in of_active], int)
    scores = np.array([row.raw_score for row in of_active])
    return Day(
        date=str(day),
        is_today=day == today,
        total=len(rows),
        counts=Counter(row.decision for row in rows),
        rates=(
            _rate(rows, "good", "bad", "Escapes: passed, and bad", "passed parts"),
            _rate(rows, "bad", "good", "False alarms: called bad, and good", "parts called bad"),
        ),
        model=active.info.name,
        thresholds=limits,
        histogram=histogram(bad, scores, limits) if of_active else None,
        others=int((bad == 0).sum()),
        judged_bad=int(bad.sum()),
    )


def _rate(rows: Sequence[Row[Any]], decision: str, verdict: str, title: str, those: str) -> Rate:
    said = Counter(row.verdict for row in rows if row.decision == decision)
    return Rate(title=title, those=those, k=said[verdict], n=said["good"] + said["bad"], of=said.total())
