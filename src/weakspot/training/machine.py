"""What this machine trains on and how long a pair takes here."""

import statistics
import time
from dataclasses import replace
from itertools import pairwise

import torch

from weakspot.errors import SettingsError
from weakspot.inspection.runtimes import usable_cores
from weakspot.network.memory import keep_freed_memory
from weakspot.settings import CELL, TrainSettings
from weakspot.training.images import TrainingImages
from weakspot.training.stages import Recipe
from weakspot.training.train import Machine, run_training, start_training


def choose_machine(settings: TrainSettings) -> Machine:
    """Device, precision and threads as the settings ask; `auto` takes the GPU where there is one, bf16 where the
    processor multiplies in it.

    A CPU that has no bf16 units converts at every layer and is slower in bf16 than in fp32, so there it stays fp32.
    Of this process it sets torch's thread count, and that freed memory is kept, unless memory is to be spared.
    """
    device = settings.device
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("device cuda: no CUDA device is found by torch here; use --device cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(settings.threads or usable_cores())
    if settings.memory == "fast":
        keep_freed_memory()
    has_bf16 = torch.cuda.is_bf16_supported() if device == "cuda" else _cpu_multiplies_bf16()
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and has_bf16)
    return Machine(device, bf16, small=settings.memory == "small")


def seconds_a_pair(recipe: Recipe, images: TrainingImages, machine: Machine) -> dict[str, float]:
    """Median seconds that one pair takes in each stage, measured on a throw-away network; start-up is not counted.

    images: at least one bad and one good picture, at the size that is meant.
    """
    return {stage.name: _stage_seconds(replace(recipe, stages=(stage,)), images, machine) for stage in recipe.stages}


def _stage_seconds(recipe: Recipe, images: TrainingImages, machine: Machine) -> float:
    (stage,) = recipe.stages
    short = replace(stage, iterations=3 * machine.told_every, find_first=0)
    training = start_training(replace(recipe, stages=(short,)), images, 0, machine)
    if stage.loss == "locate":
        height, width = (-(-side // CELL) for side in images.pixels.shape[-2:])
        training.cells = torch.zeros(len(images.labels), 1, height, width, dtype=torch.uint8)
    times = [time.perf_counter()]
    run_training(training, lambda steps: times.append(time.perf_counter()))
    return (
        statistics.median(after - before for before, after in pairwise(times[1:])) / machine.told_every
    )  # the first steps set up


def _cpu_multiplies_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
