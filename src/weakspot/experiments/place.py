"""What the runs of one experiment share, and where records and trainings lie. Reads and writes nothing."""

from dataclasses import dataclass
from pathlib import Path

from weakspot.experiments.experiment import Combination, Experiment, settings_of
from weakspot.progress import Shows
from weakspot.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the runs of one file share: what they are asked for, and where things lie."""

    table: Path
    experiment: Experiment
    results: Path  # records lie in a folder named after the file, trainings in runs/ beside it
    threads: int | None  # of each run; None: as many as cores
    progress: Shows | None

    @property
    def is_word(self) -> bool:
        """Whether the data are those of the package elpv-dataset, and no folder of that name."""
        asked, layout = self.experiment.data, self.experiment.layout
        return asked == "elpv" and layout in ("auto", "elpv") and not (self.table.parent / asked).exists()

    @property
    def data(self) -> str:
        """The folder of the pictures, or the word elpv."""
        return self.experiment.data if self.is_word else str(self.table.parent / self.experiment.data)

    @property
    def layout(self) -> str:
        """How the folder is read."""
        return "elpv" if self.is_word else self.experiment.layout

    @property
    def folder(self) -> Path:
        """Where the records lie, and the table and figure made from them."""
        return self.results / self.table.stem

    def record(self, run: Combination) -> Path:
        """Where the run's record lies once it is done."""
        return self.folder / f"{run.name}.json"

    def training(self, run: Combination) -> Path:
        """Where the run's training lies."""
        return self.results.parent / "runs" / self.table.stem / run.name

    def settings(self, run: Combination) -> TrainSettings:
        """The settings of a run."""
        return settings_of(self.experiment, run, self.threads)

    def note(self, text: str) -> None:
        """A line for whoever looks on."""
        if self.progress:
            self.progress.note(text)
