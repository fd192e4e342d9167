"""Thresholds of a model file: shown, changed with a reason, and left alone where the change cannot be."""

import errno
from pathlib import Path
from threading import Thread

import pytest

from tests.inspection.conftest import made_model
from weakspot.errors import ModelFileError, OutputError, SettingsError
from weakspot.inspection.model_file import read_model_file, write_model_file
from weakspot.jobs.threshold import _by_hand, held_out_counts, thresholds_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model_file(tmp_path / "part.weakspot", made_model())  # good below -1, bad from 1
    return tmp_path / "part.weakspot"


@pytest.fixture
def scored_model(tmp_path: Path) -> Path:
    """With the scores that chose its thresholds: 200 good pictures, and 30 bad ones of which ten score among them."""
    scores = {"good": [float(i) for i in range(200)], "bad": [140.5 + 6 * i for i in range(30)]}
    write_model_file(tmp_path / "scored.weakspot", made_model(held_out_scores=scores))
    return tmp_path / "scored.weakspot"


def test_limits_choose_from_the_scores_in_the_file_and_stand_with_their_reason(scored_model: Path) -> None:
    record = thresholds_of(scored_model, max_false_alarms=0.02, max_escapes=0.1, reason=" line 3 ")
    assert (record.good_below, record.bad_from) == (155.5, 195.5)  # 3 of 30 below, 4 of 200 at or above
    assert record.rule == "false alarms at most 2 % of the good pictures, escapes at most 10 % of the bad ones"
    assert record.chosen_on == "out-of-fold scores of the training pictures"
    assert [(change.bad_from, change.reason) for change in record.changes] == [(1.0, "line 3")]


def test_a_limit_that_is_not_given_is_that_of_the_training(tmp_path: Path) -> None:
    trained = {"threshold": {"rule": "best_f1", "max_escape_rate": 0.1}}
    scores = {"good": [float(i) for i in range(200)], "bad": [140.5 + 6 * i for i in range(30)]}
    write_model_file(tmp_path / "a.weakspot", made_model(held_out_scores=scores, settings=trained))
    record = thresholds_of(tmp_path / "a.weakspot", max_false_alarms=0.02, reason="line 3")
    assert (record.good_below, record.bad_from) == (155.5, 195.5)


def test_the_pictures_that_chose_are_counted_at_the_thresholds_in_force(model: Path, scored_model: Path) -> None:
    thresholds_of(scored_model, bad_from=190.0, good_below=150.0, reason="by hand")
    counts = held_out_counts(read_model_file(scored_model).manifest)
    assert counts is not None
    assert (counts.escapes, counts.bad, counts.false_alarms, counts.good) == (2, 30, 10, 200)
    assert (counts.bad_in_review, counts.good_in_review) == (7, 40)
    assert held_out_counts(read_model_file(model).manifest) is None


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
        ({"max_escapes": 0.1}, "needs its reason"),
        ({"max_escapes": 0.1, "reason": "because"}, "holds no out-of-fold scores.*--bad-from and --good-below"),
        ({"max_escapes": 0.1, "bad_from": 1.0, "reason": "because"}, "thresholds and limits at once; give one kind"),
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


def test_a_limit_that_is_no_share_is_refused(scored_model: Path) -> None:
    before = scored_model.read_bytes()
    with pytest.raises(SettingsError, match=r"max_escape_rate = 5; needed is a number from 0 to 1, such as 0.05"):
        thresholds_of(scored_model, max_escapes=5, reason="per cent")
    assert scored_model.read_bytes() == before


def test_without_bad_pictures_false_alarms_can_be_limited_and_escapes_cannot(tmp_path: Path) -> None:
    path = tmp_path / "a.weakspot"
    write_model_file(path, made_model(held_out_scores={"good": [float(i) for i in range(200)]}))
    with pytest.raises(SettingsError, match="no bad picture was trained on, so no limit of escapes can be held"):
        thresholds_of(path, max_escapes=0.1, reason="line 3")
    record = thresholds_of(path, max_false_alarms=0.1, reason="line 3")
    assert (record.good_below, record.bad_from) == (179.5, 179.5)
    assert record.rule == "false alarms at most 10 % of the good pictures"


@pytest.mark.parametrize("nonsense", [1e300, -5000.0])
def test_a_threshold_that_no_score_reaches_is_refused(model: Path, nonsense: float) -> None:
    before = model.read_bytes()
    with pytest.raises(SettingsError, match="raw scores lie between -1000 and 1000"):
        thresholds_of(model, bad_from=nonsense, good_below=nonsense, reason="typo")
    assert model.read_bytes() == before


def test_of_changes_at_the_same_time_none_is_lost(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand, second = _by_hand, []

    def slowly(manifest, given, reason):
        if not second:  # this one has read the file; another one changes it now, if it may
            second.append(Thread(target=thresholds_of, args=(model, 3.0, None, "line 4")))
            second[0].start()
            second[0].join(0.5)
        return by_hand(manifest, given, reason)

    monkeypatch.setattr("weakspot.jobs.threshold._by_hand", slowly)
    thresholds_of(model, bad_from=2.0, reason="line 3")
    second[0].join()
    assert [change.reason for change in thresholds_of(model).changes] == ["line 3", "line 4"]


def test_a_file_that_may_not_be_written_keeps_its_thresholds(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, opened = model.read_bytes(), open

    def refuse(file, mode="r", *more, **named):
        if mode == "r+b":
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return opened(file, mode, *more, **named)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(OutputError, match="no right to write there"):
        thresholds_of(model, bad_from=2.0, reason="line 3")
    assert model.read_bytes() == before
