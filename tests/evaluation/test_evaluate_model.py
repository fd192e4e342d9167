"""A model file and labelled pictures on disk: what can be measured is, whatever is missing, and what it was trained on
is no test."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.inspection.conftest import made_model, made_pixels
from weakspot import terminal
from weakspot.errors import DataError, MetricError, OutputError
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import write_model_file
from weakspot.jobs.evaluate import evaluate_model

LEVELS = {"good": 60, "bad": 200}  # grey levels that the made detector is sure of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "made.weakspot"
    write_model_file(path, made_model())
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Callable[..., Path]:
    """Pictures of each label, as many as asked for; good ones that the detector calls bad where wanted."""
    from PIL import Image

    def make(good: int = 0, bad: int = 0, alarms: int = 0, refused: tuple[str, ...] = ()) -> Path:
        wanted = [("good", i, 200 if i < alarms else 60) for i in range(good)] + [("bad", i, 200) for i in range(bad)]
        for label, number, level in wanted:
            path = tmp_path / "labelled" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(made_pixels(level, number)).save(path)
        for name in refused:
            path = tmp_path / "labelled" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no picture")
        return tmp_path / "labelled"

    return make


def texts(folder: Path) -> tuple[dict, list[dict[str, str]], str]:
    """metrics.json, the rows of scores.csv, and the words of the report."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO((folder / "scores.csv").read_text(encoding="utf-8"), newline=""))
    words = re.sub(r"<[^>]+>", " ", page).replace("\u00a0", " ")
    return json.loads((folder / "metrics.json").read_text()), list(rows), re.sub(r"\s+", " ", words)


@pytest.mark.parametrize(
    ("kind", "missing", "counted", "uncounted"),
    [("good", "bad", "false_alarms", "escapes"), ("bad", "good", "escapes", "false_alarms")],
)
def test_of_one_kind_of_pictures_what_can_be_measured_is(
    model: Path,
    labelled: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    missing: str,
    counted: str,
    uncounted: str,
) -> None:
    found = evaluate_model(model, labelled(**{kind: 3}), tmp_path / "out")
    terminal.show_evaluation(found, tmp_path / "out", as_json=False)
    metrics, rows, page = texts(tmp_path / "out")
    assert metrics["metrics"] == {counted: 0, "review": 0}
    reasons = metrics["not_measured"]
    assert reasons[uncounted] == f"there are no {missing} pictures here"
    assert "needs both" in reasons["ranking"]
    assert metrics["rates"][0]["key"] == counted
    assert [row["label"] for row in rows] == [{"good": "0", "bad": "1"}[kind]] * 3
    assert f"Anything about {missing} parts: there are no {missing} pictures here" in page
    said = " ".join(capsys.readouterr().out.split())
    assert f"not measured: {uncounted}: there are no {missing} pictures here" in said
    assert f"0 of 0 {missing}" not in said + page


def test_one_picture_is_an_evaluation(model: Path, labelled: Callable[..., Path], tmp_path: Path) -> None:
    found = evaluate_model(model, labelled(good=1, alarms=1), tmp_path / "out")
    assert (found.counts.false_alarms, found.counts.good) == (1, 1)
    assert "1 of 1 good pictures would be called bad" in texts(tmp_path / "out")[2]


def test_a_kind_of_which_all_were_refused_is_not_said_to_be_missing(
    model: Path, labelled: Callable[..., Path], tmp_path: Path
) -> None:
    found = evaluate_model(model, labelled(good=2, refused=("bad/a.png", "bad/b.png")), tmp_path / "out")
    metrics, rows, page = texts(tmp_path / "out")
    assert found.not_measured["escapes"] == "none of 2 bad pictures could be inspected"
    assert "escapes" not in metrics["metrics"]
    assert [row["decision"] for row in rows] == ["good", "good", "not inspected", "not inspected"]
    assert "Anything about bad parts: none of 2 bad pictures could be inspected." in page


def test_where_all_are_refused_one_line_says_why_and_nothing_is_written(
    model: Path, labelled: Callable[..., Path], tmp_path: Path
) -> None:
    data = labelled(refused=("good/a.png", "bad/b.png"))
    with pytest.raises(MetricError, match="none of 2 pictures could be inspected; the first: .*bad/b.png") as refused:
        evaluate_model(model, data, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "out").glob("*"))


def test_a_folder_without_pictures_is_still_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "labelled" / "good").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no pictures"):
        evaluate_model(model, tmp_path / "labelled", tmp_path / "out")


def test_evaluating_on_training_pictures_is_said_to_be_no_test(
    model: Path, labelled: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = labelled(good=3, bad=2)
    seen = hashlib.sha256((data / "good" / "1.png").read_bytes()).hexdigest()
    load = LoadedDetector.load_exact

    def with_training_files(path: Path, threads: int | None) -> LoadedDetector:
        detector = load(path, threads)
        about = {name: getattr(detector.manifest, name) for name in type(detector.manifest).model_fields}
        stand_in = SimpleNamespace(**about | {"training_files": [seen]})
        monkeypatch.setattr(type(detector), "manifest", property(lambda _: stand_in), raising=False)
        return detector

    monkeypatch.setattr(LoadedDetector, "load_exact", staticmethod(with_training_files))
    found = evaluate_model(model, data, tmp_path / "out")
    terminal.show_evaluation(found, tmp_path / "out", as_json=False)
    assert "1 of 5 files are byte for byte training pictures" in " ".join(capsys.readouterr().out.split())
    metrics, _, page = texts(tmp_path / "out")
    assert (metrics["seen_in_training"], metrics["test"]) == (1, False)
    assert "Not a test" in page


@pytest.mark.parametrize("name", ["run.json", "inspections.jsonl", "good/1.png"])
def test_a_folder_that_holds_something_else_is_left_alone(
    name: str, model: Path, labelled: Callable[..., Path], tmp_path: Path
) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(OutputError, match="choose another --output"):
        evaluate_model(model, labelled(), tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]


def test_what_the_model_file_promises_is_held_against_pictures_it_has_not_seen_and_only_those(
    tmp_path: Path, labelled: Callable[..., Path]
):
    scores = {"good": [-3.0] * 19 + [0.0], "bad": [-2.0] + [3.0] * 9}
    data = labelled(good=4, bad=3)
    write_model_file(tmp_path / "a.weakspot", made_model(held_out_scores=scores))
    evaluate_model(tmp_path / "a.weakspot", data, tmp_path / "out")
    figures, _, words = texts(tmp_path / "out")
    assert {rate: (one["promised"], one["found"]) for rate, one in figures["promises"].items()} == {
        "escapes": ([1, 10], [0, 3]),
        "false_alarms": ([0, 20], [0, 4]),
    }
    assert "good pictures for review 1 of 20 0 of 4" in words
    trained = [hashlib.sha256(next((data / "good").iterdir()).read_bytes()).hexdigest()]
    write_model_file(tmp_path / "b.weakspot", made_model(held_out_scores=scores, training_files=trained))
    evaluate_model(tmp_path / "b.weakspot", data, tmp_path / "seen")
    assert texts(tmp_path / "seen")[0]["promises"] == {}
