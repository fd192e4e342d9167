"""What the writer's connection to PostgreSQL must have: the database to itself, and each commit synced."""

from typing import Any

import psycopg

from weakspot.errors import StoreError, shown

WAITED = 3000  # milliseconds: the server may not have noticed yet that an earlier service was killed
LOCK = 8098  # of the advisory locks of a database; ours, and told to nobody else
HOLDER = f"""SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE locktype = 'advisory' AND objid = {LOCK} AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def be_the_writer(connection: psycopg.Connection[Any], _: object) -> None:
    """Hold a database's lock as long as this new connection lasts. Raises StoreError where another one holds it."""
    connection.autocommit = True
    if connection.execute("SHOW synchronous_commit").fetchone() in (("off",), ("local",)):
        connection.execute("SET synchronous_commit = on")
    connection.execute(f"SET lock_timeout = {WAITED}")
    try:
        connection.execute(f"SELECT pg_advisory_lock({LOCK})")
    except psycopg.errors.LockNotAvailable:
        holder = (connection.execute(HOLDER).fetchone() or ("another process",))[0]
        connection.close()
        raise StoreError(f"--store: {shown(holder)} writes there; stop it, or take another database") from None
    connection.execute("RESET lock_timeout")
    connection.autocommit = False
