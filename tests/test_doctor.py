"""`weakspot doctor`: what it finds, that it needs no torch, and that it is quick."""

import json
import time

import pytest

from weakspot import doctor, terminal


def test_doctor_tells_versions_runtimes_machine_and_speed_as_plain_values() -> None:
    began = time.perf_counter()
    found = doctor.examine()
    assert time.perf_counter() - began < 60  # about three seconds where nothing else runs
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["packages"]["numpy"]
    assert "onnxruntime" in found["runtimes"]["present"]
    assert found["runtimes"]["used"] in found["runtimes"]["present"]
    assert found["machine"]["cores"] >= 1
    assert found["speed"]["numpy_fp32_gflops"] > 0
    assert found["speed"]["copy_gb_per_s"] > 0


def test_doctor_works_where_torch_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    there = doctor.util.find_spec
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None if name == "torch" else there(name))
    monkeypatch.setattr(doctor, "version", lambda name: None if name in ("torch", "openvino") else "1.0")
    found = doctor.examine()
    assert not any(name.startswith("torch") for name in found["speed"])
    assert found["machine"]["gpu"] is None
    terminal.show_doctor(found, as_json=False)
    assert "missing: pip install 'weakspot[train]'" in capsys.readouterr().out


def test_doctor_without_measuring_is_a_look() -> None:
    assert "speed" not in doctor.examine(measure=False)
