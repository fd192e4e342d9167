"""`weakspot verify MODEL DATA`: every runtime beside torch on pictures."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inspection.conftest import made_model, made_pixels
from tests.jobs.test_export import labelled
from tests.training.test_export import detector as made_detector
from weakspot.errors import DataError, ModelFileError
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.manifest import ThresholdRecord
from weakspot.inspection.model_file import ModelFile, write_model_file
from weakspot.inspection.runtimes import open_runtime
from weakspot.jobs.verify import verify_on
from weakspot.training.export import export_graph


@pytest.fixture(scope="module")
def real() -> ModelFile:
    """A real network, its graph and its weights."""
    detector = made_detector(body="narrow", decision="heat")
    weights = {name: tensor.numpy() for name, tensor in detector.state_dict().items()}
    return replace(
        made_model(network=asdict(detector.settings)), graph=export_graph(detector, 64, 96, 8), weights=weights
    )


def opened(model: ModelFile) -> LoadedDetector:
    return LoadedDetector(model, open_runtime(model, "onnxruntime", threads=1))


def test_every_runtime_is_held_against_torch(real, tmp_path):
    parity = verify_on(opened(real), [labelled(tmp_path)], threads=1)
    assert (parity.reference, parity.images, parity.ok) == ("torch fp32", 8, True)
    assert [(each.runtime, each.precision) for each in parity.runtimes] == [
        ("onnxruntime", "fp32"),
        ("openvino", "fp32"),
    ]
    assert all(0 < each.raw_score < 1e-5 and 0 < each.heat_map < 1e-5 for each in parity.runtimes)


def test_bf16_is_held_to_decisions_where_inspection_may_take_it(real, tmp_path, monkeypatch):
    monkeypatch.setattr("weakspot.jobs.verify.offers_bf16", lambda: True)
    model = replace(real, manifest=real.manifest.model_copy(update={"bf16_margin": 1e-6}))
    parity = verify_on(opened(model), [labelled(tmp_path)], threads=1)
    bf16 = parity.runtimes[-1]
    assert (bf16.precision, bf16.changed, bf16.ok, parity.ok) == ("bf16", [], True, True)


def test_a_graph_that_is_not_its_weights_is_found_and_the_changed_decisions_named(real, tmp_path):
    data = labelled(tmp_path, 1)
    moved = {
        name: array + 0.5 if name.startswith("localization") and array.dtype.kind == "f" else array
        for name, array in real.weights.items()
    }
    raw = opened(real).inspect(data / "bad" / "0.png").raw_score
    between = Thresholds(bad_from=raw + 1e-3, good_below=raw + 1e-3, rule="none", chosen_on="nothing")
    manifest = real.manifest.model_copy(update={"thresholds": ThresholdRecord.of(between)})
    parity = verify_on(opened(replace(real, weights=moved, manifest=manifest)), [data], threads=1)
    assert not parity.ok
    for each in parity.runtimes:
        assert each.raw_score > 0.01 and str(data / "bad" / "0.png") in each.changed and not each.ok


def test_weights_of_another_network_are_told(tmp_path):
    with pytest.raises(ModelFileError, match="its weights are not its network's") as told:
        verify_on(opened(made_model()), [labelled(tmp_path, 1)], threads=1)
    assert "\n" not in str(told.value)


def test_pictures_that_cannot_be_compared_are_told_and_fail(real, tmp_path):
    data = labelled(tmp_path, 1)
    Image.fromarray(made_pixels(90, 1, (64, 96, 3))).save(data / "good" / "colour.png")
    Image.fromarray(np.zeros((64, 96), np.uint8)).save(data / "good" / "black.png")
    (data / "good" / "cut.png").write_bytes((data / "good" / "0.png").read_bytes()[:200])
    parity = verify_on(opened(real), [data], threads=1)
    assert parity.images == 2 and not parity.ok
    assert [Path(line.split(":")[0]).name for line in parity.refused] == ["black.png", "colour.png", "cut.png"]


def test_the_masks_of_a_layout_are_no_pictures(real, tmp_path):
    for kos in ("kos01", "kos02"):
        (tmp_path / "parts" / kos).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(made_pixels(90, number)).save(tmp_path / "parts" / kos / f"Part{number}.jpg")
            mask = np.zeros((64, 96), np.uint8)
            mask[10:20, 10:20] = 255 * number
            Image.fromarray(mask).save(tmp_path / "parts" / kos / f"Part{number}_label.bmp")
    beside = tmp_path / "one.png"
    Image.fromarray(made_pixels(90, 5)).save(beside)
    parity = verify_on(opened(real), [tmp_path / "parts", beside, tmp_path / "parts" / "kos01" / "Part0.jpg"], 1)
    assert (parity.images, parity.refused, parity.ok) == (5, [], True)


def test_no_pictures_are_told(real, tmp_path):
    with pytest.raises(DataError, match="no pictures found"):
        verify_on(opened(real), [tmp_path], threads=1)


def test_the_verb_tells_as_table_and_json_and_by_its_status(real, tmp_path):
    answer = open_runtime(real, "onnxruntime", threads=1)
    from weakspot.inspection.fastest import selftest_image
    from weakspot.inspection.manifest import SelfTest

    found = answer.run(selftest_image(real)[None])
    said = SelfTest(raw_score=float(found.raw_score[0]), heat_score=float(found.heat_score[0]))
    write_model_file(
        tmp_path / "a.weakspot", replace(real, manifest=real.manifest.model_copy(update={"selftest": said}))
    )
    data = labelled(tmp_path / "parts", 1)
    command = [sys.executable, "-m", "weakspot", "verify", tmp_path / "a.weakspot", data, "--threads", "1"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120)
    told = json.loads(done.stdout)
    assert (done.returncode, told["parity"]["ok"], len(told["selftest"])) == (0, True, 2), done.stderr
    (data / "good" / "cut.png").write_bytes((data / "good" / "0.png").read_bytes()[:200])
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Largest differences from torch fp32 on 2 images" in done.stdout and "not compared: " in done.stdout
