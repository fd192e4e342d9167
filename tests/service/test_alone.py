"""One service writes to a store, whatever folder or database it lies in, and one copies it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.service.server import Server, png
from weakspot.errors import StoreError
from weakspot.service.store import Store

Start = Callable[..., Server]
ON_POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


def test_a_second_service_on_the_same_store_is_refused_and_told_who_is_there(start: Start, tmp_path: Path, url: str):
    first = start("--store", url)
    second = start("--store", url, data=tmp_path / "other")
    assert second.address == "" and second.stop() == 1
    assert f"process {first.process.pid}" in "".join(second.said)
    assert first.send(png()).status_code == 201
    first.stop()
    assert start("--store", url, data=tmp_path / "data").send(png()).status_code == 201


@ON_POSTGRESQL
def test_a_writer_that_lost_its_connection_takes_the_lock_again_or_ends(url: str):
    store = Store(url)
    ask = lambda: store.write(lambda c: c.execute(text("SELECT pg_backend_pid()")).scalar())  # noqa: E731
    kill = lambda pid: store.read(lambda c: c.execute(text(f"SELECT pg_terminate_backend({pid})")).scalar())  # noqa: E731
    first = ask()
    kill(first)
    assert ask() != first
    with pytest.raises(StoreError, match="writes there"):
        Store(url)
    store.close()
    Store(url).close()


@ON_POSTGRESQL
def test_each_commit_of_postgresql_is_synced_whatever_the_database_was_told(url: str):
    store = Store(url)
    store.write(lambda c: c.execute(text("ALTER ROLE weakspot SET synchronous_commit = off")).rowcount)
    store.close()
    store = Store(url)
    try:
        assert store.write(lambda c: c.execute(text("SHOW synchronous_commit")).scalar()) == "on"
    finally:
        store.write(lambda c: c.execute(text("ALTER ROLE weakspot RESET synchronous_commit")).rowcount)
        store.close()
