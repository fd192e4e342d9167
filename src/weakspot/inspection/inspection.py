"""What is said of one picture: the decision, the scores behind it, and where the defects lie.

One type for the network, its rivals, reports, tables and services. Holds no pixels of the picture and reads no files.
docs/results.md explains the fields, docs/inspection.schema.json fixes their names.
"""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from weakspot.errors import ImageError, SettingsError
from weakspot.settings import CELL, Size

SCHEMA_VERSION = 1
Decision = Literal["good", "review", "bad"]
HeatMap = NDArray[np.float32]  # (h, w) cells in [0, 1]
MOST_SCORE = 1e9  # of a threshold, far beyond any raw score: as a place on a scale it must still be a number


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Raw scores (logits) at which the decision changes, and which rule chose them on which pictures."""

    bad_from: float  # at or above: bad
    good_below: float  # below: good; between the two: review
    rule: str
    chosen_on: str
    region_from: float = 0.5  # heat in [0, 1] from which a cell belongs to a region

    def __post_init__(self) -> None:
        if not -MOST_SCORE <= self.good_below <= self.bad_from <= MOST_SCORE:  # also where either is no number
            raise SettingsError(
                f"good_below = {self.good_below}, bad_from = {self.bad_from}; "
                f"needed are finite raw scores up to ±{MOST_SCORE:g}, good_below <= bad_from"
            )
        if not 0 < self.region_from <= 1:
            raise SettingsError(f"region_from = {self.region_from}; needed is a heat above 0 and up to 1, such as 0.5")


@dataclass(frozen=True)
class Region:
    """Touching hot cells: their bounding box in the original picture's pixels, their number, and the hottest's heat."""

    x: int
    y: int
    width: int
    height: int
    cells: int
    score: float


@dataclass(frozen=True)
class ImageInfo:
    """Which picture. sha256: of the file's bytes, or of an array's pixels; sizes in pixels, as read."""

    path: str | None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class ModelInfo:
    """Which detector answered. sha256: of the whole model file."""

    name: str
    sha256: str


def new_id() -> str:
    """A name for one inspection; the same picture inspected again gets another."""
    return str(uuid4())


def now() -> str:
    """The time of day, RFC 3339 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The answer for one picture. Ranking uses raw_score: defect_score, its sigmoid, ties at 1.0."""

    image: ImageInfo
    model: ModelInfo
    decision: Decision
    defect_score: float  # in [0, 1]
    raw_score: float  # logit, never clamped
    heat_score: float  # logit; the heat map's own score, by its hottest cells
    bad_from: float  # raw score
    good_below: float  # raw score
    heat_map: HeatMap = field(compare=False, repr=False)
    seen: Size | None = field(default=None, compare=False, repr=False)  # what the heat map lies over, as `find_regions`
    regions: tuple[Region, ...] = ()  # the hottest first
    milliseconds: dict[str, float] = field(default_factory=dict)  # read, infer, total
    warnings: tuple[str, ...] = ()
    ignore_mask_sha256: str | None = None  # of the mask that was given to this inspection
    id: str = field(default_factory=new_id)
    time: str = field(default_factory=now)

    def score_text(self, digits: int) -> str:
        """The defect score for people; the raw score beside a threshold, where that would round to the same number."""
        shown = f"{self.defect_score:.{digits}f}"
        if shown not in [f"{sigmoid(limit):.{digits}f}" for limit in (self.bad_from, self.good_below)]:
            return shown
        if self.decision == "good":
            return f"raw {self.raw_score:.6g} < {self.good_below:.6g}"
        return f"raw {self.raw_score:.6g} {'>=' if self.decision == 'bad' else '<'} {self.bad_from:.6g}"

    def as_dict(self, heat_map_path: str | None = None, overlay_path: str | None = None) -> dict[str, Any]:
        """The published form (docs/inspection.schema.json): plain values, no NaN. The paths are where maps were put."""
        return {
            "schema_version": SCHEMA_VERSION,
            "id": self.id,
            "image": _image_dict(self.image),
            "model": vars(self.model).copy(),
            "decision": self.decision,
            "defect_score": self.defect_score,
            "raw_score": self.raw_score,
            "bad_from": self.bad_from,
            "good_below": self.good_below,
            "regions": [vars(region).copy() for region in self.regions],
            "heat_map": {"path": heat_map_path, "overlay": overlay_path},
            "milliseconds": {key: round(value, 3) for key, value in self.milliseconds.items()},
            "warnings": [_unicode(warning) for warning in self.warnings],
            "ignore_mask_sha256": self.ignore_mask_sha256,
            "time": self.time,
        }


@dataclass(frozen=True)
class NotInspected:
    """A picture that could not be read or must not be judged, and why. Its decision is none of the three."""

    image: ImageInfo
    model: ModelInfo
    reason: str
    _: KW_ONLY
    id: str = field(default_factory=new_id)
    time: str = field(default_factory=now)
    decision: Literal["not inspected"] = field(default="not inspected", init=False)

    def as_dict(self) -> dict[str, Any]:
        """The published form: the same keys as an Inspection's where there is something to say, and the reason."""
        return {
            "schema_version": SCHEMA_VERSION,
            "id": self.id,
            "image": _image_dict(self.image),
            "model": vars(self.model).copy(),
            "decision": self.decision,
            "reason": _unicode(self.reason),
            "time": self.time,
        }


def decide(raw_score: float, thresholds: Thresholds) -> Decision:
    """At or above bad_from bad, below good_below good, between them review. Raises ImageError for what is no number."""
    if not math.isfinite(raw_score):
        raise ImageError(
            f"the raw score is {raw_score}, no number to decide by: not judged; "
            "check the model file with `weakspot verify`"
        )
    if raw_score >= thresholds.bad_from:
        return "bad"
    return "good" if raw_score < thresholds.good_below else "review"


def sigmoid(raw_score: float) -> float:
    """The logit as a share in [0, 1], without overflow."""
    if raw_score >= 0:
        return 1 / (1 + math.exp(-raw_score))
    return math.exp(raw_score) / (1 + math.exp(raw_score))


def find_regions(
    heat_map: HeatMap, image_height: int, image_width: int, region_from: float, seen: Size | None = None
) -> tuple[Region, ...]:
    """Touching cells (diagonals too) of heat >= region_from, as boxes on the picture, the hottest first.

    heat_map: (h, w) in [0, 1]; image_height, image_width: pixels of the original picture; seen: height and width at
    which the detector saw it, where its last cells may be cut; None for whole cells.
    """
    hot = heat_map >= region_from
    if not hot.any():
        return ()
    # here, since it takes longer to import than a picture without a hot cell to inspect
    from scipy.ndimage import find_objects, label

    labels, _ = label(hot, structure=np.ones((3, 3), dtype=int))
    height, width = seen or (CELL * heat_map.shape[0], CELL * heat_map.shape[1])
    across, down = _cell_edges(image_width, width), _cell_edges(image_height, height)
    regions = []
    for number, (rows, columns) in enumerate(find_objects(labels), start=1):
        mine = labels[rows, columns] == number
        (x, x_end), (y, y_end) = across(columns), down(rows)
        regions.append(Region(x, y, x_end - x, y_end - y, int(mine.sum()), float(heat_map[rows, columns][mine].max())))
    return tuple(sorted(regions, key=lambda region: (-region.score, region.y, region.x)))


def _cell_edges(pixels: int, side: int) -> Callable[[slice], tuple[int, int]]:
    """From a slice of cells to the first pixel it touches and the one after the last.

    side: of the picture as the detector saw it.
    """
    return lambda part: (part.start * CELL * pixels // side, -(-min(part.stop * CELL, side) * pixels // side))


def _image_dict(image: ImageInfo) -> dict[str, Any]:
    return vars(image) | {"path": None if image.path is None else _unicode(image.path)}


def _unicode(text: str) -> str:
    """Bytes of a file name that are no UTF-8 as escapes such as \\udcff: strict JSON has no place for them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


ROW = tuple(
    "id time image_path decision reason defect_score raw_score bad_from good_below regions "
    "region_x region_y region_width region_height region_cells region_score heat_map_path heat_map_overlay warnings "
    "image_sha256 image_width image_height model_name model_sha256 "
    "milliseconds_read milliseconds_infer milliseconds_total schema_version ignore_mask_sha256".split()
)


def flat_row(published: dict[str, Any]) -> dict[str, Any]:
    """A published dictionary as one row of a table, in the order of ROW; None where it says nothing.

    Nested keys are joined by _; regions are counted, and the hottest is spelled out.
    """
    flat: dict[str, Any] = dict.fromkeys(ROW)
    for key, value in published.items():
        if isinstance(value, dict):
            flat |= {f"{key}_{inner}": entry for inner, entry in value.items()}
        elif key == "warnings":
            flat[key] = "; ".join(value)
        elif key == "regions":
            flat |= {f"region_{inner}": entry for inner, entry in value[0].items()} if value else {}
            flat[key] = len(value)
        else:
            flat[key] = value
    return flat
