"""The recipes, as tables of stages over one loop.

What each number does is said at `Stage`, where it comes from at its recipe.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import cos, pi

from weakspot.network.detector import Detector, PartsOf, own_parts
from weakspot.settings import Fit, NetworkSettings, PaperSettings, TrainSettings
from weakspot.training.batches import TrainingImages

EVERYTHING = ("shared", "localization", "decision")
HEAT = ("shared", "localization")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of a recipe: what learns, from which losses, how long and how fast."""

    name: str
    trains: tuple[str, ...]  # parts of the detector; the others stay in eval mode, which holds their statistics still
    losses: tuple[tuple[str, float], ...]  # names in `losses.TERMS`, each with its weight in the sum
    iterations: int  # steps, each of `pairs` pairs
    learning_rate: float
    drop_at: int | None = None  # iteration from which the rate is a tenth
    warm_up: int = 0  # iterations over which the rate rises from zero
    cosine: bool = False  # the rate falls to zero along a cosine
    hold: float = 0.0  # share of the iterations at full rate before it
    momentum: float = 0.0  # Nesterov's
    weight_decay: float = 0.0
    clip: float | None = None  # largest gradient norm
    averaging: float | None = None  # decay of the running mean of the weights, which is what remains
    mirrored: bool = False  # mirrored copies, left–right and up–down
    turned: bool = False  # turned ones too, where good pictures tell that parts lie any way
    jitter: float = 0.0  # contrast varies by this share, brightness by this many deviations
    shift: int = 0  # pixels by which a picture is shifted at most, over its mirrored border
    # good pictures of a step, beside its pairs, on which a defect is drawn; and one a pair where no picture is bad
    synthetic: int = 0
    pairs: int = 1  # pairs of a bad and a good picture in a step
    together: bool = True  # a step is one batch and one update; else each of its pictures is, as printed
    alpha: float = 8.0  # weight of the good pictures in the weak loss, where it begins
    rotated: bool = False  # the pictures of a step are turned by 0, 90, 180 or 270 degrees, all alike


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and the stages that train it."""

    name: str
    network: NetworkSettings
    stages: tuple[Stage, ...]
    fold_schedule: float = 0.5  # factor on the iterations of a fold's training
    fit: Fit = "stretch"  # how pictures of other proportions come to the size
    parts_of: PartsOf = own_parts  # what the network is made of
    searches: bool = True  # its heat has to find what is bad by itself: a lost search starts again
    shows_bad: bool = True  # bad pictures train; else they choose thresholds alone
    needs_masks: bool = False
    finish: Callable[[Detector, TrainingImages, int], None] | None = None  # after the stages, with the seed


_LOCALIZATION = Stage(
    name="localization", trains=HEAT, losses=(("weak", 1.0),), iterations=750, learning_rate=0.1
)  # fmt: skip
_DECISION = Stage(
    name="decision", trains=("decision",), losses=(("decide", 1.0),), iterations=1200, learning_rate=0.01, drop_at=600
)  # fmt: skip
_FINE_TUNING = Stage(
    name="fine-tuning", trains=EVERYTHING, losses=(("weak, alpha fixed", 1.0), ("decide", 1.0)), iterations=300,
    learning_rate=0.001,
)  # fmt: skip
PAPER = Recipe(  # Xu et al. 2020, section IV-B; plain SGD, since no momentum is stated
    name="paper",
    network=NetworkSettings(top_fractions=(1.0,)),  # the heat's score is the mean heat, which is what its loss sees
    stages=(_LOCALIZATION, _DECISION, _FINE_TUNING),
)
_SEARCH = Stage(
    name="search", trains=HEAT, losses=(("search", 1.0), ("synthetic", 1.0)), iterations=1000, learning_rate=0.02,
    warm_up=20, hold=0.6, cosine=True, momentum=0.9, weight_decay=0.002, clip=0.5, averaging=0.98, mirrored=True,
    turned=True, jitter=0.1, shift=8, synthetic=2,
    pairs=2,  # one ranks far worse: batch norm needs several to see what is common
)  # fmt: skip
SHARP = Recipe(  # ours; docs/method.md has what each choice was measured against
    name="sharp",
    network=NetworkSettings(body="narrow", decision="heat"),
    stages=(_SEARCH,),
    fold_schedule=1.0,  # so that scores out of fold have the final training's scale
    fit="keep",
)


def as_the_paper_varies(stages: tuple[Stage, ...], asked: PaperSettings) -> tuple[Stage, ...]:
    """The printed stages, changed as the paper's figures change them."""
    if asked.localization == "off":
        without = [
            replace(stage, losses=tuple(term for term in stage.losses if "weak" not in term[0])) for stage in stages
        ]
        stages = tuple(stage for stage in without if stage.losses)
    if asked.freeze == "off":
        stages = tuple(replace(stage, trains=EVERYTHING) if "decision" in stage.trains else stage for stage in stages)
    if asked.alpha_course == "fixed":
        fixed = {"weak": "weak, alpha fixed"}
        stages = tuple(
            replace(stage, losses=tuple((fixed.get(name, name), weight) for name, weight in stage.losses))
            for stage in stages
        )
    return tuple(replace(stage, alpha=asked.alpha, rotated=asked.rotation == "quarters") for stage in stages)


def fitted(stage: Stage, factor: float, settings: TrainSettings) -> Stage:
    """The stage with the settings' overrides. factor: on its iterations."""

    def scaled(n: int) -> int:
        return max(1, round(n * factor)) if n else 0

    return replace(
        stage,
        iterations=scaled(stage.iterations),
        drop_at=None if stage.drop_at is None else scaled(stage.drop_at),
        warm_up=scaled(stage.warm_up),
        together=settings.pairing != "one_by_one",
        pairs=settings.pairs or stage.pairs,
    )


def learning_rate(stage: Stage, step: int) -> float:
    """The rate at a step, from 0."""
    rate = stage.learning_rate * (0.1 if stage.drop_at is not None and step >= stage.drop_at else 1.0)
    if stage.warm_up:
        rate *= min(1.0, (step + 1) / stage.warm_up)
    if not stage.cosine:
        return rate
    return rate * _cosine_to_zero(max(0.0, step / stage.iterations - stage.hold) / (1 - stage.hold))


def _cosine_to_zero(done: float) -> float:
    return (1 + cos(pi * min(1.0, done))) / 2
