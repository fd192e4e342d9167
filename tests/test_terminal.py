"""What a person reads when a verb is done, and the same as data."""

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from weakspot import terminal
from weakspot.data.layouts import Sample
from weakspot.errors import ImageError
from weakspot.evaluation.evaluate import Evaluation, evaluate
from weakspot.evaluation.metrics import at_thresholds
from weakspot.inspection.inspection import ImageInfo, Inspection, ModelInfo, Thresholds, decide, sigmoid
from weakspot.inspection.manifest import ThresholdChange, ThresholdRecord
from weakspot.inspection.pieces import Tally
from weakspot.settings import ThresholdSettings, TrainSettings

THRESHOLDS = Thresholds(bad_from=1.0, good_below=0.0, rule="best_f1", chosen_on="out-of-fold scores")


def inspected(sample: Sample) -> Inspection:
    """The raw score is in the name; 'cut' cannot be read."""
    if sample.path.stem == "cut":
        raise ImageError("cut.png: half of it is missing")
    raw = float(sample.path.stem)
    return Inspection(
        image=ImageInfo(str(sample.path), "0" * 64, 96, 64),
        model=ModelInfo("toy", "1" * 64),
        decision=decide(raw, THRESHOLDS),
        defect_score=sigmoid(raw),
        raw_score=raw,
        heat_score=raw,
        bad_from=1.0,
        good_below=0.0,
        heat_map=np.zeros((8, 12), np.float32),
    )


@pytest.fixture
def evaluation() -> Evaluation:
    names = [("2.0", 1), ("3.0", 1), ("-1.5", 1), ("-2.0", 0), ("-3.0", 0), ("0.5", 0), ("1.5", 0), ("cut", 0)]
    samples = [
        Sample(path=Path(f"[red]{name}.png").with_name(f"{name}.png"), label=label, group=name) for name, label in names
    ]
    return evaluate(inspected, samples, THRESHOLDS, draws=20)


def test_an_evaluation_is_told_with_counts_intervals_and_what_they_show(
    evaluation: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.show_evaluation(evaluation, Path("out"), as_json=False)
    out = capsys.readouterr().out
    assert "1 of 3" in out
    assert "95 % interval" in out
    assert "Average precision" in out
    assert "not inspected: cut.png: half of it is missing" in out
    assert "out/report.html" in out


def test_an_evaluation_as_json_is_its_figures(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_evaluation(evaluation, Path("out"), as_json=True)
    figures = json.loads(capsys.readouterr().out)
    assert figures["escapes"] == 1
    assert 0 < figures["average_precision"] <= 1


def test_thresholds_are_told_with_who_chose_them_and_what_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    earlier = ThresholdChange(
        time="2026-01-31T12:00:00Z",
        reason="[line 3] alarms",
        bad_from=1,
        good_below=0,
        region_from=0.5,
        rule="best_f1",
        chosen_on="folds",
    )
    record = ThresholdRecord(
        bad_from=2.0, good_below=0.5, rule="by hand", chosen_on="[line 3] alarms", changes=[earlier]
    )
    terminal.show_thresholds(record, None, as_json=False)
    out = capsys.readouterr().out
    assert "bad from raw score 2, good below 0.5" in out
    assert out.count("[line 3] alarms") == 2 and "set by hand, because: [line 3] alarms\n" in out
    assert "had not seen" not in out
    terminal.show_thresholds(record, None, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["changes"][0]["reason"], shown["held_out"]) == ("[line 3] alarms", None)


def test_thresholds_are_told_with_what_they_make_of_the_training_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    record = ThresholdRecord(bad_from=2.0, good_below=0.5, rule="limits", chosen_on="folds")
    counts = at_thresholds([0] * 9 + [1] * 5, [0.0] * 6 + [1.0] * 2 + [3.0, 0.0] + [1.0] * 3 + [3.0], 2.0, 0.5)
    terminal.show_thresholds(record, counts, as_json=False)
    rows = [re.findall(r"\w+", line) for line in capsys.readouterr().out.splitlines()]
    assert ["bad", "5", "1", "3", "1"] in rows
    assert ["good", "9", "6", "2", "1"] in rows
    terminal.show_thresholds(record, counts, as_json=True)
    assert json.loads(capsys.readouterr().out)["held_out"]["escapes"] == 1
    one = ThresholdRecord(bad_from=2.0, good_below=2.0, rule="limits", chosen_on="folds")
    terminal.show_thresholds(one, None, as_json=False)
    assert "bad from raw score 2, good below it\n" in capsys.readouterr().out


def test_an_inspection_names_the_first_refusals_and_counts_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    refusals = tuple(SimpleNamespace(reason=f"{number}.png: empty") for number in range(13))
    decisions = {"good": 1200, "review": 3, "bad": 1}
    summary: Any = SimpleNamespace(
        total=1217,
        decisions=decisions,
        refused=13,
        refusals=refusals,
        output=Path("out"),
        seconds=2.0,
        warnings={"red and blue look swapped": 2, "its EXIF data are damaged": 1},
    )
    terminal.show_inspected(summary, as_json=False)
    out = capsys.readouterr().out
    assert out.count(".png: empty") == 10
    assert "3 more" in out
    assert "1,200" in out
    assert "warning of 2 images: red and blue look swapped; see inspections.csv\nwarning of 1 image: its EXIF" in out
    terminal.show_inspected(summary, as_json=True)
    beside = capsys.readouterr()
    assert (beside.out, beside.err) == ("", out)


@pytest.mark.parametrize("as_json", [False, True])
def test_pieces_name_the_first_refusals_and_warnings(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    decisions = Counter({"good": 5, "review": 2, "bad": 0, "not inspected": 1300})
    refusals = [f"{number}.png: empty" for number in range(13)]
    warnings = Counter({"unlike the training pictures": 2})
    tally = Tally("out", decisions, 2, 2, 1.0, warnings=warnings, refusals=refusals)
    terminal.show_tally(tally, as_json)
    out, err = capsys.readouterr()
    said = err if as_json else out
    assert said.count(".png: empty") == 10 and "not inspected: 1,290 more; see the parts' tables" in said
    assert "warning of 2 images: unlike the training pictures; see the parts' tables" in said
    assert not as_json or json.loads(out)["decisions"]["review"] == 2


def test_names_of_files_are_never_markup_and_never_break_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(terminal.table("t", ("a", "b"), [("[bold]x[/bold]\n", 1), ("y", 23)]))
    lines = capsys.readouterr().out.splitlines()
    assert any("[bold]x[/bold]\\n" in line for line in lines)
    assert len(lines) == 4


def test_settings_that_are_not_the_defaults_are_told_in_one_line() -> None:
    settings = TrainSettings(positives=10, size=(704, 256), threshold=ThresholdSettings(rule="cost"))
    assert (
        terminal.differing(settings)
        == "settings: size = (704, 256), positives = 10, threshold.rule = cost; all of them stand in settings.toml"
    )


def test_a_number_that_is_none_is_an_error_and_not_json() -> None:
    with pytest.raises(ValueError):
        terminal.print_json({"ap": float("nan")})
