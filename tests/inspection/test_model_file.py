"""Model files that are as they should be: written, read, changed and saved over."""

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

from weakspot.errors import ModelFileError, OutputError, SettingsError
from weakspot.inspection.inspection import Thresholds
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


def test_thresholds_change_and_nothing_else_and_the_change_is_kept(model_path, same):
    before = read_model_file(model_path)
    first = Thresholds(bad_from=2.0, good_below=0.5, rule="by hand", chosen_on="a talk with the line")
    second = Thresholds(bad_from=3.0, good_below=3.0, rule="by hand", chosen_on="a week of parts", region_from=0.7)
    set_thresholds(model_path, first, reason="too many false alarms")
    after = set_thresholds(model_path, second, reason="still too many")
    assert same(after, read_model_file(model_path))
    assert after.thresholds == second
    assert [(change.bad_from, change.reason) for change in after.manifest.thresholds.changes] == [
        (1.0, "too many false alarms"),
        (2.0, "still too many"),
    ]
    assert after.manifest.model_copy(update={"thresholds": before.manifest.thresholds}) == before.manifest
    assert after.graph == before.graph
    assert after.sha256 != before.sha256


@pytest.mark.parametrize(("bad_from", "good_below"), [(0.0, 1.0), (float("nan"), 0.0), (float("inf"), 0.0)])
def test_thresholds_that_decide_nothing_cannot_be_made(bad_from, good_below):
    with pytest.raises(SettingsError, match="good_below"):
        Thresholds(bad_from=bad_from, good_below=good_below, rule="", chosen_on="")


def test_a_large_file_is_read_within_a_second_and_twice_its_size(tmp_path, make_model):
    """In a process of its own, since memory is counted from its highest point."""
    weights = {f"layer.{i}": np.random.default_rng(i).standard_normal(2**20, np.float32) for i in range(16)}
    model = replace(make_model(), weights=weights, graph=bytes(64 * 2**20))
    path = tmp_path / "large.weakspot"
    write_model_file(path, model)
    script = (
        "import resource, sys, time; from pathlib import Path; from weakspot.inspection.model_file import read_model_file\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.process_time()\n"
        "model = read_model_file(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.process_time() - start)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(out[0]) * 1024 < 2 * path.stat().st_size
    assert float(out[1]) < 1.0
