"""The page of results says what the records say, and nothing else."""

import fcntl
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from weakspot.errors import DataError
from weakspot.experiments.tables import write_tables

HERE = Path(__file__).parents[2]
LEARNED = {"top_fractions": [0.01]}


def recorded(folder: Path, run: str, **more: Any) -> None:
    """A record as small as the page allows, and two scores of its own."""
    seed = int(run.split("seed")[1].split("-")[0])
    split = {"name": "clean" if "fold" in run else "hold_out"}
    record = {"run": run, "recipe": "sharp", "split": split, "positives": 10, "seed": seed, "size": [64, 96]}
    record |= {"settings": {}, "data_fingerprint": "a", "seconds": 120, "learned": LEARNED}
    record |= {"metrics": {"average_precision": 0.5}, **more}
    scores = record.pop("scores", [(1, 1.0), (0, 0.0)])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{run}.json").write_text(json.dumps(record))
    lines = ["label,raw_score,heat_score", *(f"{label},{score},{score}" for label, score in scores)]
    (folder / f"{run}.scores.csv").write_text("\n".join(lines))


def summary(results: Path) -> list[dict[str, str]]:
    """The rows of the page's first table."""
    page = write_tables(results).read_text(encoding="utf-8")
    heads, _, *rows = [line for line in page.split("## ")[0].splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in heads.split("|")[1:-1]]
    return [dict(zip(names, (cell.strip() for cell in row.split("|")[1:-1]), strict=True)) for row in rows]


def promised(*kept: bool) -> dict[str, Any]:
    return {name: {"kept": each} for name, each in zip(("escapes", "false_alarms"), kept)}


def test_the_page_of_results_is_made_from_the_records(tmp_path: Path):
    shutil.copytree(HERE / "results", tmp_path / "results")
    made = write_tables(tmp_path / "results").read_text(encoding="utf-8")
    assert made == (HERE / "results" / "README.md").read_text(encoding="utf-8"), (
        "write it anew with `weakspot experiment`; never by hand"
    )


def test_seeds_become_mean_and_deviation_and_one_alone_has_none(tmp_path: Path):
    for seed, ap in ((3, 0.8), (10, 0.9), (4, 0.7)):
        metrics = {"average_precision": ap, "false_positives_at_full_recall": seed}
        recorded(tmp_path / "x", f"sharp-hold_out-seed{seed}", metrics=metrics, seconds=60 * seed)
    recorded(tmp_path / "y", "sharp-hold_out-seed0")
    several, single = summary(tmp_path)
    assert (several["seeds"], several["n"], several["AP"]) == ("3, 4, 10", "3", "0.800 ± 0.100")
    assert (several["FP at full recall"], several["minutes"]) == ("5.7 ± 3.8", "6")
    assert (single["seeds"], single["n"], single["AP"]) == ("0", "1", "0.500")
    assert single["AUROC"] == single["hit"] == single["promises kept"] == ""


def test_a_figure_that_a_seed_lacks_is_left_empty(tmp_path: Path):
    recorded(tmp_path / "x", "sharp-hold_out-seed0", metrics={"average_precision": 0.5, "auroc": 0.5})
    recorded(tmp_path / "x", "sharp-hold_out-seed1", metrics={"average_precision": 0.5})
    (row,) = summary(tmp_path)
    assert (row["AP"], row["AUROC"]) == ("0.500 ± 0.000", "")


def test_folds_of_a_seed_are_one_figure_and_a_seed_without_all_of_them_is_left_out(tmp_path: Path):
    """Each fold ranks its own two pictures well; pooled, the good one of fold 1 lies above the bad one of fold 0."""
    for seed, ap in ((0, 1.0), (1, 0.8)):
        for fold in (0, 1):
            metrics = {"average_precision": ap, "false_positives_at_full_recall": 2}
            scores = [(1, 1.0 + 3 * fold), (0, 0.0 + 3 * fold)] if seed else [(1, 1.0), (0, 0.0)]
            recorded(tmp_path / "x", f"sharp-clean-fold{fold}-seed{seed}", metrics=metrics, scores=scores)
    recorded(tmp_path / "x", "sharp-clean-fold0-seed2", metrics={"average_precision": 0.1})
    (row,) = summary(tmp_path)
    assert (row["n"], row["seeds"], row["split"]) == ("2", "0, 1", "clean, folds 0, 1")
    assert row["AP"] == "0.900 ± 0.141"
    assert row["AP, folds pooled"] == "0.917 ± 0.118"  # of 1 and (1 + 2/3) / 2
    assert row["FP at full recall"] == "4.0 ± 0.0"
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| **sharp-clean-seed1, pooled** |" in page
    assert "| sharp-clean-fold0-seed2 |" in page
    assert "sharp-clean-seed2, pooled" not in page


def test_test_pictures_without_a_score_are_left_out_of_the_pooled_ranking_and_counted(tmp_path: Path):
    for fold in (0, 1):
        recorded(tmp_path / "x", f"sharp-clean-fold{fold}-seed0", scores=[(1, 1.0), (0, 0.0), (1, "")])
    (row,) = summary(tmp_path)
    assert row["AP, folds pooled"] == "1.000 (2 test pictures without a score)"
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| **sharp-clean-seed0, pooled, 2 test pictures without a score** |" in page


def test_seeds_with_other_folds_are_not_compared_though_they_are_as_many(tmp_path: Path):
    for seed, folds in ((0, (0, 1)), (1, (1, 2))):
        for fold in folds:
            recorded(tmp_path / "x", f"sharp-clean-fold{fold}-seed{seed}")
    (row,) = summary(tmp_path)
    assert (row["seeds"], row["n"], row["AP"]) == ("", "0", "")


def test_seeds_whose_settings_or_pictures_differ_are_rows_of_their_own_and_it_is_said(tmp_path: Path):
    for seed in (0, 1):
        drawn = {"seed": seed, "split_seed": seed, "draw_seed": seed, "threads": 1 + seed}
        recorded(tmp_path / "x", f"sharp-hold_out-seed{seed}", settings=drawn, data_fingerprint="a")
    recorded(tmp_path / "x", "sharp-hold_out-seed2", settings={"seed": 2, "schedule": 0.5}, data_fingerprint="a")
    recorded(tmp_path / "x", "sharp-hold_out-seed3", settings={"seed": 3, "schedule": 1.0}, data_fingerprint="b")
    assert [row["seeds"] for row in summary(tmp_path)] == ["0, 1", "2", "3"]
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "x: runs of sharp-hold_out differ in data_fingerprint, schedule; each kind has a row of its own.\n" in page


def test_numbers_of_bad_pictures_are_rows_of_their_own_the_least_first(tmp_path: Path):
    for bad in (10, 5, 0):
        recorded(tmp_path / "x", f"sharp-hold_out-bad{bad}-seed0", positives=bad)
    assert [row["bad"] for row in summary(tmp_path)] == ["0", "5", "10"]
    recorded(tmp_path / "y", "sharp-clean-fold0-seed0", positives=31)
    recorded(tmp_path / "y", "sharp-clean-fold1-seed0", positives=34)
    assert summary(tmp_path)[-1]["bad"] == "31–34"


def test_seeds_of_the_weights_are_told_from_those_of_all(tmp_path: Path):
    for weights in (0, 1):
        recorded(tmp_path / "x", f"sharp-hold_out-seed3-weights{weights}", weights_seed=weights)
    recorded(tmp_path / "x", "sharp-hold_out-seed4-weights0", weights_seed=0)
    recorded(tmp_path / "x", "sharp-hold_out-seed5", weights_seed=5)
    rows = summary(tmp_path)
    assert [row["seeds"] for row in rows] == ["weights 0, 1; all else 3", "weights 0; all else 4", "5"]
    assert [row["n"] for row in rows] == ["2", "1", "1"]


def test_promises_are_counted_by_row_and_over_everything(tmp_path: Path):
    recorded(tmp_path / "x", "sharp-hold_out-seed0", promises=promised(True, False))
    recorded(tmp_path / "x", "sharp-hold_out-seed1", promises=promised(True, True))
    recorded(tmp_path / "y", "sharp-hold_out-seed0", promises=promised(False))
    recorded(tmp_path / "z", "sharp-hold_out-seed0")
    assert [row["promises kept"] for row in summary(tmp_path)] == ["3 of 4", "0 of 1", ""]
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Promises kept, over all runs: **3 of 5** (60 %).\n" in page


def test_records_of_benchmarks_are_no_rows_and_without_any_record_the_page_says_so(tmp_path: Path):
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "kernel.json").write_text('{"metrics": {}}')
    assert summary(tmp_path) == []
    assert "Promises kept" not in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"metrics": {}, "recipe": "sharp"}', "a.json: a record of another version, without run; move it away"),
        ('{"metrics": {}, "recipe": "sharp", "run": "a", "split": "own"}', "another version, without split"),
        ("[", "a.json: damaged, no record can be read from it; move it away"),
    ],
)
def test_what_is_no_record_of_this_version_is_named(tmp_path: Path, content: str, said: str):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.json").write_text(content)
    with pytest.raises(DataError, match=said):
        write_tables(tmp_path)


def test_a_record_under_a_second_name_is_refused_rather_than_counted_twice(tmp_path: Path):
    recorded(tmp_path / "x", "sharp-hold_out-seed0")
    shutil.copy(tmp_path / "x" / "sharp-hold_out-seed0.json", tmp_path / "x" / "old-sharp-hold_out-seed0.json")
    with pytest.raises(DataError, match="old-sharp.*: is the record of sharp-hold_out-seed0, which would count twice"):
        write_tables(tmp_path)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (None, "fold1-seed0.scores.csv: is missing; put it back, or move the record beside it away, too"),
        ("label,raw_score,heat_score\n1,0.5", "fold1-seed0.scores.csv: damaged, no scores can be read from it"),
        ("label,raw_score,heat_score\n1,much,1", "fold1-seed0.scores.csv: damaged"),
        ("name\n1", "fold1-seed0.scores.csv: damaged"),
    ],
)
def test_scores_that_are_missing_or_damaged_are_named(tmp_path: Path, scores: str | None, said: str):
    for fold in (0, 1):
        recorded(tmp_path / "x", f"sharp-clean-fold{fold}-seed0")
    path = tmp_path / "x" / "sharp-clean-fold1-seed0.scores.csv"
    path.unlink() if scores is None else path.write_text(scores)
    with pytest.raises(DataError, match=said):
        write_tables(tmp_path)


def test_a_row_says_of_which_folds_it_is(tmp_path: Path):
    recorded(tmp_path / "x", "sharp-clean-fold0-seed0")
    assert summary(tmp_path)[0]["split"] == "clean, fold 0"
    recorded(tmp_path / "x", "sharp-clean-fold2-seed0")
    assert summary(tmp_path)[0]["split"] == "clean, folds 0, 2"


def test_who_writes_the_page_waits_until_nobody_else_does(tmp_path: Path):
    """Else two that end together could leave the page of the one that read fewer records."""
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    writer = threading.Thread(target=write_tables, args=(tmp_path,))
    writer.start()
    writer.join(timeout=0.5)
    assert writer.is_alive()
    assert not (tmp_path / "README.md").exists()
    os.close(other)
    writer.join()
    assert (tmp_path / "README.md").exists()
