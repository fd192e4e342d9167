"""weakspot finds surface defects, taught by images labelled good or bad.

Importing it loads nothing: each name fetches what it needs when it is first used, so that inspecting never loads torch.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weakspot.estimator import WeakspotClassifier
    from weakspot.inspection.fastest import AskedPrecision as Precision
    from weakspot.inspection.inspection import Inspection
    from weakspot.inspection.loaded import LoadedDetector
    from weakspot.inspection.runtimes import Memory
    from weakspot.inspection.runtimes import Name as Runtime

# before anything imports onnxruntime, which would keep a record of itself in the home folder
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Inspection", "WeakspotClassifier", "__version__", "load", "train"]

_HOMES = {"Inspection": "weakspot.inspection.inspection", "WeakspotClassifier": "weakspot.estimator"}


def load(
    path: Path | str,
    runtime: "Runtime" = "auto",
    precision: "Precision" = "auto",
    memory: "Memory" = "fast",
    threads: int | None = None,
) -> "LoadedDetector":
    """The detector in a model file, ready to `inspect`. Raises ModelFileError, SettingsError.

    runtime: auto (what was measured to be fastest here), onnxruntime or openvino; precision: auto, fp32 or bf16, with
    the decisions of fp32; memory: fast, or small for less of it in more time; threads: None for as many as this
    process may use.
    """
    from weakspot.inspection.loaded import LoadedDetector

    return LoadedDetector.load(path, runtime, threads, precision, memory)


def train(
    data: Path | str,
    *,
    output: Path | str | None = None,
    settings: Path | str | None = None,
    layout: str = "auto",
    resume: bool = False,
    progress: Any = None,
    **overrides: Any,
) -> "LoadedDetector":
    """Train on a folder of labelled images, as `weakspot train` does, and return the detector.

    output: the run's folder, which keeps model, report and records; None: nothing is kept but the detector, which
    `save` writes. settings: a TOML file; overrides: fields of TrainSettings (positives=10, size=(704, 256), seed=1, …),
    which win over it. Raises SettingsError, DataError, TrainingError.
    """
    from weakspot.jobs.passing import train_in_passing
    from weakspot.jobs.train import train as run
    from weakspot.settings import TrainSettings, read_settings

    chosen = read_settings(TrainSettings, None if settings is None else Path(settings), **overrides)
    if output is None:
        return train_in_passing(data, chosen, layout, progress)
    return load(run(data, chosen, layout=layout, output=Path(output), resume=resume, progress=progress).model)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("weakspot")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'weakspot' has no attribute {name!r}; it offers {', '.join(__all__)}")
