"""What one TOML file asks for: which runs, by which name, with which settings, on which split. Runs nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from weakspot.data.audit import Audit
from weakspot.data.splits import Split, group_folds, kolektor_folds, with_positives
from weakspot.errors import SettingsError, shown
from weakspot.settings import Range, Seed, Settings, Size, TrainSettings, read_settings

NAMED = re.compile(r"\w+", re.ASCII)  # a variant's name stands between hyphens in names of files
SAID_BY = {"recipe": "recipes", "split_seed": "seeds", "draw_seed": "seeds", "seed": "seeds or weights_seeds"}
SCALES: dict[str, Size] = {"quarter": (352, 128), "half": (704, 256), "full": (1408, 512)}  # height, width in pixels
Scale = Literal["quarter", "half", "full"]
Splits = Literal["official", "clean", "groups", "hold_out"]
PrintedFigure = Literal[
    "average_precision", "pooled_average_precision", "false_negatives", "false_positives",
    "false_positives_at_full_recall",
]  # fmt: skip
FigureName = Literal["alpha", "bars", "lines", "heat_through_training", "heat_side_by_side"]


@dataclass(frozen=True, kw_only=True)
class Variant(Settings):
    """One way of training that is compared with others: what it sets beside the settings of all."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Printed(Settings):
    """What a publication prints of one row; ours of the same recipe, variant and number of bad pictures beside it."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    where: str  # table or figure, and page
    name: str = ""  # of what nobody here can run, such as a commercial product
    recipe: str = ""
    variant: str = ""
    # where what is printed is the mean over several variants and numbers of bad pictures
    variants: tuple[str, ...] = ()
    positives: int | None = None
    values: dict[PrintedFigure, float]


@dataclass(frozen=True, kw_only=True)
class Experiment(Settings):
    """What one file asks for: every combination of recipe, variant, number of bad pictures, seed and fold is a run."""

    data: str  # folder, relative to the file, or the word elpv
    layout: str = "auto"
    source: str = ""  # where to get the data, and their licence
    claim: str = ""  # what is to be seen
    expected: str = ""  # the figures that are printed, or that earlier runs let one expect
    minutes_a_run: Annotated[float, Range(0, 10**6, 4)] = (
        0.0  # about, on one core, at quarter size where there is a scale
    )
    figure: FigureName | None = None  # in whose form the records are drawn
    iterations: tuple[int, ...] = ()  # of the first stage, whose heat such a figure shows
    scale: Scale | None = None  # size of KolektorSDD's pictures; None: as the settings say
    splits: Splits = "hold_out"
    parts: Annotated[int, Range(2, 100, 3)] = 3  # of the split "groups", of which each tests once
    folds: tuple[Annotated[int, Range(0, 99, 0)], ...] = (0,)  # of the published ones, or of those parts
    seeds: tuple[Seed, ...] = (0,)  # each draws who is tested, which bad pictures train, and the weights
    split_seed: Seed | None = None  # where given, it draws who is tested, and `seeds` all else
    draw_seed: Seed | None = None  # where given, it draws which bad pictures train, and `seeds` all else
    weights_seeds: tuple[Seed, ...] = ()  # where given, these draw the weights, and `seeds` all else
    recipes: tuple[str, ...] = ("sharp",)
    variants: tuple[Variant, ...] = ()
    positives: tuple[Annotated[int, Range(0, 10**9, 10)], ...] = ()  # bad pictures to train on; none: as in settings
    printed: tuple[Printed, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One run of an experiment; `name` is that of its record."""

    name: str
    recipe: str
    variant: Variant | None
    positives: int | None  # None: as the experiment's settings say
    seed: int  # who is tested, and which bad pictures train
    weights_seed: int
    fold: int


def read_experiment(table: Path, scale: Scale | None = None) -> Experiment:
    """The file as an Experiment, at a scale of its own or at this one. Raises SettingsError naming the key."""
    experiment = read_settings(Experiment, table)
    if scale is not None and experiment.scale is None:
        found = f"has no scale: its pictures have the size that its settings say, and not --scale {scale}"
        raise SettingsError(f"{shown(table)}: {found}; leave --scale out")
    return checked(replace(experiment, scale=scale or experiment.scale), shown(table))


def checked(experiment: Experiment, where: str) -> Experiment:
    """The experiment, whose keys agree with each other. Raises SettingsError naming the key, and where it stands."""
    _refuse_overruled(experiment, where)
    for key in ("recipes", "positives", "seeds", "weights_seeds", "folds"):
        _refuse_no_axis(where, key, getattr(experiment, key), may_be_empty=key in ("positives", "weights_seeds"))
    _refuse_no_axis(where, "variants", tuple(each.name for each in experiment.variants), may_be_empty=True)
    if experiment.splits == "hold_out" and experiment.folds != (0,):
        found = f"folds = {list(experiment.folds)}, but a hold-out has none"
        raise SettingsError(f'{where}: {found}; leave folds out, or give splits = "official", "clean" or "groups"')
    most = experiment.parts if experiment.splits == "groups" else 3
    if max(experiment.folds) >= most:
        found = f"folds = {list(experiment.folds)}; needed is a number from 0 to {most - 1}"
        raise SettingsError(f"{where}: {found}, for there are {most}")
    _refuse_unlike_names(experiment, where)
    for number, printed in enumerate(experiment.printed, start=1):
        _refuse_printed_of_nothing(experiment, printed, f"{where}: printed value {number} ({shown(printed.where)})")
    return experiment


def _refuse_overruled(experiment: Experiment, where: str) -> None:
    """Raise SettingsError where a setting, of all or of a variant, would not be heeded."""
    overruled = SAID_BY | ({"positives": "positives"} if experiment.positives else {})
    overruled |= {"size": "scale"} if experiment.scale else {}
    given = {"settings": experiment.settings}
    given |= {f"variant {shown(each.name)}: settings": each.settings for each in experiment.variants}
    for place, settings in given.items():
        for key, by in overruled.items():
            if key in settings:
                raise SettingsError(f"{where}: {place}.{key} would be overruled by {by}; say it there alone")


def _refuse_unlike_names(experiment: Experiment, where: str) -> None:
    """Raise SettingsError for a variant whose name could not stand in names of runs, which are files' too."""
    for variant in experiment.variants:
        if not NAMED.fullmatch(variant.name):
            needed = "letters, digits and _ alone, for it stands in names of files"
            raise SettingsError(f"{where}: a variant is named {shown(variant.name)}; needed are {needed}")


def _refuse_printed_of_nothing(experiment: Experiment, printed: Printed, where: str) -> None:
    """Raise SettingsError where no run could ever stand beside a printed value that names what was run."""
    ours = tuple(each.name for each in experiment.variants)
    named: list[tuple[str, object, tuple[object, ...]]]
    if printed.variants:
        named = [("variants", name, ours) for name in printed.variants]
    elif printed.name:
        return
    else:
        named = [("recipe", printed.recipe, experiment.recipes), ("variant", printed.variant, ours or ("",))]
        named += [
            ("positives", printed.positives, experiment.positives or (None, experiment.settings.get("positives")))
        ]
    for key, value, known in named:
        if value not in known:
            has = ", ".join(str(each) for each in known if each not in (None, "")) or "none"
            way_out = "correct it, or give a name alone to what is not run here"
            raise SettingsError(f"{where}: {key} = {value!r} is none of this experiment's ({has}); {way_out}")


def _refuse_no_axis(where: str, key: str, values: tuple[Any, ...], may_be_empty: bool) -> None:
    """Raise SettingsError where a list would make no run, or two of one name."""
    if not values and not may_be_empty:
        raise SettingsError(f"{where}: {key} is empty, so there is no run; name one, or leave it out")
    for value in values:
        if values.count(value) > 1:
            raise SettingsError(f"{where}: {key} names {value} twice; name each once")


def combinations(experiment: Experiment) -> Iterator[Combination]:
    """The runs, in order."""
    axes = experiment.recipes, experiment.variants or (None,), experiment.positives or (None,), experiment.seeds
    for recipe, variant, positives, seed, weights_seed, fold in product(
        *axes, experiment.weights_seeds or (None,), experiment.folds
    ):
        parts = (
            recipe,
            "" if variant is None else variant.name,
            experiment.scale or "",
            experiment.splits,
            "" if experiment.splits == "hold_out" else f"fold{fold}",
            "" if positives is None else f"bad{positives}",
            f"seed{seed}",
            "" if weights_seed is None else f"weights{weights_seed}",
        )
        yield Combination(
            name="-".join(filter(None, parts)),
            recipe=recipe,
            variant=variant,
            positives=positives,
            seed=seed,
            weights_seed=seed if weights_seed is None else weights_seed,
            fold=fold,
        )


def settings_of(experiment: Experiment, run: Combination, threads: int | None = None) -> TrainSettings:
    """The settings of one run. threads: instead of those that the experiment's settings give."""
    given = {
        "recipe": run.recipe,
        "positives": run.positives,
        "threads": threads,
        "size": SCALES[experiment.scale] if experiment.scale else None,
        "split_seed": run.seed if experiment.split_seed is None else experiment.split_seed,
        "draw_seed": run.seed if experiment.draw_seed is None else experiment.draw_seed,
        "seed": run.weights_seed,
    }
    overruling = {key: value for key, value in given.items() if value is not None}
    varied = run.variant.settings if run.variant else {}
    return read_settings(TrainSettings, **merged(experiment.settings, varied) | overruling)


def merged(one: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Nested settings, those of the second in front."""
    both = {**one, **over}
    inner = {key: merged(one[key], over[key]) for key in one.keys() & over.keys() if isinstance(over[key], dict)}
    return both | inner


def split_of(experiment: Experiment, audit: Audit, settings: TrainSettings, fold: int) -> Split | None:
    """The published list, of which `clean` drops the twins by name, or a fold by groups.

    None where the settings say who trains.
    """
    if experiment.splits == "hold_out":
        return None
    if experiment.splits == "groups":
        folds = group_folds(audit, experiment.parts, settings.split_seed)
    else:
        folds = kolektor_folds(audit, experiment.splits)
    return with_positives(folds[fold], settings.positives, settings.draw_seed)
