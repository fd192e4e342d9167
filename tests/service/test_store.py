"""The store: what was said to be kept is kept, nothing of what failed is, and no row of a history changes."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import upgrade
from alembic.runtime.migration import MigrationContext
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from weakspot.errors import StoreError, StoreFullError
from weakspot.service import records, schema
from weakspot.service.store import Store
from weakspot.service.tables import METADATA, inspections, models, pictures, verdicts


def add_picture(store: Store, number: int) -> None:
    store.write(lambda c: c.execute(insert(pictures).values(sha256=f"{number:064}", bytes=1, time="t")).rowcount)


def add_inspection(store: Store) -> None:
    """One called good, with its picture and model: id i, station s, key k."""
    store.write(lambda c: records.add_model(c, "a" * 64, "made", "me", 1.0, -1.0))
    add_picture(store, 1)
    row = {"id": "i", "time": "t", "picture_sha256": f"{1:064}", "model_sha256": "a" * 64, "decision": "good"}
    row |= {"station": "s", "key": "k", "request_sha256": "", "answer": "{}"}
    store.write(lambda c: c.execute(insert(inspections).values(row)).rowcount)


def count(store: Store, table=pictures) -> int:
    return store.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar())


@pytest.fixture
def store(url: str):
    opened = Store(url)
    yield opened
    opened.close()


def test_what_was_written_is_there_when_it_is_opened_again(url: str):
    store = Store(url)
    add_picture(store, 1)
    store.close()
    again = Store(url)
    assert count(again) == 1
    again.close()


def test_the_migrations_make_the_tables_that_the_code_knows(store: Store):
    differences = store.read(lambda c: compare_metadata(MigrationContext.configure(c), METADATA))
    assert differences == []


def test_a_change_that_fails_is_taken_back_alone(store: Store):
    add_picture(store, 1)
    held = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(store.write, lambda c: held.wait(20))  # meanwhile the others join one commit
        good = [pool.submit(add_picture, store, number) for number in range(2, 5)]
        bad = pool.submit(add_picture, store, 1)
        held.set()
        first.result()
        for each in good:
            each.result()
        with pytest.raises(IntegrityError):
            bad.result()
    assert count(store) == 4


def test_rows_of_a_history_are_added_and_never_changed(store: Store):
    store.write(lambda c: records.add_model(c, "a" * 64, "made", "me", 1.0, -1.0))
    store.write(lambda c: records.add_limits(c, 0.1, None, "me", "a contract"))
    for table, column in (("thresholds", "bad_from"), ("limits", "escapes")):
        for statement in (f"UPDATE {table} SET {column} = 0", f"DELETE FROM {table}"):
            with pytest.raises(DBAPIError):
                store.write(lambda c, statement=statement: c.execute(text(statement)).rowcount)
    assert store.read(records.all_limits)[0].escapes == 0.1
    assert store.read(lambda c: records.thresholds_of(c, "a" * 64))[0].bad_from == 1.0


def test_no_insertion_replaces_a_row_of_a_history_and_no_truncation_empties_it(store: Store):
    add_inspection(store)
    store.write(lambda c: records.add_verdict(c, "i", "bad", "me", ""))
    verdict = "verdicts (seq, inspection_id, verdict, time, by, reason) VALUES (1, 'i', 'good', '', '', '')"
    inspection = (
        "inspections (id, time, picture_sha256, model_sha256, decision, station, key, request_sha256, answer) "
        f"VALUES ('{{}}', 't', '{1:064}', '{'a' * 64}', 'bad', 's', 'k', '', '')"
    )
    store.write(lambda c: records.add_limits(c, 0.1, None, "me", "a contract"))
    limit = "limits (seq, escapes, time, by, reason) VALUES (1, 0.9, '', '', '')"
    of_sqlite = [f"REPLACE INTO {each}" for each in (verdict, limit, inspection.format("i"), inspection.format("j"))]
    of_postgresql = ["TRUNCATE verdicts", "TRUNCATE limits", "TRUNCATE inspections CASCADE"]
    for statement in of_sqlite if store.url.startswith("sqlite") else of_postgresql:
        with pytest.raises(DBAPIError):
            store.write(lambda c, statement=statement: c.execute(text(statement)).rowcount)
    assert [row.verdict for row in store.read(lambda c: records.verdicts_of(c, "i"))] == ["bad"]
    assert store.read(lambda c: records.find(c, "i")).decision == "good"
    assert [*store.read(lambda c: records.find_all(c, ["i", "gone"]))] == ["i"]


def test_a_store_of_the_version_before_is_brought_up_to_date_with_its_rows(url: str, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(schema.ScriptDirectory, "get_current_head", lambda _: "0001")
        older.setattr(schema.command, "upgrade", lambda config, _: upgrade(config, "0001"))
        store = Store(url)
        add_inspection(store)
        store.write(lambda c: records.add_verdict(c, "i", "bad", "me", ""))
        store.close()
    store = Store(url)
    assert (
        store.read(lambda c: c.execute(text("SELECT version_num FROM alembic_version")).scalar())
        == schema.newest_version()
    )
    assert store.read(lambda c: records.find(c, "i")).verdict == "bad"
    store.close()


def test_one_inspection_is_found_without_reading_all_verdicts(store: Store):
    """SQLite says how it looks for something; PostgreSQL chooses anew with each table's size."""
    if store.url.startswith("postgresql"):
        return
    question = str(
        records.with_verdict().where(inspections.c.id == "i").compile(compile_kwargs={"literal_binds": True})
    )
    plan = store.read(lambda c: c.exec_driver_sql(f"EXPLAIN QUERY PLAN {question}").all())
    assert not [step for step in plan if "SCAN" in step[3]], plan


def test_a_verdict_on_nothing_is_refused(store: Store):
    with pytest.raises(IntegrityError):
        store.write(lambda c: records.add_verdict(c, "nothing", "bad", "me", ""))
    assert count(store, verdicts) == 0


def test_a_store_of_a_newer_weakspot_is_refused(url: str):
    store = Store(url)
    store.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")).rowcount)
    store.close()
    with pytest.raises(StoreError, match="newer weakspot"):
        Store(url)


def test_readers_cannot_write(store: Store):
    if store.url.startswith("postgresql"):
        pytest.skip("there the writer is bound by nothing but habit")
    with pytest.raises(StoreError):
        store.read(lambda c: c.execute(delete(models)).rowcount)


@pytest.mark.parametrize("wrong", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:///a?mode=ro", "where"])
def test_another_url_is_refused_and_told_what_is_taken(wrong: str):
    with pytest.raises(StoreError, match="sqlite:///FILE or postgresql://"):
        Store(wrong)


def test_a_password_is_in_no_message():
    with pytest.raises(StoreError) as refused:
        Store("postgresql://weakspot:geheim@127.0.0.1:1/none")
    assert "geheim" not in str(refused.value)


def test_each_commit_of_sqlite_is_synced_and_the_log_is_ahead(tmp_path: Path):
    """Settings that are lost with a default: FULL syncs each commit, NORMAL may lose the last ones with the power."""
    store = Store(f"sqlite:///{tmp_path / 'a.sqlite'}")
    ask = lambda name: store.write(lambda c: c.execute(text(f"PRAGMA {name}")).scalar())  # noqa: E731
    assert (ask("journal_mode"), ask("synchronous"), ask("foreign_keys")) == ("wal", 2, 1)
    store.close()


def test_a_file_that_was_moved_away_stops_the_store(tmp_path: Path):
    path = tmp_path / "a.sqlite"
    store = Store(f"sqlite:///{path}")
    add_picture(store, 1)
    path.rename(tmp_path / "b.sqlite")
    with pytest.raises(StoreError, match="moved or replaced"):
        add_picture(store, 2)
    with pytest.raises(StoreError):
        add_picture(store, 3)  # never again, whatever lies there now
    assert store.failed is not None
    store.close()


def test_whatever_goes_wrong_with_a_commit_whoever_waits_hears_of_it(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "_refuse_moved", lambda: 1 / 0)
    with pytest.raises(StoreError, match="ZeroDivisionError"):
        add_picture(store, 1)
    assert store.failed is not None


def test_a_database_that_can_only_be_read_any_more_stops_the_store(store: Store):
    """As a PostgreSQL that another one took the place of; each answer would be refused for ever."""
    kind = "PRAGMA query_only = ON"
    if store.url.startswith("postgresql"):
        kind = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
    store.write(lambda c: c.execute(text(kind)))
    with pytest.raises(StoreError, match="the store failed"):
        add_picture(store, 1)
    assert store.failed is not None


def test_a_value_that_a_column_cannot_hold_stops_that_change_alone(store: Store):
    if store.url.startswith("sqlite"):
        pytest.skip("there a column holds anything")
    for unfit in ("a" * 65, "a\0"):
        row = {"sha256": unfit, "bytes": 1, "time": "t"}
        with pytest.raises(DataError):
            store.write(lambda c, row=row: c.execute(insert(pictures).values(row)))
    add_picture(store, 1)
    assert count(store) == 1 and store.failed is None


FULL = """
import json, resource, signal, sys
from sqlalchemy import insert
from weakspot.errors import StoreError, StoreFullError
from weakspot.service.store import Store
from weakspot.service.tables import pictures
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(f"sqlite:///{sys.argv[1]}")
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
kept = []
for number in range(10_000):
    try:
        row = {"sha256": f"{number:064}", "bytes": 1, "time": "t" * 30}
        store.write(lambda c: c.execute(insert(pictures).values(row)).rowcount)
    except StoreError as error:
        print(json.dumps([number, type(error).__name__, str(error)]))
        break
"""


def test_a_file_that_cannot_grow_loses_nothing_that_was_confirmed(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "a.sqlite")], capture_output=True, text=True, env=os.environ
    )
    confirmed, kind, message = json.loads(done.stdout)
    assert kind == "StoreError" and "INSERT" not in message
    found = sqlite3.connect(tmp_path / "a.sqlite")
    assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert found.execute("SELECT count(*) FROM pictures").fetchone()[0] >= confirmed > 0
    found.close()


def test_a_full_disk_is_no_end(tmp_path: Path):
    """SQLite's own limit of pages answers as a full disk does, and can be lifted."""
    store = Store(f"sqlite:///{tmp_path / 'a.sqlite'}")
    pages = store.write(lambda c: c.execute(text("PRAGMA page_count")).scalar())
    set_limit = lambda n: store.write(lambda c: c.execute(text(f"PRAGMA max_page_count = {n}")).scalar())  # noqa: E731
    set_limit(pages)
    with pytest.raises(StoreFullError):
        any(add_picture(store, number) for number in range(200))
    before = count(store)
    set_limit(10**6)
    add_picture(store, 10_000)
    assert count(store) == before + 1 and store.failed is None
    store.close()


def test_the_newest_verdict_is_in_force_and_a_withdrawn_one_is_none(store: Store):
    add_inspection(store)
    for said in ("bad", "good", "withdrawn"):
        store.write(lambda c, said=said: records.add_verdict(c, "i", said, "me", ""))
        found = store.read(lambda c, said=said: records.newest(c, records.Filters(verdict=said), None, 9))
        assert [each.verdict for each in found] == [said]
    assert len(store.read(lambda c: records.newest(c, records.Filters(verdict="none"), None, 9))) == 1
    with pytest.raises(DBAPIError):
        store.write(lambda c: c.execute(update(verdicts).values(verdict="good")).rowcount)
