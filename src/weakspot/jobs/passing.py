"""Trainings of which nothing is kept but the detector: from a folder in passing, and from pictures in memory."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from weakspot.durable import temporary_folder
from weakspot.inspection.loaded import LoadedDetector
from weakspot.jobs.begin import folds_of
from weakspot.jobs.judge import judge
from weakspot.jobs.learn import learn
from weakspot.jobs.model import build_model, draft_manifest, loaded
from weakspot.jobs.observe import observing
from weakspot.jobs.pictures import Order, Pictures, pictures_in_memory
from weakspot.jobs.plan import plan_training
from weakspot.jobs.recipes import fit_of
from weakspot.jobs.train import train
from weakspot.progress import Shows
from weakspot.settings import TrainSettings
from weakspot.training.machine import choose_machine, prepare, process_as_found


def train_in_passing(data: Path | str, settings: TrainSettings, layout: str, progress: Shows | None) -> LoadedDetector:
    """Train as the verb does, in a folder that goes afterwards. Raises OutputError where none can be made."""
    with temporary_folder() as folder:
        result = train(data, settings, layout=layout, output=folder / "run", progress=progress, lasting=False)
        return LoadedDetector.load(result.model)


def fit_arrays(
    images: Sequence[np.ndarray],
    labels: Sequence[int],
    settings: TrainSettings,
    groups: Sequence[str] | None = None,
    channels: Order = "rgb",
) -> LoadedDetector:
    """A detector from pictures in memory and their labels, 1 bad, 0 good; nothing is kept apart or written.

    images: (H, W) or (H, W, 3), uint8 or uint16, colours in the order of `channels`; groups: each one's physical part.
    """
    names = [f"picture {index}" for index in range(len(images))]
    pictures = pictures_in_memory(images, labels, channels, settings)
    parts = _parts(pictures, names) if groups is None else [str(group) for group in groups]
    with process_as_found(), observing(None, None) as observer:
        machine = choose_machine(settings)
        prepare(machine)
        plan = plan_training(pictures, settings, machine)
        folds = folds_of(None, pictures.labels, parts, settings, observer)
        fitted = pictures.fitted(plan.size, fit_of(settings))
        draft = draft_manifest("arrays", pictures, fitted, settings, plan.machine, "")
        learned = learn(fitted, folds, settings, plan.machine, pictures.light_share, observer)
        return loaded(build_model(draft, learned, judge(learned, pictures.labels, parts, names, settings), fitted))


def _parts(pictures: Pictures, names: list[str]) -> list[str]:
    """Each picture its own part, named after the first one that shows exactly the same."""
    first: dict[str, str] = {}
    digests = [sha256(np.ascontiguousarray(pictures.pixels(number)).data).hexdigest() for number in range(len(names))]
    return [first.setdefault(digest, name) for digest, name in zip(digests, names, strict=True)]
