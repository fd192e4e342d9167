"""Settings: every number has its range, checked however it comes in, and the page of settings says the same."""

import math
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from weakspot.errors import SettingsError
from weakspot.settings import (
    NetworkSettings,
    Range,
    ReadSettings,
    Size,
    ThresholdSettings,
    TrainSettings,
    as_plain,
    parse_size,
    read_settings,
)

KINDS = (TrainSettings, ReadSettings, ThresholdSettings, NetworkSettings)


def parts_of(annotation: Any) -> list[Any]:
    """An annotation and all that it is made of."""
    if get_origin(annotation) is Literal:
        return [annotation]
    inside = (*get_args(annotation), *getattr(annotation, "__metadata__", ()))
    return [annotation, *(part for each in inside for part in parts_of(each))]


def ranges_of(annotation: Any) -> list[Range]:
    return [part for part in parts_of(annotation) if isinstance(part, Range)]


def numbers() -> list[tuple[type, str, Range]]:
    """Every field that takes one number, and its range."""
    return [
        (kind, each.name, ranges_of(each.type)[0])
        for kind in KINDS
        for each in fields(kind)
        if ranges_of(each.type) and tuple not in map(get_origin, parts_of(each.type))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_has_its_range(kind: type) -> None:
    for each in fields(kind):
        if any(part in (int, float) for part in parts_of(each.type)):
            assert ranges_of(each.type), each.name


@pytest.mark.parametrize(("kind", "key", "allowed"), numbers())
def test_a_number_outside_its_range_is_refused_with_the_range(kind: Any, key: str, allowed: Range) -> None:
    beyond = [allowed.least - 1, allowed.most + max(1, 1e-3 * allowed.most), math.nan, math.inf, -math.inf]
    for value in [*beyond, True, str(allowed.such_as), [allowed.such_as]]:
        with pytest.raises(SettingsError, match=f"^{key} = .*; needed is a number from .*, such as ") as refused:
            kind(**{key: value})
        assert repr(value) in str(refused.value)
        assert str(allowed) in str(refused.value)
        assert "\n" not in str(refused.value)
    for value in (allowed.least, allowed.most, allowed.such_as):
        kind(**{key: value})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_false_alarm_rate = 5", "max_false_alarm_rate = 5; needed is a number from 0 to 1, such as 0.01"),
        ("margin = -0.5", "threshold.margin = -0.5; needed is a number from 0 to 1,000, such as 0.5"),
        ("margin = nan", "threshold.margin = nan; needed is a number from 0"),
        ("margin = true", "threshold.margin = True; needed is a number from 0"),
        ("margin = '0.5'", "threshold.margin = '0.5'; needed is a number from 0"),
        ("cost_escape = -1", "threshold.cost_escape = -1; needed is a number from 0"),
        ("cost_false_alarm = inf", "threshold.cost_false_alarm = inf; needed is a number from 0"),
        ("review = 'gpa'", "threshold.review = 'gpa'; input should be 'gap' or 'none'"),
        ("margni = 1", "threshold: unknown key 'margni'; did you mean 'margin'?"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_stands_in_a_file_is_checked_as_well(tmp_path: Path, text: str, said: str, end: str, mark: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(f"{mark}[threshold]{end}{text}{end}".encode())
    with pytest.raises(SettingsError, match=re.escape(said)):
        read_settings(TrainSettings, path)


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes("\ufeffsize = [704, 256]\r\ntop_fractions = [0.01]\r\n[threshold]\r\nmargin = 1\r\n".encode())
    chosen = read_settings(TrainSettings, path, seed=3)
    assert (chosen.size, chosen.top_fractions, chosen.seed, chosen.threshold.margin) == ((704, 256), (0.01,), 3, 1.0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": (63, 64)}, "size = [63, 64]; needed is a number from 64 to"),
        ({"size": (10_000, 10_000)}, "size 10000x10000: 100 megapixels are more than any training can hold"),
        ({"size": (64, 64, 64)}, "size = [64, 64, 64]"),
        ({"size": ("64", 64)}, "size = ['64', 64]; needed is a number from"),
        ({"size": (64.5, 64)}, "size = [64.5, 64]; needed is a number from"),
        ({"top_fractions": (0.0,)}, "top_fractions = [0.0]; needed is a number from"),
        ({"top_fractions": 0.1}, "top_fractions = 0.1"),
        ({"folds": 2.5}, "folds = 2.5; needed is a number from"),
        ({"recipe": "best"}, "recipe = 'best'"),
        ({"threshold": 3}, "threshold = 3"),
        ({"split": "mine"}, "split = 'mine'"),
    ],
)
def test_what_is_made_in_python_is_checked_as_well(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        TrainSettings(**values)


@pytest.mark.parametrize("fractions", [(), [], (0.1, True)])
def test_shares_of_the_cells_are_shares_and_at_least_one(fractions: Any) -> None:
    with pytest.raises(SettingsError, match="top_fractions = "):
        NetworkSettings(top_fractions=fractions)


def test_numbers_of_numpy_and_lists_become_plain() -> None:
    chosen = TrainSettings(seed=np.int64(3), minutes=np.float32(2), top_fractions=[0.5])  # type: ignore[arg-type]
    assert (type(chosen.seed), type(chosen.minutes), chosen.top_fractions) == (int, float, (0.5,))
    assert read_settings(TrainSettings, **as_plain(chosen)) == chosen


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((10_000, 10_000), "100 megapixels are more than any training can hold; up to 64 are taken"),
        ((8, 64), "8 pixels"),
    ],
)
def test_a_size_that_cannot_be_is_said_alike_on_the_command_line(size: Any, said: str) -> None:
    text = f"{size[0]}x{size[1]}"
    with pytest.raises(SettingsError, match=f"^size {text}: {said}"):
        parse_size(text)


def test_a_size_that_cannot_be_is_said_alike_in_python() -> None:
    with pytest.raises(SettingsError, match="^size 10000x10000: 100 megapixels") as refused:
        TrainSettings(size=(10_000, 10_000))
    assert str(refused.value).endswith("; up to 64 are taken")


def test_to_pydantic_a_size_that_cannot_be_is_a_value_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="100 megapixels"):
        TypeAdapter(Size).validate_python((10_000, 10_000))


def allowed_in_words(annotation: Any) -> str:
    """The column 'allowed' of the page."""
    words = [part for part in parts_of(annotation) if get_origin(part) is Literal]
    if words:
        return ", ".join(f"`{word}`" for word in get_args(words[0]))
    return "a path" if str in parts_of(annotation) else str(ranges_of(annotation)[0])


def rows_of(kind: Any, prefix: str = "") -> dict[str, str]:
    found = {}
    for each in fields(kind):
        if each.default_factory is not MISSING and is_dataclass(each.default_factory):
            found |= rows_of(each.default_factory, f"{each.name}.")
        else:
            found[prefix + each.name] = allowed_in_words(each.type)
    return found


def test_the_page_of_settings_has_every_setting_with_what_is_allowed() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)
    assert dict(rows) == rows_of(TrainSettings)


def test_a_key_in_the_wrong_place_is_answered_with_its_section() -> None:
    with pytest.raises(SettingsError, match=r"unknown key 'bit_depth'; did you mean '\[read\] bit_depth'"):
        read_settings(TrainSettings, bit_depth=12)
