"""The web application: routes, what every request passes first, and how errors are answered."""

from collections.abc import Collection
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from weakspot.service.answers import answer_errors
from weakspot.service.asked import refuse_unknown_of_anybody
from weakspot.service.bodies import ProblemOut
from weakspot.service.guard import Guard
from weakspot.service.parts import Parts
from weakspot.service.routes import (
    accounts,
    comparisons,
    health,
    inspections,
    limits,
    models,
    pages,
    task_pages,
    trainings,
)

ABOUT = "Send a picture, get a decision; look at what was answered, and say what is so. Answered means on disk."


def make_app(parts: Parts, hosts: Collection[str]) -> FastAPI:
    """The application around the parts of a service. hosts: names by which clients may call it."""
    app = FastAPI(
        title="weakspot",
        version=version("weakspot"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a picture that is sent on is lost to clients that do not follow
        dependencies=[Depends(refuse_unknown_of_anybody)],
    )
    app.state.parts, app.state.metrics = parts, parts.metrics
    modules = (inspections, models, limits, comparisons, trainings, accounts, health, pages, task_pages)
    for module in modules:
        app.include_router(module.router)
    answer_errors(app, [route for module in modules for route in module.router.routes if isinstance(route, APIRoute)])
    app.add_middleware(Guard, hosts=hosts)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, with the one shape of a problem in place of the framework's own."""
    if app.openapi_schema is None:
        described = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
        schemas = described["components"]["schemas"]
        schemas["ProblemOut"] = ProblemOut.model_json_schema()
        for each in ("HTTPValidationError", "ValidationError"):
            schemas.pop(each, None)
        app.openapi_schema = described
    return app.openapi_schema
