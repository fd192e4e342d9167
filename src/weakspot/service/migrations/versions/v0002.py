"""Rows that are only added: neither replaced by an insertion in SQLite nor truncated in PostgreSQL."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEYS = {  # of each such table: the columns by which an insertion may meet a row that is there
    "activations": ("seq",),
    "thresholds": ("seq",),
    "inspections": ("seq", "id", "station, key"),
    "heat_maps": ("inspection_id",),
    "verdicts": ("seq",),
}


def upgrade() -> None:
    """Refuse both; a replacement would remove a row, and no trigger of removals hears of it."""
    for table, keys in KEYS.items():
        if op.get_bind().dialect.name == "sqlite":
            for key in keys:
                op.execute(sa.text(_no_replacement(table, key)))
        else:
            op.execute(
                f"CREATE TRIGGER {table}_no_truncation BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added()"
            )


def _no_replacement(table: str, key: str) -> str:
    same = " AND ".join(f"{column} = NEW.{column}" for column in key.split(", "))
    return (
        f"CREATE TRIGGER {table}_no_replacement_by_{key.split(', ')[-1]} BEFORE INSERT ON {table} "
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) "
        f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are added, never changed'); END"
    )
