"""Every recipe by its name, and what the settings make of it."""

from dataclasses import replace
from typing import Literal

from weakspot.baselines.recipes import RIVALS
from weakspot.errors import SettingsError
from weakspot.network.detector import own_parts
from weakspot.settings import Fit, PaperSettings, TrainSettings
from weakspot.training.losses import CAN_IGNORE
from weakspot.training.stages import PAPER, SHARP, Recipe, as_the_paper_varies, fitted

LIGHT_DIFFERS = 0.25  # share of the pixels' variance between pictures, from which each is normalized by itself
RECIPES = {"sharp": SHARP, "paper": PAPER} | RIVALS


def recipe(settings: TrainSettings, channels: int, light_share: float = 0.0, schedule: float | None = None) -> Recipe:
    """The recipe that the settings name, with their overrides.

    channels: 1 grey, 3 colour; light_share: of the training pictures' variance, what lies between pictures; schedule:
    factor on every stage's iterations, None: the settings'.
    Raises SettingsError for what the recipe has no use for: a third kernel, weights, pictures one by one, a mask of
    what is ignored, the paper's settings.
    """
    base = RECIPES[settings.recipe]
    if settings.third_kernel and base.network.body != "printed":
        raise SettingsError(f"third_kernel = {settings.third_kernel}; the recipe {base.name} has none: leave it out")
    if settings.weights_from is not None and base.network.body != "resnet18":
        what = f"weights_from = {settings.weights_from!r}; the recipe {base.name} begins with random weights"
        raise SettingsError(f"{what}: leave it out, or take --recipe resnet18_cam")
    if settings.pairing == "one_by_one" and (draws_defects(settings) or base.needs_masks):
        why = f"the recipe {base.name} learns from batches of several pictures"
        raise SettingsError(f'pairing = "one_by_one"; {why}: leave it out, or take --recipe paper')
    if base.name != PAPER.name and settings.paper != PaperSettings():
        raise SettingsError(f"[paper] is of the recipe paper, and the recipe is {base.name}; leave it out")
    terms = {name for stage in base.stages for name, _ in stage.losses}
    if settings.ignore is not None and not (terms <= CAN_IGNORE and base.parts_of is own_parts):
        what = f"ignore = {settings.ignore!r}; the recipe {base.name} looks at whole pictures"
        raise SettingsError(f"{what}: leave it out, or take --recipe sharp")
    network = replace(
        base.network,
        channels=channels,
        normalization=settings.normalization or _normalization(base, light_share),
        third_kernel=settings.third_kernel or base.network.third_kernel,
        top_fractions=settings.top_fractions or base.network.top_fractions,
        weights_from=settings.weights_from,
    )
    factor = settings.schedule if schedule is None else schedule
    stages = as_the_paper_varies(base.stages, settings.paper) if base.name == PAPER.name else base.stages
    return replace(base, network=network, stages=tuple(fitted(stage, factor, settings) for stage in stages))


def fold_schedule(settings: TrainSettings) -> float:
    """Factor on the iterations of a fold's training: the settings', else the recipe's."""
    return RECIPES[settings.recipe].fold_schedule if settings.fold_schedule is None else settings.fold_schedule


def fit_of(settings: TrainSettings) -> Fit:
    """How pictures of other proportions come to the size: as the settings say, else the recipe."""
    return settings.fit or RECIPES[settings.recipe].fit


def draws_defects(settings: TrainSettings) -> bool:
    """Whether the recipe draws defects on good pictures: it learns from known cells, and needs no bad picture."""
    return any(stage.synthetic for stage in RECIPES[settings.recipe].stages)


def shows_bad(settings: TrainSettings) -> bool:
    """Whether the recipe learns from bad pictures; else they choose thresholds alone."""
    return RECIPES[settings.recipe].shows_bad


def needs_masks(settings: TrainSettings) -> bool:
    """Whether the recipe learns from masks, and cannot do without."""
    return RECIPES[settings.recipe].needs_masks


def _normalization(base: Recipe, light_share: float) -> Literal["training", "picture"]:
    """Each picture by itself where light differs from one to the next (LOG.md); others' networks: as printed.

    Elsewhere a picture's brightness may tell something.
    """
    return "picture" if base.network.body == "narrow" and light_share > LIGHT_DIFFERS else "training"
