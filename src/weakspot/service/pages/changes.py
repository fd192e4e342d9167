"""Who changed what about the models: which one answers, and at which thresholds."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row

from weakspot.evaluation.charts import number
from weakspot.service import records


def changes_of(connection: Connection, models: Sequence[str]) -> list[tuple[str, Row[Any]]]:
    """What was done, in words, and its row, the newest first; models: SHA-256 of all that are known."""
    found = [("made active", row) for row in records.all_activations(connection)]
    for sha256 in models:
        pairs = records.thresholds_of(connection, sha256)  # the newest first, the file's own last
        found += [(_moved(row, before), row) for row, before in pairwise(pairs)]
    return sorted(found, key=lambda each: each[1].time, reverse=True)


def _moved(row: Row[Any], before: Row[Any]) -> str:
    new, old = ((number(each.good_below, 2), number(each.bad_from, 2)) for each in (row, before))
    return f"good below {new[0]}, bad from {new[1]} (before: {old[0]} and {old[1]})"
