"""What pages count of the store, counted there: of a day there may be more inspections than Python should see."""

from typing import Any

from sqlalchemy import ColumnElement, Select, exists, select

from weakspot.service.tables import inspections, verdicts


def judged(*columns: ColumnElement[Any]) -> Select[Any]:
    """A query of inspections whose verdict in force is good or bad, found from the verdicts, which are fewer."""
    later = verdicts.alias()
    again = exists().where(later.c.inspection_id == verdicts.c.inspection_id, later.c.seq > verdicts.c.seq)
    both = inspections.join(verdicts, verdicts.c.inspection_id == inspections.c.id)
    return select(*columns).select_from(both).where(verdicts.c.verdict.in_(("good", "bad")), ~again)
