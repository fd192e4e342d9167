"""The audit: what is in the data, what appears twice, what tells the label without the defect."""

import builtins
import json
import os
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from tests.data.test_likeness import rough
from tests.hostile import encoded, exif
from weakspot.data.audit import audit
from weakspot.data.audit_tables import audit_tables
from weakspot.data.copies import Duplicate, merge_groups
from weakspot.data.cues import find_cues
from weakspot.data.layouts import read_layout
from weakspot.errors import ImageError
from weakspot.settings import ReadSettings


def save(folder, pictures, form="PNG", **options):
    """Pictures as files 00, 01 … in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        (folder / f"{number:02}.{form.lower()}").write_bytes(encoded(picture, form, **options))


def audited(root, **settings):
    return audit(read_layout(root), ReadSettings(**settings))


def texts(found, grade=None):
    return [finding.text for finding in found.findings if grade in (None, finding.grade)]


@pytest.fixture
def parts(tmp_path):
    """Twelve good and eight bad pictures with nothing wrong."""
    pictures = rough(20, shape=(96, 80))
    save(tmp_path / "good", pictures[:12])
    save(tmp_path / "bad", pictures[12:])
    return tmp_path


def test_sound_data_have_no_findings(parts):
    found = audited(parts)
    assert texts(found) == []
    assert len(found.readable) == 20
    assert not found.duplicates
    assert found.merged() == found.samples


def test_a_file_under_both_labels_is_wrong_and_takes_no_part(parts):
    (parts / "bad" / "99.png").write_bytes((parts / "good" / "03.png").read_bytes())
    found = audited(parts)
    assert [(d.first.id, d.second.id, d.kind, d.across_labels) for d in found.duplicates] == [
        ("bad/99.png", "good/03.png", "identical", True)
    ]
    assert "called good and bad: bad/99.png and good/03.png" in texts(found, "wrong")[0]
    assert {sample.id for sample in found.merged()} == {s.id for s in found.samples} - {"bad/99.png", "good/03.png"}
    reasons = {sample.id: reason for sample, reason in found.left_out}
    assert reasons["bad/99.png"].endswith("good/03.png, which is labelled good; remove the wrong one")
    assert reasons["good/03.png"].endswith("bad/99.png, which is labelled bad; remove the wrong one")


def test_a_mirrored_copy_in_another_format_is_found(parts):
    picture = Image.open(parts / "good" / "05.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture.save(parts / "good" / "copy.jpg", quality=90)
    found = audited(parts)
    assert [(d.first.id, d.second.id, d.kind, d.turn) for d in found.duplicates] == [
        ("good/05.png", "good/copy.jpg", "near", "mirrored left–right")
    ]
    assert "good/05.png and good/copy.jpg (mirrored left–right)" in texts(found, "look")[0]
    assert found.merged()[13].group == "good/05.png+good/copy.jpg"


def test_unreadable_pictures_are_listed_and_left_out(parts):
    whole = (parts / "bad" / "00.png").read_bytes()
    (parts / "bad" / "00.png").write_bytes(whole[:500])
    (parts / "good" / "text.png").write_text("no picture")
    found = audited(parts)
    assert [sample.id for sample, _ in found.unreadable] == ["bad/00.png", "good/text.png"]
    assert "cut short" in found.unreadable[0][1]
    assert len(found.readable) == len(found.facts) == 19
    assert "2 pictures left out that cannot be read" in texts(found)[0]
    assert found.samples[0] not in found.merged()


def test_pictures_that_inspection_would_refuse_are_listed_and_left_out(parts):
    odd = {
        "one pixel": np.full((1, 1), 90, np.uint8),
        "small": rough(1, shape=(63, 80))[0],
        "blank": np.full((96, 80), 90, np.uint8),
        "red": np.full((96, 80, 3), (200, 0, 0), np.uint8),
        "deep": np.full((96, 80), 4000, np.uint16),
    }
    for name, pixels in odd.items():
        (parts / "good" / f"{name}.png").write_bytes(encoded(pixels, "PNG"))
    found = audited(parts)
    assert {sample.path.stem for sample, _ in found.unfit} == set(odd)
    reasons = " ".join(reason for _, reason in found.unfit)
    for said in (
        "one pixel.png: 1 × 1 pixels; needed are at least 64 × 64",
        "80 × 63 pixels",
        "value 90;",
        "value 200 0 0;",
        "value 4000;",
    ):
        assert said in reasons
    assert len(found.merged()) == len(found.facts) == 20
    assert not found.unreadable
    assert "5 pictures left out as too small or blank" in texts(found)[0]
    assert (found.as_dict()["counts"]["unfit"], len(found.as_dict()["unfit"])) == (5, 5)
    assert "Take no part" in {table.title for table in audit_tables(found)}


def test_nothing_readable_is_still_an_answer(tmp_path):
    for name in ("good/a.png", "bad/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = audited(tmp_path)
    assert len(found.unreadable) == 2
    assert found.merged() == []
    json.dumps(found.as_dict(), allow_nan=False)


def test_masks_that_do_not_fit_are_listed(parts):
    save(parts / "masks", [np.zeros((96, 80), np.uint8), np.eye(64, dtype=np.uint8) * 255])
    found = audited(parts)
    assert [reason.split(": ")[-1] for _, reason in found.masks] == [
        "the mask of a bad picture marks nothing",
        "export the mask again",
    ]
    assert "a mask of 64 × 64 pixels for a picture of 80 × 96" in found.masks[1][1]


def test_a_format_that_gives_the_label_away_is_wrong(tmp_path):
    pictures = rough(24, shape=(96, 80))
    save(tmp_path / "good", pictures[:12])
    save(tmp_path / "bad", pictures[12:], "BMP")
    found = audited(tmp_path)
    assert {cue.name for cue in found.cues if cue.verdict == "gives the label away" and cue.source == "file"} == {
        "format BMP",
        "format PNG",
    }
    assert any("format BMP alone tells good from bad (AUC 1.00" in text for text in texts(found, "wrong"))


@pytest.mark.parametrize(
    ("cue", "spoil"),
    [
        ("width", lambda p: np.pad(p, ((0, 0), (0, 7)), mode="edge")),
        ("height", lambda p: np.pad(p, ((5, 0), (0, 0)), mode="edge")),
        ("bit depth", lambda p: p.astype(np.uint16) * 257),
        ("kind colour", lambda p: np.repeat(p[..., None], 3, axis=2)),
        ("mean", lambda p: p // 2),
        ("border mean", lambda p: np.pad(p[4:-4, 4:-4], 4)),
    ],
)
def test_every_single_number_is_tried_against_the_label(tmp_path, cue, spoil):
    pictures = rough(24, shape=(96, 80))
    save(tmp_path / "good", pictures[:12])
    save(tmp_path / "bad", [spoil(picture) for picture in pictures[12:]])
    assert {found.name: found.verdict for found in audited(tmp_path).cues}[cue] == "gives the label away"


def test_exif_data_of_one_kind_only_give_the_label_away(tmp_path):
    pictures = rough(24, shape=(96, 80))
    save(tmp_path / "good", pictures[:12], "JPEG")
    save(tmp_path / "bad", pictures[12:], "JPEG", exif=exif(6))
    found = audited(tmp_path)
    assert {cue.name: cue.verdict for cue in found.cues}["EXIF data"] == "gives the label away"
    assert len(found.warnings) == 12


def test_light_is_said_to_be_perhaps_the_defect(tmp_path):
    pictures = rough(24, shape=(96, 80))
    save(tmp_path / "good", pictures[:12])
    save(tmp_path / "bad", [picture // 2 for picture in pictures[12:]])
    found = audited(tmp_path)
    assert texts(found, "wrong") == []
    assert any("may be the defect itself" in text for text in texts(found, "look"))


def test_few_pictures_are_no_proof_of_a_cue(tmp_path):
    pictures = rough(6, shape=(96, 80))
    save(tmp_path / "good", pictures[:3])
    save(tmp_path / "bad", [picture // 2 for picture in pictures[3:]])
    assert all(cue.verdict == "" for cue in audited(tmp_path).cues)


def test_one_label_alone_gives_no_cues(parts):
    assert find_cues([f for f in audited(parts).facts if f.label == 0]) == []


def test_a_camera_of_twelve_bits_in_sixteen_is_suspected(tmp_path):
    pictures = [picture.astype(np.uint16) * 16 for picture in rough(20, shape=(96, 80))]
    save(tmp_path / "good", pictures[:10])
    save(tmp_path / "bad", pictures[10:])
    assert any("bit_depth = 12" in text for text in texts(audited(tmp_path)))
    assert not any("bit_depth" in text for text in texts(audited(tmp_path, bit_depth=12)))


def test_few_and_odd_shaped_pictures_are_mentioned(tmp_path):
    save(tmp_path / "good", rough(6, shape=(96, 80)))
    save(tmp_path / "bad", rough(2, seed=1, shape=(64, 192)))
    spoken = " ".join(texts(audited(tmp_path)))
    for part in ("width to height runs from 0.83 to 3.00", "2 bad parts can be used"):
        assert part in spoken


def test_copies_are_not_believed_where_most_pictures_are_alike(tmp_path):
    one, others = rough(1, shape=(96, 80))[0], rough(2, seed=1, shape=(96, 80))
    save(tmp_path / "good", [np.clip(one.astype(int) + step, 0, 255).astype(np.uint8) for step in range(9)])
    save(tmp_path / "bad", others)
    found = audited(tmp_path)
    assert len(found.duplicates) == 9 * 8 / 2
    assert not found.copies_believed
    assert found.merged() == found.readable
    assert any("too alike" in text for text in texts(found))
    (tmp_path / "good" / "08.png").unlink()
    assert audited(tmp_path).copies_believed


def test_progress_is_told_after_each_picture(parts):
    seen = []
    samples = read_layout(parts)
    audit(samples, ReadSettings(), on_image=seen.append)
    assert seen == samples


def test_the_fingerprint_is_that_of_the_content_alone(parts, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved")
    for path in sorted(parts.rglob("*.png")):
        target = moved / path.parent.name / f"other name {path.name}"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    here, there = audited(parts), audited(moved)
    assert here.fingerprint == there.fingerprint
    flipped = [replace(facts, label=1 - facts.label) for facts in here.facts]
    assert replace(here, facts=flipped).fingerprint != here.fingerprint


def test_the_audit_is_plain_data_and_tables(parts):
    (parts / "good" / "copy.png").write_bytes((parts / "good" / "00.png").read_bytes())
    (parts / "bad" / "new\nline.png").write_bytes(b"")
    found = audited(parts)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["schema_version"] == 1
    assert plain["counts"]["pictures"] == 22
    assert plain["duplicates"][0]["kind"] == "identical"
    for table in audit_tables(found):
        assert table.rows
        assert all(len(row) == len(table.columns) and all(cell.isprintable() for cell in row) for row in table.rows)
    assert {"Pictures", "Files", "Findings", "Take no part"} <= {table.title for table in audit_tables(found)}


def test_the_audit_opens_no_mask_unless_asked_to(parts, monkeypatch):
    """Files are opened by os.open alone; every other way would be seen too."""
    save(parts / "masks", [np.full((96, 80), 255, np.uint8)] * 8)
    opened = []
    for module, name in ((os, "open"), (builtins, "open")):
        plain = getattr(module, name)
        spy = lambda path, *a, plain=plain, **k: opened.append(str(path)) or plain(path, *a, **k)  # noqa: E731
        monkeypatch.setattr(module, name, spy)
    samples = read_layout(parts)
    assert sum(sample.mask is not None for sample in samples) == 8
    found = audit(samples, ReadSettings(), masks=False)
    assert len(found.readable) == 20
    assert not [path for path in opened if "masks" in path]
    audit(samples, ReadSettings())
    assert len([path for path in opened if "masks" in path]) == 8


def test_pictures_stay_in_memory_as_far_as_they_may_and_are_decoded_again_else(parts, monkeypatch):
    samples = read_layout(parts)
    found = audit(samples, ReadSettings(), keep=5 * 96 * 80 + 1)
    assert len(found.decoded) == 5
    before = [found.pixels(sample) for sample in samples]
    monkeypatch.setattr("weakspot.data.audit.read_image", None)
    assert [found.pixels(sample) is pixels for sample, pixels in zip(samples[:5], before, strict=False)] == [True] * 5
    monkeypatch.undo()
    assert all((found.pixels(s) == Image.open(s.path)).all() for s in found.merged())
    assert not audit(samples, ReadSettings()).decoded


def test_a_file_that_changed_since_the_audit_is_refused(parts):
    found = audited(parts)
    found.samples[0].path.write_bytes(found.samples[1].path.read_bytes())
    with pytest.raises(ImageError, match=r"00.png: not the file that was audited"):
        found.pixels(found.samples[0])


def test_the_audit_hands_on_what_a_training_asks_of_a_picture(tmp_path):
    grey, other = rough(2, shape=(96, 80))
    same, colour = np.repeat(grey[..., None], 3, axis=2), np.stack([grey, grey, other], axis=2)
    save(tmp_path / "good", [grey, same, colour])
    save(tmp_path / "bad", [other.astype(np.uint16) * 257])
    found = audited(tmp_path)
    facts = [found.facts_of(sample) for sample in found.merged()]
    assert [f.coloured for f in facts] == [False, False, False, True]
    assert [(f.height, f.width, f.bit_depth) for f in facts] == [(96, 80, 16)] + [(96, 80, 8)] * 3
    assert facts[1].sha256 == sha256((tmp_path / "good" / "00.png").read_bytes()).hexdigest()
    assert facts[0].mean == pytest.approx(other.mean() / 255)
    assert facts[0].std == pytest.approx(other.std() / 255, rel=1e-5)


def test_nothing_is_promised_of_a_split_that_the_data_give(tmp_path):
    """Copies count as one part; that one is on one side of every split is only promised where weakspot splits."""
    pictures = rough(20, shape=(96, 80))
    for place, picture in enumerate([*pictures, pictures[0][:, ::-1]]):
        part, label = ("train", "test")[place > 9], ("good", "bad")[place % 2]
        save(tmp_path / part / label / f"{place}", [np.ascontiguousarray(picture)])
    found = audited(tmp_path)
    spoken = texts(found)
    assert not [text for text in spoken if "every split" in text]
    assert "1 part on both sides of the split that the data give" in texts(found, "wrong")[0]
    assert "train/good/0/00.png (training) and test/good/20/00.png (test)" in texts(found, "wrong")[0]


def test_a_copy_that_takes_no_part_still_ties_those_it_resembles(parts):
    first, between, last = audited(parts).samples[:3]
    copies = [Duplicate(one, other, "near", 1, "") for one, other in ((first, between), (between, last))]
    merged = merge_groups([first, last], copies)
    assert {sample.group for sample in merged} == {f"{first.group}+{last.group}"}
