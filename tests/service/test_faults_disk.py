"""Disks that are full, read-only or gone, limits of the system, signals and clocks, under a real service.

What was answered is there afterwards, and nothing is answered that is not. Single system calls are in test_faults.py.
"""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.service.ledger import check, entries, nothing_wrong
from tests.service.load import Load
from tests.service.server import Server, png
from weakspot.inspection import inspection
from weakspot.service.backup import snapshot
from weakspot.service.detectors import Computes
from weakspot.service.records import Filters, Sent, add_verdict, newest
from weakspot.service.serve import Serving, opened

Start = Callable[..., Server]
OWN_MOUNTS = ("unshare", "-m", "sh", "-c")


def seen_inside(server: Server) -> Path:
    """The data folder of a service that has mounts of its own, as this process may reach it."""
    return Path(f"/proc/{server.process.pid}/root{server.data}")


def mounted_anew(server: Server, options: str) -> None:
    """Change the disk under a running service."""
    into = ["nsenter", "-t", str(server.process.pid), "-m", "mount", "-o", f"remount,{options}", str(server.data)]
    subprocess.run(into, check=True, capture_output=True)


@pytest.fixture
def on_a_disk(start: Start, tmp_path: Path) -> Callable[[str], Server]:
    """A service whose data folder is a file system of its own, in memory. Skips where none may be mounted."""

    def go(then: str = "true", **how: Path) -> Server:
        data = tmp_path / "data"
        data.mkdir()
        mount = f"mount -t tmpfs -o size=1g none {data}"
        if subprocess.run([*OWN_MOUNTS, mount], capture_output=True).returncode:
            pytest.skip("nothing may be mounted here")
        return start(before=(*OWN_MOUNTS, f'{mount} && {then} && exec "$@"', "sh"), **how)

    return go


def test_a_full_disk_refuses_pictures_and_is_gone_on_with_once_there_is_room(
    on_a_disk: Callable[..., Server], tmp_path: Path
):
    """F4: below the reserve pictures are refused and people go on judging; then not a byte is left."""
    server, journal = on_a_disk(), tmp_path / "journal.jsonl"
    load = Load(server.address, journal, "full", clients=2)
    load.wait(2)
    where = server.send(png("bad", 98), key="judged").headers["location"]
    mounted_anew(server, "size=100m")
    load.wait(2, 507)
    load.stop()
    said = {"verdict": "bad"}
    assert server.send(png("good", 99)).status_code == 507 and not server.client.get("/readyz").json()["ready"]
    assert server.client.post(f"{where}/verdicts", json=said).status_code == 201
    used = shutil.disk_usage(seen_inside(server)).used
    mounted_anew(server, f"size={used}")
    statuses = [server.client.post(f"{where}/verdicts", json=said).status_code for _ in range(60)]
    assert set(statuses) <= {201, 507} and statuses[-1] == 507
    assert server.get("/v1/inspections", limit=1)["inspections"] and server.get("/livez") == {"live": True}
    mounted_anew(server, "size=1g")
    assert server.send(png("good", 99), key="after").status_code == 201
    assert len(server.get(where)["verdicts"]) == 1 + statuses.count(201)
    copy = tmp_path / "copy"
    shutil.copytree(seen_inside(server), copy)  # nobody writes; it goes with the service's mounts
    assert server.stop() == 0
    with sqlite3.connect(copy / "store.sqlite") as connection:
        rows = {key for (key,) in connection.execute("SELECT key FROM inspections")}
    answered = {each["key"] for each in entries(journal) if each["what"] == "answered"}
    assert answered and rows - {"judged", "after"} >= answered
    assert {each["status"] for each in entries(journal) if each["what"] == "refused"} == {507}


def test_a_disk_without_a_name_more_refuses_and_recovers(on_a_disk: Callable[..., Server]):
    """F6: no inodes."""
    server = on_a_disk()
    assert server.send(png("good", 1)).status_code == 201
    used = os.statvfs(seen_inside(server))
    mounted_anew(server, f"nr_inodes={used.f_files - used.f_ffree}")
    assert server.send(png("good", 2)).status_code == 507
    mounted_anew(server, "nr_inodes=1m")
    assert server.send(png("good", 2)).status_code == 201
    assert server.stop() == 0


def test_on_a_disk_that_can_only_be_read_it_does_not_start_and_says_so(
    on_a_disk: Callable[..., Server], tmp_path: Path
):
    """F6."""
    server = on_a_disk(f"mount -o remount,ro {tmp_path / 'data'}")
    assert server.address == "" and server.process.returncode == 1
    assert "can only be read" in "".join(server.said) and "Traceback" not in "".join(server.said)


def test_without_a_file_more_to_open_a_picture_is_refused_and_the_next_one_is_not(start: Start):
    """F6: no descriptors. What is connected is answered."""
    server = start()
    assert server.send(png("good", 1)).status_code == 201
    process, least = server.process.pid, len(os.listdir(f"/proc/{server.process.pid}/fd"))
    before = resource.prlimit(
        process, resource.RLIMIT_NOFILE, (least, resource.prlimit(process, resource.RLIMIT_NOFILE)[1])
    )
    assert server.send(png("good", 2)).status_code in (503, 507)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.address}/livez", timeout=0.5)
    resource.prlimit(process, resource.RLIMIT_NOFILE, before)
    assert server.send(png("good", 2)).status_code == 201
    assert httpx.get(f"{server.address}/livez", timeout=30).json() == {"live": True}


def test_a_limit_on_the_size_of_files_ends_it_and_loses_nothing(start: Start, tmp_path: Path):
    """F5: pictures still fit, the store's log does not."""
    server, journal = start(), tmp_path / "journal.jsonl"
    load = Load(server.address, journal, "limited", clients=2)
    while (tmp_path / "data" / "store.sqlite-wal").stat().st_size < 50_000:
        load.wait(1)
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (50_000, limits[1]))
    assert server.process.wait(60) == 1
    load.stop()
    assert start().stop() == 0
    nothing_wrong(journal, tmp_path / "data")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["moved", "locked"])
def test_a_store_that_cannot_be_reached_is_not_ready_and_none_is_made_anew(start: Start, tmp_path: Path, fault: str):
    """F10: its folder is renamed, or another program holds the store."""
    server, journal, data, aside = start(), tmp_path / "journal.jsonl", tmp_path / "data", tmp_path / "aside"
    load = Load(server.address, journal, "before", clients=1)
    load.wait(2)
    load.stop()
    if fault == "moved":
        data.rename(aside)
        assert server.send(png("bad", 99)).status_code in (503, 507)
        assert not server.client.get("/readyz").json()["ready"]
    else:
        other = sqlite3.connect(data / "store.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        assert server.send(png("bad", 99)).status_code == 503
        other.close()
    assert server.process.wait(60) == 1
    if fault == "moved":
        assert not data.exists()
        aside.rename(data)
    assert start().stop() == 0
    nothing_wrong(journal, data)


def test_a_torn_log_loses_the_newest_rows_alone(start: Start, tmp_path: Path):
    """F12: cut at every 512 bytes of its last frames."""
    server, journal, data = start(), tmp_path / "journal.jsonl", tmp_path / "data"
    load = Load(server.address, journal, "torn", clients=2)
    load.wait(8)
    server.stop(signal.SIGKILL)
    load.stop()
    log = (data / "store.sqlite-wal").read_bytes()
    whole, copy, kept = keys_of(data / "store.sqlite", log, tmp_path / "whole"), tmp_path / "copy", set()
    for cut in range(len(log) - 20 * 512, len(log), 512):
        found = keys_of(data / "store.sqlite", log[:cut], copy)
        assert found == whole[: len(found)], f"cut at {cut}"
        kept.add(len(found))
    assert len(whole) > 3 and min(kept) < len(whole)


def keys_of(store: Path, log: bytes, place: Path) -> list[str]:
    """Keys in a sound copy of a store with this log, the oldest first."""
    place.mkdir(exist_ok=True)
    shutil.copy(store, place / "store.sqlite")
    (place / "store.sqlite-shm").unlink(missing_ok=True)
    (place / "store.sqlite-wal").write_bytes(log)
    opened = sqlite3.connect(place / "store.sqlite")
    assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = [key for (key,) in opened.execute("SELECT key FROM inspections ORDER BY seq")]
    opened.close()
    return found


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(days=-1), datetime(1970, 1, 1, tzinfo=UTC)])
def test_a_clock_that_jumps_changes_no_order(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, step: timedelta | datetime
):
    """F16: times go back, the order of answers and which verdict is in force do not."""

    class Jumped(datetime):
        @classmethod
        def now(cls, tz=None) -> datetime:
            return step if isinstance(step, datetime) else datetime.now(tz) + step

    (tmp_path / "data").mkdir()
    serving = Serving(data=tmp_path / "data", computes=Computes("onnxruntime", "fp32", 1))
    with opened([model], serving) as parts:
        answers = []
        for seed in range(4):
            if seed == 2:
                monkeypatch.setattr(inspection, "datetime", Jumped)
            answers.append(parts.inspector._inspect(Sent(png("bad", seed), key=str(seed))).json)
        rows = parts.store.read(lambda c: newest(c, Filters(), None, 9))
        assert [row.answer for row in rows] == answers[::-1]
        assert (rows[0].time < rows[2].time) == (step != timedelta(hours=1))
        for verdict in ("bad", "good"):
            parts.store.write(lambda c, said=verdict: add_verdict(c, rows[2].id, said, "me", ""))
        assert parts.store.read(lambda c: newest(c, Filters(), None, 9))[2].verdict == "good"
        assert parts.inspector._inspect(Sent(png("bad", 3), key="3")).repeated


def test_verdicts_given_while_they_are_read_are_of_the_next_moment(tmp_path: Path, model: Path):
    """F21: what is exported or copied is one moment."""
    (tmp_path / "data").mkdir()
    serving = Serving(data=tmp_path / "data", computes=Computes("onnxruntime", "fp32", 1))
    with opened([model], serving) as parts:
        where = json.loads(parts.inspector._inspect(Sent(png("bad"))).json)["id"]
        judge = lambda said: parts.store.write(lambda c: add_verdict(c, where, said, "me", ""))  # noqa: E731
        judge("bad")
        with snapshot(parts.store.url) as moment:
            said = [each.verdict for each in newest(moment, Filters(), None, 9)]
            judge("good")
            assert [each.verdict for each in newest(moment, Filters(), None, 9)] == said == ["bad"]
        assert parts.store.read(lambda c: newest(c, Filters(), None, 9))[0].verdict == "good"


def test_sigterm_under_load_answers_what_was_accepted_and_ends_well(start: Start, tmp_path: Path):
    """F17."""
    server, journal = start(), tmp_path / "journal.jsonl"
    load = Load(server.address, journal, "asked", clients=6)
    load.wait(6)
    assert server.stop(signal.SIGTERM) == 0
    load.stop()
    assert {each["what"] for each in entries(journal)} == {"sent", "answered"}
    nothing_wrong(journal, tmp_path / "data")
    assert "Traceback" not in "".join(server.said)


def test_stopped_for_a_while_it_goes_on_where_it_was(start: Start, tmp_path: Path):
    """F17: whoever waits gets an answer: that of the picture, or that it took too long to arrive and was not kept."""
    server, journal = start("--receive-seconds", "1"), tmp_path / "journal.jsonl"
    load = Load(server.address, journal, "stopped")
    load.wait(2)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(4)
    before = len(entries(journal))
    server.process.send_signal(signal.SIGCONT)
    load.wait(2)
    load.stop()
    seen = entries(journal)
    assert server.stop() == 0 and len(seen) > before
    assert {each["status"] for each in seen if each["what"] == "refused"} <= {408}
    assert sum(each["what"] == "sent" for each in seen) == sum(each["what"] in ("answered", "refused") for each in seen)
    nothing_wrong(journal, tmp_path / "data")


def test_decoders_that_die_under_load_cost_at_most_their_pictures(start: Start, tmp_path: Path):
    """F24: a picture that one had is not inspected, never good, and others take their place."""
    server, journal = start(), tmp_path / "journal.jsonl"
    load = Load(server.address, journal, "decoders")
    task = Path(f"/proc/{server.process.pid}/task")
    for _ in range(4):
        load.wait(2)
        for child in {child for each in task.glob("*/children") for child in each.read_text().split()}:
            os.kill(int(child), signal.SIGSEGV)
    load.wait(2)
    load.stop()
    assert server.send(png("good", 99), key="after").status_code == 201
    assert server.stop() == 0
    found = check(entries(journal), tmp_path / "data", f"sqlite:///{tmp_path / 'data' / 'store.sqlite'}")
    refused = [each for each in entries(journal) if each["what"] == "refused"]
    assert {each["status"] for each in refused} <= {422, 503}, "503: there was none to take its place yet; not kept"
    hit = {each["key"] for each in refused if each["status"] == 422}
    assert set(found.pop("altered")) <= hit and set(found.pop("refused_but_stored")) == hit
    assert found.pop("phantom") == ["after"] and found == {kind: [] for kind in found}
