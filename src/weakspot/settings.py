"""Every number one may change, with its unit, range and source. Command line, Python and TOML fill the same
dataclasses; nothing here computes."""

import math
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from weakspot.errors import SettingsError

CELL = 8  # pixels a side: a cell of the heat map
SMALLEST = 64  # pixels a side: a smaller picture has too few cells
LARGEST = 64_000_000  # pixels of a picture at the size of the training: what memory can hold
RecipeName = Literal[
    "sharp", "paper", "synthetic_only", "patchcore", "mil_lse", "resnet18_cam", "bozic2021",
    "segdec_masks", "unet_masks", "deeplab_masks",
]  # fmt: skip
Fit = Literal["stretch", "keep"]
RuleName = Literal["limits", "best_f1", "no_escapes", "false_alarms", "cost"]
S = TypeVar("S")


@dataclass(frozen=True)
class Range:
    """The numbers that a setting takes, ends included, and one that serves; it stands in the field's annotation."""

    least: float
    most: float
    such_as: float
    odd: bool = False

    def __str__(self) -> str:
        return f"{self.least:,} to {self.most:,}" + ", odd" * self.odd

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._checked, handler(source))

    def _checked(self, value: Any, as_number: Callable[[Any], float]) -> float:
        try:
            number = math.nan if isinstance(value, bool | str | bytes) else as_number(value)
        except ValidationError:  # a fraction where a whole number is needed, a list, …
            number = math.nan
        if not self.least <= number <= self.most or (self.odd and number % 2 == 0):  # NaN is never between
            raise ValueError(f"needed is a number from {self}, such as {self.such_as}")
        return number


class _SizeError(SettingsError, ValueError):
    """To pydantic a value that cannot be; the user gets its own words."""


def checked_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size, (height, width), where a detector can look at it; else SettingsError."""
    height, width = size
    if min(size) < SMALLEST:
        few = f"{min(size)} pixels are too few for a heat map; both sides need at least {SMALLEST}"
        raise _SizeError(f"size {height}x{width}: {few}")
    if height * width > LARGEST:
        many = f"{height * width / 1e6:,.0f} megapixels are more than any training can hold"
        raise _SizeError(f"size {height}x{width}: {many}; up to {LARGEST / 1e6:,.0f} are taken")
    return size


_Pixels = Annotated[int, Range(SMALLEST, LARGEST // SMALLEST, 256)]
Size = Annotated[tuple[_Pixels, _Pixels], AfterValidator(checked_size)]  # height, width in pixels
Shares = Annotated[tuple[Annotated[float, Range(1e-6, 1, 0.01)], ...], Field(min_length=1)]  # of the cells
Kernel = Annotated[int, Range(3, 15, 15, odd=True)]  # cells
Seed = Annotated[int, Range(0, 2**31 - 1, 0)]


class Settings:
    """What all settings share: each field is checked against its annotation, however the object is made."""

    def __post_init__(self) -> None:
        """Raises SettingsError naming the key, what was found, and what is needed."""
        for each in fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, each.name, _checked(each.name, each.type, getattr(self, each.name)))


@dataclass(frozen=True, kw_only=True)
class ReadSettings(Settings):
    """How files become arrays. Kept in the model file, so that inspection reads as training did."""

    orientation: Literal["ignore", "apply"] = "ignore"  # EXIF orientation; a fixed camera writes none, a phone does
    channels: Literal["auto", "grey", "colour"] = "auto"  # auto: grey when every picture's channels are equal
    # bits of a camera in a 16-bit file (10, 12, 14); None: all that the file declares
    bit_depth: Annotated[int, Range(9, 16, 12)] | None = None
    max_megapixels: Annotated[float, Range(0.001, 1000, 64)] = 64.0  # a larger picture is refused before it is decoded


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(Settings):
    """The network's open points (Xu et al. 2020, tables 1 to 3), and a body of ours that sees less around a cell."""

    channels: Annotated[int, Range(1, 3, 1, odd=True)] = 1  # 1 grey, 3 colour
    # by the mean and deviation of all training pictures, or by each picture's own
    normalization: Literal["training", "picture"] = "training"
    # narrow: a cell sees 64 × 64 pixels and not 228 × 228; after it those of rivals
    body: Literal["printed", "narrow", "segdec", "unet", "deeplab", "resnet18"] = "printed"
    third_kernel: Kernel = 15  # of the printed body: 15 as printed, 7 needs less than half the arithmetic
    attention: Literal["residual", "mask_only"] = "residual"  # residual: heat × features + features
    decision_pooling: Literal["mean", "lse"] = "mean"
    # replace: the decision network gives the raw score; heat: it is the heat's own, and nothing else decides
    decision: Literal["replace", "heat"] = "replace"
    # the hottest cells' mean logits, averaged over these shares, are the heat's score
    top_fractions: Shares = (0.01,)
    weights_from: str | None = None  # file of the shared layers' first weights; None: random ones


@dataclass(frozen=True, kw_only=True)
class ThresholdSettings(Settings):
    """Which rule turns out-of-fold scores into the decision good / review / bad."""

    rule: RuleName = "limits"
    margin: Annotated[float, Range(0, 1000, 0.5)] = 0.5  # no_escapes: how far below the lowest bad score, in logits
    # limits, false_alarms: share of good pictures that may be called bad
    max_false_alarm_rate: Annotated[float, Range(0, 1, 0.01)] = 0.01
    max_escape_rate: Annotated[float, Range(0, 1, 0.05)] = 0.05  # limits: share of bad pictures that may be called good
    cost_escape: Annotated[float, Range(0, 10**9, 100)] = 100.0  # cost: of a bad part called good, in false alarms
    cost_false_alarm: Annotated[float, Range(0, 10**9, 1)] = 1.0
    review: Literal["gap", "none"] = "gap"  # gap: what the rule leaves open goes to a person; none: one threshold


@dataclass(frozen=True, kw_only=True)
class PaperSettings(Settings):
    """What the figures of Xu et al. 2020 vary; of the recipe `paper` alone. The defaults are as printed."""

    # weight of the good pictures in the loss of the heat (eq. 5): at first, and fixed while all is fine-tuned
    alpha: Annotated[float, Range(0.001, 1000, 8)] = 8.0
    # in stage one; cosine: down to half of it and back (eq. 6)
    alpha_course: Literal["cosine", "fixed"] = "cosine"
    # whether the shared layers and the localization network stand still while the decision network learns (stage two)
    freeze: Literal["on", "off"] = "on"
    # quarters: each pair is turned by 0, 90, 180 or 270 degrees, drawn anew each time
    rotation: Literal["off", "quarters"] = "off"
    # off: stage one is left out, and no other stage has its loss, so that the heat is what the decision makes of it
    localization: Literal["on", "off"] = "on"


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
    """One training, whole: what `weakspot train` reads from flags and TOML and keeps beside the run."""

    recipe: RecipeName = "sharp"
    size: Size | None = None  # None: the pictures' own, reduced until training fits `minutes`
    minutes: Annotated[float, Range(1e-6, 10**7, 30)] = 30.0  # of training on this machine, where `size` is not given
    # how pictures of other proportions come to that size: pressed into it, or as they are, with mirrored borders; None:
    # the recipe's
    fit: Fit | None = None
    positives: Annotated[int, Range(0, 10**9, 10)] | None = None  # bad pictures to train on; 0: none; None: all
    ignore: str | None = None  # mask, white where nothing is to be inspected; None: the whole picture is
    masks: Literal["ignore", "use"] = "ignore"  # of bad training pictures: use teaches them cell by cell
    split: Literal["given", "own"] = "given"  # own: drawn here even where the data say what trains and what tests
    hold_out: Annotated[float, Range(0, 0.9, 0.25)] = 0.25  # share of the groups kept for the report's test; 0: none
    split_seed: Seed = 0  # who is tested, and the folds
    draw_seed: Seed = 0  # which bad pictures train, where `positives` is given
    seed: Seed = 0  # the weights, and the order of the pictures
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where it was measured to be faster here
    memory: Literal["fast", "small"] = "fast"  # small: less memory for more time; the same numbers but for rounding
    # None: as many as cores; another number gives other bits
    threads: Annotated[int, Range(1, 1024, 2)] | None = None
    # all stages' iterations times this; below 0.2 nothing useful is learned
    schedule: Annotated[float, Range(0.001, 1000, 1)] = 1.0
    folds: Annotated[int, Range(0, 100, 3)] = 3  # trainings on parts of the training pictures, for the thresholds
    fold_schedule: Annotated[float, Range(0.001, 1000, 0.5)] | None = None  # their iterations times this
    # None: the recipe's; sharp: "picture" where light differs between pictures
    normalization: Literal["training", "picture"] | None = None
    third_kernel: Kernel | None = None  # None: the recipe's; the narrow body has none
    top_fractions: Shares | None = None  # that a defect may cover; None: the recipe's
    weights_from: str | None = None  # safetensors file of ResNet-18, for `resnet18_cam`; None: random weights
    # pairs of a bad and a good picture in one step; None: the recipe's
    pairs: Annotated[int, Range(1, 1024, 1)] | None = None
    # together: a pair is one batch and one update; one_by_one: an update after each picture; None: the recipe's
    pairing: Literal["together", "one_by_one"] | None = None
    # a training that did not learn; keep: with a warning, since an experiment records failures too
    unlearned: Literal["refuse", "keep"] = "refuse"
    read: ReadSettings = field(default_factory=ReadSettings)
    paper: PaperSettings = field(default_factory=PaperSettings)
    threshold: ThresholdSettings = field(default_factory=ThresholdSettings)


def read_settings(kind: type[S], path: Path | None = None, **overrides: Any) -> S:
    """Settings of dataclass `kind` from a TOML file, with the overrides that are not None on top.

    Raises SettingsError naming the key, what was found and what is needed; for an unknown key also the nearest one.
    """
    values = {} if path is None else _read_toml(path)
    _merge(values, {key: value for key, value in overrides.items() if value is not None})
    where = str(path) if path else "settings"
    _refuse_unknown_keys(kind, values, where)
    for each in fields(kind):  # type: ignore[arg-type]
        if each.default is MISSING and each.default_factory is MISSING and each.name not in values:
            raise SettingsError(f"{where}: holds no {each.name}, which is needed")
    return kind(**values)


def parse_size(text: str) -> tuple[int, int]:
    """'704x256' (height x width, pixels) → (704, 256)."""
    height, x, width = text.lower().replace("×", "x").partition("x")
    if not (x and height.strip().isdigit() and width.strip().isdigit()):
        raise SettingsError(f"size {text!r}; needed is HEIGHTxWIDTH in pixels, such as 704x256")
    return checked_size((int(height), int(width)))


def as_plain(settings: Any) -> dict[str, Any]:
    """A settings dataclass as nested dictionaries of plain values, for JSON and TOML."""
    return asdict(settings)


def to_toml(settings: Any) -> bytes:
    """The same as TOML, which `read_settings` reads; what is None is left out, for TOML has no word for nothing."""
    import tomli_w  # here, since inspection never writes settings

    return tomli_w.dumps(_without_none(as_plain(settings))).encode()


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    nested = {key: _without_none(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in nested.items() if value is not None}


@lru_cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _checked(key: str, annotation: Any, value: Any) -> Any:
    try:
        return _adapter(annotation).validate_python(value)
    except SettingsError as error:  # of settings within settings
        raise SettingsError(f"{key}.{error}" if isinstance(value, dict) else str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        if isinstance(own := first.get("ctx", {}).get("error"), SettingsError):
            raise own from None
        inner = [str(part) for part in first["loc"] if isinstance(value, dict)]
        given = first["input"] if inner else value
        message = first["msg"].removeprefix("Value error, ")
        needed = message if message.startswith("needed") else f"{message[0].lower()}{message[1:]}"
        text = repr(list(given) if isinstance(given, tuple) else given)
        raise SettingsError(f"{'.'.join([key, *inner])} = {text}; {needed}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); give a TOML file in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None


def _merge(values: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


def _refuse_unknown_keys(kind: type, values: dict[str, Any], where: str) -> None:
    known = {each.name: each.type for each in fields(kind)}
    for key, value in values.items():
        if key not in known:
            sections = [name for name, inner in known.items() if is_dataclass(inner) and key in inner.__annotations__]
            near = [f"[{name}] {key}" for name in sections] or get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(known)}"
            raise SettingsError(f"{where}: unknown key {key!r}; {hint}")
        inner = known[key]
        if isinstance(inner, type) and is_dataclass(inner) and isinstance(value, dict):
            _refuse_unknown_keys(inner, value, where=f"{where}: {key}")
