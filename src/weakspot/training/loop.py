"""The one loop that all stages of all recipes run through. It writes nothing and shows nothing: it calls `on_steps`."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor, nn

from weakspot.errors import TrainingError
from weakspot.network.detector import PARTS, Detector, Logits
from weakspot.spectral.layer import large_layers
from weakspot.training.batches import Batch, endless_batches, endless_drawings, endless_pairs, turned
from weakspot.training.looks import look_of
from weakspot.training.losses import TERMS, Target
from weakspot.training.stages import Stage, learning_rate
from weakspot.training.state import StageState, Step, Training

RUNNING = 0.93  # decay of the running mean of the loss


class Update(NamedTuple):
    """What came of one change of the weights, for the report: without gradients, still on the device."""

    answer: Logits
    loss: Tensor
    norm: Tensor  # of the gradient


def run_stage(training: Training) -> None:
    """Train the stage's parts from where it stands until it is finished; averaged weights then replace the last ones.

    Raises TrainingError when the loss stops being a number.
    """
    stage, state, detector = training.recipe.stages[training.stage], training.state, training.detector
    weights = train_only(detector, stage.trains)
    optimizer = _optimizer(detector, weights, stage, state)
    look, batches = look_of(training, stage), _batches(training, stage)
    unreported: list[tuple[float, Tensor]] = []
    while not state.finished(stage):
        batch, updates = next(batches), list[Update]()
        rate = optimizer.param_groups[0]["lr"] = learning_rate(stage, state.step)
        for part in (batch,) if stage.together else batch.one_by_one():
            answer = look(part.views)
            loss = _loss(training, stage, answer, part)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
            if stage.clip is not None:
                nn.utils.clip_grads_with_norm_(weights, stage.clip, norm)
            optimizer.step()
            updates.append(Update(Logits(*(values.detach() for values in answer)), loss.detach(), norm))
        state.step += 1
        _average(detector, stage, state)
        state.momenta = [optimizer.state[weight]["momentum_buffer"] for weight in weights] if stage.momentum else []
        unreported.append((rate, _figures(stage, batch, updates)))
        if len(unreported) == training.machine.steps_a_report or state.finished(stage):
            training.on_steps(_report(stage, state, unreported))
            unreported = []
    for tensor, average in zip(_averaged(detector, stage), state.averages, strict=False):
        tensor.data.copy_(average)


def train_only(detector: Detector, parts: tuple[str, ...]) -> list[nn.Parameter]:
    """Make only these parts learn; the others keep their kernels' spectra.

    Both switches are needed: without eval() a frozen part's batch norms drift.
    """
    for name in PARTS:
        part, learns = getattr(detector, name), name in parts
        part.train(learns)
        part.requires_grad_(learns)
        for layer in large_layers(part):
            layer.freeze(not learns)
    return [weight for weight in detector.parameters() if weight.requires_grad]


def _optimizer(detector: Detector, weights: list[nn.Parameter], stage: Stage, state: StageState) -> torch.optim.SGD:
    rate, mass, decay = stage.learning_rate, stage.momentum, stage.weight_decay
    optimizer = torch.optim.SGD(weights, rate, mass, weight_decay=decay, nesterov=mass > 0)
    for weight, momentum in zip(weights, _laid_out(state.momenta, weights), strict=False):
        optimizer.state[weight]["momentum_buffer"] = momentum
    if stage.averaging:
        state.averages = _laid_out(state.averages or _averaged(detector, stage), _averaged(detector, stage))
    return optimizer


def _batches(training: Training, stage: Stage) -> Iterator[Batch]:
    images, seed, step = training.images, (training.seed, training.stage), training.state.step
    ways = _copies(training, stage), stage.jitter, stage.shift
    assert images.labels.any() or stage.synthetic, "without bad pictures nothing but drawn ones can be found"
    pairs = endless_pairs(images.labels, seed, *ways, start=step * stage.pairs)
    pairs = turned(pairs, stage.pairs, seed, start=step * stage.pairs) if stage.rotated else pairs
    drawn = stage.synthetic if images.labels.any() else stage.synthetic + stage.pairs  # in the places of the bad ones
    drawings = endless_drawings(images, drawn, seed, *ways, start=step) if stage.synthetic else None
    return endless_batches(pairs, stage.pairs, drawings, images, training.machine.device)


def _copies(training: Training, stage: Stage) -> int:
    """In how many ways a picture is shown: as it is, mirrored, or turned too where parts lie any way."""
    if not stage.mirrored:
        return 1
    return 8 if stage.turned and training.images.lie_any_way else 4


def _loss(training: Training, stage: Stage, answer: Logits, batch: Batch) -> Tensor:
    """The stage's terms, weighted and added up."""
    fractions = training.recipe.network.top_fractions
    progress = training.state.step, stage.iterations
    target = Target(batch.labels, batch.known_cells, fractions, stage.pairs, *progress, stage.alpha, batch.ignored)
    terms = [weight * TERMS[name](answer, target) for name, weight in stage.losses]
    return torch.stack(terms).sum()


def _report(stage: Stage, state: StageState, unreported: list[tuple[float, Tensor]]) -> list[Step]:
    """What came of the last steps; the state learns of it too. The one place where a device is waited for."""
    steps = []
    figures = torch.stack([values for _, values in unreported]).tolist()
    for number, ((rate, _), (loss, *others)) in enumerate(zip(unreported, figures, strict=True)):
        step = state.step - len(unreported) + number + 1
        if not isfinite(loss):
            raise TrainingError(
                f"stage {stage.name}, step {step}: the loss is {loss}; try --precision fp32 or another --seed"
            )
        state.running_loss = RUNNING * state.running_loss + (1 - RUNNING) * loss
        steps.append(Step(stage.name, step, stage.iterations, loss, state.running_loss, rate, *others))
    return steps


def _average(detector: Detector, stage: Stage, state: StageState) -> None:
    if stage.averaging:
        decay = min(stage.averaging, (1 + state.step) / (10 + state.step))
        for tensor, average in zip(_averaged(detector, stage), state.averages, strict=True):
            average.lerp_(tensor.detach(), 1 - decay)


def _averaged(detector: Detector, stage: Stage) -> list[Tensor]:
    """The trained parts' weights and their batch norms' statistics: averaged weights need averaged statistics."""
    parts = [getattr(detector, name) for name in stage.trains]
    return [tensor for part in parts for tensor in (*part.parameters(), *part.buffers()) if tensor.is_floating_point()]


def _laid_out(tensors: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """Copies that lie in memory as the weights do: which kernels run, and so the last bits, follow the layout."""
    pairs = zip(tensors, weights, strict=False)
    return [torch.empty_like(weight.detach()).copy_(tensor.detach()) for tensor, weight in pairs]


def _figures(stage: Stage, batch: Batch, updates: Sequence[Update]) -> Tensor:
    """What of a `Step` only the device knows: loss, gradient norm, heat of bad and good, score of bad and good.

    Of several updates the sum of the losses and the largest norm.
    """
    labels = torch.cat([batch.labels, batch.labels.new_ones(len(batch.views) - len(batch.labels))])
    heat = torch.cat([answer.heat.sigmoid().mean((1, 2, 3)) for answer, _, _ in updates]).float()
    by_decision = "decision" in stage.trains
    score = torch.cat([answer.raw_score if by_decision else answer.heat_score for answer, _, _ in updates]).float()
    bad = labels / labels.sum().clamp(min=1)
    good = (1 - labels) / (1 - labels).sum().clamp(min=1)
    means = [(values * share).sum() for values in (heat, score) for share in (bad, good)]
    losses, norms = (torch.stack(values).float() for values in zip(*(update[1:] for update in updates), strict=True))
    return torch.stack([losses.sum(), norms.max(), *means])
