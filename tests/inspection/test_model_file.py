"""Model files that are as they should be: written, read, changed and saved over."""

import hashlib
import io
import os
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from safetensors.numpy import load as load_safetensors

from weakspot.errors import ModelFileError, OutputError, SettingsError
from weakspot.inspection.container import pack
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.manifest import Name, safe_name
from weakspot.inspection.model_file import read_model_file, set_thresholds, write_model_file

MEMBERS = ["manifest.json", "manifest.sha256", "weights.safetensors", "graph.onnx", "selftest.png", "card.md"]


def test_what_is_written_is_read_again(tmp_path, model, same):
    written = write_model_file(tmp_path / "a.weakspot", model)
    read = read_model_file(tmp_path / "a.weakspot")
    assert same(written, read)
    assert read.sha256 == written.sha256 == hashlib.sha256((tmp_path / "a.weakspot").read_bytes()).hexdigest()
    assert read.manifest.tensors == {"shared.weight": (2, 3, 4), "mean": (), "counted": ()}
    assert read.manifest.thresholds == model.manifest.thresholds
    assert all(
        np.array_equal(read.weights[name], value) and read.weights[name].dtype == value.dtype
        for name, value in model.weights.items()
    )
    assert read.thresholds == Thresholds(bad_from=1.0, good_below=-1.0, rule="best_f1", chosen_on="nothing")


def test_the_same_model_gives_the_same_bytes(tmp_path, model):
    for name in ("a", "b"):
        write_model_file(tmp_path / name, model)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_zips_bytes_are_those_of_every_python_and_every_earlier_file():
    """They are compared when a file is read: were they others, no earlier file could be read any more."""
    file = io.BytesIO()
    pack({"manifest.json": b"abc", "x.bin": bytes(1000)}, file)
    assert hashlib.sha256(file.getvalue()).hexdigest() == (
        "fa8b3d8a39288b85415ff6add1618609953d05a44214c9e1f79b5f35d71b7988"
    )


@pytest.mark.parametrize(
    "text",
    [
        "..",
        ".",
        "",
        " ",
        "　",
        "　parts　",
        "a\\b",
        "../../etc",
        "x" * 120,
        "a\nb",
        "\x00",
        "\udcff",
        ". .hidden",
        "部品 3",
    ],
)
def test_any_text_becomes_a_name_that_a_model_file_takes(make_manifest, text):
    name = safe_name(text)
    assert make_manifest(name=name).name == name
    assert safe_name(name) == name


@given(st.text())
def test_every_text_becomes_a_name(text):
    assert TypeAdapter(Name).validate_python(safe_name(text)) and safe_name(safe_name(text)) == safe_name(text)


def test_a_name_that_is_one_already_stays():
    assert [safe_name(text) for text in ("parts", "line 3, 2026", "部品", "..", "a/b")] == (
        ["parts", "line 3, 2026", "部品", "detector", "a_b"]
    )


def test_what_older_files_do_not_say_is_left_open(model_path, forge):
    optional = ("channel_levels", "training_files", "bf16_margin")
    forge(model_path, lambda members: None, lambda plain: [plain.pop(key) for key in optional])
    manifest = read_model_file(model_path).manifest
    assert (manifest.channel_levels, manifest.training_files, manifest.bf16_margin) == (None, [], None)


def test_any_zip_tool_opens_it_and_any_safetensors_reader_its_weights(model_path, model):
    with zipfile.ZipFile(model_path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == MEMBERS
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        weights = load_safetensors(archive.read("weights.safetensors"))
    assert weights.keys() == model.weights.keys()


def test_no_absolute_path_and_no_time_of_writing_stands_in_it(model_path):
    assert str(model_path.parent).encode() not in model_path.read_bytes()


def test_a_file_that_is_replaced_while_it_is_loaded_gives_the_old_model(model_path, model, monkeypatch, same):
    from weakspot.inspection import model_file

    original = read_model_file(model_path)
    check = model_file._manifest

    def replacing_check(data, path):
        model_path.with_suffix(".new").write_bytes(b"another file altogether")
        os.replace(model_path.with_suffix(".new"), model_path)
        return check(data, path)

    monkeypatch.setattr(model_file, "_manifest", replacing_check)
    assert same(read_model_file(model_path), original)


def test_saving_over_a_loaded_file_keeps_both_good(model_path):
    read = read_model_file(model_path)
    write_model_file(model_path, replace(read, card="# another\n"))
    assert read.card == "# made\n"
    assert np.isfinite(read.weights["shared.weight"]).all()
    assert read_model_file(model_path).card == "# another\n"


def test_a_failed_write_leaves_the_earlier_file(model_path, model, monkeypatch):
    from weakspot import durable

    earlier = model_path.read_bytes()
    monkeypatch.setattr(durable.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="the disk is full"):
        write_model_file(model_path, replace(model, card="# another\n"))
    assert model_path.read_bytes() == earlier
    assert [path.name for path in model_path.parent.iterdir()] == [model_path.name]


def test_a_model_that_nobody_could_read_is_not_written(tmp_path, model):
    broken = {**model.weights, "mean": np.array(np.nan, np.float32)}
    with pytest.raises(ModelFileError, match="NaN"):
        write_model_file(tmp_path / "x.weakspot", replace(model, weights=broken))
    with pytest.raises(ModelFileError, match="self-test"):
        write_model_file(tmp_path / "x.weakspot", replace(model, selftest=b"no picture"))
    assert list(tmp_path.iterdir()) == []


def test_what_faded_away_in_training_is_kept_as_0(tmp_path, model):
    """The variance of a channel that is always dark shrinks by a tenth at each step of a training."""
    faded = {**model.weights, "mean": np.array(1e-42, np.float32)}
    written = write_model_file(tmp_path / "x.weakspot", replace(model, weights=faded))
    assert written.weights["mean"] == 0 == read_model_file(tmp_path / "x.weakspot").weights["mean"]


def test_thresholds_change_and_nothing_else_and_the_change_is_kept(model_path, same):
    before = read_model_file(model_path)
    first = Thresholds(bad_from=2.0, good_below=0.5, rule="by hand", chosen_on="a talk with the line")
    second = Thresholds(bad_from=3.0, good_below=3.0, rule="by hand", chosen_on="a week of parts", region_from=0.7)
    set_thresholds(model_path, lambda _: first, reason="too many false alarms")
    after = set_thresholds(model_path, lambda _: second, reason="still too\nmany")
    assert same(after, read_model_file(model_path))
    assert after.thresholds == second
    assert [(change.bad_from, change.reason) for change in after.manifest.thresholds.changes] == [
        (1.0, "too many false alarms"),
        (2.0, "still too\nmany"),
    ]
    same_but = {"thresholds": before.manifest.thresholds, "members": before.manifest.members}
    assert after.manifest.model_copy(update=same_but) == before.manifest
    assert after.card.startswith(before.card) and after.card.count("Thresholds changed") == 2
    assert after.card.endswith("bad from 3.000, good below 3.000 (still too many).\n")
    assert after.graph == before.graph
    assert after.sha256 != before.sha256


def test_who_may_read_a_file_is_as_before_when_its_thresholds_have_changed(model_path):
    other = Thresholds(bad_from=2.0, good_below=0.5, rule="by hand", chosen_on="a talk with the line")
    for mode in (0o600, 0o664):
        model_path.chmod(mode)
        set_thresholds(model_path, lambda _: other, reason="too many false alarms")
        assert stat.S_IMODE(model_path.stat().st_mode) == mode


@pytest.mark.parametrize(("bad_from", "good_below"), [(0.0, 1.0), (float("nan"), 0.0), (float("inf"), 0.0)])
def test_thresholds_that_decide_nothing_cannot_be_made(bad_from, good_below):
    with pytest.raises(SettingsError, match="good_below"):
        Thresholds(bad_from=bad_from, good_below=good_below, rule="", chosen_on="")


def test_a_large_file_is_read_within_twice_its_size(tmp_path, make_model):
    """In a process of its own, since memory is counted from its highest point."""
    weights = {f"layer.{i}": np.random.default_rng(i).standard_normal(2**20, np.float32) for i in range(16)}
    model = replace(make_model(), weights=weights, graph=bytes(64 * 2**20))
    path = tmp_path / "large.weakspot"
    write_model_file(path, model)
    script = (
        "import resource, sys; from pathlib import Path; from weakspot.inspection.model_file import read_model_file\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "model = read_model_file(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert int(ran.stdout) * 1024 < 2 * path.stat().st_size
