"""Every number one may change, with its unit and source. The command line, Python and TOML read the same dataclasses;
nothing here computes."""

import math
import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from weakspot.errors import SettingsError

Size = tuple[int, int]  # height, width in pixels
CELL = 8  # pixels a side: a cell of the heat map
SMALLEST = 64  # pixels a side: a smaller picture has too few cells
S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """How files become arrays. Kept in the model file, so that inspection reads as training did."""

    orientation: Literal["ignore", "apply"] = "ignore"  # EXIF orientation; a fixed camera writes none, a phone does
    channels: Literal["auto", "grey", "colour"] = "auto"  # auto: grey when every picture's channels are equal
    bit_depth: int | None = None  # bits of a camera in a 16-bit file (10, 12, 14); None: all that the file declares
    max_megapixels: float = 64.0  # a larger picture is refused before it is decoded

    def __post_init__(self) -> None:
        _within("bit_depth", self.bit_depth, 9, 16, "the camera's bits in a 16-bit file, such as 12")
        _within("max_megapixels", self.max_megapixels, 0.001, 1000, "such as 64")


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The network's open points (Xu et al. 2020, tables 1 to 3)."""

    channels: int = 1  # 1 grey, 3 colour
    normalization: Literal["training", "picture"] = (
        "training"  # by the mean and deviation of all training pictures, or by each picture's own
    )
    third_kernel: int = 15  # cells; 15 as printed, 7 needs less than half the arithmetic
    attention: Literal["residual", "mask_only"] = "residual"  # residual: heat × features + features
    decision_pooling: Literal["mean", "lse"] = "mean"
    decision: Literal["replace", "correct"] = (
        "replace"  # correct: the logit is the heat's score plus a bounded correction
    )
    dropout: float = 0.0  # share of the 257 pooled values set to zero in training
    top_fractions: tuple[float, ...] = (
        0.01,
    )  # shares of the cells: the hottest ones' mean logits, averaged, are the heat's score

    def __post_init__(self) -> None:
        if self.third_kernel % 2 == 0 or not 3 <= self.third_kernel <= 15:
            raise SettingsError(
                f"third_kernel = {self.third_kernel}; needed is an odd number from 3 to 15, such as 15 (as printed) or 7 (half the time)"
            )
        if not self.top_fractions or not all(0 < share <= 1 for share in self.top_fractions):
            raise SettingsError(
                f"top_fractions = {list(self.top_fractions)}; needed are shares of the cells above 0 and up to 1, such as [0.01, 0.1]"
            )


@dataclass(frozen=True, kw_only=True)
class ThresholdSettings:
    """Which rule turns out-of-fold scores into the decision good / review / bad."""

    rule: Literal["best_f1", "no_escapes", "false_alarms", "cost"] = "best_f1"
    margin: float = 0.5  # no_escapes: how far below the lowest bad score, in logits
    max_false_alarm_rate: float = 0.01  # false_alarms: share of good pictures that may be called bad
    cost_escape: float = 100.0  # cost: of a bad part called good, in false alarms
    cost_false_alarm: float = 1.0
    review: Literal["gap", "none"] = "gap"  # gap: scores between the two classes' ranges go to a person


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training, whole: what `weakspot train` reads from flags and TOML and keeps beside the run."""

    recipe: Literal["sharp", "paper"] = "sharp"
    size: Size | None = None  # height × width in pixels; None: the pictures' own, reduced until training fits `minutes`
    minutes: float = 30.0  # how long training may take on this machine, where `size` is not given
    positives: int | None = None  # bad pictures to train on; None: all
    hold_out: float = 0.25  # share of the groups kept for the report's test; 0: none
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where it was measured to be faster here
    memory: Literal["fast", "small"] = "fast"  # small: less memory for more time; the same numbers but for rounding
    threads: int | None = None  # None: as many as cores; another number gives other bits
    schedule: float = 1.0  # all stages' iterations times this; below 0.2 nothing useful is learned
    folds: int = 3  # trainings on parts of the training pictures, for the thresholds
    fold_schedule: float = 0.5  # their iterations times this
    normalization: Literal["training", "picture"] | None = (
        None  # None: the recipe's; sharp: "picture" where light differs between pictures
    )
    third_kernel: int | None = None  # None: the recipe's
    top_fractions: tuple[float, ...] | None = None  # shares of the cells that a defect may cover; None: the recipe's
    pairs: int | None = (
        None  # pairs of a bad and a good picture in one step; None: the recipe's, more where pictures are small
    )
    pairing: Literal["together", "one_by_one"] | None = None  # None: the recipe's
    masks: Literal["evaluate", "use"] = "evaluate"  # no training reads a mask
    unlearned: Literal["refuse", "keep"] = (
        "refuse"  # a training that did not learn; keep: with a warning, since an experiment records failures too
    )
    read: ReadSettings = field(default_factory=ReadSettings)
    threshold: ThresholdSettings = field(default_factory=ThresholdSettings)

    def __post_init__(self) -> None:
        if self.size is not None:
            checked_size(self.size)
        _within("minutes", self.minutes, 1e-6, 1e7, "such as 30")
        _within("positives", self.positives, 2, 10**9, "bad pictures, such as 10")
        _within("hold_out", self.hold_out, 0, 0.9, "a share of the parts, such as 0.25")
        _within("seed", self.seed, 0, 2**31 - 1, "such as 0")
        _within("threads", self.threads, 1, 1024, "such as 2")
        _within("schedule", self.schedule, 0.001, 1000, "such as 1")
        _within("folds", self.folds, 0, 100, "such as 3, or 0 for none")
        _within("fold_schedule", self.fold_schedule, 0.001, 1000, "such as 0.5")
        _within("pairs", self.pairs, 1, 1024, "such as 1")
        NetworkSettings(
            third_kernel=self.third_kernel or 15,
            top_fractions=(0.01,) if self.top_fractions is None else self.top_fractions,
        )


def read_settings(kind: type[S], path: Path | None = None, **overrides: Any) -> S:
    """Settings of dataclass `kind` from a TOML file, with the overrides that are not None on top.

    Raises SettingsError naming the key, what was found and what is allowed; an unknown key is answered with the nearest
    one.
    """
    values = {} if path is None else _read_toml(path)
    _merge(values, {key: value for key, value in overrides.items() if value is not None})
    refuse_unknown_keys(kind, values, where=str(path) if path else "settings")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def parse_size(text: str) -> Size:
    """'704x256' (height x width, pixels) → (704, 256)."""
    height, x, width = text.lower().replace("×", "x").partition("x")
    if not (x and height.strip().isdigit() and width.strip().isdigit()):
        raise SettingsError(f"size {text!r}; needed is HEIGHTxWIDTH in pixels, such as 704x256")
    return checked_size((int(height), int(width)))


def checked_size(size: Size) -> Size:
    """The size, (height, width), where a detector can look at it; else SettingsError."""
    if min(size) < SMALLEST:
        raise SettingsError(
            f"size {size[0]}x{size[1]}: {min(size)} pixels are too few for a heat map; both sides need at least {SMALLEST}"
        )
    if size[0] * size[1] > 64_000_000:
        raise SettingsError(
            f"size {size[0]}x{size[1]}: {size[0] * size[1] / 1e6:,.0f} megapixels are more than any training can hold; up to 64 are taken"
        )
    return size


def as_plain(settings: Any) -> dict[str, Any]:
    """A settings dataclass as nested dictionaries of plain values, for JSON and TOML."""
    return asdict(settings)


def _within(key: str, value: float | None, least: float, most: float, such_as: str) -> None:
    if value is not None and not (math.isfinite(value) and least <= value <= most):
        raise SettingsError(f"{key} = {value}; needed is a number from {least:,} to {most:,}, {such_as}")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); give a TOML file with --settings") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None


def _merge(values: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


def refuse_unknown_keys(kind: type, values: dict[str, Any], where: str) -> None:
    """Raise SettingsError for the first key, at any depth, that the dataclass does not have; the nearest one is
    named."""
    known = {f.name: f.type for f in fields(kind)}
    for key, value in values.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(known)}"
            raise SettingsError(f"{where}: unknown key {key!r}; {hint}")
        inner = known[key]
        if isinstance(inner, type) and is_dataclass(inner) and isinstance(value, dict):
            refuse_unknown_keys(inner, value, where=f"{where}: {key}")
