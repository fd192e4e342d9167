"""Trainings and comparisons of a running service: by its pages in a real browser, and when it is killed meanwhile."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.inspection.conftest import made_model
from tests.service.server import Server
from tests.service.test_http import problem
from tests.service.toys import judge, settings_file, toy, write_parts
from weakspot.errors import OutputError
from weakspot.evaluation.intervals import Proportion, between
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.manifest import ThresholdRecord
from weakspot.inspection.model_file import write_model_file
from weakspot.jobs.compare import told_apart
from weakspot.jobs.comparison import Comparison, Pair
from weakspot.runs import Run
from weakspot.service.pages.tasks import watched
from weakspot.service.problems import Problem
from weakspot.service.tasks import Task, Tasks

Start = Callable[..., Server]
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of folders that may be trained on, and one that holds no pictures."""
    root = tmp_path_factory.mktemp("allowed")
    write_parts(root / "brackets")
    again = (root / "brackets" / "good" / "00.png").read_bytes()
    (root / "brackets" / "good" / "again.png").write_bytes(again)
    (root / "notes").mkdir()
    return root


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "first.weakspot"
    write_model_file(path, made_model(name="first"))
    return path


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, roots: Path, first: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("plant")
    server = serving(folder, roots, first)
    yield server
    server.stop()


def serving(folder: Path, roots: Path, model: Path, **more: Any) -> Server:
    """A service whose trainings end within seconds."""
    taught = ("--training-data", str(roots), "--training-settings", str(settings_file(folder, **more)))
    return Server(folder / "data", *taught, model=model)


def begun(server: Server, title: str) -> str:
    """Look at a source by its title → the training's id."""
    (source,) = (each for each in server.get("/v1/trainings")["sources"] if each["title"] == title)
    answer = server.client.post("/v1/trainings", json={"source": source["name"], "minutes": 1})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def ended(server: Server, number: str, kind: str = "trainings") -> dict[str, Any]:
    """What a task says when it is at work no more."""
    while (said := server.get(f"/v1/{kind}/{number}"))["outcome"] == "running":
        time.sleep(0.1)
    return dict(said)


def until_it_learns(server: Server, number: str) -> None:
    """Wait for a training's next steps."""
    history = server.data / "tasks" / number / "run" / "history.jsonl"
    steps = lambda: history.read_text().count('"step"') if history.exists() else 0  # noqa: E731
    before = steps()
    while steps() <= before:
        assert server.get(f"/v1/trainings/{number}")["outcome"] == "running"
        time.sleep(0.05)


def test_a_folder_is_looked_at_trained_on_registered_compared_and_made_active(
    plant: Server, roots: Path, open_page: Open
):
    for seed in range(100, 104):
        judge(plant, toy(False, seed), "good")
        judge(plant, toy(True, seed), "bad")
    page = open_page(f"{plant.address}/train")
    choices = page.get_by_label("Learns from").locator("option").all_inner_texts()
    assert choices == ["What people judged here", roots.name, "brackets"]
    page.get_by_label("Learns from").select_option(label="brackets")
    page.get_by_role("button", name="Look at the pictures").click()
    page.get_by_role("button", name="Start training").wait_for(timeout=60_000)
    found = page.locator("main").inner_text()
    assert "11 good, 4 bad" in found and "on this machine" in found
    assert page.get_by_text("identical, the same twice").count() == 2, "pictures of what is wrong"
    assert page.locator(".cards img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    page.get_by_role("button", name="Start training").click()
    page.get_by_role("heading", name="Losses").wait_for(timeout=60_000)
    page.get_by_role("button", name="Register the model").wait_for(timeout=120_000)
    assert "\\n" not in page.locator(".told").inner_text() and "not seen" in page.locator(".told").inner_text()
    for image in page.locator("main img").all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert page.get_by_alt_text("heat map of a bad picture").count() > 0
    number = page.url.rsplit("/", 1)[1]
    report = open_page(f"{page.url}/report.html")
    assert "brackets" in report.get_by_role("heading", level=1).inner_text()
    assert report.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") == "12px", (
        "it has its style"
    )
    active = [each["name"] for each in plant.get("/v1/models")["models"] if each["active"]]
    page.get_by_role("button", name="Register the model").click()
    page.get_by_role("link", name="Among the models").click()
    assert [each["name"] for each in plant.get("/v1/models")["models"] if each["active"]] == active == ["first"]
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/models/compare/*")
    page.get_by_text("8 judged pictures that neither was trained on: 4 good, 4 bad; 0 left out").wait_for(
        timeout=60_000
    )
    assert "4 bad pictures prove little" in page.locator("main").inner_text()
    head = page.get_by_label("Both on the same pictures").locator("th[scope=col]").all_inner_texts()
    assert head[4:6] == ["not inspected", "escapes\nof pictures"]
    assert page.locator(".pairs li").count() > 0, "what was made up and what was learned differ"
    for heat in page.locator(".pairs .heat").all():
        heat.scroll_into_view_if_needed()
        assert heat.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.get_by_role("link", name="All models").click()
    new = page.get_by_role("row", name="brackets")
    new.get_by_label("Why").fill("learned more")
    new.get_by_role("button", name="Make active").click()
    page.get_by_text("learned more").wait_for()
    assert plant.send(toy(True, 200)).json()["model"]["name"].startswith("brackets-")
    problem(plant.client.post(f"/v1/trainings/{number}/start"), 409, "finished")
    assert plant.client.delete(f"/v1/trainings/{number}").status_code == 204
    assert not (plant.data / "tasks" / number).exists()


def test_a_training_on_verdicts_is_cancelled_and_goes_on_while_the_line_is_judged(
    tmp_path: Path, roots: Path, first: Path
):
    server = serving(tmp_path, roots, first, schedule=0.06)
    for seed in range(6):
        judge(server, toy(False, seed), "good")
        judge(server, toy(True, seed), "bad")
    number = begun(server, "What people judged here")
    problem(server.client.post(f"/v1/trainings/{number}/start"), 409, "at-work")
    assert ended(server, number)["outcome"] == "done"
    problem(server.client.post(f"/v1/trainings/{number}/register"), 409, "not-finished")
    assert server.client.post(f"/v1/trainings/{number}/start").status_code == 204
    until_it_learns(server, number)
    assert server.send(toy(False, 300)).status_code == 201, "the line goes on"
    assert server.client.post(f"/v1/trainings/{number}/cancel").status_code == 204
    stopped = ended(server, number)
    assert (stopped["outcome"], stopped["why"]) == ("cancelled", "cancelled by local")
    assert server.client.post(f"/v1/trainings/{number}/start").status_code == 204
    until_it_learns(server, number)
    assert server.stop(signal.SIGKILL) != 0
    again = serving(tmp_path, roots, first, schedule=0.06)
    said = again.get(f"/v1/trainings/{number}")
    assert said["outcome"] == "interrupted"
    assert "ended by a restart of the service" in again.client.get(f"/train/{number}", headers=HTML).text
    while again.client.post(f"/v1/trainings/{number}/start").status_code != 204 or (
        "works on this run" in ended(again, number)["why"]  # the one that was orphaned ends, too
    ):
        time.sleep(0.2)
    assert ended(again, number)["outcome"] == "done"
    assert again.client.post(f"/v1/trainings/{number}/register").status_code == 201
    again.stop()


HTML = {"accept": "text/html"}


def test_what_cannot_be_trained_on_is_told_in_one_line_without_a_path(plant: Server):
    (source,) = (each for each in plant.get("/v1/trainings")["sources"] if each["title"] == "brackets")
    for name in ("0" * 32, "../brackets", "/etc"):
        answer = plant.client.post("/v1/trainings", json={"source": name})
        assert answer.status_code in (404, 422), name
    for path in (
        "/train/x",
        "/train/../../etc",
        f"/train/{'0' * 8}-0000-0000-0000-{'0' * 12}/pictures/..%2Forder.json",
    ):
        assert plant.client.get(path, headers=HTML).status_code in (404, 422)
    assert len(source["name"]) == 32
    same = plant.get("/v1/models")["models"][0]["sha256"]
    problem(plant.client.post("/v1/comparisons", json={"one": same, "other": same}), 422, "same")
    problem(plant.client.post("/v1/comparisons", json={"one": same, "other": "0" * 64}), 404, "missing")


def test_a_root_that_is_gone_is_left_out_and_logged_and_back_when_it_is_there(tmp_path: Path, first: Path):
    roots = tmp_path / "share"
    write_parts(roots / "brackets")
    server = serving(tmp_path, roots, first)
    number = begun(server, "brackets")
    assert ended(server, number)["outcome"] == "done"
    (roots / "brackets").rename(roots / "away")
    assert server.client.post(f"/v1/trainings/{number}/start").status_code == 204
    failed = ended(server, number)
    assert failed["outcome"] == "failed" and failed["why"].startswith("the data: ") and str(roots) not in failed["why"]
    (roots / "away").rename(roots / "brackets")
    roots.rename(tmp_path / "unmounted")
    for _ in range(2):
        assert [each["title"] for each in server.get("/v1/trainings")["sources"]] == ["What people judged here"]
    assert server.client.get("/train", headers=HTML).status_code == 200
    assert server.client.post("/v1/trainings", json={"source": "verdicts"}).status_code == 201
    (tmp_path / "unmounted").rename(roots)
    assert "brackets" in [each["title"] for each in server.get("/v1/trainings")["sources"]]
    server.stop()
    assert sum("cannot be listed (No such file or directory)" in line for line in server.said) == 1


def test_a_training_that_fails_says_why_and_can_be_tried_again(tmp_path: Path, roots: Path, first: Path):
    server = serving(tmp_path, roots, first)
    judge(server, toy(True, 1), "bad")
    for part in ("4711", "4712"):
        judge(server, toy(True, 2), "bad", part)
    number = begun(server, "What people judged here")
    failed = ended(server, number)
    assert failed["outcome"] == "failed" and "2 judged: 1 bad, 1 sent as two parts; needed are" in failed["why"]
    assert str(tmp_path) not in failed["why"]
    for seed in range(6):
        judge(server, toy(False, seed), "good")
    assert server.client.post(f"/v1/trainings/{number}/start").status_code == 204
    assert ended(server, number)["outcome"] == "done"
    told = server.client.get(f"/train/{number}", headers=HTML).text
    assert "8 judged: 6 good, 1 bad, 1 sent as two parts." in told and "<dt>left out</dt><dd>1</dd>" in told
    server.stop()


@pytest.mark.parametrize(
    ("ends", "why"), [("kill -9 $$", "killed, as the system does where memory is short"), ("exit 3", "status 3")]
)
def test_a_process_that_dies_is_told_and_ran_at_the_lowest_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str, why: str
):
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!/bin/sh\nread secret\nsleep 0.2\nnice > "$4/nice"\n{ends}\n')
    stand_in.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(stand_in))
    tasks = Tasks(tmp_path / "tasks", {"store": "postgresql://secret"})
    number = tasks.add("comparison", "compare", "Ada", {"title": "two"})
    with pytest.raises(Problem, match="a comparison is at work"):
        tasks.add("comparison", "compare", "Ada", {"title": "others"})
    while (task := tasks.find(number, "comparison")).outcome == "running":
        time.sleep(0.05)
    assert task.outcome == "failed" and why in task.why
    assert (task.folder / "nice").read_text().strip() == "19"
    assert not any(b"secret" in path.read_bytes() for path in task.folder.iterdir())
    tasks.remove(number)
    assert tasks.all("comparison") == []


def test_two_models_of_one_name_are_told_apart(plant: Server, tmp_path: Path):
    (one,) = (each for each in plant.get("/v1/models")["models"] if each["name"] == "first")
    limits = ThresholdRecord.of(Thresholds(bad_from=9.0, good_below=-1.0, rule="best_f1", chosen_on="nothing"))
    write_model_file(tmp_path / "again.weakspot", made_model(name="first", thresholds=limits))
    content, kind = (tmp_path / "again.weakspot").read_bytes(), {"content-type": "application/octet-stream"}
    other = plant.client.post("/v1/models", content=content, headers=kind).json()["sha256"]
    asked = {"one": one["sha256"], "other": other}
    number = plant.client.post("/v1/comparisons", json=asked).json()["id"]
    title = f"first {one['sha256'][:6]} and first {other[:6]}"
    assert ended(plant, number, "comparisons")["title"] == title
    assert title in plant.client.get("/models", headers=HTML).text
    assert told_apart([("a", "1" * 64), ("b", "2" * 64)]) == ["a", "b"]


def test_what_a_run_planned_anew_and_what_was_not_granted_is_told(tmp_path: Path):
    task = Task(id="x", folder=tmp_path, kind="training", order={}, step="look", outcome="done", why="")
    (tmp_path / "settings.toml").write_text("minutes = 2.0\nsize = [64, 96]\n")
    (tmp_path / "looked.json").write_text('{"plan": "64 × 96 pixels: about 35 min", "minutes": 35.0}')
    (tmp_path / "run").mkdir()
    assert watched(task).planned == "64 × 96 pixels: about 35 min"
    assert watched(task).remark == (
        "You asked for 2 min, and it takes longer: the settings name the size of the pictures."
    )
    Run(tmp_path / "run").record(plan={"size": [48, 72], "minutes": 10.2})
    assert watched(task).planned == "48 × 72 pixels: about 10 min, planned anew by its first steps"


def test_a_comparison_says_of_its_intervals_and_of_chance_what_is_so():
    sure = [Pair(id=str(n), part=str(n), label=1, decisions=("bad", "good"), raw_scores=(2.0, -2.0)) for n in range(35)]
    side: Any = None
    found = Comparison(sides=(side, side), pairs=tuple(sure), left_out=0, contradicted=0, counted="part", unknown=())
    told = " ".join(found.sentences)
    assert "in less than 0.1 % of cases" in told
    assert between(Proportion(k=0, n=35).interval) == "0 to 11 %" and "they only show escapes below 11 %" in told


def test_a_watched_history_is_parsed_once_and_anew_where_it_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    history = tmp_path / "run" / "history.jsonl"
    history.parent.mkdir()
    task = Task(id="x", folder=tmp_path, kind="training", order={}, step="train", outcome="done", why="")
    (tmp_path / "settings.toml").touch()
    lines = [json.dumps({"training": "fold 1", "note": "begins"})]
    for stage in ("search", "decide"):
        said = {"training": "fold 1", "stage": stage, "of": 100}
        lines += [json.dumps(said | {"step": step, "running_loss": 1 / (step + 1)}) for step in range(50)]
    parsed: list[object] = []
    loads = json.loads
    monkeypatch.setattr("weakspot.service.pages.tasks.json.loads", lambda text: parsed.append(text) or loads(text))

    def seen() -> tuple[str, int, int]:
        curve = watched(task).curve
        assert curve is not None
        return curve.stage, curve.step, len(curve.points.split())

    history.write_text("\n".join(lines[:81]) + "\n" + lines[81][:20])
    assert (seen(), len(parsed)) == (("decide", 29, 31), 81)
    history.write_text("\n".join(lines) + "\n")
    parsed.clear()
    assert (seen(), len(parsed)) == (("decide", 49, 51), 20)
    assert seen() and len(parsed) == 20 and watched(task).notes == ("begins",)
    history.write_text("\n".join(lines[:60]) + "\n")
    assert seen() == ("decide", 8, 10)
    history.unlink()
    assert watched(task).curve is None


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_task_whose_end_no_disk_takes_is_told_and_at_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancelled: bool
):
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\nread secret\nuntil [ -e $4/go ]; do sleep 0.05; done\nexit 3\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(stand_in))
    tasks = Tasks(tmp_path / "tasks", {})
    number = tasks.add("comparison", "compare", "Ada", {"title": "two"})
    folder = tmp_path / "tasks" / number
    with monkeypatch.context() as full:
        full.setattr("weakspot.service.tasks.write_durably", no_room)
        if cancelled:
            tasks.cancel(number, "Ada")
        else:
            (folder / "go").touch()
        deadline = time.monotonic() + 10
        while (task := tasks.find(number, "comparison")).outcome == "running" and time.monotonic() < deadline:
            time.sleep(0.05)
    assert (task.outcome, task.why.split(";")[0]) == (
        ("cancelled", "cancelled by Ada") if cancelled else ("failed", "its process ended unexpectedly (status 3)")
    )
    (folder / "go").touch()
    tasks.begin(number, "comparison", "compare")
    tasks.close()


def no_room(path: Path, *_: object) -> None:
    raise OutputError(f"{path}: cannot be written: the disk is full; free some space or choose another place")


def test_a_process_of_a_task_that_can_say_nothing_ends_in_one_line(tmp_path: Path):
    (tmp_path / "order.json").write_text('{"folder": "/nowhere"}')
    (tmp_path / "settings.toml").write_text("")
    (tmp_path / "ended.json").mkdir()
    (tmp_path / "ended.json" / "in the way").touch()
    command = [sys.executable, "-m", "weakspot.service.worker", "look", tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdin.write(f'{{"data": "{tmp_path}", "store": null}}\n')
        process.stdin.flush()  # and left open, as the service does
        assert process.wait() == 1
        said = process.stderr.read()
    assert "Traceback" not in said and "ended.json" in said


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_pages_of_trainings_and_comparisons_are_accessible_and_fit(
    plant: Server, open_page: Open, violations: Open, scheme: str, width: int
):
    number = begun(plant, "brackets")
    ended(plant, number)
    tasks = [f"/train/{each['id']}" for each in plant.get("/v1/trainings")["trainings"]]
    tasks += [f"/models/compare/{each['id']}" for each in plant.get("/v1/comparisons")]
    for path in ("/train", "/models", *tasks):
        page = open_page(
            plant.address + path, viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
        )
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
