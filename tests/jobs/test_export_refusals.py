"""What `weakspot export` cannot do is told in one line, and leaves nothing behind."""

import errno
import resource
import sys

import pytest
from PIL import Image

from tests.inspection.conftest import made_pixels
from tests.jobs.test_export import ENDING, TARGETS, labelled, saved
from weakspot import durable
from weakspot.errors import OutputError
from weakspot.inspection import runtimes
from weakspot.jobs.export import export


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, str]:
    """Exit status and stderr, in this process."""
    from weakspot.cli import main

    monkeypatch.setattr(sys, "argv", ["weakspot", "export", *map(str, arguments), "--threads", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("weakspot: error: "), said
    return int(ended.value.code or 0), said.err


def test_int8_without_pictures_to_calibrate_by(tmp_path, capsys, monkeypatch):
    status, said = refused(capsys, monkeypatch, saved(tmp_path), "--precision", "int8", "-o", tmp_path / "part.onnx")
    assert status == 2 and "add --calibrate DATA" in said


@pytest.mark.parametrize("there", ["part.onnx", "part.json"])
def test_what_is_there_already_stays(tmp_path, capsys, monkeypatch, there):
    (tmp_path / there).write_text("of another program")
    status, said = refused(capsys, monkeypatch, saved(tmp_path), "-o", tmp_path / "part.onnx")
    assert status == 1 and f"{there}: is there already" in said
    assert (tmp_path / there).read_text() == "of another program"
    assert {path.name for path in tmp_path.iterdir()} == {there, "made.weakspot"}


def test_what_is_another_programs_and_not_in_the_way_does_not_hinder(tmp_path):
    (tmp_path / "part.bin").write_bytes(b"of another program")
    export(saved(tmp_path), "onnx", tmp_path / "part.onnx", threads=1)
    assert (tmp_path / "part.bin").read_bytes() == b"of another program"
    (tmp_path / "part2.bin").write_bytes(b"of another program")
    with pytest.raises(OutputError, match=r"part2\.bin: is there already"):
        export(tmp_path / "made.weakspot", "openvino", tmp_path / "part2.xml", threads=1)


def test_a_folder_that_is_there_already_stays(tmp_path, capsys, monkeypatch):
    (tmp_path / "models").mkdir()
    status, said = refused(capsys, monkeypatch, saved(tmp_path), "-o", tmp_path / "models")
    assert status == 1 and "models: is there already" in said


def test_a_name_of_the_other_kind(tmp_path, capsys, monkeypatch):
    status, said = refused(capsys, monkeypatch, saved(tmp_path), "--to", "openvino", "-o", tmp_path / "part.onnx")
    assert status == 2 and "openvino is written as .xml" in said


def test_a_file_that_is_no_model(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.weakspot").write_bytes(b"<html>")
    status, said = refused(capsys, monkeypatch, tmp_path / "a.weakspot", "-o", tmp_path / "part.onnx")
    assert status == 1 and "begins like an HTML" in said


def test_a_missing_runtime(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runtimes, "_imported", lambda name: None if name == "openvino" else onnxruntime())
    status, said = refused(capsys, monkeypatch, saved(tmp_path), "--to", "openvino", "-o", tmp_path / "part.xml")
    assert status == 2 and "openvino: not installed; run: pip install" in said


def onnxruntime() -> object:
    import onnxruntime as library

    return library


def test_a_missing_nncf_is_named_with_its_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    data = labelled(tmp_path / "parts", 1)
    options = ("--precision", "int8", "--calibrate", data, "-o", tmp_path / "part.onnx")
    assert refused(capsys, monkeypatch, saved(tmp_path), *options) == (
        1,
        "weakspot: error: nncf is not installed, and this verb needs it; run: pip install 'weakspot[export]'\n",
    )


@pytest.mark.parametrize(
    ("size", "colour", "said"),
    [((70, 96), False, "70x96 pixels, where the export takes 128x192"), ((128, 192), True, "grey")],
)
def test_a_picture_to_calibrate_by_of_another_size_or_kind(tmp_path, capsys, monkeypatch, size, colour, said):
    data = labelled(tmp_path / "parts", 1)
    pixels = made_pixels(100, 1, (*size, 3) if colour else size)
    Image.fromarray(pixels).save(data / "good" / "0.png")
    model = saved(tmp_path, (128, 192))
    options = ("--precision", "int8", "--calibrate", data, "-o", tmp_path / "part.onnx", "--picture-size", "128x192")
    Image.fromarray(made_pixels(200, 2, (128, 192))).save(data / "bad" / "0.png")
    status, told = refused(capsys, monkeypatch, model, *options)
    assert status == 1 and said in told and "good/0.png" in told
    assert not list(tmp_path.glob("part.*"))


def test_a_picture_size_of_other_proportions(tmp_path, capsys, monkeypatch):
    options = ("--picture-size", "64x600", "-o", tmp_path / "part.onnx")
    status, told = refused(capsys, monkeypatch, saved(tmp_path), *options)
    assert status == 1 and "600 × 64 pixels, of other proportions" in told


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", ["part", "models"])
@pytest.mark.parametrize("size", [0, 1000, None])
def test_a_full_disk_leaves_nothing(tmp_path, capsys, monkeypatch, to, name, size):
    model = saved(tmp_path)
    output = tmp_path / (f"part{ENDING[to]}" if name == "part" else name)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size is None:  # only where it is to appear
        monkeypatch.setattr(durable, "_sync", no_space)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        status, told = refused(capsys, monkeypatch, model, "--to", to, "-o", output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 1 and ("another place" in told or "free space" in told), told
    assert {path.name for path in tmp_path.iterdir()} == {"made.weakspot"}


def no_space(_: object) -> None:
    raise OSError(errno.ENOSPC, "full")
