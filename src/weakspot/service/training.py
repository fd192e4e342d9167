"""Trainings of a service: on what they may learn, how they begin and go on, and their model among the known ones.

A client names a source by a word that was told to it; nothing that it sends is ever part of a path.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from weakspot.data.layouts import detect_layout
from weakspot.errors import DataError, OutputError, shown
from weakspot.runs import Run
from weakspot.service.detectors import Detectors
from weakspot.service.problems import Problem, missing
from weakspot.service.tasks import RUN, SETTINGS, Task, Tasks
from weakspot.settings import TrainSettings, to_toml

log = logging.getLogger(__name__)
VERDICTS = "verdicts"  # the source that is no folder


@dataclass(frozen=True)
class Source:
    """What may be trained on. name: by which clients mean it; folder: None for the verdicts."""

    name: str
    title: str
    folder: Path | None


class Trainings:
    """What trainings of a service learn from and by which settings, as its administrator gave them."""

    def __init__(self, tasks: Tasks, roots: Sequence[Path], settings: TrainSettings) -> None:
        """Raises OutputError for a root that is no folder."""
        self.tasks, self.settings = tasks, settings
        self._roots = [root.absolute() for root in roots]
        self._gone: set[Path] = set()  # those that could not be listed the last time
        for root in self._roots:
            if not root.is_dir():
                raise OutputError(f"--training-data {shown(root)}: there is no such folder; name one that is there")

    def sources(self) -> list[Source]:
        """The verdicts, and of the allowed folders and those directly in them each that holds labelled pictures."""
        return [Source(VERDICTS, "What people judged here", None), *self._folders()]

    def add(self, source: str, minutes: float | None, by: str) -> str:
        """Begin to look at what a training would learn from → its id. Raises Problem, SettingsError."""
        found = next((each for each in self.sources() if each.name == source), None)
        if found is None:
            raise missing("folder to train on")
        settings = self.settings if minutes is None else replace(self.settings, minutes=minutes)
        folder = None if found.folder is None else str(found.folder)
        title = f"{found.title if folder else VERDICTS}-{datetime.now(UTC):%Y-%m-%d}"
        order = {"folder": folder, "title": title, "from": found.title}
        return self.tasks.add("training", "look", by, order, {SETTINGS: to_toml(settings)})

    def go_on(self, number: str) -> None:
        """Train on what was looked at, or go on where a training was stopped. Raises Problem where there is no more."""
        task = self.tasks.find(number, "training")
        if task.outcome == "done" and task.step == "train":
            raise Problem(409, "finished", "this training is finished; begin another")
        has_looked = task.step == "train" or task.outcome == "done"
        self.tasks.begin(number, "training", "train" if has_looked else "look")

    def register(self, number: str, detectors: Detectors, by: str) -> str:
        """Make the model of a finished training known → its SHA-256; it answers nothing before it is made active."""
        task = self.tasks.find(number, "training")
        if not is_finished(task):
            raise Problem(409, "not-finished", "this training has made no model yet; let it end, or go on with it")
        return detectors.register(run_of(task).model.read_bytes(), by)

    def _folders(self) -> Iterator[Source]:
        for root in self._roots:
            for folder in filter(_is_labelled, self._listed(root)):
                yield Source(sha256(str(folder).encode()).hexdigest()[:32], shown(folder.name), folder)

    def _listed(self, root: Path) -> list[Path]:
        """A root and the folders in it; nothing, which is logged once, while it cannot be listed, as on a share."""
        try:
            inside = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError as error:
            if root not in self._gone:
                log.warning(
                    "--training-data %s: cannot be listed (%s); left out until it can", shown(root), error.strerror
                )
            self._gone.add(root)
            return []
        self._gone.discard(root)
        return [root, *inside]


def is_finished(task: Task) -> bool:
    """Whether a training has made its model."""
    return task.step == "train" and task.outcome == "done"


def run_of(task: Task) -> Run:
    """The run of a training."""
    return Run(task.folder / RUN)


def _is_labelled(folder: Path) -> bool:
    try:
        detect_layout(folder)
    except (DataError, OSError):
        return False
    return True
