"""Bad input on the command line: one line that names the thing and the way out, the right status, nothing lost.

Each verb runs for real, in this process; one tiny detector is trained for all tests.
"""

import csv
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.hostile import refused_images
from tests.training.toys import toy_images
from weakspot import cli
from weakspot.inspection.container import pack
from weakspot.settings import ReadSettings, TrainSettings, read_settings

# what it learns matters to no test here
SETTINGS = 'folds = 0\ntop_fractions = [0.05]\nthreads = 1\nunlearned = "keep"\n'
QUICK = ("--schedule", "0.005", "--size", "64x64", "--quiet")


class Ended(NamedTuple):
    status: int
    out: str
    err: str


Weakspot = Callable[..., Ended]


@pytest.fixture
def weakspot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Weakspot:
    """The command: arguments → how it ended and what it said."""

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["weakspot", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture(autouse=True, scope="module")
def nothing_is_timed() -> Iterator[None]:
    """Timing the machine takes longer than the trainings here, and their size is given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "weakspot.jobs.plan.seconds_a_step",
            lambda whole, images, machine: {stage.name: 1.0 for stage in whole.stages},
        )
        yield


def write_parts(folder: Path, bad: int = 6, good: int = 8, seed: int = 0) -> Path:
    images = toy_images(bad, good, seed)
    for index, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        target = folder / ("bad" if label else "good") / f"{index:03}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0]).save(target)
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "settings.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture(scope="module")
def model(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from weakspot.jobs.train import train

    folder = tmp_path_factory.mktemp("trained")
    tiny = read_settings(TrainSettings, settings, schedule=0.005, size=(64, 64), hold_out=0.0)
    return train(write_parts(folder / "parts"), tiny, output=folder / "run").model


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return write_parts(tmp_path / "parts", seed=3)


def assert_told(ended: Ended, status: int, *words: str) -> None:
    """One line on stderr with all the words, and nothing on stdout."""
    assert (ended.status, ended.out, ended.err.count("\n")) == (status, "", 1), ended
    assert ended.err.startswith("weakspot: error: ")
    for word in words:
        assert word in ended.err


@contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk that is nearly full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def decisions(output: Path) -> dict[str, str]:
    with open(output / "inspections.csv", newline="", encoding="utf-8") as file:
        return {row["image_path"]: row["decision"] for row in csv.DictReader(file)}


def test_no_hostile_image_is_judged_and_the_others_are(
    weakspot: Weakspot, model: Path, parts: Path, tmp_path: Path
) -> None:
    names = []
    for name, data in refused_images():
        (parts / name).write_bytes(data)
        names.append(str(parts / name))
    ended = weakspot("inspect", model, *names, parts / "good", "-o", tmp_path / "out", "--quiet")
    decided = decisions(tmp_path / "out")
    assert ended.status == 1
    assert {decided[name] for name in names} == {"not inspected"}
    assert len(decided) == len(names) + 8 and "not inspected" not in {
        decided[str(path)] for path in (parts / "good").iterdir()
    }


@pytest.mark.parametrize("bad", [["a"], []])
@pytest.mark.parametrize("verb", ["audit", "train", "evaluate"])
def test_an_empty_folder_of_good_ones_is_named(
    weakspot: Weakspot, model: Path, tmp_path: Path, verb: str, bad: list[str]
) -> None:
    for label, names in (("good", []), ("bad", bad)):
        (tmp_path / "parts" / label).mkdir(parents=True)
        for name in names:
            Image.fromarray(toy_images(1, 1).pixels[0, 0]).save(tmp_path / "parts" / label / f"{name}.png")
    given = [model, tmp_path / "parts"] if verb == "evaluate" else [tmp_path / "parts"]
    ended = weakspot(verb, *given, "-o", tmp_path / "out", "--quiet")
    assert_told(ended, 1, "/parts/good: the folder holds no pictures; put good ones there")
    assert not (tmp_path / "out").exists()


def test_bad_images_alone_are_told_with_the_way_out(weakspot: Weakspot, parts: Path, tmp_path: Path) -> None:
    shutil.rmtree(parts / "good")
    ended = weakspot("train", parts, "-o", tmp_path / "run", "--quiet")
    assert_told(ended, 1, "6 bad pictures and no good ones", "put good pictures into good/")


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_good_images_alone_are_audited_judged_and_trained_on_where_the_recipe_can(
    weakspot: Weakspot, model: Path, parts: Path, settings: Path, tmp_path: Path, left: str
) -> None:
    shutil.rmtree(parts / "bad")
    if left == "an empty folder":
        (parts / "bad").mkdir()
    assert weakspot("audit", parts, "--quiet").status == 0
    assert "How many bad parts would pass is not known" in weakspot("evaluate", model, parts, "-o", tmp_path / "e").out
    begin = ("train", parts, "-o", tmp_path / "run", "--settings", settings, *QUICK)
    assert_told(weakspot(*begin, "--recipe", "paper"), 1, "0 bad and 6 good pictures to train on", "--recipe sharp")
    trained = weakspot(*begin)
    assert trained.status == 0 and "it was shown no bad picture" in trained.out, trained


def test_one_broken_image_among_many_is_left_out_and_said(weakspot: Weakspot, settings: Path, tmp_path: Path) -> None:
    parts = write_parts(tmp_path / "parts", bad=8, good=12)
    (parts / "good" / "broken.png").write_bytes(b"no picture")
    (parts / "good" / "gone.png").symlink_to("nowhere.png")
    (parts / "good" / "loop").symlink_to(parts)
    audited = weakspot("audit", parts, "--quiet")
    assert audited.status == 1 and "broken.png" in audited.out and "gone.png" in audited.out
    trained = weakspot("train", parts, "-o", tmp_path / "run", "--settings", settings, *QUICK)
    assert trained.status == 1 and "2 pictures could not be read and took no part" in trained.out, trained
    assert (tmp_path / "run" / "model.weakspot").exists() and "broken" not in (
        tmp_path / "run" / "split.csv"
    ).read_text()


def test_blank_and_tiny_images_take_no_part_so_that_inspection_goes_on_refusing_their_like(
    weakspot: Weakspot, settings: Path, tmp_path: Path
) -> None:
    parts, run = write_parts(tmp_path / "parts"), tmp_path / "run"
    odd = {
        "one.png": np.full((1, 1), 9, np.uint8),
        "small.png": toy_images(side=60).pixels[5, 0],
        "blank.png": np.full((64, 64), 90, np.uint8),
    }
    for name, pixels in odd.items():
        Image.fromarray(pixels).save(parts / "good" / name)
    audited = weakspot("audit", parts, "--quiet")
    assert "3 pictures left out as too small or blank" in audited.out and "small.png: 60 × 60 pixels" in audited.out
    trained = weakspot("train", parts, "-o", run, "--settings", settings, *QUICK[:-1])
    assert trained.status == 1 and "3 pictures took no part, too small or blank" in trained.out
    assert all(f"takes no part: {parts / 'good' / name}: " in trained.err for name in odd)
    split = (run / "split.csv").read_text()
    assert not any(name in split for name in odd) and split.count("\n") == 15
    inspected = weakspot(
        "inspect", run / "model.weakspot", *(parts / "good" / name for name in odd), "-o", tmp_path / "out", "--quiet"
    )
    assert inspected.status == 1 and set(decisions(tmp_path / "out").values()) == {"not inspected"}


def test_a_label_of_which_nothing_can_take_part_is_told(
    weakspot: Weakspot, settings: Path, parts: Path, tmp_path: Path
) -> None:
    for path in (parts / "bad").iterdir():
        Image.new("L", (64, 64), 7).save(path)
    begin = ("train", parts, "-o", tmp_path / "run", "--settings", settings, *QUICK)
    assert_told(
        weakspot(*begin),
        1,
        "no bad picture can take part",
        "every pixel has the value 7",
        "light and shutter",
    )
    assert not (tmp_path / "run").exists()


def test_an_evaluation_goes_on_without_what_cannot_be_read_or_used_and_says_so(
    weakspot: Weakspot, model: Path, parts: Path, tmp_path: Path
) -> None:
    (parts / "bad" / "nan.tif").write_bytes(next(data for name, data in refused_images() if name.endswith(".tif")))
    (parts / "masks").mkdir()
    Image.new("L", (10, 10), 255).save(parts / "masks" / "000.png")
    ended = weakspot("evaluate", model, parts, "-o", tmp_path / "out", "--quiet")
    assert ended.status == 1
    assert "not inspected: " in ended.out and "nan.tif" in ended.out
    assert "a mask of 10 × 10 pixels for a picture of 64 × 64" in ended.out
    with open(tmp_path / "out" / "scores.csv", newline="", encoding="utf-8") as file:
        assert {row["decision"] for row in csv.DictReader(file) if "nan.tif" in row["id"]} == {"not inspected"}


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((1, 1), np.uint8), "1 × 1 pixels; needed are at least 64 × 64"),
        (np.tile(np.arange(64, dtype=np.uint8), (400, 7))[:400, :400], "more than 4 times larger"),
        (np.tile(np.arange(200, dtype=np.uint8), (64, 1)), "of other proportions"),
        (np.full((64, 64), 90, np.uint8), "every pixel has the value 90"),
        (np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), "trained on grey ones only"),
    ],
)
def test_an_image_unlike_the_trained_ones_is_not_judged(
    weakspot: Weakspot, model: Path, tmp_path: Path, image: np.ndarray, said: str
) -> None:
    Image.fromarray(image).save(tmp_path / "odd.png")
    ended = weakspot("inspect", model, tmp_path / "odd.png", "-o", tmp_path / "out", "--quiet")
    assert ended.status == 1 and said in ended.out
    assert set(decisions(tmp_path / "out").values()) == {"not inspected"}


def test_any_name_is_inspected_and_told_in_one_line(
    weakspot: Weakspot, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = (
        "-dash.png",
        "a b.png",
        "nöß 漢.png",
        "new\nline.png",
        "=cmd|x.png",
        "[bold].png",
        os.fsdecode(b"bytes\xff.png"),
    )
    for name in names:
        Image.fromarray(toy_images(1, 1).pixels[1, 0]).save("plain.png")
        os.replace("plain.png", name)
    Path("new\nbroken.png").write_bytes(b"")
    ended = weakspot("inspect", model, "-o", "out", "--quiet", "--", *names, "new\nbroken.png")
    assert ended.status == 1 and "new\\nbroken.png: the file is empty" in ended.out
    decided = list(decisions(Path("out")).values())
    assert len(decided) == 8 and decided.count("not inspected") == 1
    assert_told(weakspot("inspect", model, "-dash.png", "-o", "other"), 2, "--help")


@pytest.mark.parametrize("verb", ["inspect", "evaluate", "verify", "threshold"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: data[:-99999] + bytes([data[-99999] ^ 1]) + data[-99998:], "was altered since it was written"),
        (lambda data: b"", "a file of 0 bytes"),
        (lambda data: b"<html>" + data, "not like a model file"),
    ],
    ids=["cut", "one bit", "empty", "html"],
)
def test_a_damaged_model_file_is_refused_by_every_verb(
    weakspot: Weakspot, model: Path, parts: Path, tmp_path: Path, verb: str, damage: Callable[[bytes], bytes], said: str
) -> None:
    (tmp_path / "a.weakspot").write_bytes(damage(model.read_bytes()))
    more = [parts, "-o", tmp_path / "out"] if verb in ("inspect", "evaluate") else []
    assert_told(weakspot(verb, tmp_path / "a.weakspot", *more), 1, "a.weakspot", said)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_the_earlier_inspection_and_evaluation(
    weakspot: Weakspot, model: Path, parts: Path, tmp_path: Path
) -> None:
    out, evaluated = tmp_path / "out", tmp_path / "evaluated"
    assert weakspot("inspect", model, parts, "-o", out, "--quiet").status == 0
    assert weakspot("evaluate", model, parts, "-o", evaluated, "--quiet").status == 0
    before = content(tmp_path)
    assert_told(weakspot("evaluate", model, parts, "-o", evaluated, "--quiet"), 1, "replace it with --overwrite")
    with disk_full_after(2000):
        assert_told(
            weakspot("inspect", model, parts, "-o", out, "--quiet", "--overwrite"), 1, str(out), "choose another place"
        )
        assert_told(
            weakspot("evaluate", model, parts, "-o", evaluated, "--quiet", "--overwrite"),
            1, str(evaluated), "choose another place",
        )  # fmt: skip
    assert content(tmp_path) == before


def test_a_training_that_met_a_full_disk_goes_on_when_there_is_space(
    weakspot: Weakspot, settings: Path, parts: Path, tmp_path: Path
) -> None:
    begin = ("train", parts, "-o", tmp_path / "run", "--settings", settings, *QUICK)
    with disk_full_after(50_000):
        assert_told(weakspot(*begin), 1, str(tmp_path / "run"), "cannot be written", "choose another place")
    assert not (tmp_path / "run" / "model.weakspot").exists()
    assert_told(weakspot(*begin), 1, "holds a run already; go on with it by --resume")
    assert weakspot(*begin, "--resume").status == 0


def test_resume_refuses_a_foreign_folder_other_settings_and_other_images(
    weakspot: Weakspot, settings: Path, parts: Path, tmp_path: Path
) -> None:
    begin = ("train", parts, "--settings", settings, *QUICK, "-o")
    with disk_full_after(50_000):
        assert weakspot(*begin, tmp_path / "run").status == 1
    assert_told(weakspot(*begin, parts, "--resume"), 1, "holds no run to go on with; leave --resume out")
    assert_told(
        weakspot(*begin, tmp_path / "run", "--resume", "--seed", 7),
        2,
        "--resume: settings.seed is 7",
        "begin a new run",
    )
    write_parts(parts, seed=9)
    assert_told(
        weakspot(*begin, tmp_path / "run", "--resume"),
        1,
        "the pictures or their labels are not those",
        "begin a new run",
    )


@contextmanager
def small_disk(place: Path, kib: int, *options: str) -> Iterator[Path]:
    """A disk of its own in memory, where the tests may mount one."""
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join((f"size={kib}k", *options)), "tmpfs", str(place)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("free", [0, 12, 40, 200])
def test_a_training_on_a_disk_that_is_really_full_is_told_in_one_line(
    weakspot: Weakspot, settings: Path, parts: Path, tmp_path: Path, free: int
) -> None:
    """At its beginning, at the history or TensorBoard's events, or at the weights: KiB that are free."""
    with small_disk(tmp_path / "disk", 1000) as disk:
        (disk / "filled").write_bytes(bytes((1000 - free) * 1024))
        ended = weakspot("train", parts, "-o", disk / "run", "--settings", settings, *QUICK)
        assert_told(ended, 1, str(disk / "run"), "the disk is full; free some space")
        (disk / "filled").unlink()
        shutil.copytree(disk / "run", tmp_path / "run") if (disk / "run").exists() else None
    if (tmp_path / "run" / "run.json").exists():
        resumed = weakspot("train", parts, "-o", tmp_path / "run", "--settings", settings, *QUICK, "--resume")
        assert resumed.status == 0, resumed
        assert all(json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines())


def test_a_disk_that_can_only_be_read_is_told_by_every_verb_that_writes(
    weakspot: Weakspot, model: Path, parts: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 100, "ro") as disk:
        for verb in (("audit", parts), ("train", parts), ("evaluate", model, parts), ("inspect", model, parts)):
            for place in (disk, disk / "out"):
                assert_told(
                    weakspot(*verb, "-o", place, "--quiet"),
                    1,
                    str(place),
                    "the disk can only be read; choose another place",
                )


@pytest.mark.parametrize("verb", ["train", "inspect"])
def test_a_folder_with_other_things_in_it_is_not_written_into(
    weakspot: Weakspot, model: Path, parts: Path, verb: str
) -> None:
    before = content(parts)
    ended = weakspot(verb, *([model, parts] if verb == "inspect" else [parts]), "-o", parts, "--quiet")
    assert_told(ended, 1, str(parts))
    assert content(parts) == before


def test_what_cannot_be_made_into_a_folder_is_told(weakspot: Weakspot, model: Path, parts: Path) -> None:
    place = parts / "good" / "006.png" / "out"
    for arguments in (("audit", parts), ("train", parts), ("evaluate", model, parts), ("inspect", model, parts)):
        assert_told(weakspot(*arguments, "-o", place, "--quiet"), 1, str(place), "choose another")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size = [10, 10]", "size = [10, 10]; needed is a number from 64"),
        ("size = [64]", "size"),
        ("size = [20000, 20000]", "megapixels"),
        ("minutes = -3", "minutes = -3; needed is a number from"),
        ("schedule = nan", "schedule = nan; needed is a number from"),
        ("hold_out = 1.5", "hold_out = 1.5; needed is a number from"),
        ("positives = -1", "positives = -1; needed is a number from"),
        ("folds = -1", "folds = -1; needed is a number from"),
        ("folds = 'many'", "folds = 'many'"),
        ("threads = 0", "threads = 0; needed is a number from"),
        ("top_fractions = [3.0]", "top_fractions = [3.0]"),
        ("third_kernel = 4", "third_kernel = 4"),
        ("read = {bit_depth = 99}", "bit_depth = 99; needed is a number from"),
        ("read = {bit_depht = 12}", "unknown key 'bit_depht'; did you mean 'bit_depth'?"),
        ("threshold = {rule = 'best'}", "threshold.rule = 'best'"),
        ("threshold = 3", "threshold"),
        ("seed = ", "not TOML"),
    ],
)
def test_a_wrong_setting_is_answered_with_what_is_allowed(
    weakspot: Weakspot, parts: Path, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    assert_told(weakspot("train", parts, "-o", tmp_path / "run", "--settings", tmp_path / "wrong.toml"), 2, said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"data = ",
        b"daat = 'elpv'",
        b"data = 'elpv'\nfolds = 'x'",
        b"data = 'elpv'\nsettings = {seeed = 1}",
    ],
)
def test_a_wrong_experiment_is_wrong_usage(weakspot: Weakspot, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "wrong.toml").write_bytes(text)
    assert_told(weakspot("experiment", tmp_path / "wrong.toml", "-o", tmp_path / "results", "--quiet"), 2)


def test_an_unknown_layout_is_wrong_usage(weakspot: Weakspot, parts: Path) -> None:
    assert_told(weakspot("audit", parts, "--layout", "floder"), 2, "'floder' is not known; did you mean 'folder'?")


def test_a_missing_package_of_training_is_named(weakspot: Weakspot, parts: Path, tmp_path: Path) -> None:
    """In a process of its own, in which torch cannot be found."""
    script = (
        "import sys; from importlib.machinery import PathFinder\n"
        "class Without:\n"
        "    find_spec = staticmethod(\n"
        "        lambda name, *more: None if name.split('.')[0] == 'torch' else PathFinder.find_spec(name, *more))\n"
        "sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]\n"
        "from weakspot.cli import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, "train", parts, "-o", tmp_path / "run", "--quiet"],
        capture_output=True,
        text=True,
    )
    assert_told(
        Ended(ran.returncode, ran.stdout, ran.stderr), 1, "torch is not installed", "pip install 'weakspot[train]'"
    )
    assert not (tmp_path / "run").exists()


def test_a_missing_extra_is_named(
    weakspot: Weakspot, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    monkeypatch.setitem(sys.modules, "elpv_dataset.utils", None)
    assert_told(
        weakspot("demo", "-o", tmp_path / "run", "--quiet"),
        1,
        "elpv-dataset is not installed",
        "pip install 'weakspot[demo]'",
    )


def test_a_model_file_of_a_newer_version_is_told_with_the_way_out(
    weakspot: Weakspot, model: Path, parts: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["manifest.json"] = json.dumps(
        json.loads(members["manifest.json"]) | {"format_version": 2, "of_tomorrow": 1}
    ).encode()
    members["manifest.sha256"] = hashlib.sha256(members["manifest.json"]).hexdigest().encode()
    newer = tmp_path / "newer.weakspot"
    with open(newer, "wb") as file:
        pack(members, file)
    for arguments in (("inspect", newer, parts, "-o", tmp_path / "out"), ("verify", newer), ("threshold", newer)):
        assert_told(
            weakspot(*arguments), 1, "newer.weakspot", "written by a newer weakspot", "update weakspot to use it"
        )


def test_pipes_and_pictures_of_other_kinds_in_a_folder_hold_nothing_up_and_are_told(
    weakspot: Weakspot, model: Path, parts: Path, tmp_path: Path
) -> None:
    for name in ("pipe.png", "pipe"):
        os.mkfifo(parts / "good" / name)
    (parts / "good" / "moving.gif").write_bytes(b"GIF89a")
    assert "good/pipe.png: not a regular file but a pipe" in weakspot("audit", parts, "--quiet").out
    ended = weakspot("inspect", model, parts, "-o", tmp_path / "out", "--quiet")
    assert (
        ended.status == 1
        and "pipe.png: not a regular file but a pipe" in ended.out
        and "moving.gif: a GIF" in ended.out
    )
    assert list(decisions(tmp_path / "out").values()).count("not inspected") == 2


def test_data_whose_name_begins_with_a_dash_can_be_given(
    weakspot: Weakspot, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(parts.parent)
    parts.rename("-parts")
    assert weakspot("audit", "--quiet", "--", "-parts").status == 0
    assert_told(weakspot("audit", "-parts"), 2, "No such option", "--help")


def test_a_reader_of_json_that_goes_away_gets_no_traceback(model: Path, parts: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "weakspot",
        "inspect",
        str(model),
        str(parts),
        "-o",
        str(tmp_path / "out"),
        "--json",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    said = process.stderr.read().decode()
    assert process.wait(60) == 0 and "Traceback" not in said and "Broken" not in said
    assert (tmp_path / "out" / "inspections.csv").exists()


def test_an_image_of_64_megapixels_is_read_and_a_larger_one_refused_by_its_header(
    weakspot: Weakspot, model: Path, tmp_path: Path
) -> None:
    from tests.hostile import png

    assert ReadSettings.max_megapixels == 64
    (tmp_path / "large.png").write_bytes(png(8001, 8000, 1, idat=b""))
    ended = weakspot("inspect", model, tmp_path / "large.png", "-o", tmp_path / "out", "--quiet")
    assert (
        ended.status == 1
        and "the header says 8001 × 8000 pixels" in ended.out
        and "raise max_megapixels under [read] in the training's" in ended.out
    )
