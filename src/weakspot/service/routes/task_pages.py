"""Addresses of the pages that make and compare models, and of the pictures and reports that trainings left."""

from base64 import b64encode
from hashlib import sha256
from typing import Any

from fastapi import APIRouter, Request, Response

from weakspot.evaluation.rendering import read_template
from weakspot.jobs.compare import MOST_HEATS, told_apart
from weakspot.service import comparing, records
from weakspot.service.pages.rendering import page
from weakspot.service.pages.seen import seen
from weakspot.service.pages.tasks import how_far, in_words, pictures_of, watched
from weakspot.service.parts import MayAdmin, MayReview, Service
from weakspot.service.problems import missing
from weakspot.service.routes.inspections import lasting
from weakspot.service.routes.trainings import TaskId, told
from weakspot.service.tasks import Task
from weakspot.service.training import is_finished, run_of

router = APIRouter(include_in_schema=False)
_SCRIPT = b64encode(sha256(read_template("report.js").encode()).digest()).decode()
REPORT_POLICY = (  # the report's own: nothing but what is in it, and no script but ours
    f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{_SCRIPT}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


@router.get("/train")
def train(request: Request, parts: Service, who: MayAdmin) -> Response:
    """On what to train, and every training."""
    sources = parts.trainings.sources()
    found = [(told(task), in_words(task)) for task in parts.tasks.all("training")]
    minutes = parts.trainings.settings.minutes
    return page(request, "train.html.j2", who, sources=sources, found=found, minutes=minutes)


@router.get("/train/{training}")
def training(request: Request, training: TaskId, parts: Service, who: MayAdmin) -> Response:
    """One training: what was found, how far it is, what it left."""
    task = parts.tasks.find(training, "training")
    known = {row.sha256 for row in parts.store.read(records.all_models)}
    model = sha256(run_of(task).model.read_bytes()).hexdigest() if is_finished(task) else ""
    values: dict[str, Any] = {
        "one": watched(task),
        "about": told(task),
        "is_known": model in known,
        "finished": is_finished(task),
    }
    return page(request, "training.html.j2", who, **values)


@router.get("/train/{training}/report.html")
def report(training: TaskId, parts: Service, _: MayAdmin) -> Response:
    """The report of a finished training, under its own policy."""
    path = run_of(parts.tasks.find(training, "training")).report
    if not path.is_file():
        raise missing("report")
    return Response(path.read_bytes(), media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/train/{training}/pictures/{name}")
def picture(training: TaskId, name: str, parts: Service, _: MayAdmin) -> Response:
    """What is odd about the data, defects as they are drawn, heat maps as they became."""
    return _picture(parts.tasks.find(training, "training"), name)


@router.get("/models/compare/{comparison}")
def comparison(request: Request, comparison: TaskId, parts: Service, who: MayReview) -> Response:
    """Two models on the same judged pictures, and where they differ."""
    task = parts.tasks.find(comparison, "comparison")
    result = comparing.result_of(task)
    heats = pictures_of(task)
    differing = []
    with_heat = result["differing"][:MOST_HEATS] if result else []
    rows = parts.store.read(lambda c: records.find_all(c, [each["id"] for each in with_heat]))
    for number, each in enumerate(with_heat):
        sides = [f"heat-{number}-{side}.png" for side in "ab"]
        if each["id"] in rows and any(name in heats for name in sides):
            differing.append((seen(rows[each["id"]]), each, [name if name in heats else "" for name in sides]))
    values: dict[str, Any] = {"about": told(task), "words": in_words(task), "done": how_far(task), "result": result}
    values["names"] = told_apart([(each["name"], each["sha256"]) for each in result["models"]]) if result else []
    return page(request, "comparison.html.j2", who, **values, differing=differing)


@router.get("/models/compare/{comparison}/pictures/{name}")
def heat(comparison: TaskId, name: str, parts: Service, _: MayReview) -> Response:
    """The heat of one of the two where they differ."""
    return _picture(parts.tasks.find(comparison, "comparison"), name)


def _picture(task: Task, name: str) -> Response:
    path = pictures_of(task).get(name)
    if path is None:
        raise missing("picture")
    return lasting(path.read_bytes())
