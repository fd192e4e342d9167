"""The demonstration: real pictures that come with a package (solar cells), few bad ones to train, many kept apart."""

from pathlib import Path
from typing import Any

from weakspot.jobs.train import TrainResult, train
from weakspot.progress import Shows
from weakspot.settings import TrainSettings, read_settings

BAD = 30  # bad pictures to train on, at most
MINUTES = 4.0  # of training, so that the whole, installation included, ends well within ten on any two cores
HOLD_OUT = 0.5  # half of the cells: a figure from few is worth little


def demo_settings(path: Path | None = None, **overrides: Any) -> TrainSettings:
    """The defaults, but for few bad pictures, little time and many kept apart; the file and the overrides win."""
    given = {key: value for key, value in overrides.items() if value is not None}
    return read_settings(TrainSettings, path, **{"positives": BAD, "minutes": MINUTES, "hold_out": HOLD_OUT, **given})


def demo(settings: TrainSettings, *, output: Path, resume: bool = False, progress: Shows | None = None) -> TrainResult:
    """Train on the monocrystalline cells of elpv-dataset that are surely good or bad, and report on the others."""
    return train("elpv", settings, layout="elpv", output=output, resume=resume, progress=progress)
