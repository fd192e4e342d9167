"""What one TOML file asks for: which runs, by which name, with which settings, on which split. Runs nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from weakspot.data.audit import Audit
from weakspot.data.splits import Split, kolektor_folds, with_positives
from weakspot.errors import SettingsError, shown
from weakspot.settings import Range, RecipeName, Seed, Settings, TrainSettings, read_settings

SAID_BY = {"recipe": "recipes", "split_seed": "seeds", "draw_seed": "seeds", "seed": "seeds or weights_seeds"}


@dataclass(frozen=True, kw_only=True)
class Experiment(Settings):
    """What one file asks for: every combination of recipe, number of bad pictures, seed and fold is a run."""

    data: str  # folder, relative to the file, or the word elpv
    layout: str = "auto"
    splits: Literal["official", "clean", "hold_out"] = "hold_out"
    folds: tuple[Annotated[int, Range(0, 2, 0)], ...] = (0,)  # of the published ones
    seeds: tuple[Seed, ...] = (0,)  # each draws who is tested, which bad pictures train, and the weights
    weights_seeds: tuple[Seed, ...] = ()  # where given, these draw the weights, and `seeds` all else
    recipes: tuple[RecipeName, ...] = ("sharp",)
    positives: tuple[Annotated[int, Range(0, 10**9, 10)], ...] = ()  # bad pictures to train on; none: as in settings
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One run of an experiment; `name` is that of its record."""

    name: str
    recipe: RecipeName
    positives: int | None  # None: as the experiment's settings say
    seed: int  # who is tested, and which bad pictures train
    weights_seed: int
    fold: int


def read_experiment(table: Path) -> Experiment:
    """The file as an Experiment. Raises SettingsError naming the key."""
    experiment = read_settings(Experiment, table)
    for key, by in (SAID_BY | ({"positives": "positives"} if experiment.positives else {})).items():
        if key in experiment.settings:
            raise SettingsError(f"{shown(table)}: settings.{key} would be overruled by {by}; say it there alone")
    for key in ("recipes", "positives", "seeds", "weights_seeds", "folds"):
        _refuse_no_axis(table, key, getattr(experiment, key), may_be_empty=key in ("positives", "weights_seeds"))
    if experiment.splits == "hold_out" and experiment.folds != (0,):
        found = f"folds = {list(experiment.folds)}, but a hold-out has none"
        raise SettingsError(f'{shown(table)}: {found}; leave folds out, or give splits = "official" or "clean"')
    return experiment


def _refuse_no_axis(table: Path, key: str, values: tuple[Any, ...], may_be_empty: bool) -> None:
    """Raise SettingsError where a list would make no run, or two of one name."""
    if not values and not may_be_empty:
        raise SettingsError(f"{shown(table)}: {key} is empty, so there is no run; name one, or leave it out")
    for value in values:
        if values.count(value) > 1:
            raise SettingsError(f"{shown(table)}: {key} names {value} twice; name each once")


def combinations(experiment: Experiment) -> Iterator[Combination]:
    """The runs, in order."""
    axes = experiment.recipes, experiment.positives or (None,), experiment.seeds, experiment.weights_seeds or (None,)
    for recipe, positives, seed, weights_seed, fold in product(*axes, experiment.folds):
        parts = (
            recipe,
            experiment.splits,
            "" if experiment.splits == "hold_out" else f"fold{fold}",
            "" if positives is None else f"bad{positives}",
            f"seed{seed}",
            "" if weights_seed is None else f"weights{weights_seed}",
        )
        yield Combination(
            name="-".join(filter(None, parts)),
            recipe=recipe,
            positives=positives,
            seed=seed,
            weights_seed=seed if weights_seed is None else weights_seed,
            fold=fold,
        )


def settings_of(experiment: Experiment, run: Combination, threads: int | None = None) -> TrainSettings:
    """The settings of one run. threads: instead of those that the experiment's settings give."""
    seeds = {"split_seed": run.seed, "draw_seed": run.seed, "seed": run.weights_seed}
    given = {"recipe": run.recipe, "positives": run.positives, "threads": threads}
    overruling = {key: value for key, value in given.items() if value is not None}
    return read_settings(TrainSettings, **experiment.settings | seeds | overruling)


def split_of(experiment: Experiment, audit: Audit, settings: TrainSettings, fold: int) -> Split | None:
    """The published list, of which `clean` drops the twins by name; None where the settings say who trains."""
    if experiment.splits == "hold_out":
        return None
    return with_positives(kolektor_folds(audit, experiment.splits)[fold], settings.positives, settings.draw_seed)
