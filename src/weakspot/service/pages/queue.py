"""What people are to judge next, and the words they have for why: asked of the store."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, select

from weakspot.service.pages.counts import judged
from weakspot.service.records import not_judged, with_verdict
from weakspot.service.tables import inspections, verdicts

PLACES = {"review": 40, "bad": 12, "good": 8}  # of each decision, however many of the others wait
AUDITED = "0%"  # ids of passed parts that people judge, too: random UUIDs, so one in 16
REASONS = 9  # a key each
WORDS = ("scratch", "dent", "stain", "crack", "hole", "dirt", "edge", "blurred picture", "another part")  # at first
LONGEST = 30  # characters of a reason that is offered again
MOST_COUNTED = 10_000  # of those that wait
LOOKED_BACK = 5000  # verdicts from which reasons are gathered
Habits = Mapping[str, tuple[float, float]]


def to_review(connection: Connection) -> list[Row[Any]]:
    """Inspections that nobody judged: undecided ones first, the newest first; then those called bad and, among them, a
    random share of the passed ones, the most surprising first. last_verdict: the number of one that was withdrawn."""
    most = sum(PLACES.values())
    waiting = {word: _waiting(connection, word, most) for word in PLACES}
    known = _habits(connection)
    waiting["bad"].sort(key=lambda row: _surprise(row, known))
    taken = _shares({word: len(rows) for word, rows in waiting.items()})
    undecided, bad, passed = (waiting[word][: taken[word]] for word in PLACES)
    return [*undecided, *sorted([*bad, *passed], key=lambda row: _surprise(row, known))]


def waiting(connection: Connection) -> int:
    """How many are to be judged, counted up to one more than MOST_COUNTED."""
    meant = inspections.c.decision.in_(("review", "bad"))
    passed = (inspections.c.decision == "good") & inspections.c.id.like(AUDITED)
    found = with_verdict().where(meant | passed, not_judged()).with_only_columns(inspections.c.id)
    counted = found.limit(MOST_COUNTED + 1).subquery()
    return connection.execute(select(func.count()).select_from(counted)).scalar_one()


def reasons(connection: Connection) -> list[str]:
    """The words that people gave most often, in the order in which they came up, and others while those are few."""
    newest = select(func.max(verdicts.c.seq)).scalar_subquery() - LOOKED_BACK
    of_use = (verdicts.c.reason != "") & (func.length(verdicts.c.reason) <= LONGEST)
    often = select(verdicts.c.reason, func.min(verdicts.c.seq)).where(of_use, verdicts.c.seq > newest)
    rows = connection.execute(
        often.group_by(verdicts.c.reason).order_by(func.count().desc(), func.min(verdicts.c.seq)).limit(REASONS)
    ).all()
    said = [reason for reason, _ in sorted(rows, key=lambda row: row[1])]
    return [*said, *(word for word in WORDS if word not in said)][:REASONS]


def _waiting(connection: Connection, decision: str, limit: int) -> list[Row[Any]]:
    """The newest that nobody judged; of passed ones those of the random share."""
    found = with_verdict().add_columns(verdicts.c.seq.label("last_verdict"))
    found = found.where(inspections.c.decision == decision, not_judged())
    found = found.where(inspections.c.id.like(AUDITED)) if decision == "good" else found
    return [*connection.execute(found.order_by(inspections.c.seq.desc()).limit(limit)).all()]


def _shares(waiting: Mapping[str, int]) -> dict[str, int]:
    """How many of each decision are shown: its places, and those that others leave."""
    taken = {word: min(PLACES[word], n) for word, n in waiting.items()}
    for word, n in waiting.items():
        taken[word] += min(n - taken[word], sum(PLACES.values()) - sum(taken.values()))
    return taken


def _habits(connection: Connection) -> Habits:
    """Of each model the raw score between what people called good and bad, halfway of the means, and their distance."""
    mean = func.avg(inspections.c.raw_score).label("mean")
    asked = judged(inspections.c.model_sha256, verdicts.c.verdict, mean).where(inspections.c.raw_score.is_not(None))
    means: dict[str, dict[str, float]] = {}
    for row in connection.execute(asked.group_by(inspections.c.model_sha256, verdicts.c.verdict)):
        means.setdefault(row.model_sha256, {})[row.verdict] = row.mean
    both = {model: (of["good"], of["bad"]) for model, of in means.items() if len(of) == 2}
    return {model: ((good + bad) / 2, bad - good) for model, (good, bad) in both.items() if good < bad}


def _surprise(row: Row[Any], known: Habits) -> float:
    """How far an answer lies on its own side of what people say of such scores; the lower, the more surprising."""
    answer = json.loads(row.answer)
    middle, width = known.get(row.model_sha256) or ((answer["good_below"] + answer["bad_from"]) / 2, 1.0)
    beyond = (row.raw_score - middle) / width
    return float(beyond if row.decision == "bad" else -beyond)
