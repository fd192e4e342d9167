"""What the store keeps, as tables. Rows of inspections, verdicts and histories are added and never changed."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()
_DIGEST, _TIME, _NAME = String(64), String(32), String(200)  # SHA-256 in hex; RFC 3339 in UTC; a person, part or place


def _sequence() -> Column[int]:
    return Column("seq", Integer, primary_key=True, autoincrement=True)


pictures = Table(
    "pictures",
    METADATA,
    Column("sha256", _DIGEST, primary_key=True),
    Column("bytes", Integer, nullable=False),
    Column("time", _TIME, nullable=False),
    Column("removed", _TIME),  # by retention; the one thing here that is changed
    Index("pictures_by_time", "time"),
)
models = Table(
    "models",
    METADATA,
    Column("sha256", _DIGEST, primary_key=True),
    Column("name", _NAME, nullable=False),
    Column("time", _TIME, nullable=False),
    Column("by", _NAME, nullable=False),
)
activations = Table(  # the last row is in force
    "activations",
    METADATA,
    _sequence(),
    Column("model_sha256", _DIGEST, ForeignKey("models.sha256"), nullable=False),
    Column("time", _TIME, nullable=False),
    Column("by", _NAME, nullable=False),
    Column("reason", Text, nullable=False),
)
thresholds = Table(  # the last row of a model is in force
    "thresholds",
    METADATA,
    _sequence(),
    Column("model_sha256", _DIGEST, ForeignKey("models.sha256"), nullable=False),
    Column("bad_from", Float(53), nullable=False),
    Column("good_below", Float(53), nullable=False),
    Column("time", _TIME, nullable=False),
    Column("by", _NAME, nullable=False),
    Column("reason", Text, nullable=False),
)
limits = Table(  # of the plant; the last row is in force
    "limits",
    METADATA,
    _sequence(),
    Column("escapes", Float(53)),  # bad ones among those passed, a share above 0 and below 1; None: no limit
    Column("false_alarms", Float(53)),  # good ones among those called bad, likewise
    Column("time", _TIME, nullable=False),
    Column("by", _NAME, nullable=False),
    Column("reason", Text, nullable=False),
)
inspections = Table(
    "inspections",
    METADATA,
    _sequence(),
    Column("id", String(36), nullable=False, unique=True),
    Column("time", _TIME, nullable=False),
    Column("picture_sha256", _DIGEST, ForeignKey("pictures.sha256"), nullable=False),
    Column("model_sha256", _DIGEST, ForeignKey("models.sha256"), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("raw_score", Float(53)),  # None where it was not inspected
    Column("part", _NAME),
    Column("station", _NAME, nullable=False),  # "" where none was named
    Column("line", _NAME),
    Column("key", _NAME),  # Idempotency-Key
    Column("request_sha256", _DIGEST, nullable=False),  # of picture, part, station and line
    Column("answer", Text, nullable=False),  # as it was given, JSON
    UniqueConstraint("station", "key", name="inspections_once"),
    Index("inspections_by_time", "time"),
    Index("inspections_by_decision", "decision", "seq"),
    Index("inspections_by_station", "station", "seq"),
    Index("inspections_by_part", "part", "seq"),
    Index("inspections_by_picture", "picture_sha256"),
)
heat_maps = Table(  # apart, so that listing reads no blobs
    "heat_maps",
    METADATA,
    Column("inspection_id", String(36), ForeignKey("inspections.id"), primary_key=True),
    Column("png", LargeBinary, nullable=False),  # 16-bit grey, a pixel a cell
)
verdicts = Table(  # the last row of an inspection is in force
    "verdicts",
    METADATA,
    _sequence(),
    Column("inspection_id", String(36), ForeignKey("inspections.id"), nullable=False),
    Column("verdict", String(16), nullable=False),  # good, bad, unsure, withdrawn
    Column("time", _TIME, nullable=False),
    Column("by", _NAME, nullable=False),
    Column("reason", Text, nullable=False),
    Index("verdicts_by_inspection", "inspection_id", "seq"),
)
outbox = Table(  # what other systems are to be told; written in the commit of what it tells of
    "outbox",
    METADATA,
    _sequence(),
    Column("kind", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("time", _TIME, nullable=False),
)
users = Table(
    "users",
    METADATA,
    Column("name", _NAME, primary_key=True),
    Column("password", String(200), nullable=False),  # argon2id
    Column("scope", String(16), nullable=False),
    Column("time", _TIME, nullable=False),
)
tokens = Table(
    "tokens",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("name", _NAME, nullable=False),
    Column("sha256", _DIGEST, nullable=False, unique=True),  # the token itself is 256 random bits and kept nowhere
    Column("scope", String(16), nullable=False),
    Column("time", _TIME, nullable=False),
    Column("by", _NAME, nullable=False),
    Column("expires", _TIME),  # None: never
    Column("revoked", Boolean, nullable=False),
)
heartbeat = Table("heartbeat", METADATA, Column("id", Integer, primary_key=True), Column("time", _TIME, nullable=False))
