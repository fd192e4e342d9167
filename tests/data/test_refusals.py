"""What must not be judged is refused by a sentence, in little memory; and so are files that are no files."""

import os
import resource
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import encoded, hostile_images, surface, tiff
from weakspot.data import reading
from weakspot.data.reading import decode_image, read_image
from weakspot.errors import ImageError
from weakspot.settings import ReadSettings

SETTINGS = ReadSettings()
CHILD = """
import resource, sys
from tests.hostile import refused_images
from weakspot.data.reading import decode_image
from weakspot.errors import ImageError
from weakspot.settings import ReadSettings
pictures = list(refused_images())
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, data in pictures:
    try:
        decode_image(data, name, ReadSettings())
        sys.exit(f"{name} was read")
    except ImageError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024)
"""


@pytest.mark.parametrize(
    ("name", "data"), list(hostile_images()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_hostile_pictures_are_refused_in_one_line_or_read(name, data):
    if name.startswith("read_"):
        assert decode_image(data, name, SETTINGS).pixels.size
        return
    with pytest.raises(ImageError) as error:
        decode_image(data, name, SETTINGS)
    message = str(error.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    assert any(word in message for word in ("export", "copy", "save", "take", "raise")), "a way out is missing"


def test_refusing_takes_little_memory():
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    ran = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, env=environment, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < 300  # megabytes


def test_every_cut_of_a_picture_is_refused():
    for form in ("PNG", "JPEG", "BMP", "TIFF"):
        data = encoded(surface(48, 64, 3), form)
        for length in range(0, len(data), max(1, len(data) // 40)):
            with pytest.raises(ImageError):
                decode_image(data[:length], "cut", SETTINGS)


def test_what_a_refusal_quotes_of_a_file_is_shown_in_one_line():
    named = struct.pack("<HHIHH", 259, 3, 1, 1, 0), struct.pack("<HHI2sH", 259, 2, 2, b"\1\0", 0)
    data = tiff(16, 16, 8, bytes(256))
    assert named[0] in data
    with pytest.raises(ImageError, match=r"a TIFF compressed with") as told:
        decode_image(data.replace(*named), "a.tif", SETTINGS)
    assert str(told.value).isprintable()


def test_half_a_jpeg_is_refused_and_named(tmp_path):
    path = tmp_path / "part 7.jpg"
    data = encoded(surface(channels=3), "JPEG")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"part 7\.jpg: cut short"):
        read_image(path, SETTINGS)


def refused_file(path):
    with pytest.raises(ImageError) as error:
        read_image(path, SETTINGS)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_that_are_no_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    (tmp_path / "folder.png").mkdir()
    assert "a pipe" in refused_file(tmp_path / "pipe.png")
    assert "no such file" in refused_file(tmp_path / "dangling.png")
    assert "cannot be opened" in refused_file(tmp_path / "circle.png")
    assert "a folder" in refused_file(tmp_path / "folder.png")
    assert "no such file" in refused_file(tmp_path / "vanished.png")
    assert "a device" in refused_file(Path("/dev/zero"))
    assert "cannot be opened" in refused_file(tmp_path / "a\0b.png")
    assert "cannot be opened" in refused_file(tmp_path / ("long" * 100))


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.png")
        assert "cannot be opened" in refused_file(Path("s.png"))


def test_a_file_of_ten_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(10 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "10.7 GB" in refused_file(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "locked.png"
    path.write_bytes(encoded(surface(), "PNG"))
    path.chmod(0)
    assert "permission denied" in refused_file(path)


@pytest.mark.parametrize(
    "name",
    [
        "with space.png",
        "Größe 真.png",
        "-rf.png",
        "new\nline.png",
        "tab\t.png",
        "=cmd|x.png",
        "\u202egnp.exe.png",
        "é".encode().hex(),
    ],
)
def test_names_of_all_kinds_are_read_and_shown_in_one_line(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded(surface(), "PNG"))
    assert read_image(path, SETTINGS).pixels.shape == (120, 96)
    path.write_bytes(b"")
    message = refused_file(path)
    assert message.isprintable()


def test_a_name_that_is_not_utf8_is_read_and_shown(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    path.write_bytes(encoded(surface(), "PNG"))
    assert read_image(path, SETTINGS).pixels.shape == (120, 96)
    path.write_bytes(b"")
    refused_file(path).encode("utf-8")


def test_too_little_memory_is_no_fault_of_the_picture(monkeypatch):
    def decode(*_):
        raise MemoryError

    monkeypatch.setitem(reading.DECODERS, "PNG", decode)
    with pytest.raises(MemoryError):
        decode_image(encoded(surface(), "PNG"), "picture", SETTINGS)
