"""Model files that are not as they were written: every byte counts, and nothing of another format is opened."""

import hashlib
import io
import json
import os
import pickle
import random
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuzzing import damaged
from weakspot.errors import ModelFileError
from weakspot.inspection.container import pack
from weakspot.inspection.model_file import read_model_file

MEMBERS = ["manifest.json", "manifest.sha256", "weights.safetensors", "graph.onnx", "selftest.png", "card.md"]


def test_one_flipped_bit_anywhere_is_refused(model_path):
    """Every byte of the zip's own headers and of the manifest's checksum, and many of the rest."""
    whole = model_path.read_bytes()
    headers = [whole.index(name.encode()) - 30 for name in MEMBERS]
    frame = [place for start in headers for place in range(start, start + 50)] + list(
        range(whole.index(b"PK\x01\x02"), len(whole))
    )
    checksum = range(headers[1], headers[2])
    places = {
        *frame,
        *checksum,
        *random.Random(0).sample(range(len(whole)), 150),
        *random.Random(1).sample(range(headers[1]), 150),
    }
    for place in places:
        altered = bytearray(whole)
        altered[place] ^= 1 << (place % 8)
        model_path.write_bytes(altered)
        with pytest.raises(ModelFileError, match=r"made.weakspot"):
            read_model_file(model_path)
    model_path.write_bytes(whole)
    read_model_file(model_path)


def test_a_file_cut_short_is_refused_as_such(model_path):
    whole = model_path.read_bytes()
    for part in range(1, 64):
        model_path.write_bytes(whole[: len(whole) * part // 64])
        with pytest.raises(ModelFileError, match="cut short"):
            read_model_file(model_path)
    model_path.write_bytes(whole[:-1])
    with pytest.raises(ModelFileError, match="cut short"):
        read_model_file(model_path)


@pytest.mark.parametrize("tail", [b"\0", b"more", bytes(100_000)])
def test_trailing_bytes_are_refused(model_path, tail):
    model_path.write_bytes(model_path.read_bytes() + tail)
    with pytest.raises(ModelFileError, match="no member accounts for|cut short"):
        read_model_file(model_path)


class Canary:
    """A pickle that makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_other_formats_under_our_extension_are_named_and_not_opened(tmp_path):
    other_zip = io.BytesIO()
    with zipfile.ZipFile(other_zip, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary(tmp_path / "canary")))
    longer_name = io.BytesIO()
    pack({"manifest.json2": b"{}"}, longer_name)
    kinds = {
        "a pickle": pickle.dumps(Canary(tmp_path / "canary")),
        "a zip archive of another kind": other_zip.getvalue(),
        "a zip archive": longer_name.getvalue(),
        "an HTML or XML page": b"\n <!DOCTYPE html><html><body>Sign in to the proxy</body></html>" * 3,
        "a file of another kind": random.Random(1).randbytes(500),
        "0 bytes": b"",
    }
    for kind, content in kinds.items():
        (tmp_path / "x.weakspot").write_bytes(content)
        with pytest.raises(ModelFileError, match=kind):
            read_model_file(tmp_path / "x.weakspot")
    assert not (tmp_path / "canary").exists()


def test_a_refusal_does_not_quote_the_file_at_length(model_path):
    """zipfile does: a header that says its name is 64 kB long is shown with all of that."""
    whole = bytearray(model_path.read_bytes())
    header = whole.rindex(b"PK\x03\x04", 0, whole.rindex(b"graph.onnx", 0, whole.index(b"PK\x01\x02")))
    whole[header + 26 : header + 28] = (2500).to_bytes(2, "little")
    model_path.write_bytes(whole)
    with pytest.raises(ModelFileError, match="was altered") as refused:
        read_model_file(model_path)
    assert len(str(refused.value).removeprefix(str(model_path))) < 400


def test_an_ordinary_zip_of_the_same_members_is_refused(model_path, members_of):
    """Compressed, dated or reordered by a zip tool: the content may be the same, but nobody has vouched for it."""
    members = members_of(model_path)
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(model_path, "w", how) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        with pytest.raises(ModelFileError, match="altered"):
            read_model_file(model_path)


def test_a_missing_an_extra_and_a_renamed_member_are_refused(model_path, members_of):
    members = members_of(model_path)
    changes = [
        {name: data for name, data in members.items() if name != "card.md"},
        {**members, "extra.txt": b"x"},
        {("graph.bin" if name == "graph.onnx" else name): data for name, data in members.items()},
        {("../../x" if name == "card.md" else name): data for name, data in members.items()},
    ]
    for changed in changes:
        with open(model_path, "wb") as file:
            pack(changed, file)
        with pytest.raises(ModelFileError):
            read_model_file(model_path)


def test_random_damage_ends_in_a_refusal_or_in_the_same_model(model_path, model, same):
    """Bytes changed, removed, doubled, swapped: never anything else than ModelFileError or an equal model."""
    chance = random.Random(5)
    whole, original = model_path.read_bytes(), read_model_file(model_path)
    for _ in range(500):
        model_path.write_bytes(damaged(whole, chance))
        with suppress(ModelFileError):
            assert same(read_model_file(model_path), original)


def test_damage_with_fitting_checksums_ends_in_a_refusal_or_a_model(model_path, members_of, repack):
    """As above inside the manifest and the weights' header, where the checksums cannot help."""
    chance = random.Random(6)
    members = members_of(model_path)
    for _ in range(400):
        name = chance.choice(["manifest.json", "weights.safetensors"])
        altered = bytearray(members[name])
        for _ in range(chance.randint(1, 3)):
            altered[chance.randrange(min(len(altered), 3000))] = chance.choice(b'0123456789-.,:[]{}"aeN\x00\xff')
        changed = {**members, name: bytes(altered)}
        if name == "weights.safetensors":
            plain = json.loads(members["manifest.json"])
            plain["members"][name] = hashlib.sha256(changed[name]).hexdigest()
            changed["manifest.json"] = json.dumps(plain).encode()
        with suppress(ModelFileError):
            read_model_file(repack(model_path, changed))


def test_what_is_no_regular_file_is_refused(tmp_path, model_path):
    (tmp_path / "link.weakspot").symlink_to(model_path.name)
    (tmp_path / "dangling.weakspot").symlink_to("nowhere")
    (tmp_path / "loop.weakspot").symlink_to("loop.weakspot")
    (tmp_path / "named").symlink_to(model_path.parent)
    (tmp_path / "folder.weakspot").mkdir()
    os.mkfifo(tmp_path / "pipe.weakspot")
    assert read_model_file(tmp_path / "named" / model_path.name).sha256, "a folder may be reached by a link"
    for name, told in [
        ("link", "is a link, which may lead elsewhere tomorrow; give the path of"),
        ("dangling", "is a link"),
        ("loop", "is a link"),
        ("folder", "is a directory"),
        ("pipe", "no regular file"),
    ]:
        with pytest.raises(ModelFileError, match=told):
            read_model_file(tmp_path / f"{name}.weakspot")
    with pytest.raises(ModelFileError, match="no regular file"):
        read_model_file(Path("/dev/zero"))


def test_a_huge_sparse_file_is_refused_by_its_size(tmp_path):
    with open(tmp_path / "huge.weakspot", "wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(ModelFileError, match="a file of 10,737,418,240 bytes"):
        read_model_file(tmp_path / "huge.weakspot")


def test_a_name_is_shown_in_one_line(tmp_path):
    with pytest.raises(ModelFileError) as refused:
        read_model_file(tmp_path / "a\nb\u202e.weakspot")
    assert "a\\nb\\u202e.weakspot: cannot be read (no such file)" in str(refused.value)
