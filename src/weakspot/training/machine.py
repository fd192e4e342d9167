"""What this machine trains on and how long a step takes here."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import torch

from weakspot.errors import SettingsError
from weakspot.inspection.processor import usable_cores
from weakspot.network.memory import hand_back_freed_memory, keep_freed_memory
from weakspot.settings import TrainSettings
from weakspot.training.batches import TrainingImages
from weakspot.training.stages import Recipe, Stage
from weakspot.training.state import Machine, Step
from weakspot.training.train import run_training, start_training


def choose_machine(settings: TrainSettings) -> Machine:
    """Device, precision and threads as the settings ask, or what suits this machine where they leave it open.

    A CPU without bf16 units converts at every layer and is slower in bf16 than in fp32, so there it stays fp32.
    """
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    device = automatic if settings.device == "auto" else settings.device
    has_bf16 = (
        torch.cuda.is_available() and torch.cuda.is_bf16_supported() if device == "cuda" else _cpu_multiplies_bf16()
    )
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and has_bf16)
    return Machine(device, bf16, settings.memory == "small", settings.threads or usable_cores())


@contextmanager
def process_as_found() -> Iterator[None]:
    """Put torch's threads and the C library's memory back afterwards, however the training ends."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        hand_back_freed_memory()


def prepare(machine: Machine) -> None:
    """Make this process compute as the machine says: torch's threads, and freed memory kept unless it is spared.

    Raises SettingsError for a device that is not here, as where a run goes on elsewhere.
    """
    if machine.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("device cuda: no CUDA device is found by torch here; use --device cpu")
    torch.set_num_threads(machine.threads)
    if not machine.small:
        keep_freed_memory()


def seconds_a_step(recipe: Recipe, images: TrainingImages, machine: Machine) -> dict[str, float]:
    """Median seconds of a step in each stage, measured on a throw-away network; start-up is not counted.

    images: at least one bad and one good picture, at the size that is meant.
    """
    return {stage.name: _stage_seconds(recipe, stage, images, machine) for stage in recipe.stages}


def _stage_seconds(recipe: Recipe, stage: Stage, images: TrainingImages, machine: Machine) -> float:
    short = replace(stage, iterations=3 * machine.steps_a_report)
    training = start_training(replace(recipe, stages=(short,)), images, 0, machine)
    times: list[float] = []

    def on_steps(steps: list[Step]) -> None:
        times.append(time.perf_counter())

    training.on_steps = on_steps
    run_training(training)
    return statistics.median(after - before for before, after in pairwise(times)) / machine.steps_a_report


def _cpu_multiplies_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
