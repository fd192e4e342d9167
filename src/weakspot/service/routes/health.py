"""Whether it lives and is ready, its figures, and what the Open Inference Protocol asks of a server."""

from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from weakspot.service.bodies import problems
from weakspot.service.health_bodies import Checks, Live, ModelMetadata, Ready, ServerMetadata, TensorMetadata
from weakspot.service.parts import MayInspect, Parts, Service
from weakspot.service.problems import Problem, missing

router = APIRouter(tags=["health"])
ModelName = Annotated[str, Path(min_length=1, max_length=200)]
_not_ready: dict[int | str, dict[str, Any]] = {503: {"description": "not ready", "model": Checks}}

_figures: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@router.get("/livez")
async def livez() -> Live:
    """It answers."""
    return Live()


@router.get("/readyz", responses=_not_ready)
async def readyz(response: Response, parts: Service) -> Checks:
    """Whether pictures can be sent: store, disk, model and queue, each with what is wrong."""
    checks = parts.health.checks()
    ready = all(found == "ok" for found in checks.values())
    response.status_code = 200 if ready else 503
    return Checks(ready=ready, checks=checks)


@router.get("/metrics", response_class=Response, responses={**_figures, **problems(401, 403)})
def metrics(parts: Service, _: MayInspect) -> Response:
    """Figures for Prometheus."""
    parts.metrics.model.clear()
    with suppress(Problem):  # without a model the other figures are still there
        active = parts.detectors.active.info
        parts.metrics.model.labels(active.name, active.sha256).set(1)
    return Response(parts.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v2", tags=["open inference protocol"])
def server_metadata() -> ServerMetadata:
    """What this server is."""
    return ServerMetadata(name="weakspot", version=version("weakspot"), extensions=[])


@router.get("/v2/health/live", tags=["open inference protocol"])
async def live() -> Live:
    """It answers."""
    return Live()


@router.get("/v2/health/ready", tags=["open inference protocol"], responses={503: {"model": Ready}})
async def ready(response: Response, parts: Service) -> Ready:
    """Whether pictures can be sent."""
    well = all(found == "ok" for found in parts.health.checks().values())
    response.status_code = 200 if well else 503
    return Ready(ready=well, live=True)


@router.get("/v2/models/{name}", tags=["open inference protocol"], responses=problems(401, 403, 404, 503))
def model_metadata(name: ModelName, parts: Service, _: MayInspect) -> ModelMetadata:
    """What the active model takes and gives; pictures themselves go to /v1/inspections."""
    _refuse_other(name, parts)
    model = parts.detectors.active.model
    seen, kind = model.manifest, f"UINT{model.manifest.bit_depth}"
    picture = TensorMetadata(name="image", datatype=kind, shape=[-1, seen.channels, *seen.size])
    scores = [TensorMetadata(name=each, datatype="FP32", shape=[-1]) for each in ("raw_score", "pred_score")]
    heat = TensorMetadata(name="anomaly_map", datatype="FP32", shape=[-1, 1, *(side // 8 for side in seen.size)])
    return ModelMetadata(
        name=name, versions=[model.sha256], platform="weakspot", inputs=[picture], outputs=[*scores, heat]
    )


@router.get("/v2/models/{name}/ready", tags=["open inference protocol"], responses=problems(401, 403, 404, 503))
def model_ready(name: ModelName, parts: Service, _: MayInspect) -> Ready:
    """Whether that model is the active one."""
    _refuse_other(name, parts)
    return Ready(ready=True, live=True)


def _refuse_other(name: str, parts: Parts) -> None:
    if name != parts.detectors.active.info.name:
        raise missing("active model")
