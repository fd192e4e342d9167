"""The main job on small folders, in processes of their own: what it leaves, what stops it, and that a stop costs
nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.toys import toy_images
from weakspot.errors import DataError
from weakspot.inspection.model_file import read_model_file
from weakspot.jobs.train import fit_arrays, train
from weakspot.settings import TrainSettings

QUICK = ["--schedule", "0.05", "--size", "64x64", "--quiet"]
SETTINGS = TrainSettings(schedule=0.05, size=(64, 64), folds=2, fold_schedule=1.0, top_fractions=(0.05,), threads=1)


def write_parts(folder: Path, bad: int = 8, good: int = 12) -> Path:
    images = toy_images(bad, good, side=72)
    for index, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        target = folder / ("bad" if label else "good") / f"part {index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0]).save(target)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def finished(parts: Path, tmp_path_factory: pytest.TempPathFactory):
    return train(parts, SETTINGS, output=tmp_path_factory.mktemp("run") / "run")


def test_a_run_leaves_everything_that_tells_what_it_was(finished):
    names = {path.name for path in finished.run.iterdir()}
    assert names >= {
        "model.weakspot",
        "report.html",
        "metrics.json",
        "scores.csv",
        "settings.toml",
        "split.csv",
        "audit.json",
        "history.jsonl",
        "run.json",
    }
    steps = [json.loads(line) for line in (finished.run / "history.jsonl").read_text().splitlines()]
    assert {step["stage"] for step in steps if "stage" in step} == {"search", "locate", "decide"}


def test_test_pictures_take_no_part_in_training(finished):
    rows = [line.split(",") for line in (finished.run / "split.csv").read_text().splitlines()[1:]]
    parts = {part: {row[2] for row in rows if row[3] == part} for part in ("train", "test")}
    assert parts["train"] and parts["test"] and not parts["train"] & parts["test"]
    assert len(finished.evaluation.rows) == len([row for row in rows if row[3] == "test"])


def test_the_model_file_answers_alike_on_every_runtime(finished):
    from weakspot import load

    detector = load(finished.model)
    assert all(each.ok for each in detector.verify())
    assert read_model_file(finished.model).manifest.parity.keys() >= {"onnxruntime"}


def test_what_was_not_learned_and_is_kept_all_the_same_says_so_in_summary_report_and_model(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("weakspot.jobs.learn.LOST_BELOW", 1.1)  # so that nothing counts as learned
    result = train(parts, replace(SETTINGS, schedule=0.01, folds=0, unlearned="keep"), output=tmp_path / "run")
    assert "the training did not learn" in result.summary
    assert "did not learn" in result.report.read_text()
    assert any("did not learn" in warning for warning in read_model_file(result.model).manifest.warnings)


def test_training_masks_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With masks beside the bad pictures, training opens none of them; only the report's evaluation does."""
    from weakspot.jobs import evaluate

    folder = write_parts(tmp_path / "parts")
    for path in (folder / "bad").iterdir():
        mask = np.zeros((72, 72), np.uint8)
        mask[:20, :20] = 255
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / "masks" / path.name)
    opened: list[Path] = []
    real = evaluate.read_mask
    monkeypatch.setattr(evaluate, "read_mask", lambda path, *size: opened.append(path) or real(path, *size))
    result = train(folder, SETTINGS, output=tmp_path / "run")
    trained = {
        line.split(",")[0] for line in (result.run / "split.csv").read_text().splitlines() if line.endswith("train")
    }
    assert opened and not {f"bad/{path.name}" for path in opened} & trained
    assert "hit_rate" in result.evaluation.metrics


def command(parts: Path, output: Path, *more: str) -> list[str]:
    settings = output.parent / "settings.toml"
    settings.write_text("folds = 2\nfold_schedule = 1.0\ntop_fractions = [0.05]\nthreads = 1\n")
    return [
        sys.executable,
        "-m",
        "weakspot",
        "train",
        str(parts),
        "-o",
        str(output),
        "--settings",
        str(settings),
        *QUICK,
        *more,
    ]


def weights_of(output: Path) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in read_model_file(output / "model.weakspot").weights.items()}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(
    parts: Path, finished, tmp_path: Path, how: signal.Signals
):
    output = tmp_path / "run"
    process = subprocess.Popen(
        command(parts, output), stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while not (output / "history.jsonl").exists() or (output / "history.jsonl").stat().st_size < 1:
        assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(how)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    if how != signal.SIGKILL:
        assert "--resume" in said and "Traceback" not in said
    subprocess.run(command(parts, output, "--resume"), check=True, timeout=300)
    assert weights_of(output) == weights_of(finished.run)


def test_too_few_pictures_are_told_before_anything_is_trained(tmp_path: Path):
    folder = write_parts(tmp_path / "parts", bad=2, good=8)
    with pytest.raises(DataError, match="bad"):
        train(folder, SETTINGS, output=tmp_path / "run")


def test_pictures_in_memory_give_a_detector_at_once():
    images = toy_images(bad=6, good=8)
    detector = fit_arrays([pixels[0] for pixels in images.pixels], images.labels.tolist(), SETTINGS)
    scores = [detector.inspect(pixels[0]).raw_score for pixels in images.pixels]
    assert np.mean(scores[:6]) > np.mean(scores[6:])
