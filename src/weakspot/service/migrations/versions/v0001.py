"""The tables of weakspot 0.1."""

import sqlalchemy as sa
from alembic import op

from weakspot.service.schema import forbid_changes

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ONLY_ADDED = ("activations", "thresholds", "inspections", "heat_maps", "verdicts")


def upgrade() -> None:
    """Make them; the rows of most can only be added."""
    op.create_table(
        "heartbeat",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "models",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "pictures",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("removed", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_index("pictures_by_time", "pictures", ["time"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("expires", sa.String(length=32), nullable=True),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_table(
        "users",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("password", sa.String(length=200), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "activations",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_sha256"],
            ["models.sha256"],
        ),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "inspections",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("picture_sha256", sa.String(length=64), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("raw_score", sa.Float(precision=53), nullable=True),
        sa.Column("part", sa.String(length=200), nullable=True),
        sa.Column("station", sa.String(length=200), nullable=False),
        sa.Column("line", sa.String(length=200), nullable=True),
        sa.Column("key", sa.String(length=200), nullable=True),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_sha256"],
            ["models.sha256"],
        ),
        sa.ForeignKeyConstraint(
            ["picture_sha256"],
            ["pictures.sha256"],
        ),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("station", "key", name="inspections_once"),
    )
    op.create_index("inspections_by_decision", "inspections", ["decision", "seq"], unique=False)
    op.create_index("inspections_by_part", "inspections", ["part", "seq"], unique=False)
    op.create_index("inspections_by_picture", "inspections", ["picture_sha256"], unique=False)
    op.create_index("inspections_by_station", "inspections", ["station", "seq"], unique=False)
    op.create_index("inspections_by_time", "inspections", ["time"], unique=False)
    op.create_table(
        "thresholds",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("bad_from", sa.Float(precision=53), nullable=False),
        sa.Column("good_below", sa.Float(precision=53), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_sha256"],
            ["models.sha256"],
        ),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "heat_maps",
        sa.Column("inspection_id", sa.String(length=36), nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["inspection_id"],
            ["inspections.id"],
        ),
        sa.PrimaryKeyConstraint("inspection_id"),
    )
    op.create_table(
        "verdicts",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("inspection_id", sa.String(length=36), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["inspection_id"],
            ["inspections.id"],
        ),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("verdicts_by_inspection", "verdicts", ["inspection_id", "seq"], unique=False)

    for statement in forbid_changes(op.get_bind().dialect.name, ONLY_ADDED):
        op.execute(sa.text(statement.replace(":", r"\:")))
