"""The plant's limits, which the page Today holds its rates against."""

from fastapi import APIRouter

from weakspot.service import records
from weakspot.service.bodies import LimitsIn, LimitsOut, problems
from weakspot.service.parts import MayAdmin, MayReview, Service

router = APIRouter(prefix="/v1/limits", tags=["models"])


@router.get("", responses=problems(401, 403))
def listed(parts: Service, _: MayReview) -> list[LimitsOut]:
    """Every pair of limits, the newest first; the first is in force."""
    rows = parts.store.read(records.all_limits)
    names = LimitsOut.model_fields
    return [LimitsOut(**{name: getattr(row, name) for name in names}) for row in rows]


@router.post("", status_code=204, responses=problems(400, 401, 403, 413, 415, 422, 503, 507))
def add(wanted: LimitsIn, parts: Service, who: MayAdmin) -> None:
    """Set both limits from now on; the earlier ones stay in the list."""
    said = wanted.model_dump()
    parts.store.write(lambda c: records.add_limits(c, by=who.name, **said))
