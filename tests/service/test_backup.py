"""A backup of a running service is the whole of one moment; what was judged becomes a folder to train on."""

import csv
import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.service.server import Server, png
from tests.service.test_disk import inspect
from tests.service.test_http import problem
from tests.service.test_learning import weakspot
from weakspot.data.layouts import read_layout
from weakspot.errors import DataError, OutputError, StoreError
from weakspot.service import backup, export
from weakspot.service.backup import back_up, restore
from weakspot.service.detectors import Computes
from weakspot.service.export import export_verdicts
from weakspot.service.serve import Serving, opened

Start = Callable[..., Server]
Judged = tuple[Server, list[dict]]


def filled(server: Server) -> list[dict]:
    """Four answers, of which three were judged."""
    sent = [server.send(png(*each), part=f"../p{n}", key=str(n)).json() for n, each in enumerate(PARTS)]
    for said, answer in zip(("good", "bad", "unsure"), sent):
        server.client.post(f"/v1/inspections/{answer['id']}/verdicts", json={"verdict": said, "reason": "seen"})
    return sent


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Judged]:
    """A running service with four answers, which no test changes, and what it answered."""
    server = Server(tmp_path_factory.mktemp("judged") / "data", model=model)
    yield server, filled(server)
    server.stop()


PARTS = (("good", 1), ("bad", 2), ("review", 3), ("good", 4))


def test_a_backup_of_a_running_service_is_a_service_itself(judged: Judged, start: Start, tmp_path: Path):
    server, sent = judged
    copied = back_up(server.data, None, tmp_path / "copy")
    assert (copied.inspections, copied.verdicts, copied.pictures, copied.models) == (4, 3, 4, 1)
    again = start(data=tmp_path / "copy", model=None)
    assert again.get("/v1/inspections") == server.get("/v1/inspections")
    assert again.send(png(*PARTS[0]), part="../p0", key="0").json() == sent[0]
    assert again.client.get(f"/v1/inspections/{sent[1]['id']}/overlay.png").status_code == 200
    again.send(png("bad", 9))
    assert len(server.get("/v1/inspections")["inspections"]) == 4, "they are two"


def test_a_backup_goes_to_postgresql_and_counts_on(judged: Judged, start: Start, tmp_path: Path, postgresql: str):
    import psycopg

    with psycopg.connect(postgresql.format("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored")
    url = postgresql.format("restored")
    back_up(judged[0].data, None, tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "restored", url)
    again = start("--store", url, data=tmp_path / "restored", model=None)
    assert again.get("/v1/inspections") == judged[0].get("/v1/inspections")
    assert again.send(png("bad", 9)).status_code == 201
    back_up(tmp_path / "restored", url, tmp_path / "back")
    with pytest.raises(StoreError, match=f"process {again.process.pid} .* writes there"):
        restore(tmp_path / "copy", tmp_path / "other", url)
    again.stop()
    with pytest.raises(OutputError, match="database of --store is not empty"):
        restore(tmp_path / "copy", tmp_path / "another", url)


@pytest.mark.parametrize("how", ["damaged", "lost", "unreadable"])
def test_a_picture_that_is_lost_or_damaged_is_named_and_all_others_are_copied(
    judged: Judged, tmp_path: Path, how: str, capfd, caplog
):
    back_up(judged[0].data, None, tmp_path / "data")
    path = tmp_path / "data" / "pictures" / hashlib.sha256(png(*PARTS[1])).hexdigest()[:2]
    (path,) = path.iterdir()
    path.unlink()
    if how != "lost":
        path.write_bytes(b"x") if how == "damaged" else path.mkdir()
    assert weakspot("backup", "--data", tmp_path / "data", "-o", tmp_path / "copy", "--json") == 1
    said = capfd.readouterr().out
    counts = {name: json.loads(said)[name] for name in ("inspections", "pictures", "models", "missing")}
    assert counts == {"inspections": 4, "pictures": 3, "models": 1, "missing": 1} and path.name in caplog.text
    assert restore(tmp_path / "copy", tmp_path / "again", None).missing == 1
    exported = export_verdicts(tmp_path / "data", None, tmp_path / "judged")
    assert (exported.good, exported.bad, exported.gone) == (1, 0, 1)


def test_whoever_asks_for_a_lost_or_damaged_picture_is_told_so(start: Start):
    server = start()
    for seed, damage in enumerate((lambda path: path.write_bytes(b"x"), lambda path: path.unlink())):
        where = server.send(png("bad", seed)).headers["location"]
        digest = hashlib.sha256(png("bad", seed)).hexdigest()
        damage(server.data / "pictures" / digest[:2] / digest)
        for name in ("picture.png", "overlay.png"):
            said = problem(server.client.get(f"{where}/{name}"), 410, "lost")
            assert "lost or damaged" in said["detail"]


def unreadable(how: str, data: Path) -> str:
    """Spoil a data folder's store → the store to name."""
    store = data / "store.sqlite"
    if how == "refused":
        return "postgresql://weakspot@127.0.0.1:1/none"
    content = bytearray(store.read_bytes())
    if how == "no store":
        content[:100] = b"x" * 100
    elif how == "damaged pages":
        content[4096 * 2 :] = b"x" * (len(content) - 4096 * 2)
    store.write_bytes(content)
    return f"sqlite:///{store}"


@pytest.mark.parametrize("how", ["no store", "damaged pages", "refused"])
def test_a_store_that_cannot_be_read_is_one_line_that_names_it(
    judged: Judged, tmp_path: Path, model: Path, other_model: Path, how: str, capfd
):
    """Whichever verb reads it, and though another store is being written."""
    data = tmp_path / "data"
    back_up(judged[0].data, None, data)
    url = unreadable(how, data)
    named = url.removeprefix("sqlite:///")
    verbs = (
        ("backup", "-o", "b"),
        ("export-verdicts", "-o", "e"),
        ("train", "-o", "r"),
        ("compare", model, other_model),
    )
    for verb, *words in verbs:
        where = ("--from", data) if verb in ("train", "compare") else ("--data", data)
        words = [tmp_path / each if each in ("b", "e", "r") else each for each in words]
        assert weakspot(verb, *words, *where, "--store", url) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert named in line and ".part" not in line, line
    if how != "refused":
        assert weakspot("restore", data, "--data", tmp_path / "again") == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert named in line and not (tmp_path / "again" / "store.sqlite").exists()


@pytest.mark.parametrize("name", ["line%203", "why?", "a#b@c:d", "Straße 5"])
def test_the_store_lies_in_its_data_folder_whatever_that_is_called(
    judged: Judged, tmp_path: Path, model: Path, name: str
):
    back_up(judged[0].data, None, tmp_path / name)
    moved = tmp_path / "moved"
    (tmp_path / name).rename(moved)
    assert (moved / "store.sqlite").stat().st_size > 0
    restore(moved, tmp_path / name, None)
    with opened([model], Serving(data=tmp_path / name, computes=Computes("onnxruntime", "fp32", 1))) as parts:
        assert inspect(parts, png("bad", 9)) == "bad"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "moved"])
    assert back_up(tmp_path / name, None, tmp_path / f"{name} again").inspections == 5


def test_a_backup_can_be_read_where_nothing_can_be_written(judged: Judged, tmp_path: Path):
    """On a medium that can only be read: SQLite's log would have to be made beside it."""
    back_up(judged[0].data, None, tmp_path / "copy")
    assert not [*(tmp_path / "copy").glob("store.sqlite?*")]
    with sqlite3.connect(f"file:{tmp_path / 'copy' / 'store.sqlite'}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


SMALL_DISKS = """
import shutil, sqlite3, subprocess, sys
from pathlib import Path
from weakspot.errors import StoreError
from weakspot.service.backup import back_up
data, disk, rows = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
size = (data / "store.sqlite").stat().st_size
for tenths in range(8, 36, 3):
    subprocess.run(["mount", "-o", f"remount,size={size * tenths // 10}", str(disk)], check=True)
    try:
        back_up(data, None, disk / "copy")
        with sqlite3.connect(disk / "copy" / "store.sqlite") as store:
            print("whole" if store.execute("SELECT count(*) FROM outbox").fetchone() == (rows,) else "torn")
    except StoreError as error:
        print("torn" if (disk / "copy" / "store.sqlite").exists() else "refused")
    shutil.rmtree(disk / "copy")
"""


def test_a_backup_onto_a_disk_that_is_too_small_is_refused_and_never_torn(judged: Judged, tmp_path: Path):
    """SQLite moves its log into the file as it is closed, and says nothing where that does not fit."""
    back_up(judged[0].data, None, tmp_path / "data")
    with closing(sqlite3.connect(tmp_path / "data" / "store.sqlite", isolation_level=None)) as connection:
        many = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1200)"
        row = "'filler', hex(randomblob(500)), ''"
        connection.execute(f"INSERT INTO outbox (kind, subject, time) {many} SELECT {row} FROM n")
        (rows,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
    (tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs -o size=64m none {tmp_path / 'disk'}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    script = [sys.executable, "-c", SMALL_DISKS, tmp_path / "data", tmp_path / "disk", str(rows)]
    command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"refused", "whole"}, done.stdout


def test_backups_refuse_a_folder_in_use_and_a_place_without_a_store(judged: Judged, tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(OutputError, match="not empty"):
        back_up(judged[0].data, None, tmp_path / "full")
    with pytest.raises(StoreError, match="no store there"):
        back_up(tmp_path / "nothing", None, tmp_path / "copy")


def test_judged_pictures_become_a_folder_that_training_reads(judged: Judged, tmp_path: Path):
    data = judged[0].data
    exported = export_verdicts(data, None, tmp_path / "judged")
    assert (exported.good, exported.bad, exported.gone, exported.contradicted) == (1, 1, 0, 0)
    samples = read_layout(tmp_path / "judged", "folder")
    assert sorted(each.label for each in samples) == [0, 1]
    assert {each.path.read_bytes() for each in samples} == {png(*PARTS[0]), png(*PARTS[1])}
    assert all(each.path.resolve().is_relative_to(tmp_path / "judged") for each in samples), "no client's path"
    from_table = read_layout(tmp_path / "judged" / "verdicts.csv", "table")
    assert sorted((each.label, each.group) for each in from_table) == [(0, "../p0"), (1, "../p1")]
    with open(tmp_path / "judged" / "verdicts.csv", newline="") as file:
        assert [row["decision"] for row in csv.DictReader(file)] == ["good", "bad"]
    with pytest.raises(OutputError, match="not empty"):
        export_verdicts(data, None, tmp_path / "judged")


def test_a_picture_that_was_judged_both_ways_is_in_neither_folder(start: Start, tmp_path: Path):
    server = start()
    for said in ("good", "bad"):
        server.client.post(f"{server.send(png('bad')).headers['location']}/verdicts", json={"verdict": said})
    with pytest.raises(
        DataError, match="data: nothing to learn from: 1 judged: 1 judged both ways; .*withdraw one of two verdicts"
    ):
        export_verdicts(tmp_path / "data", None, tmp_path / "judged")


def test_a_picture_that_was_judged_without_its_part_stays_with_it_and_one_of_two_parts_is_left_out(
    start: Start, tmp_path: Path
):
    server = start()
    for seed, part in ((1, "P"), (1, ""), (2, "P"), (2, "Q"), (3, "")):
        sent = server.send(png("bad", seed), **({"part": part} if part else {}))
        server.client.post(f"{sent.headers['location']}/verdicts", json={"verdict": "bad"})
    exported = export_verdicts(tmp_path / "data", None, tmp_path / "judged")
    assert (exported.bad, exported.of_two_parts, exported.contradicted, exported.gone) == (2, 1, 0, 0)
    with open(tmp_path / "judged" / "verdicts.csv", newline="") as file:
        assert sorted(row["group"] for row in csv.DictReader(file)) == ["", "P"]
    assert [len([*path.iterdir()]) for path in (tmp_path / "judged" / "bad").glob("part=P-*")] == [1]


def test_what_was_killed_before_all_rows_were_copied_is_taken_for_no_store(judged: Judged, tmp_path: Path, monkeypatch):
    def killed(*given):
        whole(*given)
        raise KeyboardInterrupt

    whole = backup._copy_rows
    monkeypatch.setattr(backup, "_copy_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        back_up(judged[0].data, None, tmp_path / "half")
    assert not (tmp_path / "half" / "store.sqlite").exists()


def test_a_database_to_which_not_all_rows_came_has_none(judged: Judged, tmp_path: Path, postgresql: str, monkeypatch):
    import psycopg

    with psycopg.connect(postgresql.format("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE half")
    back_up(judged[0].data, None, tmp_path / "copy")

    def killed(connection):
        raise OutputError("killed before the last word")

    with monkeypatch.context() as broken:
        broken.setattr(backup, "_go_on_counting", killed)
        with pytest.raises(OutputError, match="last word"):
            restore(tmp_path / "copy", tmp_path / "first", postgresql.format("half"))
    assert restore(tmp_path / "copy", tmp_path / "second", postgresql.format("half")).inspections == 4


def test_an_export_that_was_cut_short_is_taken_for_no_folder_to_train_on(judged: Judged, tmp_path: Path, monkeypatch):
    def cut_short(*given):
        write(*given)
        raise KeyboardInterrupt

    write = export._written
    with monkeypatch.context() as broken:
        broken.setattr(export, "_written", cut_short)
        with pytest.raises(KeyboardInterrupt):
            export_verdicts(judged[0].data, None, tmp_path / "judged")
    assert [*tmp_path.iterdir()] == []
    assert export_verdicts(judged[0].data, None, tmp_path / "judged").bad == 1


def test_an_empty_folder_is_filled_and_stays_the_one_it_is(judged: Judged, tmp_path: Path):
    """A mount point, or one with rights of its own, in a folder where nothing may be written."""
    folder, link = tmp_path / "above" / "stick", tmp_path / "link"
    folder.mkdir(parents=True)
    folder.chmod(0o2770)
    link.symlink_to(folder)
    before, above = folder.stat(), folder.parent.stat().st_mtime_ns
    assert export_verdicts(judged[0].data, None, link).good == 1
    after = folder.stat()
    assert (after.st_ino, after.st_mode, after.st_uid) == (before.st_ino, before.st_mode, before.st_uid)
    assert folder.parent.stat().st_mtime_ns == above and link.is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "bad", "good", "verdicts.csv"]
    assert len(read_layout(folder, "folder")) == 2
    with pytest.raises(OutputError, match="not empty"):
        export_verdicts(judged[0].data, None, folder)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no folder"):
        export_verdicts(judged[0].data, None, tmp_path / "file")


def test_an_empty_folder_in_which_an_export_was_killed_is_filled_by_the_next(judged: Judged, tmp_path: Path):
    script = (
        "import os, sys; from pathlib import Path; from weakspot.service import export\n"
        "export._written = lambda *_: os.kill(os.getpid(), 9)\n"
        "export.export_verdicts(Path(sys.argv[1]), None, Path(sys.argv[2]))\n"
    )
    subprocess.run([sys.executable, "-c", script, judged[0].data, tmp_path])
    assert any(tmp_path.glob(".weakspot-*.tmp"))
    export_verdicts(judged[0].data, None, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "bad", "good", "verdicts.csv"]
