"""Which runtime and precision is taken where none is asked for: by measurement, once, never by a damaged cache."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weakspot.errors import ModelFileError, SettingsError
from weakspot.inspection import fastest, timings
from weakspot.inspection.fastest import measure, open_fastest, timings_of_this_machine
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.rechecked import Rechecked
from weakspot.inspection.runtimes import Answer

MARGIN = 0.25  # of bf16, as the model file says it
AS_MEASURED = {"onnxruntime fp32": 0.031, "openvino fp32": 0.025, "openvino bf16": 0.012}


class Toy:
    """A runtime that takes so many seconds of a toy clock."""

    def __init__(self, machine: "Machine", name: str, precision: str, raw_score: float) -> None:
        self.machine, self.name, self.precision, self.raw_score = machine, name, precision, raw_score

    def run(self, images: np.ndarray) -> Answer:
        self.machine.now += self.machine.seconds[f"{self.name} {self.precision}"]
        return Answer(np.array([self.raw_score]), np.zeros(1), np.zeros((1, 8, 12), np.float32))


@dataclass
class Machine:
    """A machine with these runtimes; keeps what was opened on it."""

    seconds: dict[str, float]
    now: float = 0.0
    opened: list[str] = field(default_factory=list)
    wrong: dict[str, float | Exception] = field(default_factory=dict)  # added to the answer, or raised

    def present(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name.split()[0] for name in self.seconds))

    def open(
        self, model: ModelFile, name: str, threads: int | None = None, precision: str = "fp32", memory: str = "fast"
    ) -> Toy:  # fmt: skip
        key = f"{name} {precision}"
        if key not in self.seconds:
            raise SettingsError(f"{key}: not here")
        self.opened.append(key)
        wrong = self.wrong.get(key, 0.0)
        if isinstance(wrong, Exception):
            raise wrong
        return Toy(self, name, precision, model.manifest.selftest.raw_score + wrong)


@pytest.fixture
def make_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Machine]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))

    def make(*without: str, seconds: dict[str, float] = AS_MEASURED) -> Machine:
        machine = Machine({key: value for key, value in seconds.items() if key not in without})
        monkeypatch.setattr(fastest, "is_present", lambda name: name in machine.present())
        monkeypatch.setattr(fastest, "offers_bf16", lambda: "openvino bf16" in machine.seconds)
        monkeypatch.setattr(fastest, "open_runtime", machine.open)
        monkeypatch.setattr(fastest, "perf_counter", lambda: machine.now)
        return machine

    return make


@pytest.fixture(scope="module")
def model(make_model: Callable[..., ModelFile]) -> ModelFile:
    return make_model(bf16_margin=MARGIN)


def name_of(runtime: Any) -> str:
    return f"{runtime.name} {runtime.precision}"


@pytest.mark.parametrize("winner", AS_MEASURED)
def test_the_fastest_is_taken(make_machine, model, winner):
    make_machine(seconds=AS_MEASURED | {winner: 0.001})
    assert name_of(open_fastest(model, threads=1)) == winner


def test_bf16_is_never_alone(make_machine, model):
    make_machine()
    assert isinstance(open_fastest(model, threads=1), Rechecked)
    assert isinstance(open_fastest(model, threads=1, precision="bf16"), Rechecked)
    assert not isinstance(open_fastest(model, threads=1, precision="fp32"), Rechecked)


def test_what_was_measured_is_remembered(make_machine, model):
    machine = make_machine()
    open_fastest(model, threads=1)
    assert sorted(machine.opened) == sorted([*AS_MEASURED, "openvino bf16"])  # all, then the fastest to stay
    (kept,) = timings_of_this_machine()
    assert kept.milliseconds == {"onnxruntime fp32": 31.0, "openvino fp32": 25.0, "openvino bf16": 12.0}
    machine.opened.clear()
    assert name_of(open_fastest(model, threads=1)) == "openvino bf16"
    assert machine.opened == ["openvino bf16"]


@pytest.mark.parametrize("changed", ["threads", "size", "channels", "network", "versions", "processor"])
def test_whatever_it_depends_on_is_measured_by_itself(make_machine, make_model, model, monkeypatch, changed):
    machine = make_machine()
    open_fastest(model, threads=1)
    machine.opened.clear()
    other = {"size": {"size": (64, 64)}, "channels": {"channels": 3}, "network": {"network": {"third_kernel": 7}}}.get(
        changed
    )
    if changed == "versions":
        monkeypatch.setattr(fastest, "version", lambda name: "99.0")
    if changed == "processor":
        monkeypatch.setattr(fastest, "processor", lambda: timings.Processor("another", ()))
    open_fastest(make_model(bf16_margin=MARGIN, **other) if other else model, threads=2 if changed == "threads" else 1)
    assert set(machine.opened) == set(AS_MEASURED)
    assert len(timings.stored_timings()) == 2


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ({"runtime": "onnxruntime"}, "onnxruntime fp32"),
        ({"precision": "fp32"}, "openvino fp32"),
        ({"runtime": "openvino", "precision": "fp32"}, "openvino fp32"),
        ({"precision": "bf16"}, "openvino bf16"),
    ],
)
def test_what_is_asked_for_wins_over_what_was_measured(make_machine, model, asked, taken):
    make_machine()
    for _ in range(2):  # before it was measured, and after
        assert name_of(open_fastest(model, threads=1, **asked)) == taken
        open_fastest(model, threads=1)


@pytest.mark.parametrize(
    ("here", "taken"),
    [
        ({"onnxruntime fp32": 1.0}, "onnxruntime fp32"),
        ({"openvino fp32": 1.0}, "openvino fp32"),
    ],
)
def test_with_one_candidate_nothing_is_measured(make_machine, model, here, taken):
    machine = make_machine(seconds=here)
    assert name_of(open_fastest(model, threads=1)) == taken
    assert (machine.opened, machine.now, timings.stored_timings()) == ([taken], 0, ())


def test_bf16_is_not_taken_where_the_model_file_does_not_say_how_far_it_is_off(make_machine, make_model):
    """Whatever was measured before of another detector of the same shape."""
    make_machine()
    unknown = make_model(bf16_margin=None)
    for _ in range(2):
        assert name_of(open_fastest(unknown, threads=1)) == "openvino fp32"
        assert name_of(open_fastest(make_model(bf16_margin=MARGIN), threads=1)) == "openvino bf16"
    with pytest.raises(SettingsError, match="bf16: this model file does not say how far .*; take fp32, or train"):
        open_fastest(unknown, threads=1, precision="bf16")


def test_small_memory_measures_nothing_for_that_would_hold_several_graphs(make_machine, model):
    machine = make_machine()
    assert name_of(open_fastest(model, threads=1, memory="small")) == "onnxruntime fp32"
    assert (machine.opened, machine.now) == (["onnxruntime fp32"], 0)
    assert name_of(open_fastest(model, threads=1, precision="bf16", memory="small")) == "openvino bf16"


@pytest.mark.parametrize("wrong", [0.3, np.nan, ModelFileError("cannot run this"), RuntimeError("broken")])
def test_what_fails_or_answers_otherwise_is_not_taken_however_fast(make_machine, model, wrong):
    machine = make_machine()
    machine.wrong["openvino bf16"] = wrong
    assert name_of(open_fastest(model, threads=1)) == "openvino fp32"
    machine.wrong = dict.fromkeys(AS_MEASURED, wrong)
    assert measure(model, 1).milliseconds == {}


def test_a_difference_that_is_too_large_in_fp32_is_not_in_bf16(make_machine, model):
    machine = make_machine()
    machine.wrong = dict.fromkeys(AS_MEASURED, 0.01)
    assert set(measure(model, 1).milliseconds) == {"openvino bf16"}


def test_a_remembered_runtime_that_is_gone_is_measured_anew(make_machine, model):
    make_machine()
    open_fastest(model, threads=1)
    make_machine("openvino fp32", "openvino bf16")
    assert name_of(open_fastest(model, threads=1)) == "onnxruntime fp32"


def test_what_is_not_to_be_had_is_told_as_ever(model, tmp_path):
    """On the runtimes that are here."""
    with pytest.raises(SettingsError, match="bf16: not offered by onnxruntime"):
        open_fastest(model, "onnxruntime", precision="bf16")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"runtime": "tensorrt"}, "runtime 'tensorrt' is not known; allowed are auto, onnxruntime, openvino"),
        ({"precision": "fp64"}, "precision 'fp64' is not known; allowed are auto, fp32, bf16"),
        ({"memory": "tiny"}, "memory 'tiny' is not known; allowed are fast, small"),
    ],
)
def test_a_word_that_is_not_known_is_refused_with_those_that_are(model, how, said):
    with pytest.raises(SettingsError, match=said):
        open_fastest(model, **how)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe", b"null", b"[" * 10_000, "nan", "negative", "no times", "huge"]
)
def test_a_damaged_file_is_as_good_as_none_and_is_mended(make_machine, model, content):
    machine = make_machine()
    open_fastest(model, threads=1)
    path = timings.cache_file()
    if isinstance(content, str):
        plain = json.loads(path.read_text())
        plain[0]["setting"]["size"] = [64_000, 64_000] if content == "huge" else [64, 96]
        plain[0]["milliseconds"] = {
            "huge": {},
            "nan": {"openvino fp32": float("nan")},
            "negative": {"openvino fp32": -1},
            "no times": None,
        }[content]
        content = json.dumps(plain).encode()
    path.write_bytes(content)
    machine.opened.clear()
    assert name_of(open_fastest(model, threads=1)) == "openvino bf16"
    assert len(machine.opened) == 4
    assert len(timings_of_this_machine()) == 1


def test_times_of_what_nobody_knows_are_passed_over(make_machine, model):
    make_machine()
    open_fastest(model, threads=1)
    path = timings.cache_file()
    path.write_text(path.read_text().replace("openvino bf16", "tpu int4"))
    assert name_of(open_fastest(model, threads=1)) == "openvino fp32"


@pytest.mark.parametrize("place", ["a file", "a folder", "no rights"])
def test_a_place_that_cannot_be_written_stops_nothing(make_machine, model, tmp_path, place):
    make_machine()
    path = timings.cache_file()
    if place == "a file":
        (tmp_path / "cache").write_text("in the way")
    elif place == "a folder":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o500)
    assert name_of(open_fastest(model, threads=1)) == "openvino bf16"
    assert name_of(open_fastest(model, threads=1)) == "openvino bf16"


def test_only_so_many_are_kept_and_the_oldest_goes(make_machine, model, monkeypatch):
    monkeypatch.setattr(timings, "MOST_SETTINGS", 3)
    make_machine()
    for threads in (1, 2, 3, 4, 2):
        measure(model, threads)
    assert [timing.setting.threads for timing in timings.stored_timings()] == [3, 4, 2]


@pytest.mark.skipif(os.name == "nt", reason="Windows has LOCALAPPDATA")
def test_the_file_lies_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert timings.cache_file() == tmp_path / "cache" / "weakspot" / "runtimes.json"
    for value in ("", "relative/"):  # which the XDG specification asks to pass over
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert timings.cache_file() == tmp_path / "home" / ".cache" / "weakspot" / "runtimes.json"


def test_the_runtimes_that_are_here_are_measured_and_the_fastest_answers(model, make_pixels):
    timing = measure(model, 1)
    assert {"onnxruntime fp32", "openvino fp32"} <= set(timing.milliseconds) <= set(AS_MEASURED)
    assert timing in timings_of_this_machine()
    opened = open_fastest(model, threads=1)
    assert timing.milliseconds[name_of(opened)] == min(timing.milliseconds.values())
    assert opened.run(make_pixels()[None, None]).heat_map.shape == (1, 8, 12)
