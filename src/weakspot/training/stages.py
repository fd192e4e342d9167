"""The recipes, as tables of stages over one loop. What each number does is said once, at `Stage`; where it comes from,
at its recipe."""

from dataclasses import dataclass, replace
from math import cos, pi
from typing import Literal

from weakspot.settings import NetworkSettings, TrainSettings

LossName = Literal["weak", "search", "locate", "decide", "weak+decide"]
LIGHT_DIFFERS = 0.25  # share of the pixels' variance between pictures, from which each is normalized by itself
SMALL = 100_000  # pixels of a picture up to which four pairs make a step
EVERYTHING = ("shared", "localization", "decision")
HEAT = ("shared", "localization")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of a recipe: what learns, from which loss, how long and how fast."""

    name: str
    trains: tuple[
        str, ...
    ]  # parts of the detector; the others stay in eval mode, which holds their batch statistics still
    loss: LossName
    iterations: int  # steps, each of one pair of a bad and a good image, or of `pairs`
    learning_rate: float
    drop_at: int | None = None  # iteration from which the rate is a tenth
    find_first: int = (
        0  # steps at most, at constant rate, until the loss shows that bad is told from good; `iterations` come after
    )
    warm_up: int = 0  # iterations over which the rate rises from zero
    cosine: bool = False  # the rate falls to zero along a cosine
    momentum: float = 0.0  # Nesterov's
    clip: float | None = None  # largest gradient norm
    averaging: float | None = None  # decay of the running mean of the weights, which is what remains
    mirrored: bool = False  # mirrored copies, left–right and up–down
    jitter: float = 0.0  # contrast varies by this share, brightness by this many deviations
    pairs: int = 1  # pairs in a step
    together: bool = True  # the pair is one batch; else each picture is normalized by itself, as printed

    @property
    def longest(self) -> int:
        """Iterations at most."""
        return self.find_first + self.iterations


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and the stages that train it."""

    name: str
    network: NetworkSettings
    stages: tuple[Stage, ...]


_SHARP = Stage(
    name="",
    trains=HEAT,
    loss="search",
    iterations=150,
    learning_rate=0.02,
    warm_up=20,
    cosine=True,
    momentum=0.9,
    clip=0.5,
    averaging=0.98,
    mirrored=True,
    jitter=0.1,
    pairs=2,
)
SHARP = Recipe(  # ours; LOG.md has what each choice was measured against
    name="sharp",
    network=NetworkSettings(
        third_kernel=7, attention="mask_only", decision="correct", dropout=0.3, top_fractions=(0.01,)
    ),
    stages=(
        replace(_SHARP, name="search", find_first=400),
        replace(_SHARP, name="locate", loss="locate"),
        replace(
            _SHARP, name="decide", loss="decide", trains=("decision",), learning_rate=0.01, jitter=0.0
        ),  # no jitter: features are kept
    ),
)
PAPER = Recipe(  # Xu et al. 2020, section IV-B; plain SGD, since no momentum is stated
    name="paper",
    network=NetworkSettings(top_fractions=(1.0,)),  # the heat's score is the mean heat, which is what its loss sees
    stages=(
        Stage(name="localization", trains=HEAT, loss="weak", iterations=750, learning_rate=0.1),
        Stage(name="decision", trains=("decision",), loss="decide", iterations=1200, learning_rate=0.01, drop_at=600),
        Stage(name="fine-tuning", trains=EVERYTHING, loss="weak+decide", iterations=300, learning_rate=0.001),
    ),
)
RECIPES = {"sharp": SHARP, "paper": PAPER}


def recipe(
    settings: TrainSettings, channels: int, schedule: float = 1.0, pairs: int | None = None, light_share: float = 0.0
) -> Recipe:
    """The recipe that the settings name, with their overrides.

    channels: 1 grey, 3 colour; schedule: factor on every stage's iterations; pairs: in a step, else the recipe's;
    light_share: of the training pictures' variance, what lies between pictures.
    """
    base = RECIPES[settings.recipe]
    network = replace(
        base.network,
        channels=channels,
        normalization=settings.normalization or _normalization(settings, light_share),
        third_kernel=settings.third_kernel or base.network.third_kernel,
        top_fractions=settings.top_fractions or base.network.top_fractions,
    )
    together = settings.pairing != "one_by_one"
    return Recipe(
        name=base.name,
        network=network,
        stages=tuple(_scaled(stage, schedule, together, pairs or stage.pairs) for stage in base.stages),
    )


def pairs_a_step(settings: TrainSettings, height: int, width: int) -> int | None:
    """Pairs in a step: the settings', else more where pictures are small, since batch norm needs several pictures to
    know what is common.

    One pair a step ranks far worse (LOG.md). None for `paper`: one, as printed.
    """
    if settings.pairs is not None or settings.recipe == "paper":
        return settings.pairs
    return 4 if height * width <= SMALL else 2


def _normalization(settings: TrainSettings, light_share: float) -> Literal["training", "picture"]:
    """Each picture by itself where light differs from one to the next; elsewhere its brightness may tell something
    (LOG.md). `paper`: as printed."""
    return "picture" if settings.recipe == "sharp" and light_share > LIGHT_DIFFERS else "training"


def learning_rate(stage: Stage, step: int, found_at: int | None) -> float:
    """The rate at a step (from 0). found_at: the step at which the search told bad from good; the cosine begins
    there."""
    rate = stage.learning_rate * (0.1 if stage.drop_at is not None and step >= stage.drop_at else 1.0)
    if stage.warm_up:
        rate *= min(1.0, (step + 1) / stage.warm_up)
    if not stage.cosine or (stage.find_first and found_at is None):
        return rate
    return rate * _cosine_to_zero((step - (found_at or 0)) / stage.iterations)


def _cosine_to_zero(done: float) -> float:
    return (1 + cos(pi * min(1.0, done))) / 2


def _scaled(stage: Stage, factor: float, together: bool, pairs: int) -> Stage:
    def scaled(n: int) -> int:
        return max(1, round(n * factor)) if n else 0

    return replace(
        stage,
        iterations=scaled(stage.iterations),
        find_first=scaled(stage.find_first),
        drop_at=None if stage.drop_at is None else scaled(stage.drop_at),
        warm_up=scaled(stage.warm_up),
        together=together,
        pairs=pairs,
    )
