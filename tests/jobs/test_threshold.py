"""Thresholds of a model file: shown, changed with a reason, and left alone where the change cannot be."""

from pathlib import Path

import pytest

from tests.inspection.conftest import made_model
from weakspot.errors import ModelFileError, SettingsError
from weakspot.inspection.model_file import read_model_file, write_model_file
from weakspot.jobs.threshold import thresholds_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model_file(tmp_path / "part.weakspot", made_model())  # good below -1, bad from 1
    return tmp_path / "part.weakspot"


def test_thresholds_are_shown_and_the_file_stays_as_it_is(model: Path) -> None:
    before = model.read_bytes()
    record = thresholds_of(model)
    assert (record.bad_from, record.good_below, record.changes) == (1.0, -1.0, [])
    assert model.read_bytes() == before


def test_one_threshold_changes_and_the_other_stays_and_the_reason_is_kept(model: Path) -> None:
    graph = read_model_file(model).graph
    record = thresholds_of(model, bad_from=2.5, reason="  too many false alarms ")
    assert (record.bad_from, record.good_below, record.rule, record.chosen_on) == (
        2.5,
        -1.0,
        "by hand",
        "too many false alarms",
    )
    record = thresholds_of(model, good_below=0.0, reason="too much to review")
    assert [(change.bad_from, change.good_below, change.reason) for change in record.changes] == [
        (1.0, -1.0, "too many false alarms"),
        (2.5, -1.0, "too much to review"),
    ]
    assert read_model_file(model).graph == graph


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bad_from": 2.0}, "needs its reason.*--reason TEXT"),
        ({"bad_from": 2.0, "reason": "  "}, "needs its reason"),
        ({"reason": "because"}, "--bad-from, --good-below or both"),
        ({"bad_from": -3.0, "reason": "because"}, "good_below <= bad_from"),
        ({"bad_from": float("nan"), "reason": "because"}, "finite"),
    ],
)
def test_a_change_that_cannot_be_leaves_the_file_as_it_is(model: Path, change: dict[str, object], said: str) -> None:
    before = model.read_bytes()
    with pytest.raises(SettingsError, match=said):
        thresholds_of(model, **change)  # type: ignore[arg-type]
    assert model.read_bytes() == before


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.weakspot").write_text("no model")
    with pytest.raises(ModelFileError):
        thresholds_of(tmp_path / "a.weakspot")


@pytest.mark.parametrize("nonsense", [1e300, -5000.0])
def test_a_threshold_that_no_score_reaches_is_refused(model: Path, nonsense: float) -> None:
    before = model.read_bytes()
    with pytest.raises(SettingsError, match="raw scores lie between -1000 and 1000"):
        thresholds_of(model, bad_from=nonsense, good_below=nonsense, reason="typo")
    assert model.read_bytes() == before
