"""The verbs: what they pass on, what they print where, and how they end.

Stand-ins replace what they call; the real thing runs in tests/jobs.
"""

import ast
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from weakspot import cli
from weakspot.cli.entry import MISSING_EXTRAS
from weakspot.errors import DataError, ImageError, OutputError, SettingsError, TrainingError
from weakspot.settings import TrainSettings

ROOT = Path(__file__).parents[1]
VERBS = tuple(
    "audit train evaluate compare inspect watch serve backup"
    " restore export-verdicts threshold verify export experiment crossval demo doctor".split()
)
WEAKSPOT = (sys.executable, "-m", "weakspot")
PYTHON = shlex.quote(sys.executable)  # for shells: a clone may lie in a folder with a space in its name


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it, in a process of its own."""
    return subprocess.run(
        [*WEAKSPOT, *arguments], capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """main() in this process; the exit status."""
    monkeypatch.setattr(sys, "argv", ["weakspot", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


class Recorder:
    """Stands in for a job: keeps what it was called with, answers or raises what it was told to."""

    def __init__(self, answer: Any = None) -> None:
        self.answer, self.given, self.named = answer, (), {}

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.given, self.named = given, named
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer(*given, **named) if callable(self.answer) else self.answer


def instead_of(monkeypatch: pytest.MonkeyPatch, job: str, answer: Any) -> Recorder:
    """Put a recorder in the place of a job, such as 'weakspot.jobs.train:train', without loading what it needs."""
    path, _, name = job.partition(":")
    package, _, module = path.rpartition(".")
    recorder = Recorder(answer)
    monkeypatch.setitem(sys.modules, path, SimpleNamespace(**{name: recorder}))  # type: ignore[arg-type]
    monkeypatch.setattr(importlib.import_module(package), module, sys.modules[path], raising=False)
    return recorder


def instead_of_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that is only a note of what was asked for."""
    instead_of(monkeypatch, "weakspot.inspection.loaded:LoadedDetector", None).load = lambda *asked, **how: (
        *asked,
        how,
    )  # type: ignore[attr-defined]


TRAINED = SimpleNamespace(
    model=Path("runs/a/part.weakspot"),
    report=Path("runs/a/report.html"),
    run=Path("runs/a"),
    summary="AP 0.98 on 40 images",
    exit_status=0,
)


def test_train_passes_flags_and_settings_on_and_says_where_the_model_lies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    job = instead_of(monkeypatch, "weakspot.jobs.train:train", TRAINED)
    toml = tmp_path / "line3.toml"
    toml.write_text('seed = 4\npositives = 9\n[threshold]\nrule = "no_escapes"\nmargin = 0.25\n')
    arguments = (
        "parts/",
        "-o",
        "runs/a",
        "--settings",
        str(toml),
        "--size",
        "704x256",
        *("--masks", "use"),
        "--positives",
        "7",
        "--device",
        "cpu",
        "--rule",
        "cost",
        "--resume",
        "--quiet",
    )
    assert call(monkeypatch, "train", *arguments) == 0
    data, settings = job.given
    assert data == Path("parts/")
    assert isinstance(settings, TrainSettings)
    assert (settings.size, settings.positives, settings.seed, settings.threshold.rule) == ((704, 256), 7, 4, "cost")
    assert (settings.threshold.margin, settings.masks) == (0.25, "use")
    assert (job.named["output"], job.named["layout"], job.named["resume"]) == (Path("runs/a"), "auto", True)
    out, err = capsys.readouterr()
    assert "AP 0.98 on 40 images" in out
    assert "runs/a/report.html" in out
    assert "weakspot inspect runs/a/part.weakspot" in out
    assert err == ""


def test_a_training_is_gone_on_with_by_its_own_settings_and_what_is_given_beside_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = instead_of(monkeypatch, "weakspot.jobs.train:train", TRAINED)
    (tmp_path / "settings.toml").write_text("seed = 4\nsize = [64, 72]\n")
    asked = "train", "parts/", "-o", str(tmp_path), "--quiet"
    assert call(monkeypatch, *asked, "--resume", "--threads", "1") == 0
    assert (job.given[1].seed, job.given[1].size, job.given[1].threads) == (4, (64, 72), 1)
    assert call(monkeypatch, *asked) == 0 and job.given[1].seed == 0  # a new one has nothing to do with them


def test_train_with_json_prints_data_alone_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def talkative(*_: Any, progress: Any, **__: Any) -> Any:
        progress.start("search", 2)
        progress.step({"step": 1, "loss": 0.5})
        progress.note("size 704 x 256")
        return TRAINED

    instead_of(monkeypatch, "weakspot.jobs.train:train", talkative)
    assert call(monkeypatch, "train", "parts/", "-o", "runs/a", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["model"] == "runs/a/part.weakspot"
    assert "search 1/2" in err
    assert "size 704 x 256" in err
    assert "settings: the defaults" in err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TrainingError("nothing was learned; try more bad images"), 1),
        (DataError("parts/: no bad images"), 1),
        (SettingsError("seed = -1"), 2),
    ],
)
def test_a_mistake_of_the_user_is_one_line_on_stderr_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    instead_of(monkeypatch, "weakspot.jobs.train:train", error)
    assert call(monkeypatch, "train", "parts/", "-o", "runs/a", "--quiet") == status
    assert capsys.readouterr() == ("", f"weakspot: error: {error}\n")


def test_names_in_messages_cannot_break_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instead_of(monkeypatch, "weakspot.jobs.train:train", ImageError("a\nb\x1b[2Jc\u202e.png: empty"))
    assert call(monkeypatch, "train", "parts/", "-o", "runs/a", "--quiet") == 1
    assert capsys.readouterr().err == "weakspot: error: a\\nb\\x1b[2Jc\\u202e.png: empty\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "parts/", "-o", "x", "--size", "704"), "weakspot: error: size '704'; needed is HEIGHTxWIDTH"),
        (("train", "parts/", "-o", "x", "--size", "32x32"), "32 pixels are too few"),
        (
            ("train", "parts/", "-o", "x", "--recipe", "blunt"),
            "'--recipe': 'blunt' is not one of 'sharp', 'paper', 'synthetic_only', 'patchcore', 'mil_lse', "
            "'resnet18_cam', 'bozic2021', 'segdec_masks', 'unet_masks', 'deeplab_masks'; see weakspot train --help",
        ),
        (("train", "parts/"), "Missing option '--output'"),
        (("train", "parts/", "-o", "x", "--settings", "missing.toml"), "missing.toml: cannot be read"),
        (("trian", "parts/"), "Did you mean 'train'?"),
        (("doctor", "--jsno"), "--json"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_allowed(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("weakspot: error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_wrong_key_in_the_settings_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("positves = 3\n")
    done = run("train", "parts/", "-o", str(tmp_path / "x"), "--settings", str(tmp_path / "a.toml"))
    assert done.returncode == 2
    assert "unknown key 'positves'; did you mean 'positives'?" in done.stderr


def summary(status: int = 0, bad: int = 1, refused: tuple[Any, ...] = ()) -> SimpleNamespace:
    decisions = {"good": 2, "review": 0, "bad": bad}
    return SimpleNamespace(
        total=3,
        decisions=decisions,
        refused=len(refused),
        refusals=refused,
        output=Path("out"),
        seconds=0.5,
        exit_status=status,
        warnings={},
    )


def test_train_takes_limits_and_keeps_what_the_file_says_beside_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = instead_of(monkeypatch, "weakspot.jobs.train:train", TRAINED)
    toml = tmp_path / "line3.toml"
    toml.write_text('[threshold]\nreview = "none"\nmax_escape_rate = 0.2\n')
    limits = ("--max-false-alarms", "0.02", "--settings", str(toml))
    assert call(monkeypatch, "train", "parts/", "-o", "runs/a", "--quiet", *limits) == 0
    chosen = job.given[1].threshold
    assert (chosen.rule, chosen.review) == ("limits", "none")
    assert (chosen.max_false_alarm_rate, chosen.max_escape_rate) == (0.02, 0.2)


def test_a_limit_that_the_rule_would_not_hold_is_refused_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    instead_of(monkeypatch, "weakspot.jobs.train:train", AssertionError("trained"))
    toml = tmp_path / "line3.toml"
    toml.write_text('[threshold]\nrule = "false_alarms"\n')
    arguments = ("parts/", "-o", "runs/a", "--settings", str(toml), "--max-escapes", "0.1")
    assert call(monkeypatch, "train", *arguments) == 2
    said = capsys.readouterr().err
    assert "--max-escapes 0.1 with rule false_alarms, which holds no such limit; take --rule limits" in said
    assert call(monkeypatch, "train", *arguments[:-2], "--rule", "cost", "--max-false-alarms", "0.1") == 2
    assert "--max-false-alarms 0.1 with rule cost" in capsys.readouterr().err
    assert call(monkeypatch, "train", *arguments[:-2], "--max-false-alarms", "2") == 2
    assert "--max-false-alarms" in capsys.readouterr().err


def test_threshold_moves_the_thresholds_by_limits_and_shows_what_they_make_of_the_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tests.inspection.conftest import made_model
    from weakspot.inspection.model_file import write_model_file

    scores = {"good": [float(i) for i in range(100)], "bad": [60.5 + i for i in range(40)]}
    write_model_file(tmp_path / "a.weakspot", made_model(held_out_scores=scores))
    arguments = ("--max-false-alarms", "0.1", "--max-escapes", "0.2", "--reason", "line 3")
    assert call(monkeypatch, "threshold", str(tmp_path / "a.weakspot"), *arguments, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["good_below"], shown["bad_from"]) == (68.0, 89.5)
    assert (shown["held_out"]["escapes"], shown["held_out"]["false_alarms"]) == (8, 10)
    assert call(monkeypatch, "threshold", str(tmp_path / "a.weakspot")) == 0
    assert "each judged by a detector that had not seen it" in capsys.readouterr().out


@pytest.mark.parametrize("status", [0, 1, 3])
def test_inspect_ends_as_its_summary_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    job = instead_of(
        monkeypatch,
        "weakspot.inspection.folder:inspect_folder",
        summary(status, refused=(SimpleNamespace(reason="a.png: cut short"),)),
    )
    instead_of_loading(monkeypatch)
    how = ("--runtime", "openvino", "--precision", "fp32", "--memory", "small", "--threads", "3")
    arguments = ("part.weakspot", "new/", "-o", "out", "--fail-on-bad", "--overlays", *how, "--quiet", "--", "-odd.png")
    assert call(monkeypatch, "inspect", *arguments) == status
    detector, paths, output = job.given
    asked = {"threads": 3, "precision": "fp32", "memory": "small", "max_memory": 1000.0, "ignore": None}
    assert detector == (Path("part.weakspot"), "openvino", asked)
    assert (paths, output) == ([Path("new/"), Path("-odd.png")], Path("out"))
    assert (job.named["fail_on_bad"], job.named["overlays"], job.named["heat_maps"], job.named["overwrite"]) == (
        True,
        True,
        False,
        False,
    )
    out = capsys.readouterr().out
    assert "a.png: cut short" in out
    assert "out/inspections.csv" in out


@pytest.mark.parametrize("status", [0, 1, 3])
def test_inspect_in_pieces_passes_addresses_on_as_they_are_and_ends_as_its_tally_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    from weakspot.inspection.cluster import How

    tally = SimpleNamespace(
        output="s3://out/",
        decisions={"good": 2, "bad": 1, "not inspected": 0},
        warnings={},
        refusals=[],
        pieces=4,
        judged_now=3,
        total=3,
        seconds=1.0,
    )
    tally.exit_status = status
    job = Recorder(tally)
    monkeypatch.setattr("weakspot.inspection.cluster.inspect_many", job)
    how = ("--ray", "local", "--workers", "2", "--piece", "50", "--threads", "3", "--precision", "fp32")
    given = ("inspect", "part.weakspot", "s3://new/a", "b.txt", "-o", "s3://out/", *how, "--fail-on-bad", "--quiet")
    assert call(monkeypatch, *given) == status
    asked = How(ray="local", workers=2, images_a_piece=50, precision="fp32", threads=3, fail_on_bad=True)
    assert job.given[:4] == (Path("part.weakspot"), ["s3://new/a", "b.txt"], "s3://out/", asked)
    assert "s3://out/manifest.json  (3 images; judged now: 3 of 4 pieces" in capsys.readouterr().out


def test_inspect_with_json_prints_one_line_an_image(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def inspect_folder(*_: Any, on_image: Any, **__: Any) -> Any:
        for number in (1, 2):
            on_image(number, 2, SimpleNamespace(as_dict=lambda number=number: {"id": number}))
        return summary()

    instead_of(monkeypatch, "weakspot.inspection.folder:inspect_folder", inspect_folder)
    instead_of_loading(monkeypatch)
    assert call(monkeypatch, "inspect", "part.weakspot", "new/", "-o", "out", "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"id": 1}, {"id": 2}]


def test_watch_hands_on_how_and_ends_as_its_outcome_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = SimpleNamespace(output=Path("out"), decisions={"good": 2}, refused=1, late=0, exit_status=1)
    importlib.import_module("weakspot.jobs.watch")
    job = Recorder(watched)
    monkeypatch.setattr("weakspot.jobs.watch.watch", job)
    instead_of_loading(monkeypatch)
    how = ("--once", "--move-to", "done", "--deep", "--every", "2", "--patience", "30", "--cycle", "1.5")
    arguments = ("part.weakspot", "new/", "-o", "out", *how, "--runtime", "openvino", "--precision", "fp32")
    assert call(monkeypatch, "watch", *arguments, "--threads", "3") == 1
    detector, model, folder, output, given, on_image, _ = job.given
    assert detector == (Path("part.weakspot"), "openvino", 3, "fp32", {"max_memory": 1000.0, "ignore": None})
    assert (model, folder, output) == ((Path("part.weakspot"), None), Path("new/"), Path("out"))
    assert (given.once, given.move_to, given.mark, given.deep) == (True, Path("done"), False, True)
    assert (given.every, given.patience, given.cycle) == (2, 30, 1.5)
    assert "out/results.csv" in capsys.readouterr().out
    entry = SimpleNamespace(
        decision="bad", score_text=lambda digits: f"{0.98765:.{digits}f}", image=SimpleNamespace(path="a\nb.png")
    )
    on_image(1, 1, entry)
    on_image(2, 2, SimpleNamespace(decision="not inspected", reason="c.png: cut short"))
    assert capsys.readouterr().out == "bad    0.9877  a\\nb.png\nnot inspected: c.png: cut short\n"


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
def test_verify_fails_when_a_runtime_answers_differently(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ok: bool, status: int
) -> None:
    from weakspot.inspection.loaded import Verified

    verified = [
        Verified("onnxruntime", 1.25, 1e-7, True),
        Verified("openvino", None, None, ok, "" if ok else "cannot take the graph"),
    ]
    monkeypatch.setattr(
        "weakspot.inspection.loaded.LoadedDetector.load_exact",
        lambda model, threads: SimpleNamespace(verify=lambda threads: verified),
    )
    assert call(monkeypatch, "verify", "part.weakspot") == status
    assert "onnxruntime" in capsys.readouterr().out
    assert call(monkeypatch, "verify", "part.weakspot", "--json") == status
    assert json.loads(capsys.readouterr().out)[1]["ok"] is ok


def test_what_is_missing_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instead_of(monkeypatch, "weakspot.jobs.train:train", ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert call(monkeypatch, "train", "parts/", "-o", "x", "--quiet") == 1
    assert (
        capsys.readouterr().err
        == "weakspot: error: torch is not installed, and this verb needs it; run: pip install 'weakspot[train]'\n"
    )


def test_too_little_memory_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instead_of(monkeypatch, "weakspot.jobs.train:train", MemoryError())
    assert call(monkeypatch, "train", "parts/", "-o", "x", "--quiet") == 1
    assert "not enough memory" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instead_of(monkeypatch, "weakspot.jobs.train:train", KeyboardInterrupt())
    assert call(monkeypatch, "train", "parts/", "-o", "x", "--quiet") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_goes_away_ends_the_command_without_a_traceback() -> None:
    shell = f"{PYTHON} -m weakspot --help | head -n 1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("flags", ["--json", "--json --fail-on-bad", "--quiet", ""])
def test_a_reader_that_goes_away_stops_no_inspection_and_the_status_tells_of_the_images(
    tmp_path: Path, flags: str
) -> None:
    from tests.inspection.conftest import made_model, made_pixels
    from weakspot.inspection.model_file import write_model_file

    write_model_file(tmp_path / "a.weakspot", made_model())
    (tmp_path / "new").mkdir()
    for index, level in enumerate((60, 128, 200)):
        Image.fromarray(made_pixels(level)).save(tmp_path / "new" / f"{index}.png")
    (tmp_path / "new" / "3.png").write_bytes(b"cut")
    script = (
        f"{PYTHON} -m weakspot inspect a.weakspot new/ -o out {flags} --runtime onnxruntime | true; "
        "echo ${PIPESTATUS[0]}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.stdout == f"{3 if 'bad' in flags else 1}\n"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert len((tmp_path / "out" / "inspections.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("arguments", ["--help", "--version", "threshold a.weakspot", "threshold a.weakspot --json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_changes_no_status(tmp_path: Path, arguments: str, unbuffered: str) -> None:
    from tests.inspection.conftest import made_model
    from weakspot.inspection.model_file import write_model_file

    write_model_file(tmp_path / "a.weakspot", made_model())
    script = f"(sleep 1; {PYTHON} -m weakspot {arguments}; echo $? >&2) | true"
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["bash", "-c", script], stderr=-1, text=True, timeout=300, cwd=tmp_path, env=environment)
    assert done.stderr == "0\n"


@pytest.mark.parametrize("verb", VERBS)
def test_help_tells_what_a_verb_does_and_shows_examples(verb: str) -> None:
    shown = CliRunner().invoke(cli.app, [verb, "--help"], env={"COLUMNS": "160"})
    assert shown.exit_code == 0
    assert "Examples" in shown.output
    assert f"weakspot {verb}" in shown.output


def test_the_verbs_are_those_that_work() -> None:
    assert (
        tuple(command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback)
        == VERBS
    )


COMPUTING = set(VERBS) - {"audit", "threshold", "backup", "restore", "export-verdicts"}


def test_every_verb_that_computes_takes_threads() -> None:
    taking = {
        command.callback.__name__
        for command in cli.app.registered_commands
        if command.callback and "threads" in inspect.signature(command.callback).parameters
    }
    assert taking == COMPUTING


@pytest.mark.parametrize(
    ("job", "arguments"),
    [
        ("weakspot.jobs.evaluate:evaluate_model", ("evaluate", "part.weakspot", "parts/", "-o", "x")),
        ("weakspot.experiments.run:run_experiment", ("experiment", "a.toml", "-o", "x")),
        ("weakspot.doctor:examine", ("doctor",)),
    ],
)
def test_threads_are_handed_on(monkeypatch: pytest.MonkeyPatch, job: str, arguments: tuple[str, ...]) -> None:
    recorder = instead_of(monkeypatch, job, DataError("seen"))
    assert call(monkeypatch, *arguments, "--threads", "3") == 1
    assert 3 in (*recorder.given, recorder.named.get("threads"))
    assert call(monkeypatch, *arguments, "--threads", "0") == 2


def test_threads_of_a_training_are_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    job = instead_of(monkeypatch, "weakspot.jobs.train:train", TRAINED)
    assert call(monkeypatch, "train", "parts/", "-o", "x", "--threads", "3", "--quiet") == 0
    assert job.given[1].threads == 3


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "cp437", "latin-1", "utf-8"])
def test_what_cannot_be_printed_is_replaced_and_the_status_says_what_happened(tmp_path: Path, encoding: str) -> None:
    """A name in letters that the encoding lacks, on stdout (a refused image) and on stderr (a missing model)."""
    from tests.inspection.conftest import made_model
    from weakspot.inspection.model_file import write_model_file

    name = "Gehäuse – 部品 🔩"
    write_model_file(tmp_path / f"{name}.weakspot", made_model())
    (tmp_path / f"{name}.png").write_bytes(b"no picture")
    given = ("inspect", str(tmp_path / f"{name}.weakspot"), str(tmp_path / f"{name}.png"), "-o", str(tmp_path / "out"))
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([*WEAKSPOT, *given], capture_output=True, timeout=120, env=os.environ | environment)
    assert (done.returncode, done.stderr) == (1, b"")
    shown = f"{name}.png: a text".encode(encoding, "backslashreplace")
    assert b"not inspected: " in done.stdout and shown.removesuffix(b"a text") in done.stdout
    done = subprocess.run(
        [*WEAKSPOT, "verify", f"{name}.none"], capture_output=True, timeout=120, env=os.environ | environment
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert name.encode(encoding, "backslashreplace") in done.stderr


@pytest.mark.parametrize("closed", ["<&- >&-", ">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output_changes_nothing(tmp_path: Path, closed: str) -> None:
    from tests.inspection.conftest import made_model
    from weakspot.inspection.model_file import write_model_file

    write_model_file(tmp_path / "a.weakspot", made_model())
    command = f"{PYTHON} -m weakspot threshold {shlex.quote(str(tmp_path / 'a.weakspot'))} {closed}"
    assert subprocess.run(command, shell=True, timeout=120).returncode == 0


def test_without_a_temporary_folder_a_training_that_keeps_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    import weakspot

    instead_of(monkeypatch, "weakspot.jobs.train:train", TRAINED)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nowhere"])
    with pytest.raises(OutputError, match=r"^no temporary folder can be made \(no usable .*\); let TMPDIR name a fol"):
        weakspot.train("parts/")


def test_flags_of_one_name_are_declared_alike_in_every_verb() -> None:
    alike: dict[str, set[str]] = {}
    for command in cli.app.registered_commands:
        assert command.callback is not None
        for parameter in inspect.signature(command.callback).parameters.values():
            (option,) = parameter.annotation.__metadata__
            alike.setdefault(parameter.name, set()).add(str(getattr(option, "param_decls", None)))
    assert {name: forms for name, forms in alike.items() if len(forms) > 1} == {}


def test_a_verb_is_ten_lines_at_most() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(cli.__file__).parent.glob("*.py")]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    verbs = [each for each in functions if each.name.replace("_", "-") in VERBS]
    assert len(verbs) == len(VERBS)
    for verb in verbs:
        lines = {
            line
            for statement in verb.body[1:]
            if not isinstance(statement, ast.ImportFrom)
            for line in range(statement.lineno, (statement.end_lineno or 0) + 1)
        }
        assert len(lines) <= 10, verb.name


def test_version_is_the_packages() -> None:
    from importlib.metadata import version

    done = run("--version")
    assert (done.returncode, done.stdout) == (0, version("weakspot") + "\n")


def test_doctor_prints_json_that_a_program_can_read() -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0
    assert set(json.loads(done.stdout)) == {"python", "packages", "extras", "runtimes", "machine", "speed"}


@pytest.mark.parametrize("flag", [("--ignore", "mask.png"), ("--max-memory", "500")])
def test_what_pieces_do_not_heed_is_refused_beside_them(flag: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("inspect", "part.weakspot", "new/", "-o", "out", "--parquet", *flag)
    monkeypatch.setattr("sys.argv", ["weakspot", *words])
    with pytest.raises(SettingsError, match=f"^{flag[0]}: not with --parquet and --ray"):
        cli.app(words, standalone_mode=False)


def test_endless_memory_is_refused() -> None:
    words = ("inspect", "part.weakspot", "new/", "-o", "out", "--max-memory", "inf")
    with pytest.raises(typer.BadParameter):
        cli.app(words, standalone_mode=False)


def test_each_package_of_an_extra_is_told_with_an_extra_that_brings_it() -> None:
    """Which extra a missing module's line names, held against pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    modules = {"argon2-cffi": "argon2", "python-multipart": "multipart"}
    for extra in extras.keys() - {"build", "dev"}:
        for needed in extras[extra]:
            package = re.match(r"[a-z0-9-]+", needed)[0]
            told = MISSING_EXTRAS[modules.get(package, package.replace("-", "_"))]
            assert any(each.startswith(package) for each in extras[told]), (package, told)
    assert {name: MISSING_EXTRAS[name] for name in ("onnx", "nncf", "torch")} == {
        "onnx": "export", "nncf": "export", "torch": "train",
    }  # fmt: skip
