"""Brings a store's tables up to the version of this weakspot, in one transaction, or refuses."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from weakspot.errors import StoreError


def bring_up_to_date(engine: Engine) -> None:
    """Run the migrations that are missing. Raises StoreError for a store of a newer weakspot."""
    config, known = _migrations()
    with engine.begin() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current not in {None, *(each.revision for each in known.walk_revisions())}:
            raise StoreError("the store was written by a newer weakspot; update weakspot to open it")
        if current != known.get_current_head():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def newest_version() -> str | None:
    """The version that this weakspot brings a store to."""
    return _migrations()[1].get_current_head()


def _migrations() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config, ScriptDirectory.from_config(config)


def forbid_changes(dialect: str, tables: tuple[str, ...]) -> list[str]:
    """Statements after which rows of these tables can be added, and neither changed nor removed."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} BEGIN "
            f"SELECT RAISE(ABORT, 'rows of {table} are added, never changed'); END"
            for table in tables
            for verb in ("UPDATE", "DELETE")
        ]
    function = (
        "CREATE FUNCTION rows_are_only_added() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'rows of % are added, never changed', TG_TABLE_NAME; END $$"
    )
    return [function] + [
        f"CREATE TRIGGER {table}_only_added BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION rows_are_only_added()"
        for table in tables
    ]
