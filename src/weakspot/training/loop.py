"""The one loop that all stages of all recipes run through. It writes nothing and shows nothing: it calls `on_steps`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from weakspot.errors import TrainingError
from weakspot.network.detector import PARTS, Answer, Detector
from weakspot.network.large_kernel import large_layers
from weakspot.training.pairs import Pair
from weakspot.training.stages import Stage, learning_rate

FOUND_BELOW = 0.35  # running loss of the search below which bad pictures are told from good ones
RUNNING = 0.93  # decay of that running mean

Pairs = tuple[Pair, ...]  # what one step looks at: one pair, or several where pictures are small
Look = Callable[[Pairs], Answer]
LossOf = Callable[[Answer, Pairs, int], Tensor]


@dataclass
class StageState:
    """How far a stage has come: all that the loop needs, beside the tensors, to go on to the same bits."""

    step: int = 0  # steps taken
    running_loss: float = 2.0
    found_at: int | None = None  # step at which the search told bad from good
    momenta: list[Tensor] = field(default_factory=list)
    averages: list[Tensor] = field(default_factory=list)

    def finished(self, stage: Stage) -> bool:
        """Whether the stage has had its steps: `iterations` from the start, or from when the search found something."""
        if not stage.find_first:
            return self.step >= stage.iterations
        begun = stage.find_first if self.found_at is None else self.found_at
        return self.step >= begun + stage.iterations

    def plain(self) -> dict[str, Any]:
        """The numbers, without the tensors."""
        return {"step": self.step, "running_loss": self.running_loss, "found_at": self.found_at}


@dataclass(frozen=True)
class Step:
    """What `on_steps` is told of one iteration. Heats are mean heats, in [0, 1]."""

    stage: str
    step: int
    of: int  # iterations at most
    loss: float
    running_loss: float
    learning_rate: float
    gradient_norm: float
    bad_heat: float
    good_heat: float
    bad_score: float  # logit of the decision, or of the heat while the decision does not learn
    good_score: float

    def plain(self) -> dict[str, Any]:
        """As a row for history.jsonl."""
        return asdict(self)


OnSteps = Callable[[list[Step]], None]


def run_stage(
    detector: Detector,
    stage: Stage,
    pairs: Iterator[Pair],
    look: Look,
    loss_of: LossOf,
    state: StageState,
    on_steps: OnSteps,
    told_every: int = 1,
) -> None:
    """Train the stage's parts of the detector, from `state` on, until the stage is finished; then the averaged weights
    replace the last ones.

    look: pairs → their Answer, each pair's bad picture first. told_every: steps that a device is given before it is
    asked what came of them, for each time it is asked it stands still. Raises TrainingError when the loss stops being a
    number.
    """
    weights = train_only(detector, stage.trains)
    optimizer = torch.optim.SGD(weights, lr=stage.learning_rate, momentum=stage.momentum, nesterov=stage.momentum > 0)
    for weight, momentum in zip(weights, _laid_out(state.momenta, weights), strict=False):
        optimizer.state[weight]["momentum_buffer"] = momentum
    if stage.averaging:
        state.averages = _laid_out(state.averages or _averaged(detector, stage), _averaged(detector, stage))
    untold: list[tuple[float, Tensor]] = []
    while not state.finished(stage):
        drawn = tuple(islice(pairs, stage.pairs))
        rate = learning_rate(stage, state.step, state.found_at)
        answer = look(drawn)
        loss = loss_of(answer, drawn, state.step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        if stage.clip is not None:
            nn.utils.clip_grads_with_norm_(weights, stage.clip, norm)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        state.step += 1
        _average(detector, stage, state)
        state.momenta = [optimizer.state[weight]["momentum_buffer"] for weight in weights] if stage.momentum else []
        untold.append((rate, _figures(stage, answer, loss, norm)))
        if len(untold) == told_every or state.finished(stage):
            on_steps(_told(stage, state, untold))
            untold = []
    for tensor, average in zip(_averaged(detector, stage), state.averages, strict=False):
        tensor.data.copy_(average)


def train_only(detector: Detector, parts: tuple[str, ...]) -> list[nn.Parameter]:
    """Make only these parts learn. Both switches are needed: without eval() a frozen part's batch norms drift. Frozen
    spectra are kept."""
    for name in PARTS:
        part, learns = getattr(detector, name), name in parts
        part.train(learns)
        part.requires_grad_(learns)
        for layer in large_layers(part):
            layer.freeze(not learns)
    return [weight for weight in detector.parameters() if weight.requires_grad]


def _told(stage: Stage, state: StageState, untold: list[tuple[float, Tensor]]) -> list[Step]:
    """What came of the last steps; the state learns of it too. The one place where a device is waited for."""
    steps = []
    for number, ((rate, _), values) in enumerate(
        zip(untold, torch.stack([figures for _, figures in untold]).tolist(), strict=True)
    ):
        step, loss = state.step - len(untold) + number + 1, values[0]
        if not isfinite(loss):
            raise TrainingError(
                f"stage {stage.name}, step {step}: the loss is {loss}; try --precision fp32 or another --seed"
            )
        state.running_loss = RUNNING * state.running_loss + (1 - RUNNING) * loss
        if (
            stage.find_first
            and state.found_at is None
            and (state.running_loss < FOUND_BELOW or step >= stage.find_first)
        ):
            state.found_at = step
        steps.append(Step(stage.name, step, stage.longest, loss, state.running_loss, rate, *values[1:]))
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
    return [
        torch.empty_like(weight.detach()).copy_(tensor.detach())
        for tensor, weight in zip(tensors, weights, strict=False)
    ]


def _figures(stage: Stage, answer: Answer, loss: Tensor, norm: Tensor) -> Tensor:
    """What a `Step` tells and only the device knows, in its order: loss, gradient norm, heat of bad and of good, score
    of bad and of good."""
    heat = answer.heat.detach().sigmoid().mean((1, 2, 3))
    score = (answer.raw_score if "decision" in stage.trains else answer.heat_score).detach()
    means = [values[first::2].float().mean() for values in (heat, score) for first in (0, 1)]
    return torch.stack([loss.detach().float(), norm.float(), *means])
