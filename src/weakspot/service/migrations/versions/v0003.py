"""The limits of the plant, which rates are held against; rows are only added."""

import sqlalchemy as sa
from alembic import op

from weakspot.service.schema import forbid_changes

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table, and refuse to change, replace or truncate its rows."""
    op.create_table(
        "limits",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("escapes", sa.Float(precision=53), nullable=True),
        sa.Column("false_alarms", sa.Float(precision=53), nullable=True),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    dialect = op.get_bind().dialect.name
    triggers = [each for each in forbid_changes(dialect, ("limits",)) if each.startswith("CREATE TRIGGER")]
    for statement in (*triggers, _REPLACED if dialect == "sqlite" else _TRUNCATED):
        op.execute(sa.text(statement.replace(":", r"\:")))


_REPLACED = (
    "CREATE TRIGGER limits_no_replacement_by_seq BEFORE INSERT ON limits "
    "WHEN EXISTS (SELECT 1 FROM limits WHERE seq = NEW.seq) "
    "BEGIN SELECT RAISE(ABORT, 'rows of limits are added, never changed'); END"
)
_TRUNCATED = (
    "CREATE TRIGGER limits_no_truncation BEFORE TRUNCATE ON limits "
    "FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added()"
)
