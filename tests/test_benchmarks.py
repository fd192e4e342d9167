"""What benchmarks/ measures becomes records, and the records become the pages' figures."""

import csv
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.inspection.conftest import made_model
from tests.jobs.test_export import labelled
from weakspot.inspection.model_file import write_model_file

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def recorded(script: str, place: Path, *arguments: str) -> dict[str, Any]:
    """What a benchmark writes."""
    command = [sys.executable, BENCHMARKS / script, *arguments, "--json", place / "record.json"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    record: dict[str, Any] = json.loads((place / "record.json").read_text())
    return record


@pytest.mark.parametrize("name", ["performance.md", "large_images.md"])
def test_the_figures_of_a_page_are_those_of_the_records(name: str) -> None:
    """Made by benchmarks/tables.py; nothing between the two marks is typed."""
    import tables

    path = ROOT / "docs" / name
    page, figures = path.read_text(encoding="utf-8"), tables.FIGURES[path]()
    assert figures.count("|") > 20 and figures in page
    assert tables.written(page, figures) == page


def test_the_table_of_parity_is_that_of_its_record() -> None:
    import parity

    page = parity.PAGE.read_text(encoding="utf-8")
    record = json.loads((ROOT / "results" / "parity.json").read_text(encoding="utf-8"))
    assert parity.page(page, record) == page
    assert {run["data"] for run in record["runs"]} == {"KolektorSDD", "magnetic_tile"}
    rows = [row for run in record["runs"] for row in run["rows"]]
    assert all(row["changed_outside_review"] == 0 for row in rows), "as the page says below it"
    assert all(row["changed"] == 0 for row in rows if row["precision"] != "int8")


def test_latencies_are_measured_and_their_record_becomes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("nncf")
    rows = recorded("latency.py", tmp_path, "--pictures", "3", "--size", "64x64", "--threads", "1")["latencies"]
    found = {(row["implementation"], row["precision"]) for row in rows}
    assert found >= {
        ("PyTorch", "fp32"),
        *((name, how) for name in ("onnxruntime", "openvino") for how in ("fp32", "int8")),
    }
    assert all(0 < row["p50"] <= row["p95"] <= row["p99"] for row in rows)
    import tables

    (tmp_path / "record.json").rename(tmp_path / "latency.json")
    monkeypatch.setattr(tables, "RECORDS", tmp_path)
    table = tables.latencies()
    assert "| size | implementation | precision | p50, ms | p95, ms | p99, ms |" in table
    assert table.count("| 64 × 64 | ") == len(rows)


def test_the_default_is_timed_beside_the_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import default
    import tables

    record = recorded("default.py", tmp_path, "--rounds", "1", "--size", "64x64", "--threads", "1")
    assert {row["runtime"] for row in record["inspections"]} >= {"onnxruntime"}
    assert all(row["times_as_fast"] > 0 for row in record["inspections"])
    found = default.multiply_adds((1408, 512))
    assert 50e9 < found["before"] < 52e9 and found["default"] < 15e9
    (tmp_path / "record.json").rename(tmp_path / "default_beside_before.json")
    monkeypatch.setattr(tables, "RECORDS", tmp_path)
    assert tables.default_beside_before().count("| 1 | ") == len(record["inspections"])


def test_runtimes_are_compared_on_what_a_run_has_not_seen(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    import parity

    from tests.training.test_export import detector as made_detector
    from weakspot.training.export import export_graph

    detector = made_detector(body="narrow", decision="heat")
    weights = {name: tensor.numpy() for name, tensor in detector.state_dict().items()}
    model = made_model(network=asdict(detector.settings), bf16_margin=0.1)
    write_model_file(
        tmp_path / "model.weakspot", replace(model, graph=export_graph(detector, 64, 96, 8), weights=weights)
    )
    labelled(tmp_path / "data", 4)
    with (tmp_path / "split.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "label", "group", "part"])
        for label, number in (("good", 0), ("bad", 1)):
            rows.writerows([f"{label}/{n}.png", number, n, "test" if n else "train"] for n in range(4))
    run = parity.compared(tmp_path / "model.weakspot", tmp_path / "data", threads=1)
    assert (run["pictures"], run["bad"], run["calibrated_by"]) == (6, 3, 2)
    found = {(row["runtime"], row["precision"]): row for row in run["rows"]}
    assert found["torch", "fp32"]["raw_largest"] == 0
    assert 0 < found["onnxruntime", "fp32"]["raw_p99"] <= found["onnxruntime", "fp32"]["raw_largest"] < 1e-5
    assert 1e-5 < found["onnxruntime", "int8"]["heat_largest"] < 1
    assert parity.table({"runs": [run]}).count("\n") == 2 + len(run["rows"]) - 1


def test_the_demo_is_timed_in_a_fresh_clone_and_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A repository of two scripts stands in for this one, whose installation takes minutes."""
    import demo
    import tables

    scripts = tmp_path / "here" / "scripts"
    scripts.mkdir(parents=True)
    run = {"run.json": {"plan": {"size": [152, 152], "machine": {"bf16": True}}}}
    reached = {"average_precision": 0.9251, "auroc": 0.94, "escapes": 2, "false_alarms": 3}
    run["metrics.json"] = {
        "background": {"parts": {"training": {"good": 9}, "test": {"good": 294, "bad": 156, "parts": 450}}},
        "metrics": reached,
    }
    lines = [f"printf '%s' '{json.dumps(content)}' >runs/demo/{name}" for name, content in run.items()]
    wanted = '[ -e installed ] && [ "$*" = "--threads 1" ] && mkdir -p runs/demo'
    for name, text in {"setup": "touch installed", "demo": "\n".join([wanted, *lines])}.items():
        (scripts / name).write_text(f"#!/usr/bin/env bash\nset -e\n{text}\n")
        (scripts / name).chmod(0o755)
    git = ["git", "-C", tmp_path / "here", "-c", "user.name=a", "-c", "user.email=a"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Two scripts"]):
        subprocess.run([*git, *words], check=True)
    record = demo.measured(tmp_path / "here", ["--threads", "1"])
    assert record["reached"] == reached and set(record["seconds"]) == {"installation", "demo"}
    with pytest.raises(subprocess.CalledProcessError):
        demo.measured(tmp_path / "here", [])
    machine = {"processor": "a processor", "cores": 2, "load_before": 0.1}
    record |= {"machine": machine, "seconds": {"installation": 61.4, "demo": 250.2}}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "demo.json").write_text(json.dumps(record))
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    told = tables.demo()
    assert "61 s of installation and 250 s of everything else, 312 s in all" in told
    assert "AP 0.925 on 294 good and 156 bad images" in told and "152 × 152 pixels; 2 cores, bf16" in told
