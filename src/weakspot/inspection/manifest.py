"""What a model file says of itself: how to read pictures, when to decide what, where it comes from, and its hashes."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator

from weakspot.inspection.inspection import Thresholds, now
from weakspot.settings import Fit, ReadSettings, Size

FORMAT_VERSION = 1
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


MOST_LETTERS = 100  # of a name


def safe_name(text: str) -> str:
    """A valid name for a model file as near to any text as may be: 'a/b' → 'a_b', '..' → 'detector'."""
    plain = "".join(letter if letter.isprintable() and letter not in "/\\" else "_" for letter in text)
    return re.sub(r"^[. ]+", "", plain)[:MOST_LETTERS].strip() or "detector"


def _plain_name(name: str) -> str:
    """Names stand in tables, pages and topics, and must never lead to a folder."""
    if not name.isprintable() or name != name.strip() or name.startswith(".") or "/" in name or "\\" in name:
        raise ValueError("a name has printable characters, no / or \\, and begins with no dot or space")
    return name


def _utc_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time is RFC 3339 with its zone, such as 2026-01-31T12:00:00Z")
    return text


Name = Annotated[str, Field(min_length=1, max_length=MOST_LETTERS), AfterValidator(_plain_name)]
Time = Annotated[str, AfterValidator(_utc_time)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class ThresholdChange(_Record):
    """Thresholds that were replaced: when, why, and what they had been."""

    time: Time
    reason: str
    bad_from: float
    good_below: float
    region_from: float
    rule: str
    chosen_on: str


class ThresholdRecord(_Record):
    """The thresholds in force, in raw scores, and every change since training."""

    bad_from: float
    good_below: float
    rule: str
    chosen_on: str
    region_from: float = 0.5  # heat in [0, 1]
    changes: list[ThresholdChange] = []

    @classmethod
    def of(cls, thresholds: Thresholds) -> Self:
        """A fresh record, without changes."""
        return cls(**vars(thresholds))

    def in_force(self) -> Thresholds:
        """What decides now. Raises SettingsError when good_below lies above bad_from."""
        return Thresholds(**self.model_dump(exclude={"changes"}))

    def changed_to(self, thresholds: Thresholds, reason: str) -> Self:
        """The new thresholds, the earlier ones appended to the changes."""
        change = ThresholdChange(time=now(), reason=reason, **vars(self.in_force()))
        return type(self)(**vars(thresholds), changes=[*self.changes, change])


class ScoreStatistics(_Record):
    """Out-of-fold raw scores of one class of training pictures."""

    n: int = Field(ge=1)
    mean: float
    std: float = Field(ge=0)
    min: float
    max: float


class ImageSizes(_Record):
    """The smallest and the largest height and width among the training pictures, each by itself, in pixels."""

    min: tuple[PositiveInt, PositiveInt]
    max: tuple[PositiveInt, PositiveInt]


class Usual(_Record):
    """What the good training pictures look like; made and read by `drift`.

    layout: their mean as a small picture, row by row; figures: by name the values, from the smallest to the largest.
    """

    layout: list[float]
    figures: dict[str, Annotated[list[float], Field(min_length=1)]]


class Ignored(_Record):
    """The mask of what was ignored in training, white there; the cells themselves are among the weights."""

    name: str  # of its file
    sha256: Sha256  # of its file
    height: PositiveInt
    width: PositiveInt
    share: float = Field(gt=0, lt=1)  # of the cells


class SelfTest(_Record):
    """What the detector answered to selftest.png when the file was made.

    tolerance: allowed difference, relative where a score exceeds 1.
    """

    raw_score: float
    heat_score: float
    tolerance: float = Field(gt=0, default=1e-4)


class Manifest(_Record):
    """manifest.json. `tensors` and `members` are filled in when the file is written."""

    format_version: Literal[1] = 1
    name: Name
    labels: dict[int, str] = {0: "good", 1: "bad"}
    thresholds: ThresholdRecord
    score_statistics: dict[str, ScoreStatistics] = {}  # "good", "bad"
    held_out_scores: dict[str, list[float]] = {}  # raw, of training pictures out of fold, likewise: thresholds can move
    size: Size  # height, width in pixels at which the detector looks
    fit: Fit = "stretch"  # how pictures of other proportions come to it
    channels: int  # 1 grey, 3 colour
    bit_depth: int  # 8 or 16
    image_sizes: ImageSizes
    # smallest standard deviation of a training picture at `size`, in raw values of `bit_depth`
    image_std_min: float = Field(ge=0)
    # lowest and highest mean of a training picture, by channel, likewise; refusals.channel_levels makes them
    channel_levels: list[tuple[float, float]] | None = None
    usual: Usual | None = None  # None: never measured, or of too few pictures
    ignored: Ignored | None = None  # None: the whole picture is looked at
    read: ReadSettings = ReadSettings()
    settings: dict[str, Any] = {}
    network: dict[str, Any] = {}
    data_fingerprint: str = ""
    training_files: list[Sha256] = []  # SHA-256 of the training pictures' files
    seed: int = 0
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    commit: str = ""
    created: Time = Field(default_factory=now)
    selftest: SelfTest
    parity: dict[str, Any] = {}
    # raw score from a threshold within which bf16 is not trusted; None: never measured, so bf16 is not taken by itself
    bf16_margin: float | None = Field(gt=0, default=None)
    warnings: list[str] = []
    tensors: dict[str, tuple[int, ...]] = {}
    members: dict[str, Sha256] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self.thresholds.in_force()
        smallest, largest = self.image_sizes.min, self.image_sizes.max
        if any(low > high for low, high in zip(smallest, largest)):
            raise ValueError("the smallest image size is not above the largest")
        if self.channels not in (1, 3) or self.bit_depth not in (8, 16):
            raise ValueError("channels are 1 or 3, bit_depth is 8 or 16")
        levels = self.channel_levels
        if levels is not None and (len(levels) != self.channels or any(low > high for low, high in levels)):
            raise ValueError("channel_levels are the lowest and the highest mean of each channel")
        named = self.score_statistics.keys() | self.held_out_scores.keys()
        if self.labels != {0: "good", 1: "bad"} or not named <= set(self.labels.values()):
            raise ValueError("labels are 0 good and 1 bad")
        return self

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return self.model_dump(mode="json")
