"""`weakspot doctor`: what it finds, and that it needs no torch."""

import json
from pathlib import Path

import pytest

from weakspot import doctor, terminal
from weakspot.inspection.processor import processor
from weakspot.inspection.timings import Setting, Timing


def test_doctor_tells_versions_runtimes_machine_and_speed_as_plain_values() -> None:
    found = doctor.examine()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["packages"]["numpy"]
    assert "onnxruntime" in found["runtimes"]["present"]
    assert found["runtimes"]["first"] in found["runtimes"]["present"]
    assert found["machine"]["cores"] >= 1
    assert found["speed"]["numpy_fp32_gflops"] > 0
    assert found["speed"]["copy_gb_per_s"] > 0


def test_doctor_works_where_torch_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = doctor.util.find_spec
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None if name == "torch" else there(name))
    monkeypatch.setattr(doctor, "version", lambda name: None if name in ("torch", "openvino") else "1.0")
    found = doctor.examine()
    assert not any(name.startswith("torch") for name in found["speed"])
    assert found["machine"]["gpu"] is None
    terminal.show_doctor(found, as_json=False)
    assert "missing: pip install 'weakspot[train]'" in capsys.readouterr().out


def remembered(**milliseconds: float) -> Timing:
    setting = Setting(
        size=(704, 256), channels=1, third_kernel=7, threads=2, bf16=True, versions={}, machine=processor()
    )
    return Timing(setting, {name.replace("_", " "): value for name, value in milliseconds.items()})


def test_doctor_shows_what_was_measured_the_fastest_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timing = remembered(onnxruntime_fp32=31.2, openvino_fp32=25.0, openvino_bf16=12.0)
    monkeypatch.setattr(doctor, "timings_of_this_machine", lambda: [timing])
    monkeypatch.setattr(doctor, "speed", lambda threads: {})
    terminal.show_doctor(doctor.examine(), as_json=False)
    told = (
        "at 704 × 256, 2 threads, third kernel 7: openvino bf16, 12 ms; openvino fp32, 25 ms; onnxruntime fp32, 31.2 ms"
    )
    assert told in capsys.readouterr().out


def test_doctor_measures_for_a_model_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "read_model_file", lambda path: f"the model in {path}")
    measured = {"the model in a.weakspot": remembered(openvino_fp32=25.0), "the model in b.weakspot": remembered()}
    monkeypatch.setattr(doctor, "measure", lambda model, threads: measured[model])
    monkeypatch.setattr(doctor, "speed", lambda threads: {})
    (timing,) = doctor.examine(Path("a.weakspot"))["runtimes"]["timings"]
    assert timing == {
        "size": [704, 256],
        "channels": 1,
        "third_kernel": 7,
        "threads": 2,
        "milliseconds": {"openvino fp32": 25.0},
    }
    terminal.show_doctor(doctor.examine(Path("b.weakspot")), as_json=False)
    assert "no runtime answers as the model file says; see weakspot verify" in capsys.readouterr().out
