"""Trainings: on what, begin, go on, cancel, forget, and make the model known. None ever switches itself on."""

from typing import Annotated

from fastapi import APIRouter, Path

from weakspot.errors import shown
from weakspot.service.bodies import Registered, problems
from weakspot.service.parts import MayAdmin, Service
from weakspot.service.task_bodies import Begun, SourceOut, TaskOut, TrainingIn, Trainings
from weakspot.service.tasks import Task

router = APIRouter(prefix="/v1/trainings", tags=["trainings"])
TaskId = Annotated[str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description="its `id`")]


@router.get("", responses=problems(401, 403))
def listed(parts: Service, _: MayAdmin) -> Trainings:
    """What may be trained on, and every training, the newest first."""
    sources = [SourceOut(name=each.name, title=each.title) for each in parts.trainings.sources()]
    return Trainings(sources=sources, trainings=[*map(told, parts.tasks.all("training"))])


@router.post("", status_code=201, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 507))
def begin(asked: TrainingIn, parts: Service, who: MayAdmin) -> Begun:
    """Look at what would be trained on: what is wrong with it, and how long it would take. Nothing is trained yet."""
    return Begun(id=parts.trainings.add(asked.source, asked.minutes, who.name))


@router.get("/{training}", responses=problems(401, 403, 404, 422))
def one(training: TaskId, parts: Service, _: MayAdmin) -> TaskOut:
    """How far a training is."""
    return told(parts.tasks.find(training, "training"))


@router.post("/{training}/start", status_code=204, responses=problems(401, 403, 404, 409, 413, 422, 507))
def go_on(training: TaskId, parts: Service, _: MayAdmin) -> None:
    """Train on what was looked at, or go on where it was stopped."""
    parts.trainings.go_on(training)


@router.post("/{training}/cancel", status_code=204, responses=problems(401, 403, 404, 413, 422))
def cancel(training: TaskId, parts: Service, who: MayAdmin) -> None:
    """Stop a training that is at work; it can be gone on with."""
    parts.tasks.find(training, "training")
    parts.tasks.cancel(training, who.name)


@router.delete("/{training}", status_code=204, responses=problems(401, 403, 404, 409, 413, 422))
def forget(training: TaskId, parts: Service, _: MayAdmin) -> None:
    """Remove a training and all that it left; a model that was made known stays."""
    parts.tasks.find(training, "training")
    parts.tasks.remove(training)


@router.post("/{training}/register", status_code=201, responses=problems(401, 403, 404, 409, 413, 422, 503, 507))
def register(training: TaskId, parts: Service, who: MayAdmin) -> Registered:
    """Make the model of a finished training known. It answers nothing before it is made active."""
    return Registered(sha256=parts.trainings.register(training, parts.detectors, who.name))


def told(task: Task) -> TaskOut:
    """A task as it is answered."""
    about = {"id": task.id, "title": task.order["title"], "time": task.order["time"], "by": task.order["by"]}
    why = "\n".join(map(shown, task.why.splitlines()))
    return TaskOut(**about, step=task.step, outcome=task.outcome, why=why)
