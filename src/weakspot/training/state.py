"""A training under way: all that a checkpoint keeps, what it computes on, and who looks on."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from weakspot.network.detector import Detector
from weakspot.training.batches import TrainingImages
from weakspot.training.stages import Recipe, Stage


@dataclass(frozen=True)
class Machine:
    """Where and how precisely a training computes, on how many threads, and whether it spares memory."""

    device: str = "cpu"
    bf16: bool = False
    small: bool = False
    threads: int = 1

    @property
    def steps_a_report(self) -> int:
        """Steps after which the device is asked what came of them: a GPU stands still each time it is asked."""
        return 1 if self.device == "cpu" else 16

    def autocast(self) -> torch.autocast:
        """bf16 products with fp32 weights, or nothing at all."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


@dataclass
class StageState:
    """How far a stage has come: all that the loop needs, beside the weights, to go on to the same bits."""

    step: int = 0  # steps taken
    running_loss: float = 2.0
    momenta: list[Tensor] = field(default_factory=list)
    averages: list[Tensor] = field(default_factory=list)

    def finished(self, stage: Stage) -> bool:
        """Whether the stage has had its steps."""
        return self.step >= stage.iterations

    def plain(self) -> dict[str, Any]:
        """The numbers, without the tensors."""
        return {"step": self.step, "running_loss": self.running_loss}


@dataclass(frozen=True)
class Step:
    """What came of one iteration. Heats are mean heats, in [0, 1]; pictures with known cells count as bad."""

    stage: str
    step: int
    of: int  # iterations of the stage
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


def nobody(steps: list[Step]) -> None:
    """Looks on, and does nothing."""


@dataclass
class Training:
    """The detector, and the stage it is in.

    on_steps: called once a step, or once for several on a GPU; it may raise to stop, and the training can then be
    saved and gone on with.
    """

    recipe: Recipe
    images: TrainingImages
    seed: int
    machine: Machine
    detector: Detector
    stage: int = 0
    state: StageState = field(default_factory=StageState)
    on_steps: Callable[[list[Step]], None] = nobody
