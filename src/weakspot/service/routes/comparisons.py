"""Two models on the judged pictures that neither was trained on: begun here, computed in a process of its own."""

from fastapi import APIRouter

from weakspot.service import comparing
from weakspot.service.bodies import problems
from weakspot.service.parts import MayAdmin, MayReview, Service
from weakspot.service.routes.trainings import TaskId, told
from weakspot.service.task_bodies import Begun, ComparisonIn, ComparisonOut, TaskOut

router = APIRouter(prefix="/v1/comparisons", tags=["models"])


@router.get("", responses=problems(401, 403))
def listed(parts: Service, _: MayReview) -> list[TaskOut]:
    """Every comparison, the newest first."""
    return [*map(told, parts.tasks.all("comparison"))]


@router.post("", status_code=201, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 507))
def begin(asked: ComparisonIn, parts: Service, who: MayAdmin) -> Begun:
    """Compare two models at the thresholds in force; the line goes on being judged."""
    return Begun(id=comparing.begin(parts, asked.one, asked.other, who.name))


@router.get("/{comparison}", responses=problems(401, 403, 404, 422))
def one(comparison: TaskId, parts: Service, _: MayReview) -> ComparisonOut:
    """How far a comparison is, and what came of it."""
    task = parts.tasks.find(comparison, "comparison")
    return ComparisonOut(**dict(told(task)), result=comparing.result_of(task))


@router.post("/{comparison}/cancel", status_code=204, responses=problems(401, 403, 404, 413, 422))
def cancel(comparison: TaskId, parts: Service, who: MayAdmin) -> None:
    """Stop a comparison that is at work."""
    parts.tasks.find(comparison, "comparison")
    parts.tasks.cancel(comparison, who.name)


@router.delete("/{comparison}", status_code=204, responses=problems(401, 403, 404, 409, 413, 422))
def forget(comparison: TaskId, parts: Service, _: MayAdmin) -> None:
    """Remove a comparison and all that it left."""
    parts.tasks.find(comparison, "comparison")
    parts.tasks.remove(comparison)
