"""A backup of a running service is the whole of one moment; what was judged becomes a folder to train on."""

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service.server import Server, png
from weakspot.data.layouts import read_layout
from weakspot.errors import DataError, OutputError, StoreError
from weakspot.service import backup, export
from weakspot.service.backup import back_up, restore
from weakspot.service.export import export_verdicts

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


def test_a_damaged_picture_is_told_and_no_backup_pretends_to_be_whole(judged: Judged, tmp_path: Path):
    back_up(judged[0].data, None, tmp_path / "data")
    path = next((tmp_path / "data" / "pictures").glob("??/*"))
    path.write_bytes(b"x")
    with pytest.raises(StoreError, match="damaged"):
        back_up(tmp_path / "data", None, tmp_path / "copy")
    assert not (tmp_path / "copy" / "store.sqlite").exists()


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
    def killed(source, url):
        whole(source, url)
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
