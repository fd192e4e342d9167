"""Model files whose checksums fit and whose content cannot be: what nobody but a faulty writer makes."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save as save_safetensors

from weakspot.errors import ModelFileError
from weakspot.inspection.model_file import read_model_file


def test_a_newer_version_is_named_whatever_else_is_in_it(model_path, members_of, repack):
    members = members_of(model_path)
    repack(
        model_path,
        {
            "manifest.json": b'{"format_version": 2, "new": true}',
            "manifest.sha256": b"",
            "more.bin": members["graph.onnx"],
        },
    )
    with pytest.raises(ModelFileError, match=r"newer weakspot \(format version 2; this one reads 1\); update weakspot"):
        read_model_file(model_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"format_version": 1, "format_version": 1}', "a key stands twice"),
        ('{"format_version": 1, "seed": NaN}', "NaN is not JSON"),
        ('{"format_version": 1, "seed": 1e999}', "not finite"),
        ('{"format_version": 1}', "Field required"),
        ('{"format_version": 0}', "format_version"),
        ('{"format_version": "1"}', "format_version"),
        ("[]", "an object"),
        ("[" * 200_000, "too deeply nested"),
        ("{", "Expecting"),
        ("\xff", "decode"),
        ('{"format_version": ' + "9" * 5000 + "}", "digit"),
    ],
)
def test_a_manifest_that_is_no_plain_json_of_this_version_is_refused(model_path, text, told, members_of, repack):
    repack(model_path, {**members_of(model_path), "manifest.json": text.encode("latin-1")})
    with pytest.raises(ModelFileError, match=told) as refused:
        read_model_file(model_path)
    assert len(str(refused.value)) < 600
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unknown", 1),
        ("name", "../../x"),
        ("name", "a\nb"),
        ("size", [64]),
        ("size", [64, 0]),
        ("channels", 2),
        ("bit_depth", 12),
        ("labels", {"0": "bad", "1": "good"}),
        ("read", {"orientation": "sometimes"}),
        ("read", {"unknown": 1}),
        ("image_std_min", -1),
        ("created", "yesterday"),
        ("members", {}),
        ("channel_levels", [[1, 2], [1, 2], [1, 2]]),
        ("channel_levels", [[2, 1]]),
        ("bf16_margin", 0),
        ("training_files", ["../secret.png"]),
        ("size", [64_000, 64_000]),
        ("image_sizes", {"min": [0, 200], "max": [100, 300]}),
        ("image_sizes", {"min": [200, 200], "max": [100, 300]}),
        ("held_out_scores", {"middling": [1.0]}),
    ],
)
def test_a_manifest_with_a_value_that_cannot_be_is_refused(model_path, key, value, forge):
    forge(model_path, lambda members: None, lambda plain: plain.update({key: value}))
    with pytest.raises(ModelFileError, match=r"manifest.json"):
        read_model_file(model_path)


@pytest.mark.parametrize("largest", [[9000, 9000], [20_000, 20_000]])
def test_sizes_of_files_have_no_bounds_of_a_training(model_path, largest, forge):
    """8 pictures of 64 x 9000 and 9000 x 64 pixels have a largest height and a largest width of 9000."""
    forge(model_path, lambda members: None, lambda plain: plain["image_sizes"].update(min=[1, 64], max=largest))
    assert read_model_file(model_path).manifest.image_sizes.max == tuple(largest)


def test_a_file_from_before_the_scores_out_of_fold_were_kept_is_read(model_path, forge):
    forge(model_path, lambda members: None, lambda plain: plain.pop("held_out_scores"))
    manifest = read_model_file(model_path).manifest
    assert (manifest.thresholds.rule, manifest.held_out_scores) == ("best_f1", {})


def test_thresholds_that_contradict_each_other_are_refused(model_path, forge):
    forge(model_path, lambda members: None, lambda plain: plain["thresholds"].update({"good_below": 5.0}))
    with pytest.raises(ModelFileError, match="good_below"):
        read_model_file(model_path)


def header(entries: dict | str, data: bytes = b"") -> bytes:
    text = entries.encode() if isinstance(entries, str) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape: list, begin: int, end: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


GOOD = {"counted": np.array(11), "mean": np.array(3.5, np.float32), "shared.weight": np.zeros((2, 3, 4), np.float32)}


def test_the_file_that_the_next_test_alters_is_accepted(model_path, forge):
    """So that each refusal below is for its own reason."""
    entries = {
        "shared.weight": entry([2, 3, 4], 0, 96),
        "mean": entry([], 96, 100),
        "counted": entry([], 100, 108, "I64"),
    }
    forge(model_path, lambda members: members.update({"weights.safetensors": header(entries, bytes(108))}))
    read_model_file(model_path)


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        struct.pack("<Q", 0),
        struct.pack("<Q", 7) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 200_000_000) + b"{}",
        header("[" * 100_000),
        header({}),
        save_safetensors({**GOOD, "extra": np.zeros(1, np.float32)}),
        save_safetensors({name: value for name, value in GOOD.items() if name != "mean"}),
        save_safetensors({("renamed" if name == "mean" else name): value for name, value in GOOD.items()}),
        save_safetensors({**GOOD, "shared.weight": np.zeros((3, 2, 4), np.float32)}),
        save_safetensors({**GOOD, "shared.weight": np.zeros((2, 3, 4), np.float16)}),
        save_safetensors({**GOOD, "mean": np.array(np.nan, np.float32)}),
        save_safetensors({**GOOD, "mean": np.array(np.inf, np.float32)}),
        save_safetensors({**GOOD, "shared.weight": np.full((2, 3, 4), -1e-42, np.float32)}),
        save_safetensors(GOOD, metadata={"note": "nobody asked"}),
        save_safetensors(GOOD) + b"trailing",
        header(
            {"shared.weight": entry([2, 3, 4], 0, 96), "mean": entry([], 0, 4), "counted": entry([], 96, 104, "I64")},
            bytes(104),
        ),  # overlap
        header(
            {
                "shared.weight": entry([2, 3, 4], 4, 100),
                "mean": entry([], 100, 104),
                "counted": entry([], 104, 112, "I64"),
            },
            bytes(112),
        ),  # hole
        header(
            {
                "shared.weight": entry([2, 3, 4], 96, 0),
                "mean": entry([], 96, 100),
                "counted": entry([], 100, 108, "I64"),
            },
            bytes(108),
        ),
        header(
            {"shared.weight": entry([2, 3, 4], -96, 0), "mean": entry([], 0, 4), "counted": entry([], 4, 12, "I64")},
            bytes(12),
        ),
        header(
            {
                "shared.weight": entry([2, 3, 4], 0, 96),
                "mean": entry([], 96, 100),
                "counted": entry([], 100, 108, "I64"),
            },
            bytes(50),
        ),
        header(
            {
                "shared.weight": entry([4194305, 4194305, 211106198978564], 0, 96),
                "mean": entry([], 96, 100),
                "counted": 3,
            },
            bytes(108),
        ),
        header(
            '{"mean":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"mean":{"dtype":"F32","shape":[],"data_offsets":[0,4]},'
            '"shared.weight":{"dtype":"F32","shape":[2,3,4],"data_offsets":[4,100]},"counted":{"dtype":"I64","shape":[],"data_offsets":[100,108]}}',
            bytes(108),
        ),
        header({"shared.weight": {"dtype": ["F32"]}, "mean": None, "counted": []}),
        header(
            {
                "shared.weight": entry([2, 3, 4], 0, 96, "X9"),
                "mean": entry([], 96, 100),
                "counted": entry([], 100, 108, "I64"),
            },
            bytes(108),
        ),
        header(
            {
                "shared.weight": entry([2, 3, True], 0, 96),
                "mean": entry([], 96.0, 100),
                "counted": entry([], 100, 108, "I64"),
            },
            bytes(108),
        ),
    ],
)
def test_weights_that_are_not_exactly_as_listed_are_refused(model_path, weights, forge):
    forge(model_path, lambda members: members.update({"weights.safetensors": weights}))
    with pytest.raises(ModelFileError, match=r"weights.safetensors"):
        read_model_file(model_path)


def test_a_self_test_picture_of_another_size_is_refused(model_path, model, make_model, forge):
    other = make_model(size=(72, 96)).selftest
    for selftest in (other, b"", model.selftest[:20], model.selftest.replace(b"IHDR", b"IDAT")):
        forge(model_path, lambda members, selftest=selftest: members.update({"selftest.png": selftest}))
        with pytest.raises(ModelFileError, match=r"selftest.png"):
            read_model_file(model_path)


def test_a_card_that_is_no_text_is_refused(model_path, forge):
    forge(model_path, lambda members: members.update({"card.md": b"\xff\xfe"}))
    with pytest.raises(ModelFileError, match=r"card.md"):
        read_model_file(model_path)
