"""The main job on small folders: what it leaves, what stops it, and that a stop costs nothing."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.toys import toy_images
from weakspot import provenance
from weakspot.data import reading
from weakspot.data.samples import Sample
from weakspot.errors import DataError, OutputError, SettingsError
from weakspot.inspection.model_file import read_model_file
from weakspot.jobs.observe import Observer, TrainingStopped
from weakspot.jobs.passing import _parts, fit_arrays, train_in_passing
from weakspot.jobs.pictures import pictures_in_memory
from weakspot.jobs.threshold import held_out_counts
from weakspot.jobs.train import train
from weakspot.runs import Run
from weakspot.settings import TrainSettings
from weakspot.training.state import Step

SETTINGS = TrainSettings(
    schedule=0.02,
    size=(64, 64),
    folds=2,
    fold_schedule=1.0,
    top_fractions=(0.05,),
    threads=1,
    pairs=1,
    unlearned="keep",
)
FEW = replace(SETTINGS, schedule=0.005, threshold={"rule": "false_alarms"})
PAPER = replace(SETTINGS, recipe="paper", third_kernel=7, schedule=0.002)
WITHOUT_SIZE = replace(SETTINGS, size=None, schedule=0.04)


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
        "contact_sheet.png",
    }
    steps = [json.loads(line) for line in (finished.run / "history.jsonl").read_text().splitlines()]
    assert {step["stage"] for step in steps if "stage" in step} == {"search"}


def test_a_recipe_that_draws_no_defects_shows_none(parts: Path, tmp_path: Path):
    result = train(parts, PAPER, output=tmp_path / "run")
    assert not (result.run / "contact_sheet.png").exists() and 'id="drawn"' not in result.report.read_text()


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


def test_the_model_file_holds_the_scores_that_chose_its_thresholds(finished):
    manifest, run = read_model_file(finished.model).manifest, json.loads((finished.run / "run.json").read_text())
    counted = held_out_counts(manifest)
    assert counted and counted.as_dict() == run["learned"]["thresholds"]["counts"]
    for name, statistics in manifest.score_statistics.items():
        scores = manifest.held_out_scores[name]
        assert (len(scores), max(scores)) == (statistics.n, statistics.max)


def test_what_so_few_pictures_cannot_show_is_said_in_summary_report_and_model(finished):
    said = "6 bad pictures can promise no better than 40 % escapes (95 %), even if none is missed: 5 % takes 59"
    assert said in finished.summary.splitlines()
    assert said in finished.report.read_text(encoding="utf-8").replace("\u00a0", " ")
    assert said in read_model_file(finished.model).manifest.warnings


def test_what_was_not_learned_and_is_kept_all_the_same_says_so_in_summary_report_and_model(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("weakspot.jobs.judge.LOST_BELOW", 1.1)  # so that nothing counts as learned
    result = train(parts, replace(SETTINGS, schedule=0.01, folds=0), output=tmp_path / "run")
    assert "the training did not learn" in result.summary
    assert "did not learn" in result.report.read_text()
    assert any("did not learn" in warning for warning in read_model_file(result.model).manifest.warnings)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of every file that this process opens from now on."""
    names: list[str] = []
    watched = {"on": True}
    sys.addaudithook(lambda event, args: names.append(str(args[0])) if event == "open" and watched["on"] else None)
    yield names
    watched["on"] = False


def write_masks(folder: Path) -> dict[str, Path]:
    """A box for each bad picture, by the picture's id."""
    (folder / "masks").mkdir()
    masks = {f"bad/{path.name}": folder / "masks" / path.name for path in sorted((folder / "bad").iterdir())}
    for path in masks.values():
        mask = np.zeros((72, 72), np.uint8)
        mask[:20, :20] = 255
        Image.fromarray(mask).save(path)
    return masks


def ids(samples: Sequence[Sample]) -> list[str]:
    return [sample.id for sample in samples if sample.label]


def test_training_masks_are_never_opened(tmp_path: Path, opened: list[str]):
    """With masks beside the bad pictures, no training opens one, by whatever way; the report's evaluation does."""
    folder = write_parts(tmp_path / "parts")
    write_masks(folder)
    opened.clear()
    result = train(folder, SETTINGS, output=tmp_path / "run")
    masks = {f"bad/{Path(name).name}" for name in opened if Path(name).parent.name == "masks"}
    rows = [line.split(",") for line in (result.run / "split.csv").read_text().splitlines()]
    assert masks == {row[0] for row in rows if row[1] == "1" and row[3] == "test"}
    assert "hit_rate" in result.evaluation.metrics


def test_masks_that_are_to_be_used_are_and_said_and_bad_ones_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = write_parts(tmp_path / "parts")
    masks = write_masks(folder)
    ignoring = train(folder, FEW, output=tmp_path / "ignoring")
    empty, full, small, gone, *_ = ids(ignoring.split.train)
    for name, mask in ((empty, np.zeros((72, 72))), (full, np.full((72, 72), 255)), (small, np.eye(60))):
        Image.fromarray(mask.astype(np.uint8)).save(masks[name])
    masks[gone].rename(folder / "masks" / "of nothing.png")
    using = train(folder, replace(FEW, masks="use"), output=tmp_path / "using")
    for said in (
        "marks nothing",
        "marks the whole picture",
        "a mask of 60 × 60 pixels for",
        "1 mask with no bad picture",
    ):
        assert said in caplog.text
    assert "2 of 6 bad training pictures were taught by their masks" in using.summary
    assert "2 of the bad ones are taught by their masks" in using.report.read_text()
    one, other = (read_model_file(result.model) for result in (ignoring, using))
    assert any(not np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert "without masks" in one.card and "and masks of bad ones" in other.card
    Image.fromarray(np.eye(72, dtype=np.uint8)).save(masks[ids(using.split.train)[4]])
    with pytest.raises(SettingsError, match="masks have changed since"):
        train(folder, replace(FEW, masks="use"), output=tmp_path / "using", resume=True)


def test_masks_that_cannot_be_used_at_all_are_refused_before_a_run_is_begun(tmp_path: Path):
    folder = write_parts(tmp_path / "parts")
    use = replace(FEW, masks="use")
    with pytest.raises(DataError, match='masks = "use", but no bad picture to train on has a mask'):
        train(folder, use, output=tmp_path / "run")
    for path in write_masks(folder).values():
        Image.fromarray(np.zeros((72, 72), np.uint8)).save(path)
    with pytest.raises(DataError, match="no bad picture .*, such as .* marks nothing"):
        train(folder, use, output=tmp_path / "run")
    with pytest.raises(SettingsError, match="the recipe paper learns from labels by the picture alone"):
        train(folder, replace(use, recipe="paper"), output=tmp_path / "run")
    with pytest.raises(SettingsError, match="pictures in memory have none"):
        fit_arrays([*toy_images().pixels[:, 0]], toy_images().labels.tolist(), use)
    assert not (tmp_path / "run").exists()


def test_a_mask_is_brought_to_the_pictures_size_by_the_same_rule_and_a_hair_is_not_lost():
    pixels = toy_images(side=640).pixels[:, 0]
    hair = np.zeros((640, 640), bool)
    hair[100, 300:340] = True
    pictures = replace(pictures_in_memory([*pixels], toy_images().labels.tolist(), "rgb", SETTINGS), masks={1: hair})
    mark = pictures.fitted((64, 64), "stretch").marked[1]
    assert mark.shape == (64, 64) and mark[10, 30:34].all() and not mark[:9].any() and not mark[12:].any()


def test_each_training_picture_is_decoded_once(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real, decoded = reading.decode_image, []
    monkeypatch.setattr(reading, "decode_image", lambda *what, **named: decoded.append(1) or real(*what, **named))
    train(parts, replace(SETTINGS, hold_out=0.0), output=tmp_path / "run")
    assert len(decoded) == 20


def test_names_that_no_model_file_may_have_are_made_safe_before_the_training(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(parts, tmp_path / "a\u3000b\\c")
    monkeypatch.chdir(tmp_path / "a\u3000b\\c")
    result = train(".", SETTINGS, output=tmp_path / "run")
    assert read_model_file(result.model).manifest.name
    monkeypatch.chdir(tmp_path / "a\u3000b\\c" / "good")
    assert train("..", replace(SETTINGS, schedule=0.01), output=tmp_path / "again").model.exists()


def test_two_bad_parts_photographed_often_end_in_a_training_without_folds_that_says_so(tmp_path: Path):
    folder = write_parts(tmp_path / "parts")
    for index, path in enumerate(sorted((folder / "bad").iterdir())):
        group = folder / "bad" / f"part={index % 2}"
        group.mkdir(exist_ok=True)
        path.rename(group / path.name)
    result = train(folder, PAPER, output=tmp_path / "run")
    assert "thresholds rest on scores of the very pictures" in result.summary
    assert "1 bad part" in (result.run / "history.jsonl").read_text()


def test_an_output_in_the_data_is_refused_before_anything_is_read(parts: Path):
    with pytest.raises(OutputError, match="lies in "):
        train(parts, SETTINGS, output=parts / "good" / "run")
    assert not (parts / "good" / "run").exists()


def test_other_parts_or_pictures_are_refused_on_resumption(parts: Path, tmp_path: Path):
    folder = shutil.copytree(parts, tmp_path / "parts")
    train(folder, SETTINGS, output=tmp_path / "run")
    (folder / "good" / "part=1").mkdir()
    shutil.move(folder / "good" / "part 8.png", folder / "good" / "part=1" / "part 8.png")
    with pytest.raises(DataError, match="the parts or the split are not those"):
        train(folder, SETTINGS, output=tmp_path / "run", resume=True)
    (folder / "bad" / "part 0.png").unlink()
    with pytest.raises(DataError, match="pictures or their labels"):
        train(folder, SETTINGS, output=tmp_path / "run", resume=True)
    with pytest.raises(SettingsError, match=r"settings\.seed is 1, but the run was begun with 0"):
        train(folder, replace(SETTINGS, seed=1), output=tmp_path / "run", resume=True)


def test_a_run_leaves_a_model_on_both_runtimes_and_a_sheet_of_what_was_drawn(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = replace(SETTINGS, schedule=0.015, fold_schedule=None)
    undisturbed = train(parts, settings, output=tmp_path / "undisturbed")
    manifest = read_model_file(undisturbed.model).manifest
    assert set(manifest.parity) >= {"onnxruntime", "openvino"}
    assert (manifest.network["body"], manifest.network["decision"]) == ("narrow", "heat")
    assert Image.open(undisturbed.run / "contact_sheet.png").mode == "RGB"
    card = undisturbed.report.read_text().partition('id="drawn"')[2]
    assert "What was drawn" in card and 'src="data:image/jpeg' in card[:1000]
    rows = [json.loads(line) for line in (undisturbed.run / "history.jsonl").read_text().splitlines()]
    assert {row["of"] for row in rows if "stage" in row} == {15}, "folds have the final training's own schedule"
    with monkeypatch.context() as patch:
        patch.setattr("weakspot.jobs.observe.CHECKPOINT_EVERY", 0.0)
        patch.setattr("weakspot.jobs.observe.Observer._show", stop_at_the_final_trainings_seventh_step)
        with pytest.raises(TrainingStopped):
            train(parts, settings, output=tmp_path / "stopped")
    resumed = train(parts, settings, output=tmp_path / "stopped", resume=True)
    one, other = (read_model_file(result.model) for result in (undisturbed, resumed))
    assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert one.graph == other.graph


def test_the_seconds_of_a_run_are_those_of_all_its_processes(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings, run = replace(FEW, folds=0, schedule=0.015), Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("weakspot.jobs.observe.Observer._show", stop_at_the_final_trainings_seventh_step)
        with pytest.raises(TrainingStopped):
            train(parts, settings, output=run.folder)
    assert run.state()["seconds"] > 0
    run.record(seconds=1000.0)
    train(parts, settings, output=run.folder, resume=True)
    assert run.state()["seconds"] > 1000


def stop_at_the_final_trainings_seventh_step(observer: Observer, step: Step) -> None:
    if observer.name.startswith("final") and step.step == 7:
        observer.stopping.set()


def command(parts: Path, output: Path, *more: str, checkpoint_every: float = 20.0) -> list[str]:
    """`weakspot train` without a size, with checkpoints as often as wanted."""
    settings = output.parent / "settings.toml"
    settings.write_text(
        'folds = 2\nfold_schedule = 1.0\ntop_fractions = [0.05]\nthreads = 1\npairs = 1\nunlearned = "keep"\n'
    )
    faster = f"from weakspot.jobs import observe; observe.CHECKPOINT_EVERY = {checkpoint_every}"
    code = f"{faster}; from weakspot.cli import main; main()"
    return [
        *(sys.executable, "-c", code, "train", str(parts), "-o", str(output), "--settings", str(settings)),
        *("--schedule", "0.04", "--quiet", *more),
    ]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "1700000000"}


def sha256(output: Path) -> str:
    return hashlib.sha256((output / "model.weakspot").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(command(parts, output), check=True, env=ENVIRONMENT, timeout=300)
    return output


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_training_that_was_stopped_after_a_checkpoint_ends_in_the_same_file(
    parts: Path, undisturbed: Path, tmp_path: Path, how: signal.Signals
):
    output = tmp_path / "run"
    began = subprocess.Popen(
        command(parts, output, checkpoint_every=0), stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    deadline = time.monotonic() + 240
    while not list(output.glob("trainings/final/checkpoint-*")):
        assert time.monotonic() < deadline and began.poll() is None, began.stderr.read()
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.5))
    began.send_signal(how)
    _, said = began.communicate(timeout=120)
    assert began.returncode != 0
    if how != signal.SIGKILL:
        assert "--resume" in said and "Traceback" not in said
    subprocess.run(command(parts, output, "--resume"), check=True, env=ENVIRONMENT, timeout=300)
    assert sha256(output) == sha256(undisturbed)
    steps = [
        row for line in (output / "history.jsonl").read_text().splitlines() if "stage" in (row := json.loads(line))
    ]
    taken = [(row["training"], row["stage"], row["step"]) for row in steps]
    assert len(taken) == len(set(taken)), "no step stands in the history twice"


def test_a_resumed_run_keeps_its_plan_whatever_the_clock_says(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def clock(seconds: float) -> None:
        monkeypatch.setattr(
            "weakspot.jobs.plan.seconds_a_step", lambda recipe, *what: {stage.name: seconds for stage in recipe.stages}
        )

    clock(0.001)
    first = train(parts, WITHOUT_SIZE, output=tmp_path / "run")
    clock(100.0)
    assert train(parts, WITHOUT_SIZE, output=tmp_path / "run", resume=True).size == first.size == (72, 72)
    assert train(parts, WITHOUT_SIZE, output=tmp_path / "other").size == (64, 64), "or this test could not fail"


def test_too_few_pictures_are_told_before_anything_is_trained(tmp_path: Path):
    folder = write_parts(tmp_path / "parts", bad=2, good=8)
    with pytest.raises(DataError, match=r"1 bad and 6 good pictures .* recipe paper needs at least 2 .*--recipe sharp"):
        train(folder, PAPER, output=tmp_path / "run")
    by_bad_ones = replace(FEW, positives=0, threshold={"rule": "best_f1"})
    with pytest.raises(DataError, match=r"0 bad and 6 good .* the rule best_f1 needs bad ones: .*--rule limits"):
        train(folder, by_bad_ones, output=tmp_path / "run")
    with pytest.raises(DataError, match="1 bad and 1 good pictures to train on; needed are at least 2 good ones"):
        train(write_parts(tmp_path / "few good", bad=2, good=2), FEW, output=tmp_path / "run")
    assert not (tmp_path / "run").exists(), "the way out can be taken at once"


@pytest.mark.parametrize(("bad", "tested"), [(0, 0), (1, 0), (2, 1)])
def test_few_bad_pictures_or_none_train_where_defects_are_drawn(tmp_path: Path, bad: int, tested: int):
    folder = write_parts(tmp_path / "parts", bad=bad, good=12)
    result = train(folder, FEW, output=tmp_path / "run")
    assert sum(sample.label for sample in result.split.test) == tested
    assert ("average_precision" in result.evaluation.metrics) == bool(tested)
    assert ("escapes" in result.evaluation.metrics) == bool(tested)
    report, history = (result.run / name for name in ("report.html", "history.jsonl"))
    assert "with a defect drawn on each" in history.read_text()
    state = json.loads((result.run / "run.json").read_text())
    assert set(state["folds"]) == {0, 1} and len(state["folds"]) == 9 + bad - tested
    assert ("bad" in read_model_file(result.model).manifest.score_statistics) == (bad - tested > 0)
    if not tested:
        assert "How many bad parts would pass is not known" in result.summary
        assert "Anything about bad parts: there are no bad pictures here" in report.read_text()
    if bad == 1:
        assert "only good pictures are kept apart" in history.read_text()
    if not bad:
        assert "it was shown no bad picture" in result.summary and "none of them bad" in history.read_text()
        assert all(row["bad_heat"] > 0 for row in map(json.loads, history.open()) if "bad_heat" in row)


def test_no_bad_picture_trains_where_none_is_wanted_and_all_that_were_kept_apart_still_test(tmp_path: Path):
    result = train(write_parts(tmp_path / "parts"), replace(FEW, positives=0), output=tmp_path / "run")
    assert not any(sample.label for sample in result.split.train)
    assert "average_precision" in result.evaluation.metrics and result.evaluation.counts.bad == 2


def test_pictures_in_memory_give_a_detector_at_once():
    images = toy_images(bad=6, good=8)
    arrays, groups = [pixels[0] for pixels in images.pixels], np.arange(14)
    detector = fit_arrays(arrays, images.labels.tolist(), replace(SETTINGS, schedule=0.05), groups)
    scores = [detector.inspect(array).raw_score for array in arrays]
    assert np.mean(scores[:6]) > np.mean(scores[6:])


@pytest.mark.parametrize("bad", [0, 1])
def test_pictures_in_memory_may_be_good_alone(bad: int):
    images = toy_images(bad=bad, good=6)
    detector = fit_arrays([pixels[0] for pixels in images.pixels], images.labels.tolist(), FEW)
    said = "no bad picture" if not bad else "1 bad part can show too little"
    assert any(said in warning for warning in detector.manifest.warnings)


def test_without_a_temporary_folder_one_line_says_so(parts: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*what: object, **named: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile._get_default_tempdir", refuse)
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(OutputError, match="no temporary folder can be made"):
        train_in_passing(parts, SETTINGS, "auto", None)


def test_what_shapes_no_training_may_differ_when_a_run_is_gone_on_with(parts: Path, tmp_path: Path):
    first = train(parts, SETTINGS, output=tmp_path / "run")
    rule = replace(SETTINGS.threshold, rule="no_escapes")
    again = train(parts, replace(SETTINGS, threshold=rule, minutes=1.0), output=tmp_path / "run", resume=True)
    assert read_model_file(again.model).manifest.thresholds.rule == "no_escapes"
    steps = (first.run / "history.jsonl").read_text().count('"stage"')
    assert steps == (again.run / "history.jsonl").read_text().count('"stage"'), "nothing was trained again"


def test_the_process_is_left_as_it_was_found(parts: Path, tmp_path: Path):
    before = torch.get_num_threads()
    train(parts, replace(SETTINGS, threads=before + 1, schedule=0.002, folds=0), output=tmp_path / "run")
    assert torch.get_num_threads() == before


def test_thresholds_changed_by_hand_are_not_lost_when_a_run_is_gone_on_with(parts: Path, tmp_path: Path):
    from weakspot.jobs.threshold import thresholds_of

    result = train(parts, SETTINGS, output=tmp_path / "run")
    thresholds_of(result.model, bad_from=30.0, reason="agreed with quality")
    with pytest.raises(OutputError, match="its thresholds were changed by hand"):
        train(parts, SETTINGS, output=tmp_path / "run", resume=True)
    assert read_model_file(result.model).manifest.thresholds.changes


def test_a_picture_that_is_called_good_and_bad_is_said_before_the_training(parts: Path, tmp_path: Path):
    folder = shutil.copytree(parts, tmp_path / "parts")
    shutil.copy(folder / "bad" / "part 0.png", folder / "good" / "same.png")
    result = train(folder, SETTINGS, output=tmp_path / "run")
    assert "called good and bad" in (result.run / "history.jsonl").read_text()


def test_the_same_picture_given_twice_as_an_array_is_one_part():
    array = toy_images(bad=1, good=1).pixels
    pictures = pictures_in_memory(
        [array[0, 0], array[1, 0], array[0, 0].copy(), array[1, 0]], [1, 0, 1, 0], "rgb", TrainSettings()
    )
    assert _parts(pictures, ["a", "b", "c", "d"]) == ["a", "b", "a", "b"]


def test_a_checkout_on_a_machine_without_git_trains_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    provenance.commit.cache_clear()
    assert provenance.commit() == ""
    provenance.commit.cache_clear()


def test_a_training_that_is_far_slower_than_planned_begins_again_smaller(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("weakspot.jobs.observe.SETTLED", 3)
    monkeypatch.setattr(
        "weakspot.jobs.plan.seconds_a_step", lambda recipe, *what: {stage.name: 1e-9 for stage in recipe.stages}
    )
    settings = replace(WITHOUT_SIZE, minutes=1e-4, schedule=0.008)
    result = train(parts, settings, output=tmp_path / "run")
    notes = (tmp_path / "run" / "history.jsonl").read_text()
    assert notes.count("slower than planned, so it begins again: 64") == 1
    assert result.size == (64, 64)
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert state["plan"]["size"] == [64, 64] and state["pace_is_known"]
    assert train(parts, settings, output=tmp_path / "run", resume=True).size == (64, 64)
