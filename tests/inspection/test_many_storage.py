"""Pictures and results in object storage, which may fail at any moment: a real server of S3 in its own process."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from weakspot.errors import DataError, OutputError, StorageError
from weakspot.inspection import cluster, storage
from weakspot.inspection.cluster import How, inspect_many

HERE = How(runtime="onnxruntime", precision="fp32", threads=1, images_a_piece=2)
SERVER = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '{}'])"
NO_SERVER = "http://127.0.0.1:9"


class Server:
    """moto's server, which forgets everything when it is killed."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER.format(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server(free_port())
    import urllib.request

    for _ in range(600):
        try:
            urllib.request.urlopen(started.address, timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    yield started
    started.kill()


@pytest.fixture
def bucket(server: Server, parts: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A new bucket with the pictures of `parts` in it."""
    known = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (known | {"AWS_ENDPOINT_URL": server.address, "AWS_MAX_ATTEMPTS": "1"}).items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    files, name = fsspec.filesystem("s3", skip_instance_cache=True), f"line-{os.urandom(4).hex()}"
    files.mkdir(name)
    files.put(str(parts), f"{name}/new", recursive=True)
    return f"s3://{name}"


def found(output: str) -> dict[str, str]:
    """Each picture's decision, from the parts that the manifest names; none may be there twice."""
    manifest = json.loads(storage.read(f"{output}/manifest.json"))
    parts = [pq.read_table(storage.opened(f"{output}/{part['file']}")).to_pylist() for part in manifest["parts"]]
    rows = [(row["image"]["path"].rpartition("/")[2], row["decision"]) for part in parts for row in part]
    assert len(dict(rows)) == len(rows)
    return dict(rows)


ALL = {"good.png": "good", "doubtful.bmp": "review", "bad.tif": "bad", "cut.png": "not inspected"}


def test_pictures_and_results_lie_in_object_storage(model_path, bucket):
    tally = inspect_many(model_path, [f"{bucket}/new"], f"{bucket}/out", HERE)
    assert (found(f"{bucket}/out"), tally.exit_status, tally.pieces) == (ALL, 1, 2)
    assert inspect_many(model_path, [f"{bucket}/new"], f"{bucket}/out", HERE).judged_now == 0
    names = {name.partition("/out/")[2] for name in storage.addresses(f"{bucket}/out")}
    assert names == {
        "plan.jsonl", "model.weakspot", "manifest.json", "parts/part-00000.parquet", "parts/part-00001.parquet",
        "done/00000.json", "done/00001.json",
    }  # fmt: skip


def test_patterns_lists_tables_and_single_objects_are_read_from_storage(model_path, bucket, tmp_path):
    import pyarrow as pa

    pq.write_table(pa.table({"path": ["new/sub/deeper/bad.tif"]}), tmp_path / "t.parquet")
    storage.write(f"{bucket}/t.parquet", (tmp_path / "t.parquet").read_bytes())
    storage.write(f"{bucket}/list.txt", b"new/good.png\nnew/gone.png\n")
    given = [f"{bucket}/list.txt", f"{bucket}/new/**/*.bmp", f"{bucket}/new/cut.png", f"{bucket}/t.parquet"]
    inspect_many(model_path, given, str(tmp_path / "out"), HERE)
    assert found(str(tmp_path / "out")) == ALL | {"gone.png": "not inspected"}


class Early:
    """Storage as it was a moment before another process wrote; without `conditions` it refuses those of writing."""

    def __init__(self, files, conditions: bool) -> None:
        self.files, self.conditions = files, conditions
        self.cat_file = files.cat_file

    def exists(self, _: str) -> bool:
        return False

    def pipe_file(self, path: str, content: bytes, mode: str = "overwrite") -> None:
        if mode == "create" and not self.conditions:
            raise OSError("501: a header you provided implies functionality that is not implemented")
        self.files.pipe_file(path, content, mode=mode)


def test_storage_says_when_something_lies_there_already(bucket, monkeypatch):
    opened, place = storage._opened, f"{bucket}/plan.jsonl"
    for conditions in (True, False):
        early = lambda place, conditions=conditions: (Early(opened(place)[0], conditions), opened(place)[1])  # noqa: E731
        monkeypatch.setattr(storage, "_opened", early)
        assert storage.create(place, b"mine")
        if conditions:
            assert not storage.create(place, b"another's")
            assert storage.create(place, b"mine"), "an answer was lost, and the request sent again"
        assert storage.read(place) == b"mine"


@pytest.mark.parametrize("conditions", ["known", "passed over"])
def test_of_two_that_begin_in_one_place_at_the_same_moment_one_is_refused(model_path, parts, monkeypatch, conditions):
    place, new_plan = f"memory://{os.urandom(4).hex()}", cluster._new_plan
    kind = type(fsspec.filesystem("memory"))
    if conditions == "passed over":
        pipe_file = kind.pipe_file
        monkeypatch.setattr(kind, "pipe_file", lambda self, path, content, mode="": pipe_file(self, path, content))

    def late(*given):
        plan = new_plan(*given)
        monkeypatch.setattr(cluster, "_new_plan", new_plan)
        time.sleep(0.002)  # so that the other one's plan has another time
        assert inspect_many(model_path, [str(parts)], place, HERE).total == 4
        return plan

    monkeypatch.setattr(cluster, "_new_plan", late)
    with pytest.raises(OutputError, match=r"was begun by another process at 2.*; wait for that one"):
        inspect_many(model_path, [str(parts)], place, replace(HERE, images_a_piece=1))
    assert found(place) == ALL
    plan = hashlib.sha256(storage.read(f"{place}/plan.jsonl")).hexdigest()
    assert json.loads(storage.read(f"{place}/manifest.json"))["plan"] == plan


def test_no_manifest_tells_of_a_plan_that_another_process_has_written_over(model_path, parts):
    place = f"memory://{os.urandom(4).hex()}"

    def written_over(*_) -> None:
        plan = storage.read(f"{place}/plan.jsonl")
        storage.write(f"{place}/plan.jsonl", plan.replace(b'"time": "2', b'"time": "3'))

    with pytest.raises(OutputError, match="was begun by another process at 3"):
        inspect_many(model_path, [str(parts)], place, HERE, written_over)
    assert not storage.is_file(f"{place}/manifest.json")


def test_a_plan_whose_model_file_is_not_there_yet_is_gone_on_with(model_path, parts):
    place = f"memory://{os.urandom(4).hex()}"
    inspect_many(model_path, [str(parts)], place, HERE)
    fsspec.filesystem("memory").rm(f"{place}/model.weakspot")
    inspect_many(model_path, [str(parts)], place, HERE)
    assert storage.read(f"{place}/model.weakspot") == model_path.read_bytes()


def test_nothing_there_is_told(model_path, bucket):
    with pytest.raises(DataError, match="no pictures found in s3://"):
        inspect_many(model_path, [f"{bucket}/nothing"], f"{bucket}/out", HERE)
    with pytest.raises(StorageError, match="no storage that can be opened"):
        inspect_many(model_path, ["nothing://a/b.png"], f"{bucket}/out", HERE)


def test_named_objects_are_never_passed_over(model_path, bucket, parts, tmp_path):
    """Whatever they are called, and where they are missing; folders that a pattern finds are looked into."""
    for name in ("plain", "a[1].png", "a1.png"):
        storage.write(f"{bucket}/odd/{name}", (parts / "good.png").read_bytes())
    given = [f"{bucket}/odd/plain", f"{bucket}/odd/a[1].png", f"{bucket}/odd/gone.png", f"{bucket}/new/su*"]
    inspect_many(model_path, given, str(tmp_path / "out"), HERE)
    assert found(str(tmp_path / "out")) == {
        "plain": "good", "a[1].png": "good", "gone.png": "not inspected", "bad.tif": "bad", "doubtful.bmp": "review"
    }  # fmt: skip
    for empty in ("nothing/", "odd/*.bmp", "nothing"):
        with pytest.raises(DataError, match=f"no pictures found in s3://.*/{re.escape(empty)}"):
            inspect_many(model_path, [f"{bucket}/new", f"{bucket}/{empty}"], f"{bucket}/other", HERE)


class Failing(BaseHTTPRequestHandler):
    """Passes on to a server until so many requests were made; then answers 503, or not at all."""

    protocol_version = "HTTP/1.1"  # clients wait for a "100 Continue" before they send an object
    target, left, way = "", 10**9, "503"

    def _answer(self) -> None:
        import http.client

        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).left -= 1
        if self.left < 0 and self.way == "hang up":
            self.close_connection = True
            return None
        if self.left < 0:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        server = http.client.HTTPConnection(self.target.removeprefix("http://"))
        server.request(self.command, self.path, content, dict(self.headers))
        answer = server.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        server.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def failing(server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Failing]]:
    Failing.target = server.address
    between = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    threading.Thread(target=between.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{between.server_port}")
    fsspec.filesystem("s3").clear_instance_cache()
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    yield Failing
    between.shutdown()
    between.server_close()


@pytest.mark.parametrize("way", ["503", "hang up"])
def test_storage_that_fails_at_any_request_leaves_all_that_can_be_gone_on_with(
    model_path, bucket, failing, monkeypatch, way
):
    """Each start gets some requests further, as long as it fails; no picture is called unreadable for it."""
    failing.way, failed = way, 0
    for requests in range(6, 200, 7):
        failing.left = requests
        with failures() as ended:
            inspect_many(model_path, [f"{bucket}/new"], f"{bucket}/out", HERE)
        if not ended:
            break
        failed += 1
        assert "the storage failed" in ended[0] and "run the same command again" in ended[0]
    failing.left = 10**9
    assert failed > 1
    assert found(f"{bucket}/out") == ALL


@contextmanager
def failures() -> Iterator[list[str]]:
    """What a StorageError in the block says."""
    said: list[str] = []
    try:
        yield said
    except StorageError as error:
        said.append(str(error))


def test_a_server_that_is_not_there_is_told(model_path, bucket, parts, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", NO_SERVER)
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StorageError, match="s3://.*the storage failed"):
        inspect_many(model_path, [str(parts)], f"{bucket}/out", HERE)
