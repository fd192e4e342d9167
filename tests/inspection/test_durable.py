import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from weakspot import durable
from weakspot.durable import (
    make_folder,
    new_folder,
    refuse_below,
    refuse_unwritable,
    remove_leftovers,
    replacing,
    write_durably,
    write_together,
)
from weakspot.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_written_over(tmp_path):
    for content in (b"one", b"two"):
        write_durably(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
def test_the_earlier_file_survives_whatever_fails(tmp_path, monkeypatch, call, number):
    write_durably(tmp_path / "file", b"earlier")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable.os, call, fail)
    with pytest.raises(OutputError, match="cannot be written"):
        write_durably(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"earlier"
    assert names(tmp_path) == ["file"]


def test_files_that_belong_together_are_all_the_earlier_ones_where_the_disk_is_full_at_the_last(tmp_path, monkeypatch):
    earlier = {tmp_path / name: b"earlier" for name in ("one", "two", "three")}
    write_together(earlier)
    real = durable._new_file_beside

    class Full(io.BytesIO):
        name = ""

        def write(self, _):
            raise OSError(errno.ENOSPC, "full")

    def new_file(target, mode):
        file = real(target, mode)
        if target.name != "three":
            return file
        full = Full()
        full.name = file.name
        file.close()
        return full

    monkeypatch.setattr(durable, "_new_file_beside", new_file)
    with pytest.raises(OutputError, match="three: cannot be written: the disk is full"):
        write_together(dict.fromkeys(earlier, b"new"))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == earlier


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_files_that_belong_together_are_all_the_earlier_ones_where_any_sync_fails(tmp_path, monkeypatch, failing):
    earlier = {tmp_path / name: b"earlier" for name in ("one", "two", "three")}
    write_together(earlier)
    real, syncs = os.fsync, []

    def fsync(descriptor):
        syncs.append(descriptor)
        if len(syncs) == failing:
            raise OSError(errno.ENOSPC, "full")
        real(descriptor)

    monkeypatch.setattr(durable.os, "fsync", fsync)
    with pytest.raises(OutputError, match="the disk is full"):
        write_together(dict.fromkeys(earlier, b"new"))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == earlier


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    refuse_unwritable(tmp_path / "new" / "folder")
    assert names(tmp_path / "new" / "folder") == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        refuse_unwritable(tmp_path / "file" / "folder")


def test_a_failed_sync_is_not_tried_again(tmp_path, monkeypatch):
    calls = []

    def fail(descriptor):
        calls.append(descriptor)
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(durable.os, "fsync", fail)
    with pytest.raises(OutputError, match="the disk failed"):
        write_durably(tmp_path / "file", b"new")
    assert len(calls) == 1


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    order = []
    fsync, rename = os.fsync, os.replace
    monkeypatch.setattr(
        durable.os,
        "fsync",
        lambda descriptor: (order.append(os.readlink(f"/proc/self/fd/{descriptor}")), fsync(descriptor)),
    )
    monkeypatch.setattr(durable.os, "replace", lambda source, target: (order.append("rename"), rename(source, target)))
    write_durably(tmp_path / "file", b"content")
    assert [Path(step).name for step in order][1:] == ["rename", tmp_path.name]
    assert order[0].endswith(".tmp")


def test_an_exception_in_the_block_leaves_nothing_behind(tmp_path):
    def stop_halfway():
        with replacing(tmp_path / "file") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("missing/file", "does not exist"),
        ("file/inside", "not a folder"),
        ("folder", "is a folder"),
        ("x" * 300, "too long"),
        ("pipe", "not a regular file"),
    ],
)
def test_places_that_cannot_be_written_are_told(tmp_path, target, told):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match=told) as refused:
        write_durably(tmp_path / target, b"content")
    assert "\n" not in str(refused.value)


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    write_durably(tmp_path / ("x" * 255), b"content")
    assert names(tmp_path) == ["x" * 255]


def test_a_link_is_followed_not_replaced(tmp_path):
    (tmp_path / "real").write_bytes(b"earlier")
    (tmp_path / "link").symlink_to("real")
    write_durably(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_full_disk_is_told_and_the_earlier_file_survives(tmp_path):
    """A limit on file size stands in for a full disk: the first write is short, as it is there."""
    write_durably(tmp_path / "file", b"earlier")
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from weakspot.durable import write_durably; from weakspot.errors import OutputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_durably(Path(sys.argv[1]), bytes(100_000))\n"
        "except OutputError as error: print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "file"], capture_output=True, text=True, check=True
    ).stdout
    assert "cannot be written" in told
    assert (tmp_path / "file").read_bytes() == b"earlier"
    assert names(tmp_path) == ["file"]


def test_folders_are_made_with_those_above_them(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file of that name is in the way"):
        make_folder(tmp_path / "file")


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path):
    for name in (".weakspot-0123.tmp", "kept.tmp", ".weakspot-kept"):
        (tmp_path / name).write_text("")
    for name in (".weakspot-4567.tmp", "folder.tmp"):
        (tmp_path / name / "good").mkdir(parents=True)
        (tmp_path / name / "good" / "a.png").write_text("")
    os.symlink(tmp_path / "folder.tmp", tmp_path / ".weakspot-link.tmp")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".weakspot-kept", ".weakspot-link.tmp", "folder.tmp", "kept.tmp"]
    assert names(tmp_path / "folder.tmp") == ["good"]


def test_an_empty_folder_is_filled_with_its_last_file_last(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    moved, rename = [], os.rename
    monkeypatch.setattr(durable.os, "rename", lambda old, new: (moved.append(Path(new).name), rename(old, new)))
    with new_folder(tmp_path / "empty") as staging:
        (staging / "a.csv").write_text("all of it")
        for name in ("good", "z"):
            (staging / name).mkdir()
        assert staging.parent == tmp_path / "empty", "on the same disk, whatever is mounted there"
    assert moved == ["good", "z", "a.csv"] and names(tmp_path / "empty") == ["a.csv", "good", "z"]


@pytest.mark.parametrize("inside", ["parts/good/run", "parts", "parts/../parts/run", "link/run"])
def test_an_output_in_what_is_read_is_refused(tmp_path: Path, inside: str):
    (tmp_path / "parts" / "good").mkdir(parents=True)
    os.symlink(tmp_path / "parts", tmp_path / "link")
    with pytest.raises(OutputError, match="lies in .*parts, whose pictures its own would join"):
        refuse_below(tmp_path / inside, tmp_path / "parts")
    refuse_below(tmp_path / "parts run", tmp_path / "parts")
    refuse_below(tmp_path / "run", tmp_path / "parts.csv")
