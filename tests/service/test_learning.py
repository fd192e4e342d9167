"""From verdicts to the next detector: what a training learns from them, and how it is held against another model."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.inspection.conftest import made_model
from tests.service.server import Server, png
from tests.service.toys import judge, settings_file, toy, write_parts
from weakspot import cli
from weakspot.errors import DataError, OutputError, SettingsError
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import read_model_file, write_model_file
from weakspot.jobs import train as jobs
from weakspot.jobs.compare import Judged, Material, compare, labelled_pictures, trained_on
from weakspot.service.export import export_verdicts
from weakspot.service.learning import judged_folder, reviewed_pictures
from weakspot.service.tasks import Tasks
from weakspot.settings import TrainSettings, read_settings
from weakspot.terminal import show_comparison

Start = Callable[..., Server]


def weakspot(*words: object) -> int:
    """The command line in this process → its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["weakspot", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A service whose detector sees 64 × 64 pixels, with what people said of the parts it was sent, by id."""
    folder = tmp_path_factory.mktemp("judged")
    write_model_file(folder / "first.weakspot", made_model(name="first"))
    server = Server(folder / "data", model=folder / "first.weakspot")
    said = [("good", False, n) for n in range(10)] + [("bad", True, n) for n in range(4)]
    said += [("unsure", True, 50), ("withdrawn", False, 51)]
    verdicts = {judge(server, toy(bad, seed), word, f"p{word}{seed}"): word for word, bad, seed in said}
    yield server, verdicts
    server.stop()


@pytest.fixture(scope="module")
def trained(judged: tuple[Server, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a training on the verdicts."""
    folder = tmp_path_factory.mktemp("runs")
    run = folder / "next"
    asked = ("train", "--from", judged[0].data, "-o", run, "--settings", settings_file(folder), "--quiet")
    assert weakspot(*asked) == 0
    return run


def test_a_training_learns_from_the_verdicts_in_force_and_keeps_which(judged, trained: Path):
    with open(trained / "judged" / "verdicts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["inspection"]: row["label"] for row in rows} == {
        number: word for number, word in judged[1].items() if word in ("good", "bad")
    }
    assert len({row["verdict"] for row in rows}) == len(rows) and len({row["snapshot"] for row in rows}) == 1
    manifest = read_model_file(trained / "model.weakspot").manifest
    assert manifest.name == "next", "a detector is called as its run, since all data of this kind are called alike"
    pictures = {each.sha256 for each in reviewed(judged[0])}
    assert set(manifest.training_files) < pictures, "some were kept apart for the report"


def test_a_stopped_training_goes_on_with_its_own_snapshot(judged, trained: Path, tmp_path: Path):
    settings = settings_file(tmp_path)
    before = (trained / "model.weakspot").read_bytes()
    judge(judged[0], toy(False, 99), "good")
    resumed = ("train", "--from", judged[0].data, "-o", trained, "--settings", settings, "--quiet", "--resume")
    assert weakspot(*resumed) == 0
    assert read_model_file(trained / "model.weakspot").manifest.training_files == _files(before, tmp_path)


def _files(content: bytes, folder: Path) -> list[str]:
    (folder / "before.weakspot").write_bytes(content)
    return read_model_file(folder / "before.weakspot").manifest.training_files


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--from", "nowhere"), 1, "no store there"),
        ((), 2, "neither DATA nor --from"),
        (("parts", "--from", "data"), 2, "DATA and --from at once"),
        (("parts", "--store", "sqlite:///x"), 2, "--store: not without --from"),
    ],
)
def test_a_source_that_cannot_be_is_one_line(words, status: int, said: str, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert weakspot("train", *words, "-o", "run") == status
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not (tmp_path / "run" / "run.json").exists()


def reviewed(server: Server) -> Sequence[Judged]:
    """The pictures of a service whose verdict in force is good or bad."""
    return reviewed_pictures(server.data, None, frozenset()).pictures


def begun_anew(judged: tuple[Server, dict[str, str]], run: Path) -> Path:
    """What is left in a run's folder that was killed before its first step."""
    return judged_folder(judged[0].data, None, run, resume=False)


def test_a_snapshot_of_a_run_that_never_began_makes_way_for_a_new_one(judged, tmp_path: Path):
    before = (begun_anew(judged, tmp_path / "run") / "verdicts.csv").read_bytes()
    assert (begun_anew(judged, tmp_path / "run") / "verdicts.csv").read_bytes() != before, "of another moment"
    assert sorted(each.name for each in (tmp_path / "run").iterdir()) == [".lock", "judged"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_killed_while_verdicts_were_written_can_be_begun_again(judged, tmp_path: Path, how: int):
    script = (
        "import os, sys; from pathlib import Path; from weakspot.service import export, learning\n"
        f"export._written = lambda *_: os.kill(os.getpid(), {int(how)})\n"
        "learning.judged_folder(Path(sys.argv[1]), None, Path(sys.argv[2]), resume=False)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, judged[0].data, tmp_path / "run"])
    assert killed.returncode == -how and any((tmp_path / "run").glob(".weakspot-*.tmp"))
    begun_anew(judged, tmp_path / "run")
    assert sorted(each.name for each in (tmp_path / "run").iterdir()) == [".lock", "judged"]


def test_a_task_that_is_cancelled_while_verdicts_are_written_leaves_nothing(judged, tmp_path: Path):
    """What is half written is removed before the process ends."""
    (tmp_path / "order.json").write_text(json.dumps({"folder": None}))
    (tmp_path / "settings.toml").write_bytes(settings_file(tmp_path).read_bytes())
    script = (
        "import os, signal, sys; from pathlib import Path; from weakspot.service import export, worker\n"
        "export._written = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(worker.main('look', Path(sys.argv[1])))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE)
    process.stdin.write(json.dumps({"data": str(judged[0].data), "store": None}).encode() + b"\n")
    process.stdin.flush()
    assert process.wait() == 130
    process.stdin.close()
    assert [each.name for each in (tmp_path / "run").iterdir()] == [".lock"]
    assert not (tmp_path / "ended.json").exists(), "the service says who cancelled it"


def test_no_run_begins_on_verdicts_that_another_process_took_anew_meanwhile(judged, tmp_path: Path, monkeypatch):
    """Between the moment at which its pictures are looked at and the run's own lock."""
    look = jobs.audited

    def meanwhile(*given: Any) -> Any:
        found = look(*given)
        begun_anew(judged, tmp_path / "run")
        return found

    monkeypatch.setattr(jobs, "audited", meanwhile)
    settings = read_settings(TrainSettings, settings_file(tmp_path))
    folder = begun_anew(judged, tmp_path / "run")
    with pytest.raises(OutputError, match="took the verdicts anew meanwhile"):
        jobs.train(folder, settings, output=tmp_path / "run", title="run")
    assert sorted(each.name for each in (tmp_path / "run").iterdir()) == [".lock", "judged"]


def test_a_process_is_told_where_the_store_is_only_where_it_reads_it(tmp_path: Path):
    """Others decode pictures that anybody may have sent."""
    tasks = Tasks(tmp_path, {"data": "data", "store": "postgresql://secret"})
    for folder in (None, "/data/parts"):
        (tmp_path / "order.json").write_text(json.dumps({"folder": folder}))
        told = [tasks._told(tmp_path, step)["store"] for step in ("look", "train", "compare")]
        assert told == [None if folder else "postgresql://secret", None, "postgresql://secret"]


TAKES = """
import sys
from weakspot.service.worker import _bound
_bound(float(sys.argv[1]))
try:
    print(len(bytearray(300_000_000)))
except MemoryError:
    print("too much")
"""


@pytest.mark.parametrize(("gigabytes", "said"), [("0.2", "too much"), ("1", "300000000")])
def test_a_comparison_may_take_so_much_more_memory_and_no_more(gigabytes: str, said: str):
    done = subprocess.run([sys.executable, "-c", TAKES, gigabytes], capture_output=True, text=True)
    assert done.stdout.strip() == said, done.stderr


@pytest.mark.parametrize("name", ["good/mine.png", "notes/mine.txt", "verdicts.csv", "a picture"])
def test_a_snapshot_to_which_a_person_added_something_is_never_removed(judged, tmp_path: Path, name: str):
    folder = begun_anew(judged, tmp_path / "run")
    mine = next(folder.glob("*/*/*.png")) if name == "a picture" else folder / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_bytes(b"mine")
    with pytest.raises(OutputError, match="judged: was changed since .*; move it away, or choose another --output"):
        begun_anew(judged, tmp_path / "run")
    assert mine.read_bytes() == b"mine"


def test_a_folder_that_is_called_as_the_snapshot_is_never_removed(judged, tmp_path: Path):
    export_verdicts(judged[0].data, None, tmp_path / "judged")
    (tmp_path / "judged" / "good" / "mine.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="is not empty; choose another --output"):
        judged_folder(judged[0].data, None, tmp_path, resume=False)
    assert (tmp_path / "judged" / "good" / "mine.png").read_bytes() == b"mine"


def test_too_few_verdicts_are_one_line_and_leave_nothing(start: Start, tmp_path: Path, capsys):
    server, run = start(), tmp_path / "run"
    for picture, word, said in ((None, "", "nothing was judged good or bad"), (png("bad"), "bad", "1 judged: 1 bad; ")):
        if picture:
            judge(server, picture, word)
        assert weakspot("train", "--from", server.data, "-o", run) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line and not (run / "judged").exists()


def test_verdicts_that_teach_nothing_are_counted_by_why(start: Start, tmp_path: Path, capsys, caplog):
    server: Any = start()
    for number in range(3):
        judge(server, toy(False, number), "good", f"p{number}")
    for number in range(3, 5):
        for part in ("a", "b"):
            judge(server, toy(False, number), "good", part)
    for word in ("good", "bad"):
        judge(server, toy(False, 5), word)
    judged_folder(server.data, None, tmp_path / "run", resume=False)
    assert "6 judged: 3 good, 2 sent as two parts, 1 judged both ways" in caplog.text
    for each in [each["result"]["id"] for each in server.get("/v1/inspections", part="p0")["inspections"]]:
        server.client.post(f"/v1/inspections/{each}/verdicts", json={"verdict": "withdrawn"})
    for number in (1, 2):
        judge(server, toy(False, number), "unsure", "another")
    assert weakspot("export-verdicts", "--data", server.data, "-o", tmp_path / "judged") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing to learn from: 5 judged: 4 sent as two parts, 1 judged both ways; " in line
    assert "name the same part" in line and "withdraw one of two verdicts" in line


def detector(path: Path) -> LoadedDetector:
    return LoadedDetector.load_exact(path, 1)


def picture(number: str, bad: int, content: bytes, digest: str = "") -> Judged:
    return Judged(id=number, label=bad, sha256=digest or number, content=lambda: content)


def material(pictures: Sequence[Judged], **parts: str) -> Material:
    """parts: the part of a picture, by its id."""
    shows = {each.sha256: frozenset({parts[each.id]}) for each in pictures if each.id in parts}
    return Material(pictures=pictures, parts=shows, contradicted=3)


def test_two_models_are_compared_on_what_neither_was_trained_on(tmp_path: Path, model: Path, other_model: Path):
    """What the first one calls bad, the other leaves to a person."""
    write_model_file(tmp_path / "learned.weakspot", made_model(name="learned", training_files=["5" * 64]))
    pictures = [picture(f"bad{n}", 1, png("bad", n)) for n in range(3)]
    pictures += [picture("alarm", 0, png("bad", 9)), *(picture(f"good{n}", 0, png("good", n)) for n in range(5))]
    pictures += [picture("none", 1, b"no picture")]
    seen = [picture("seen", 1, png("bad", 20), "5" * 64), picture("other", 1, png("good", 21))]
    parts = {"seen": "p1", "other": "p1"}
    detectors = detector(tmp_path / "learned.weakspot"), detector(other_model)
    found = compare(detectors, material([*pictures, *seen], **parts))
    assert [pair.id for pair in found.pairs] == [each.id for each in pictures] and found.left_out == 2
    one, other = found.sides
    assert (one.right, one.wrong, one.review, one.not_inspected) == (8, 1, 0, 1)
    assert (other.right, other.wrong, other.review, other.not_inspected) == (5, 0, 4, 1)
    assert (one.escapes.k, one.escapes.n, one.false_alarms.k, one.false_alarms.n) == (0, 3, 1, 6)
    assert [pair.id for pair in found.differing] == ["bad0", "bad1", "bad2", "alarm"]
    assert all(heat is not None for heat in found.differing[0].heats)
    told = " ".join(found.sentences)
    assert "10 judged pictures that neither was trained on: 6 good, 4 bad; 2 left out" in told
    assert "3 left out that were called good and bad" in told
    assert (
        "on 4 pictures: only the first is right on 3 pictures, only the second on 0; between equals chance" in told
        and "25 % of" in told
    )
    assert "4 bad pictures prove little" in told
    assert "other was trained on pictures in memory" in told
    with pytest.raises(SettingsError, match="the same model twice"):
        compare((detector(model), detector(model)), material(pictures))
    with pytest.raises(DataError, match="all 2 were trained on"):
        compare(detectors, material(seen, **parts))


def test_rates_and_chance_count_parts_and_each_picture_stands_in_one_column(
    model: Path, other_model: Path, capsys: pytest.CaptureFixture[str]
):
    """Twenty pictures of each of three bad parts, of which one is also shown together with a fourth; two of no part."""
    pictures = [picture(f"{part}{shot}", 1, png("bad", 20 * part + shot)) for part in range(3) for shot in range(20)]
    pictures += [picture("passed", 1, png("good", 70)), picture("none", 1, b"no picture")]
    pictures += [picture(f"good{n}", 0, png("good", n)) for n in range(2)]
    shows = {each.sha256: frozenset({f"p{each.id[0]}"}) for each in pictures[:60]}
    shows |= {"passed": frozenset({"p0", "p9"}), "none": frozenset({"p9"})}
    found = compare((detector(model), detector(other_model)), Material(pictures=pictures, parts=shows, contradicted=0))
    one, other = found.sides
    assert (one.escapes.k, one.escapes.n, one.false_alarms.n) == (1, 3, 2)
    assert (one.right, one.wrong, one.review, one.not_inspected) == (62, 1, 0, 1)
    assert (other.right, other.wrong, other.review, other.not_inspected) == (2, 1, 60, 1)
    told = " ".join(found.sentences)
    assert "on 60 pictures: only the first is right on 2 parts, only the second on 0; between" in told
    assert "chance gives a difference like that in 50 % of cases" in told, "of two parts, not of forty pictures"
    assert "Rates and chance count physical parts" in told and "3 bad parts prove little" in told
    show_comparison(found, as_json=False)
    head, first, *_ = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("model", "made"))]
    assert "not inspected" in head and "escapes of parts" in head
    assert first.split()[2:6] == ["62", "1", "0", "1"]


def test_the_heat_of_the_first_differing_pairs_alone_is_kept(model: Path, other_model: Path, monkeypatch):
    monkeypatch.setattr("weakspot.jobs.compare.MOST_HEATS", 2, raising=False)
    pictures = [picture(f"bad{n}", 1, png("bad", n)) for n in range(4)]
    found = compare((detector(model), detector(other_model)), material(pictures))
    assert [pair.heats[0] is not None for pair in found.differing] == [True, True, False, False]


def test_a_new_detector_is_compared_on_verdicts_that_it_did_not_learn_from(judged, trained: Path, capsys):
    server = judged[0]
    for word, bad, seed in (("good", False, 60), ("bad", True, 61)):
        judge(server, toy(bad, seed), word)
    first, new = server.data.parent / "first.weakspot", trained / "model.weakspot"
    assert weakspot("compare", first, new, "--from", server.data, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    learned = len(read_model_file(new).manifest.training_files)
    assert (found["compared"], found["left_out"]) == (len(reviewed(server)) - learned, learned)
    assert [each["name"] for each in found["models"]] == ["first", "next"]
    assert weakspot("compare", first, new, trained / "judged") == 0
    assert "On the same pictures" in capsys.readouterr().out


def test_a_comparison_of_a_service_ends_and_can_be_removed(judged, other_model: Path):
    client, kind = judged[0].client, {"content-type": "application/octet-stream"}
    one = judged[0].get("/v1/models")["models"][0]["sha256"]
    other = client.post("/v1/models", content=other_model.read_bytes(), headers=kind).json()["sha256"]
    begun = client.post("/v1/comparisons", json={"one": one, "other": other})
    where = f"/v1/comparisons/{begun.json()['id']}"
    while (found := judged[0].get(where))["outcome"] == "running":
        time.sleep(0.2)
    assert found["outcome"] == "done" and found["result"]["compared"] >= 14, found["why"]
    assert client.post(f"{where}/cancel").status_code == 204, "nothing happens to one that has ended"
    assert client.delete(where).status_code == 204
    assert client.get(where).status_code == 404 and judged[0].get("/v1/comparisons") == []


def test_a_picture_that_was_judged_both_ways_is_compared_on_no_more(start: Start):
    server: Any = start()
    for word in ("good", "bad"):
        judge(server, png("bad", 1), word)
    judge(server, png("bad", 2), "bad")
    judge(server, png("bad", 2), "bad")
    found = reviewed_pictures(server.data, None, frozenset())
    assert ([each.label for each in found.pictures], found.contradicted) == ([1], 1)


def test_no_picture_of_a_part_that_was_trained_on_is_compared_on(start: Start, tmp_path: Path, other_model: Path):
    """Whatever was said of the one that was trained on, and though it was also sent without its part."""
    server: Any = start()
    unsure, again = png("bad", 1), png("bad", 2)
    judge(server, unsure, "unsure", "P")
    judge(server, png("bad", 3), "bad", "P")
    judge(server, again, "unsure", "Q")
    judge(server, again, "bad")
    judge(server, png("bad", 4), "bad", "Q")
    judge(server, png("bad", 5), "unsure", "P")
    judge(server, png("bad", 5), "bad", "R")
    other = judge(server, png("bad", 6), "bad", "R")
    learned = tmp_path / "learned.weakspot"
    files = sorted(sha256(content).hexdigest() for content in (unsure, again))
    write_model_file(learned, made_model(name="learned", training_files=files))
    detectors = detector(learned), detector(other_model)
    found = compare(detectors, reviewed_pictures(server.data, None, trained_on(detectors)))
    assert [pair.id for pair in found.pairs] == [other] and found.left_out == 4


def test_a_labelled_picture_is_compared_on_once_and_not_under_both_labels(tmp_path: Path):
    write_parts(tmp_path, good=3, bad=2)
    for copied, copy in (("good/00", "good/copy"), ("bad/00", "bad/part=1/copy"), ("good/01", "bad/called_bad")):
        (tmp_path / f"{copy}.png").parent.mkdir(exist_ok=True)
        (tmp_path / f"{copy}.png").write_bytes((tmp_path / f"{copied}.png").read_bytes())
    found = labelled_pictures(tmp_path)
    assert sorted(each.label for each in found.pictures) == [0, 0, 1, 1] and found.contradicted == 1
    twice = sha256((tmp_path / "bad" / "00.png").read_bytes()).hexdigest()
    assert len(found.parts[twice]) == 2
