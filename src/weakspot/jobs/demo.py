"""The demonstration: real pictures that come with a package (solar cells), at most 30 bad ones to train on, the rest
kept apart."""

from pathlib import Path
from typing import Any

from weakspot.jobs.observe import Progress
from weakspot.jobs.train import TrainResult, train
from weakspot.settings import TrainSettings, read_settings

BAD = 30  # bad pictures to train on, at most
MINUTES = 5.0  # of training, so that the whole, installation included, ends within ten on a machine that is not idle
HOLD_OUT = 0.5  # half of the cells: a figure from few is worth little


def demo_settings(path: Path | None = None, **overrides: Any) -> TrainSettings:
    """The defaults, but for few bad pictures, little time and many pictures kept apart; the file and the overrides
    win."""
    settings = read_settings(
        TrainSettings, path, **{"positives": BAD, "minutes": MINUTES, "hold_out": HOLD_OUT, **_given(overrides)}
    )
    return settings


def demo(
    settings: TrainSettings, *, output: Path, resume: bool = False, progress: Progress | None = None
) -> TrainResult:
    """Train on the monocrystalline cells of elpv-dataset whose probability of a defect is 0 or 1, and report on the
    others."""
    return train("elpv", settings, layout="elpv", output=output, resume=resume, progress=progress)


def _given(overrides: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in overrides.items() if value is not None}
