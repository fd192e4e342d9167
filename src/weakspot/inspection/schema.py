"""The published form of a result, as JSON Schema: what docs/inspection.schema.json is made from, and what tests hold
every result against."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

Score = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Time = Annotated[str, Field(description="RFC 3339, UTC", pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ReadImage(_Plain):
    """Which picture."""

    path: str | None = Field(description="as given; null where no file was; bytes that are no UTF-8 stand as \\udcXX")
    sha256: Sha256 = Field(description="of the file's bytes, or of the pixels where an array was given")
    width: Pixels = Field(description="pixels, as read")
    height: Pixels


class UnreadImage(_Plain):
    """Which picture, as far as is known."""

    path: str | None
    sha256: Sha256 | None
    width: Pixels | None
    height: Pixels | None


class Model(_Plain):
    """Which detector answered."""

    name: str
    sha256: Sha256 = Field(description="of the whole model file")


class RegionFound(_Plain):
    """Touching hot cells."""

    x: Pixels = Field(description="left edge of the bounding box, pixels of the original picture")
    y: Pixels = Field(description="upper edge")
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    cells: Annotated[int, Field(ge=1)] = Field(description="cells of the heat map")
    score: Score = Field(description="heat of its hottest cell")


class HeatMapFiles(_Plain):
    """Where maps were written."""

    path: str | None = Field(
        description="16-bit grey PNG, 65535 is heat 1; relative to the table's folder; null where none was written"
    )
    overlay: str | None = Field(
        description="the picture with its heat; relative to the table's folder; null where none was written"
    )


class Milliseconds(_Plain):
    """How long it took; reading overlaps with the picture before."""

    read: Annotated[float, Field(ge=0)]
    infer: Annotated[float, Field(ge=0)]
    total: Annotated[float, Field(ge=0)]


class Inspected(_Plain):
    """A picture that was judged."""

    schema_version: Literal[1]
    id: str
    image: ReadImage
    model: Model
    decision: Literal["good", "review", "bad"]
    defect_score: Score = Field(description="sigmoid of raw_score; for showing, not for ranking")
    raw_score: float = Field(description="logit; the higher, the worse")
    bad_from: float = Field(description="raw score at or above which the decision is bad")
    good_below: float = Field(description="raw score below which the decision is good; between the two: review")
    regions: list[RegionFound] = Field(description="the hottest first")
    heat_map: HeatMapFiles
    milliseconds: Milliseconds
    warnings: list[str]
    time: Time


class NotInspected(_Plain):
    """A picture that could not be read or must not be judged. It is not good."""

    schema_version: Literal[1]
    id: str
    image: UnreadImage
    model: Model
    decision: Literal["not inspected"]
    reason: str = Field(min_length=1)
    time: Time


class Result(RootModel[Annotated[Inspected | NotInspected, Field(discriminator="decision")]]):
    """What weakspot says of one picture: one line of inspections.jsonl."""


def json_schema() -> dict[str, Any]:
    """The published schema, draft 2020-12."""
    schema = Result.model_json_schema()
    del schema["discriminator"]  # OpenAPI's; JSON Schema does not know it
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
