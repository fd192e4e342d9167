"""System calls of a real service under strace: killed at one, one that fails or takes long, and their order.

What was answered is there afterwards, and nothing is answered that is not. Disks and limits are in test_faults_disk.py.

Kills at random moments are in test_kills.py, decoders that die in test_safety.py.
"""

import hashlib
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.service.ledger import entries, nothing_wrong
from tests.service.load import Load
from tests.service.server import Server, png

Start = Callable[..., Server]
SYNCS = "fsync,fdatasync"


@contextmanager
def traced(server: Server, *what: str, seconds: float = 30) -> Iterator[Path]:
    """strace on a running service; the file of what it saw."""
    if shutil.which("strace") is None:
        pytest.skip("no strace here: apt-get install strace")
    trace = server.data.parent / "trace"
    words = ["strace", "-f", "-y", "-s", "12", "-o", str(trace), *what, "-p", str(server.process.pid)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    if "attached" not in first:
        process.wait(seconds)
        pytest.skip(f"strace may not look at another process here: {first.strip()}")
    try:
        yield trace
    finally:
        process.terminate()
        process.communicate(timeout=seconds)


def injected(call: str, what: str) -> tuple[str, ...]:
    """Words for strace: let `what` happen at a system call."""
    return "-e", f"trace={call}", "-e", f"inject={call}:{what}"


def refused(server: Server, picture: bytes, key: str | None = None) -> int:
    """Send one that cannot be kept → the status; 0 where the service ended first."""
    try:
        return server.send(picture, key=key).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.slow
def test_killed_at_system_calls_it_loses_nothing_and_leaves_nothing(start: Start, tmp_path: Path):
    """F2, sampled: the counts of strace are a thread's own, so that each call is met in several places of the work."""
    places = [("fsync", 2), ("fdatasync", 3), ("pwrite64", 5), ("sendto", 4)]
    journal = tmp_path / "journal.jsonl"
    for call, at in places:
        server = start()
        with traced(server, *injected(call, f"signal=SIGKILL:when={at}")):
            load = Load(server.address, journal, f"{call}-{at}")
            assert server.process.wait(60) == -signal.SIGKILL, call
            load.stop()
    assert start().stop() == 0
    nothing_wrong(journal, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.tmp"))


def test_a_sync_that_fails_answers_no_picture_and_ends_it(start: Start, tmp_path: Path):
    """F3: the first sync that fails is that of the store's log; the next one may lie and is not asked."""
    server, journal = start(), tmp_path / "journal.jsonl"
    load = Load(server.address, journal, "before", clients=1)
    load.wait(2)
    load.stop()
    unsure = png("bad", 99)
    with traced(server, *injected("fdatasync", "error=EIO:when=1")):
        assert refused(server, unsure, key="unsure") in (503, 0)
        assert server.process.wait(60) == 1
    assert "the store failed" in "".join(server.said)
    again = start()  # the system may have kept the row or not: whoever sends it again gets one answer
    answer = again.send(unsure, key="unsure")
    assert answer.status_code in (200, 201) and again.send(unsure, key="unsure").json() == answer.json()
    again.stop()
    about = {"key": "unsure", "sha256": hashlib.sha256(unsure).hexdigest()}
    with open(journal, "a") as file:
        for entry in ({"what": "sent", **about}, {"what": "answered", **about, "answer": answer.json()}):
            file.write(json.dumps(entry) + "\n")
    nothing_wrong(journal, tmp_path / "data")


def test_a_picture_whose_sync_fails_is_not_answered(start: Start, tmp_path: Path):
    """F3 on the way to the store."""
    server = start()
    with traced(server, *injected("fsync", "error=EIO:when=1")):
        assert refused(server, png("bad", 99)) in (503, 507, 0)
    server.stop()
    assert start().get("/v1/inspections")["inspections"] == []


def test_on_a_slow_disk_some_are_refused_and_health_is_told(start: Start, tmp_path: Path):
    """F8: each sync takes a fifth of a second longer."""
    server, journal = start("--queue", "2"), tmp_path / "journal.jsonl"
    with traced(server, *injected(SYNCS, "delay_exit=200000")):
        load = Load(server.address, journal, "slow", clients=6)
        load.wait(2)
        load.wait(2, 503)
        assert server.get("/livez") == {"live": True}
        load.stop()
    assert server.stop() == 0
    assert {each["what"] for each in entries(journal)} == {"sent", "answered", "refused"}
    assert {each["status"] for each in entries(journal) if each["what"] == "refused"} == {503}
    nothing_wrong(journal, tmp_path / "data")


def test_no_answer_is_sent_before_picture_and_row_are_synced(start: Start):
    """F9: in the order of the system calls."""
    server = start()
    with traced(server, "-e", "trace=fsync,fdatasync,rename,pwrite64,sendto") as trace:
        for number in range(5):
            assert server.send(png("good", 100 + number)).status_code == 201
    answers = trace.read_text().split('"HTTP/1.1 201')[:-1]
    assert len(answers) == 5
    steps = (r"fsync\(\d+<[^>]*\.tmp>\) += 0", r"rename\(", r"fsync\(\d+<[^>]*/pictures/..>\) += 0",
             r"pwrite64\(\d+<[^>]*-wal>", r"fdatasync\(\d+<[^>]*-wal>\) += 0")  # fmt: skip
    for before in map(finished, answers):
        assert re.search(".*?".join(steps), before, re.DOTALL), before


def finished(trace: str) -> str:
    """A trace in which calls that others interrupted stand where they ended."""
    begun: dict[tuple[str, str], str] = {}
    lines = []
    for line in trace.splitlines():
        if match := re.match(r"(\d+) +(\w+)(\(.*) <unfinished \.\.\.>", line):
            begun[match[1], match[2]] = match[3]
        elif match := re.match(r"(\d+) +<\.\.\. (\w+) resumed>(.*)", line):
            lines.append(f"{match[1]} {match[2]}{begun.pop((match[1], match[2]), '(')}{match[3]}")
        else:
            lines.append(line)
    return "\n".join(lines)
