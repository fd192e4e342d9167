"""A whole training: the recipe's stages one after the other, on pictures in memory. Knows no files, no thresholds, no
test pictures."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from weakspot.network.detector import Answer, Detector, heat_score
from weakspot.training import losses
from weakspot.training.cells import bad_cells
from weakspot.training.images import TrainingImages, views
from weakspot.training.loop import Look, LossOf, OnSteps, Pairs, StageState, run_stage
from weakspot.training.pairs import View, endless_pairs, mirrored
from weakspot.training.sparing import SparingDetector
from weakspot.training.stages import Recipe, Stage


@dataclass(frozen=True)
class Machine:
    """Where and how precisely a training computes, and whether it spares memory."""

    device: str = "cpu"
    bf16: bool = False
    small: bool = False

    @property
    def told_every(self) -> int:
        """Steps after which a training asks what came of them: each on a processor, which does them as they are asked
        for anyway."""
        return 1 if self.device == "cpu" else 16

    def autocast(self) -> torch.autocast:
        """bf16 products with fp32 weights, or nothing at all."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


@dataclass
class Training:
    """A training under way: the detector, the stage it is in, and what the search gave. All that a checkpoint keeps."""

    recipe: Recipe
    images: TrainingImages
    seed: int
    machine: Machine
    detector: Detector
    stage: int = 0
    state: StageState = field(default_factory=StageState)
    cells: Tensor | None = None  # (n, 1, h, w), the search's own labels by cell


def start_training(recipe: Recipe, images: TrainingImages, seed: int, machine: Machine) -> Training:
    """A detector with fresh weights, drawn by the seed, that knows its pictures' mean and deviation."""
    torch.manual_seed(seed)
    fresh = (SparingDetector if machine.small else Detector)(recipe.network, images.mean, images.std)
    detector = fresh.to(machine.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Training(recipe, images, seed, machine, detector)


def run_training(training: Training, on_steps: OnSteps) -> Detector:
    """Run the stages that are left; returns the detector in eval mode. `on_steps` may raise to stop: the training can
    then be saved."""
    while training.stage < len(training.recipe.stages):
        stage = training.recipe.stages[training.stage]
        if stage.loss == "locate" and training.cells is None:
            training.cells = bad_cells(
                training.detector,
                training.images,
                min(training.recipe.network.top_fractions),
                training.seed,
                training.machine.autocast,
            )
        if training.state.step == 0:
            torch.manual_seed(training.seed * 1000 + training.stage)  # dropout's stream; pairs have their own
        pairs = endless_pairs(
            training.images.labels,
            (training.seed, training.stage),
            stage.mirrored,
            stage.jitter,
            start=training.state.step * stage.pairs,
        )
        look, loss_of = _look(training, stage), _loss_of(training, stage)
        run_stage(training.detector, stage, pairs, look, loss_of, training.state, on_steps, training.machine.told_every)
        training.stage, training.state = training.stage + 1, StageState()
    return training.detector.eval()


def _loss_of(training: Training, stage: Stage) -> LossOf:
    fractions, device = training.recipe.network.top_fractions, training.machine.device
    labels = torch.tensor([1.0, 0.0] * stage.pairs, device=device)
    bad_cells_of = None if training.cells is None else training.cells.to(device)

    def loss_of(answer: Answer, pairs: Pairs, step: int) -> Tensor:
        if stage.loss == "weak":
            return losses.weak_loss(answer.heat, labels, losses.cosine_alpha(step, stage.iterations))
        if stage.loss == "search":
            return losses.search_loss(answer.heat, labels, fractions)
        if stage.loss == "locate":
            assert bad_cells_of is not None
            cells = torch.stack([mirrored(bad_cells_of[view.index], view.mirror) for view in views(pairs)])
            return losses.locate_loss(answer.heat, labels, cells, min(fractions))
        decision = losses.decision_loss(answer.raw_score, labels)
        return decision if stage.loss == "decide" else losses.weak_loss(answer.heat, labels, alpha=8.0) + decision

    return loss_of


def _look(training: Training, stage: Stage) -> Look:
    """How a stage sees a pair: whole pictures through the whole network, or the kept features of frozen parts."""
    if stage.trains == ("decision",):
        return _look_at_features(training)

    def look(pairs: Pairs) -> Answer:
        images = training.images.batch(views(pairs), training.machine.device)
        parts = (images,) if stage.together else torch.split(images, 1)
        with training.machine.autocast():
            answers = [_answer(training.detector, part, stage) for part in parts]
        return Answer(*(torch.cat(values) for values in zip(*answers, strict=True)))

    return look


def _answer(detector: Detector, images: Tensor, stage: Stage) -> Answer:
    """The decision is computed only where it learns."""
    if "decision" in stage.trains:
        return detector(images)  # type: ignore[no-any-return]
    heat = detector.heat(detector.features(images))
    score = heat_score(heat, detector.settings.top_fractions)
    return Answer(score, score, heat)


def _look_at_features(training: Training) -> Look:
    """Frozen parts answer the same each time, so what they give for each mirrored copy is computed once, when it is
    first drawn."""
    kept: dict[View, tuple[Tensor, Tensor, Tensor]] = {}
    detector, machine = training.detector, training.machine

    @torch.no_grad()
    def frozen(view: View) -> tuple[Tensor, Tensor, Tensor]:
        if view not in kept:
            with machine.autocast():
                features = detector.features(training.images.batch((view,), machine.device))
                heat = detector.heat(features)
                kept[view] = (
                    detector.decision.attended(features, heat),
                    heat,
                    heat_score(heat, detector.settings.top_fractions),
                )
        return kept[view]

    def look(pairs: Pairs) -> Answer:
        attended, heat, score = (torch.cat(maps) for maps in zip(*(frozen(view) for view in views(pairs)), strict=True))
        with machine.autocast():
            return Answer(detector.decision.decide(attended, heat), score, heat)

    return look


@torch.no_grad()
def scores(detector: Detector, images: TrainingImages, machine: Machine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw scores (n,), heat scores (n,) and heat maps (n, h, w) in [0, 1], one picture at a time, as inspection will
    see them."""
    detector.eval()
    answers = []
    for index in range(len(images.labels)):
        with machine.autocast():
            answers.append(detector(images.batch((View(index),), machine.device)))
    raw, heat_scores, heats = (torch.cat(values).float().cpu() for values in zip(*answers, strict=True))
    return raw.numpy().astype(np.float64), heat_scores.numpy().astype(np.float64), heats.sigmoid()[:, 0].numpy()
