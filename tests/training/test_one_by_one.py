"""`one_by_one` is Algorithm 1 of Xu et al. 2020, held against a plain loop written from the page."""

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.training.test_train import same_bits, weights
from tests.training.toys import toy_images
from weakspot.errors import SettingsError
from weakspot.jobs.recipes import recipe
from weakspot.settings import TrainSettings
from weakspot.training.batches import TrainingImages, View, endless_pairs, turned
from weakspot.training.loop import train_only
from weakspot.training.stages import Recipe
from weakspot.training.state import Machine, Step
from weakspot.training.train import run_training, start_training

TOYS = toy_images(3, 4)
WIDE = TrainingImages(np.concatenate([TOYS.pixels, TOYS.pixels[:, :, ::-1]], axis=3), TOYS.labels)  # 64 × 128


LARGE = TrainingImages(np.tile(WIDE.pixels, (1, 1, 2, 2)), TOYS.labels)  # 128 × 256: norms of two values would be signs
RATE = 1e-4  # small, for rounding grows with every update


def printed(iterations: int = 4, **paper: object) -> Recipe:
    settings = TrainSettings(recipe="paper", third_kernel=3, pairing="one_by_one", paper=paper)
    whole = recipe(settings, 1)
    drop = {"decision": 2}
    stages = [replace(each, iterations=iterations, drop_at=drop.get(each.name)) for each in whole.stages]
    return replace(whole, stages=tuple(stages))


def mean_heat(heat: torch.Tensor) -> torch.Tensor:
    return heat.sigmoid().mean()


def weak(heat: torch.Tensor, is_bad: bool, alpha: float) -> torch.Tensor:
    q = mean_heat(heat)
    return q * q.log() + (1 - q) * (1 - q).log() if is_bad else -alpha * (1 - q).log()


def cross_entropy(raw_score: torch.Tensor, is_bad: bool) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(raw_score, torch.full((1,), float(is_bad)))


def algorithm_1(whole: Recipe, number: int) -> dict[str, torch.Tensor]:
    """Two iterations of a stage of that number: each picture by itself, the bad one first, its loss, then an update."""
    training = start_training(whole, LARGE, 0, Machine())
    trained = train_only(training.detector, whole.stages[0].trains)
    for step, pair in enumerate(islice(endless_pairs(LARGE.labels, (0, 0), copies=1), 2)):
        alpha = 8 * (math.cos(0 / 1 * 2 * math.pi) + 3) / 4  # i = 0 in the first 30 iterations, and fixed at 8 later
        rate = RATE * (0.1 if number == 1 and step >= 1 else 1)
        for view, is_bad in zip(pair, (True, False), strict=True):
            answer = training.detector(LARGE.seen((view,)))
            terms = [weak(answer.heat, is_bad, alpha)] * (number != 1)
            terms += [cross_entropy(answer.raw_score, is_bad)] * (number != 0)
            gradients = torch.autograd.grad(sum(terms), trained, allow_unused=True)
            with torch.no_grad():
                for weight, gradient in zip(trained, gradients, strict=True):
                    weight -= 0 if gradient is None else rate * gradient
    return weights(training)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_stage_updates_after_each_picture_by_its_own_loss_as_algorithm_1_says(number: int):
    stage = replace(printed(2).stages[number], learning_rate=RATE, drop_at=1 if number == 1 else None)
    whole = replace(printed(), stages=(stage,))
    training = start_training(whole, LARGE, 0, Machine())
    before = weights(training)
    run_training(training)
    expected, found = algorithm_1(whole, number), weights(training)
    learned = [name for name, _ in training.detector.named_parameters() if not torch.equal(found[name], before[name])]
    assert learned
    for name in learned:
        moved = (expected[name] - before[name]).abs().max()
        assert (found[name] - expected[name]).abs().max() <= 0.2 * moved + 1e-7, (
            name
        )  # the mean of a pair would be half of it away


def test_iterations_rates_and_reports_count_pairs_and_the_default_is_another_training():
    told: list[Step] = []
    training = start_training(printed(), WIDE, 0, Machine())
    training.on_steps = told.extend
    run_training(training)
    assert [(step.stage, step.step) for step in told[:5]] == [
        *(("localization", number) for number in range(1, 5)),
        ("decision", 1),
    ]
    assert [step.learning_rate for step in told if step.stage == "decision"] == pytest.approx(
        [0.01, 0.01, 0.001, 0.001]
    )
    pairwise = [replace(stage, together=True) for stage in printed().stages]
    other = start_training(replace(printed(), stages=tuple(pairwise)), WIDE, 0, Machine())
    run_training(other)
    assert not same_bits(weights(training), weights(other))


def test_what_the_papers_figures_vary_changes_the_stages_and_nothing_else_does():
    def stages(**paper: object) -> list[tuple[str, tuple[str, ...], list[str]]]:
        return [(each.name, each.trains, [name for name, _ in each.losses]) for each in printed(**paper).stages]

    whole = ("shared", "localization", "decision")
    first, decision = ("localization", whole[:2], ["weak"]), ("decision", ("decision",), ["decide"])
    last = ("fine-tuning", whole, ["weak, alpha fixed", "decide"])
    assert stages() == [first, decision, last]
    assert stages(freeze="off") == [first, ("decision", whole, ["decide"]), last]
    assert stages(localization="off") == [decision, ("fine-tuning", whole, ["decide"])]
    assert stages(alpha_course="fixed") == [("localization", whole[:2], ["weak, alpha fixed"]), decision, last]
    assert {stage.alpha for stage in printed(alpha=4.0).stages} == {4.0}
    assert [stage.rotated for stage in (*printed().stages, *printed(rotation="quarters").stages)] == [False] * 3 + [
        True
    ] * 3


def test_a_rotated_training_runs_on_oblong_pictures_and_is_another_one():
    turned_ones, upright = (
        start_training(printed(2, rotation=word), WIDE, 0, Machine()) for word in ("quarters", "off")
    )
    for training in (turned_ones, upright):
        run_training(training)
    assert not same_bits(weights(turned_ones), weights(upright))


def test_quarters_turn_all_of_a_step_alike_and_can_be_skipped_into():
    pairs = [(View(number), View(number + 1)) for number in range(40)]
    whole = list(turned(iter(pairs), 2, (0, 0)))
    assert list(turned(iter(pairs[6:]), 2, (0, 0), start=6)) == whole[6:]
    assert all(len({view.mirror for pair in whole[n : n + 2] for view in pair}) == 1 for n in range(0, 40, 2))
    picture = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3)
    images = TrainingImages(picture, np.array([0]))
    shown = {images.seen((View(0, mirror=mirror),))[0, 0].numpy().tobytes() for mirror in {p[0].mirror for p in whole}}
    assert shown == {np.ascontiguousarray(np.rot90(picture[0, 0].astype(np.float32), k)).tobytes() for k in range(4)}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"pairing": "one_by_one"}, "the recipe sharp learns from batches of several pictures: leave it out"),
        ({"paper": {"alpha": 4.0}}, r"\[paper\] is of the recipe paper, and the recipe is sharp; leave it out"),
        ({"paper": {"rotation": "half"}}, "paper.rotation = 'half'"),
    ],
)
def test_what_only_the_printed_recipe_has_is_refused_elsewhere(asked: dict[str, object], said: str):
    with pytest.raises(SettingsError, match=said):
        recipe(TrainSettings(**asked), 1)


def test_a_size_that_leaves_the_decision_a_single_cell_is_refused_with_the_way_out():
    with pytest.raises(SettingsError, match="size 64x64 with pairing.*take a size above 64x64"):
        start_training(printed(), TOYS, 0, Machine())
