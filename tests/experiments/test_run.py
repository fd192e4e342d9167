"""Experiments on small folders: records, failures, runs side by side, a stop, and going on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.test_train import write_parts
from weakspot.cli.entry import main
from weakspot.durable import write_durably
from weakspot.errors import DataError, OutputError, SettingsError, TrainingError
from weakspot.experiments import run as module
from weakspot.experiments.run import run_experiment
from weakspot.jobs.observe import TrainingStopped
from weakspot.settings import TrainSettings

TOML = """
data = "parts"
seeds = {seeds}
[settings]
schedule = {schedule}
size = [64, 64]
folds = 0
hold_out = 0.5
top_fractions = [0.05]
threads = 1
pairs = 1
unlearned = "keep"
"""


def asked_for(folder: Path, seeds: str = "[0, 1]", schedule: float = 0.004, **parts: int) -> Path:
    write_parts(folder / "parts", **parts)
    (folder / "small.toml").write_text(TOML.format(seeds=seeds, schedule=schedule))
    return folder / "small.toml"


def command(folder: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "weakspot",
        "experiment",
        str(folder / "small.toml"),
        "-o",
        str(folder / "results"),
        *more,
    ]


def records(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "results" / "small").glob("*.json"))


def test_runs_side_by_side_leave_the_records_and_tables_that_one_after_the_other_leave(tmp_path: Path) -> None:
    tables = {name: asked_for(tmp_path / name) for name in ("one", "two")}
    run_experiment(tables["one"], tmp_path / "one" / "results")
    done = subprocess.run(command(tmp_path / "two", "--jobs", "2"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = {
        name: {path.relative_to(tmp_path / name): path for path in sorted((tmp_path / name / "results").rglob("*.*"))}
        for name in tables
    }
    assert list(made["one"]) == list(made["two"])
    assert len(made["two"]) == 5
    scores = [path for path in made["one"] if path.suffix == ".csv"]
    assert all(made["one"][path].read_bytes() == made["two"][path].read_bytes() for path in scores)
    lines = done.stderr.splitlines()
    assert lines[0] == "2 runs, 2 at a time, 1 thread each"
    assert all(line.startswith(("sharp-hold_out-seed0: ", "sharp-hold_out-seed1: ")) for line in lines[1:])
    assert {f"sharp-hold_out-seed{seed}: on record" for seed in (0, 1)} <= set(lines)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_run_that_fails_stops_none_of_the_others_and_is_named_at_the_end(tmp_path: Path, jobs: str) -> None:
    asked_for(tmp_path)
    taken = tmp_path / "runs" / "small" / "sharp-hold_out-seed0"
    taken.mkdir(parents=True)
    (taken / "note.txt").write_text("mine")
    done = subprocess.run(command(tmp_path, "--jobs", jobs, "--quiet"), capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    said = "weakspot: error: 1 of 2 runs failed, the others are on record: sharp-hold_out-seed0: "
    assert line.startswith(said)
    assert "is not empty; choose another --output" in line
    assert records(tmp_path) == ["sharp-hold_out-seed1"]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_stopped_experiment_goes_on(tmp_path: Path, jobs: str) -> None:
    asked_for(tmp_path, schedule=0.2)
    with subprocess.Popen(
        command(tmp_path, "--jobs", jobs), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "iterations" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        last = process.stderr.read().splitlines()[-1]
    assert process.returncode == 130
    assert last.startswith("weakspot: error: stopped")
    assert last.endswith("nothing is lost: the same command goes on")
    assert records(tmp_path) == []
    asked_for(tmp_path, schedule=0.2)
    done = subprocess.run(command(tmp_path, "--jobs", jobs), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert records(tmp_path) == ["sharp-hold_out-seed0", "sharp-hold_out-seed1"]


def test_a_single_run_may_be_asked_for_by_its_name(tmp_path: Path) -> None:
    table = asked_for(tmp_path)
    (record,) = run_experiment(table, tmp_path / "results", only="sharp-hold_out-seed1")
    assert json.loads(record.read_text())["seed"] == 1
    assert records(tmp_path) == ["sharp-hold_out-seed1"]
    with pytest.raises(
        SettingsError, match="has no run seed1; its runs are sharp-hold_out-seed0, sharp-hold_out-seed1"
    ):
        run_experiment(table, tmp_path / "results", only="seed1")


def test_what_is_wrong_with_all_runs_is_said_once_and_before_any(tmp_path: Path) -> None:
    table = tmp_path / "small.toml"
    table.write_text(TOML.format(seeds="[0, 1]", schedule=1))
    for jobs in (1, 2):
        with pytest.raises(DataError, match="parts"):
            run_experiment(table, tmp_path / "results", jobs=jobs)
    table.write_text("data = 'parts'\nseeds = [0, 1]\n[settings]\nschedule = -1")
    with pytest.raises(SettingsError, match="schedule = -1"):
        run_experiment(table, tmp_path / "results", jobs=2)
    assert not (tmp_path / "runs").exists()


def test_cores_are_shared_out_where_nobody_says_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = asked_for(tmp_path)
    text = table.read_text()
    started: list[list[str]] = []
    monkeypatch.setattr(module, "usable_cores", lambda: 7)
    monkeypatch.setattr(module, "run_side_by_side", lambda commands, *_: started.extend(commands.values()) or {})
    threads = {"of the file": (text, None), "shared": (text.replace("threads = 1", ""), None), "asked for": (text, 5)}
    for toml, asked in threads.values():
        table.write_text(toml)
        run_experiment(table, tmp_path / "results", jobs=2, threads=asked)
    given = [words[words.index("--threads") + 1] for words in started]
    assert given == ["1", "1", "3", "3", "5", "5"]


def test_the_last_run_left_computes_on_as_many_threads_as_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run that was begun beside others would not be gone on with alone."""
    table = asked_for(tmp_path, seeds="[0]")
    table.write_text(table.read_text().replace("threads = 1", ""))
    monkeypatch.setattr(module, "usable_cores", lambda: 6)
    chosen: list[TrainSettings] = []

    def stopped(_data: str, settings: TrainSettings, **_: object) -> None:
        chosen.append(settings)
        raise TrainingStopped("stopped")

    monkeypatch.setattr(module, "train", stopped)
    for jobs in (2, 1):
        with pytest.raises(TrainingStopped):
            run_experiment(table, tmp_path / "results", jobs=jobs)
    assert [settings.threads for settings in chosen] == [3, None]


def test_a_stop_is_no_failure_that_others_outlive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise TrainingStopped("stopped; go on with --resume")

    monkeypatch.setattr(module, "train", stopped)
    with pytest.raises(TrainingStopped, match="stopped in sharp-hold_out-seed0; nothing is lost"):
        run_experiment(asked_for(tmp_path), tmp_path / "results")


@pytest.mark.parametrize("jobs", [1, 2])
def test_runs_without_a_test_are_refused_before_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    table = asked_for(tmp_path)
    table.write_text(table.read_text().replace("hold_out = 0.5", "hold_out = 0"))
    begun: list[object] = []
    monkeypatch.setattr(module, "train", lambda *what, **_: begun.append(what))
    monkeypatch.setattr(module, "run_side_by_side", lambda *what: begun.append(what))
    with pytest.raises(SettingsError, match="small.toml: settings.hold_out is 0.*give a hold_out above 0"):
        run_experiment(table, tmp_path / "results", jobs=jobs)
    assert begun == []


def test_a_programmers_error_in_one_run_is_named_with_its_type_and_stops_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fails(*_: object, title: str, **__: object) -> None:
        asked.append(title)
        raise KeyError("size") if title.endswith("0") else TrainingError("nothing was learned")

    monkeypatch.setattr(module, "train", fails)
    each = "sharp-hold_out-seed0: KeyError: 'size'; sharp-hold_out-seed1: nothing was learned"
    with pytest.raises(TrainingError, match=f"^2 of 2 runs failed: {each}$"):
        run_experiment(asked_for(tmp_path), tmp_path / "results")
    assert len(asked) == 2


def test_scores_are_written_durably_and_before_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def noted(path: Path, content: bytes) -> None:
        written.append(path.name)
        write_durably(path, content)

    monkeypatch.setattr(module, "write_durably", noted)
    run_experiment(asked_for(tmp_path, seeds="[0]"), tmp_path / "results")
    assert written == ["sharp-hold_out-seed0.scores.csv", "sharp-hold_out-seed0.json"]


def test_where_a_training_of_something_else_lies_the_message_names_it_and_the_way_out(tmp_path: Path) -> None:
    (record,) = run_experiment(asked_for(tmp_path, seeds="[0]"), tmp_path / "results")
    table = asked_for(tmp_path, seeds="[0]", schedule=0.005)
    with pytest.raises(
        DataError, match="made with schedule = 0.004, and now 0.005 .*move it away, and the run is made"
    ):
        run_experiment(table, tmp_path / "results")
    record.unlink()
    with pytest.raises(OutputError, match="seed0: holds a training of something else .*move it away, and the run is"):
        run_experiment(table, tmp_path / "results")
    shutil.move(tmp_path / "runs" / "small" / "sharp-hold_out-seed0", tmp_path / "away")
    assert run_experiment(table, tmp_path / "results") == [record]


def test_a_run_that_another_process_has_made_meanwhile_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, table = list[str](), asked_for(tmp_path)

    def other_makes_all(*_: object, title: str, **__: object) -> None:
        asked.append(title)
        for seed in (0, 1):
            (tmp_path / "results" / "small" / f"sharp-hold_out-seed{seed}.json").write_text(json.dumps({"run": "x"}))
        raise TrainingError("another process works on this run")

    monkeypatch.setattr(module, "train", other_makes_all)
    with pytest.raises(TrainingError, match="^1 of 2 runs failed"):
        run_experiment(table, tmp_path / "results")
    assert asked == ["sharp-hold_out-seed0"]


def test_a_record_that_no_table_can_be_made_from_is_named_before_any_run(tmp_path: Path) -> None:
    table = asked_for(tmp_path)
    (tmp_path / "results" / "other").mkdir(parents=True)
    (tmp_path / "results" / "other" / "a.json").write_text("{")
    with pytest.raises(DataError, match="a.json: damaged"):
        run_experiment(table, tmp_path / "results")
    assert not (tmp_path / "runs").exists()


def test_tables_alone_need_no_data_and_are_made_for_one_run_too(tmp_path: Path) -> None:
    table = asked_for(tmp_path, seeds="[0]")
    table.write_text('figure = "lines"\npositives = [3]\n' + table.read_text())
    (record,) = run_experiment(table, tmp_path / "results")
    shutil.rmtree(tmp_path / "parts")
    (tmp_path / "results" / "small" / "table.md").unlink()
    run_experiment(table, tmp_path / "results", tables_only=True, only=record.stem)
    assert (tmp_path / "results" / "small" / "table.md").exists()


def test_without_ray_a_line_says_which_extra_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_for(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(sys, "argv", ["weakspot", *command(tmp_path, "--ray", "local", "--quiet")[3:]])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "pip install 'weakspot[cluster]'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("layout", ["", 'layout = "elpv"\n'])
def test_the_word_elpv_is_enough_where_no_folder_of_that_name_lies_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    asked: list[tuple[object, object]] = []

    def audited(data: Path, _settings: object, layout: str, _progress: object) -> None:
        asked.append((str(data), layout))
        raise TrainingStopped("far enough")

    monkeypatch.setattr(module, "audited", audited)
    (tmp_path / "few.toml").write_text(f'data = "elpv"\n{layout}')
    with pytest.raises(TrainingStopped):
        run_experiment(tmp_path / "few.toml", tmp_path / "results")
    (tmp_path / "elpv").mkdir()
    with pytest.raises(TrainingStopped):
        run_experiment(tmp_path / "few.toml", tmp_path / "results")
    assert asked == [("elpv", "elpv"), (str(tmp_path / "elpv"), "elpv" if layout else "auto")]


def test_where_all_fail_all_are_named_and_one_alone_says_its_own_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, title: str, **__: object) -> None:
        raise TrainingError(f"nothing was learned by {title[-1]}")

    monkeypatch.setattr(module, "train", fails)
    with pytest.raises(TrainingError, match="^nothing was learned by 0$"):
        run_experiment(asked_for(tmp_path, seeds="[0]"), tmp_path / "results")
    each = "sharp-hold_out-seed0: nothing was learned by 0; sharp-hold_out-seed1: nothing was learned by 1"
    with pytest.raises(TrainingError, match=f"^2 of 2 runs failed: {each}$"):
        run_experiment(asked_for(tmp_path), tmp_path / "results")
