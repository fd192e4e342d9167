"""The short forms of long tests; `scripts/soak` runs them for as long as one likes."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from soaks import load, memory, switches
from weakspot.inspection.runtimes import offers_bf16, present_runtimes

ROOT = Path(__file__).parents[1]
SOAK = ROOT / "scripts" / "soak"
TWO_SIZES = (64, 96), (128, 96)


def test_memory_stays_flat_over_pictures_of_mixed_sizes() -> None:
    """By small detectors, in a process of its own."""
    script = f"import json; from soaks import memory; print(json.dumps(memory.run(600, {TWO_SIZES})))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(done.stdout)
    assert memory.went_well(record), record
    assert record["runtimes"].keys() >= {
        f"{name} fp32, {side} × 96" for name in present_runtimes() for side in (64, 128)
    }
    assert any("bf16" in name for name in record["runtimes"]) or not offers_bf16()


def test_a_long_test_leaves_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "run", lambda number: {"pictures": number, "grown": []})
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SOAK))["main"]("memory", "7", str(tmp_path))
    record = json.loads((tmp_path / "memory.json").read_text())
    assert (ended.value.code, record["pictures"], record["grown"]) == (0, 7, [])
    assert record["versions"]


def test_memory_that_grows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = iter(range(1000))
    monkeypatch.setattr(memory, "resident_mb", lambda: 0.01 * next(grown))
    record = memory.run(50, TWO_SIZES[:1])
    assert "onnxruntime fp32, 64 × 96" in record["grown"]
    assert not memory.went_well(record)


def test_without_arguments_every_long_test_is_listed_with_what_it_holds() -> None:
    done = subprocess.run([sys.executable, SOAK], capture_output=True, text=True, timeout=60)
    shared = {"__init__", "open_loop", "processes", "trained", "writer"}
    names = {path.stem for path in SOAK.parents[1].glob("soaks/*.py")} - shared
    assert done.returncode == 1
    assert all(f"\n{name}: " in done.stderr for name in names), done.stderr
    assert "None" not in done.stderr


SMALL = (64, 96)
MISSED = ("p99 of refusals, ms", "seconds until normal")


@pytest.fixture(scope="module")
def overloaded() -> dict[str, Any]:
    """A second of each load on a small detector."""
    pytest.importorskip("fastapi", reason="the service's packages are not installed: pip install 'weakspot[serve]'")
    return load.run(1, SMALL)


def test_an_overloaded_service_answers_or_refuses_and_loses_nothing(overloaded: dict[str, Any]) -> None:
    assert load.went_well(overloaded), overloaded
    assert [phase.get("factor") for phase in overloaded["phases"]] == [None, 1, 3, 10]
    at_ten = overloaded["phases"][-1]
    assert at_ten["sent"] > 4 * overloaded["phases"][0]["sent"]
    assert len(overloaded["targets"]) == 9


@pytest.mark.parametrize("change", [{"lost": ["a"]}, {"phases": [{"statuses": {"500": 1}}]}, {"exit_status": 1}])
def test_a_wrong_status_a_loss_or_an_end_fails_it(overloaded: dict[str, Any], change: dict[str, Any]) -> None:
    assert not load.went_well(overloaded | change)


def test_a_target_that_was_missed_is_told_so(overloaded: dict[str, Any]) -> None:
    slow = [phase | {"refusals_ms": {"p99": 51.0}, "seconds_until_normal": 2.1} for phase in overloaded["phases"]]
    told = {each["what"]: each["met"] for each in load.targets(overloaded | {"phases": slow})}
    assert {told[f"at {factor} ×: {what}"] for factor in (3, 10) for what in MISSED} == {False}
    calm = [phase | {"refusals_ms": {}} for phase in slow]
    told = {each["what"]: each["met"] for each in load.targets(overloaded | {"phases": calm})}
    assert told["at 3 ×: p99 of refusals, ms"] is None


def test_models_switched_under_load_answer_each_as_it_does_alone(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the service's packages are not installed: pip install 'weakspot[serve]'")
    record = switches.run(8, SMALL)
    assert switches.went_well(record), record
    assert record["switches"] == 8 and record["answered"] == record["sent"] > 20


def test_what_another_model_said_or_came_too_late_or_never_is_found() -> None:
    def answer(model: str, score: float) -> dict[str, Any]:
        return {"id": "any", "model": {"sha256": model}, "image": {"sha256": "p"}, "raw_score": score}

    expected = {(model, "p"): switches.without_own(answer(model, score)) for model, score in (("a", 1), ("b", 2))}
    turns = [(1.0, 1.1, "b"), (3.0, 3.1, "a")]

    def found(sent: float, at: float, said: dict[str, Any] | None) -> set[str]:
        seen: list[dict[str, Any]] = [{"what": "sent", "key": "k", "sha256": "p", "at": sent}]
        seen += [] if said is None else [{"what": "answered", "key": "k", "answer": said, "at": at}]
        return {kind for kind, keys in switches.wrong(seen, expected, turns).items() if keys}

    assert (
        found(0.5, 0.6, answer("a", 1)) == found(2.0, 2.1, answer("b", 2)) == found(2.9, 3.05, answer("a", 1)) == set()
    )
    assert found(2.0, 2.1, answer("b", 1)) == {"other"}
    assert found(2.0, 2.1, answer("a", 1)) == found(0.5, 0.6, answer("b", 2)) == {"late"}
    assert found(2.0, 2.1, None) == {"dropped"}
