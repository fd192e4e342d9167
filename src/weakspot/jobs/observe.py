"""What is kept and shown of trainings while they run: checkpoints, history.jsonl, TensorBoard events, heat maps.

Changes nothing of what they compute. Whoever asks to stop is heard here, too.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import numpy as np
import torch
from PIL import Image

from weakspot.durable import output_errors, write_durably
from weakspot.errors import TrainingError
from weakspot.inspection.overlay import colour
from weakspot.network.detector import PARTS
from weakspot.progress import Shows
from weakspot.runs import Run
from weakspot.stopping import Stop, asked_to_stop
from weakspot.training.batches import View
from weakspot.training.checkpoint import Shelf
from weakspot.training.loop import train_only
from weakspot.training.state import Step, Training
from weakspot.training.synthetic import contact_sheet

log = logging.getLogger(__name__)
FIXED = 2  # pictures of each label whose heat maps are kept
HEAT_MAPS_EVERY = 30  # steps; all those of the paper's Fig. 6 are among them
CHECKPOINT_EVERY = 20.0  # seconds: what a kill may cost
SETTLED = 40  # steps of a training after which its pace is known
CURVES = ("loss", "running_loss", "learning_rate", "gradient_norm", "bad_heat", "good_heat", "bad_score", "good_score")


class TrainingStopped(TrainingError):
    """The user, or the system, asked a training to stop."""

    exit_status = 130


class Observer:
    """Looks on at the trainings of one run, in order.

    lasting: whether the run's folder will still be there, so that it can be gone on with.
    """

    def __init__(self, run: Run | None, progress: Shows | None, lasting: bool = True) -> None:
        self.run, self.progress, self.lasting = run, progress, lasting and run is not None
        self.stopping = Stop()  # set by Ctrl-C and SIGTERM while it is observed
        self.name, self.stage = "", ""
        self.training: Training | None = None
        self.shelf: Shelf | None = None
        self.fixed: list[tuple[str, torch.Tensor]] = []
        self.history: IO[str] | None = None
        self.events: Any = None
        self.on_pace: Callable[[float], None] | None = None  # is told once how many seconds a step takes
        self.on_kept: Callable[[], None] | None = None  # is called after a checkpoint or the weights are on disk
        self.reported: list[tuple[float, int]] = []  # when steps of this training were reported, and how many

    def begin(self, name: str, training: Training, identity: str) -> bool:
        """A training begins, or is gone on with from its last checkpoint; True where it was done before."""
        self.name, self.stage, self.training, self.shelf, self.reported = name, "", training, None, []
        training.on_steps = self.look_on
        if self.run is not None:
            self.shelf = Shelf(
                self.run.trainings / name.replace(", ", "-").replace(" ", "-"), identity, CHECKPOINT_EVERY
            )
            done = self.shelf.load_weights(training.detector)
            if not done:
                self.shelf.restore(training)
            for complaint in self.shelf.complaints:
                self.note(complaint)
            if done:
                return True
            self._forget_steps_after(training)
        self.fixed = _fixed(training) if name == "final" else []
        if self.run is not None and name == "final" and any(stage.synthetic for stage in training.recipe.stages):
            _write_contact_sheet(self.run, training)
        return False

    def keep(self, training: Training) -> None:
        """A training is done."""
        if self.progress:
            self.progress.end()
        if self.shelf is not None:
            self.shelf.save_weights(training.detector)
            self._tell_kept()

    def look_on(self, steps: list[Step]) -> None:
        """What the loop calls after its steps. Raises TrainingStopped where someone asked to stop."""
        for step in steps:
            self._show(step)
        self._tell_pace(len(steps))
        if self.shelf is not None and self.training is not None and (self.stopping.is_set() or self.shelf.is_due):
            self.shelf.save_checkpoint(self.training)
            self._tell_kept()
        self.heed(f" in stage {steps[-1].stage}, step {steps[-1].step} of {steps[-1].of}")

    def _tell_kept(self) -> None:
        if self.on_kept is not None:
            self.on_kept()

    def _tell_pace(self, steps: int) -> None:
        if self.on_pace is None:
            return
        self.reported.append((time.monotonic(), steps))
        times, counts = zip(*self.reported, strict=True)
        if sum(counts) >= SETTLED and len(times) > 2:
            on_pace, self.on_pace = self.on_pace, None
            on_pace(float(np.median(np.diff(times) / counts[1:])))

    def heed(self, where: str = "") -> None:
        """Raise TrainingStopped where someone asked to stop."""
        if self.stopping.is_set():
            way_on = "nothing is lost: go on with --resume" if self.lasting else "nothing of it is kept"
            raise TrainingStopped(f"stopped{where}; {way_on}")

    def note(self, text: str) -> None:
        """A line for the person, and for the history."""
        if self.progress:
            self.progress.note(text)
        self._write({"training": self.name, "note": text})

    def warn(self, text: str) -> None:
        """A note that also reaches who asked for no progress, as a script does."""
        if not self.progress:
            log.warning("%s", text)
        self.note(text)

    def _show(self, step: Step) -> None:
        if step.stage != self.stage:
            self._next_stage(step)
        row = {"training": self.name, **step.plain()}
        if self.progress:
            self.progress.step(row)
        self._write(row)
        if self.events and step.step % 10 == 0:
            for key in CURVES:
                self._event(self.events.add_scalar, f"{self.name}/{step.stage}/{key}", getattr(step, key), step.step)
        if self.run and self.fixed and step.step % HEAT_MAPS_EVERY == 0:
            self._write_heat_maps(self.run, step)

    def _next_stage(self, step: Step) -> None:
        self.stage = step.stage
        if self.progress:
            self.progress.end()
            self.progress.start(f"{self.name} {step.stage}", step.of)

    def _write(self, row: dict[str, Any]) -> None:
        """A line of the history, at once, so that a full disk shows at the step that does not fit."""
        if self.history and self.run:
            with output_errors(self.run.history):
                self.history.write(json.dumps(row) + "\n")
                self.history.flush()

    def _event(self, add: Callable[..., None], *what: Any) -> None:
        assert self.run is not None
        with output_errors(self.run.events):
            add(*what)

    def _forget_steps_after(self, training: Training) -> None:
        """Drop from the history what this training did after its last checkpoint: a killed one had gone on."""
        if not (self.history and self.run):
            return
        stages = [stage.name for stage in training.recipe.stages]
        taken_up = training.stage, training.state.step
        with output_errors(self.run.history):
            lines = self.run.history.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not _is_later(line, self.name, stages, taken_up)]
        if len(kept) < len(lines):
            self.history.close()
            write_durably(self.run.history, b"".join(kept))
            self.history = _open_history(self.run)

    @torch.no_grad()
    def _write_heat_maps(self, run: Run, step: Step) -> None:
        """The fixed pictures' heat, each as one PNG on the fixed scale from 0 to 1."""
        assert self.training is not None
        detector = self.training.detector
        learning = tuple(name for name in PARTS if getattr(detector, name).training)
        detector.eval()
        for name, image in self.fixed:
            heat = detector.heat(detector.features(image.to(detector.mean.device))).sigmoid()[0, 0].cpu().numpy()
            size = heat.shape[1] * 4, heat.shape[0] * 4
            picture = Image.fromarray(colour(heat)).resize(size, Image.Resampling.NEAREST)
            with output_errors(run.heat_maps):
                run.heat_maps.mkdir(exist_ok=True)
                picture.save(run.heat_maps / f"{name}-{step.stage}-{step.step:05}.png")
            if self.events:
                self._event(self.events.add_image, f"heat/{name}", np.asarray(picture).transpose(2, 0, 1), step.step)
        train_only(detector, learning)


def _is_later(line: bytes, name: str, stages: list[str], taken_up: tuple[int, int]) -> bool:
    """Whether a line of the history is a step of the training of that name, after the stage and step it is taken up."""
    try:
        row = json.loads(line)
        return row["training"] == name and (stages.index(row["stage"]), row["step"]) > taken_up
    except (ValueError, KeyError, TypeError):  # a note, or what somebody else wrote
        return False


def _fixed(training: Training) -> list[tuple[str, torch.Tensor]]:
    """The first pictures of each label, named."""
    images = training.images
    places = [
        (word, int(i))
        for word, label in (("bad", 1), ("good", 0))
        for i in np.flatnonzero(images.labels == label)[:FIXED]
    ]
    return [(f"{word}-{index}", images.seen((View(index),))) for word, index in places]


def _write_contact_sheet(run: Run, training: Training) -> None:
    """Defects as the training draws them, their cells outlined, for a person to judge."""
    images = training.images
    good = [images.pixels[index] for index in np.flatnonzero(images.labels == 0)]
    sheet = contact_sheet(good, np.random.default_rng(training.seed), images.std, ignored=images.ignored)
    with output_errors(run.contact_sheet):
        Image.fromarray(sheet).save(run.contact_sheet)


@contextmanager
def observing(run: Run | None, progress: Shows | None, lasting: bool = True) -> Iterator[Observer]:
    """An observer whose files are open, and which Ctrl-C and SIGTERM ask to stop."""
    observer = Observer(run, progress, lasting)
    try:
        with asked_to_stop() as observer.stopping, _quiet_writers():
            if run is not None:
                observer.history, observer.events = _open_history(run), _open_events(run)
            yield observer
    finally:
        for file in (observer.history, observer.events):
            if file is not None:
                with suppress(OSError):  # what did not fit was said when it was written
                    file.close()
        if progress:
            progress.end()


def _open_history(run: Run) -> IO[str]:
    """The history, to be gone on with; a last line that a full disk or a kill has torn is cut off."""
    with output_errors(run.history):
        content = run.history.read_bytes() if run.history.exists() else b""
        if not content.endswith(b"\n") and content:
            os.truncate(run.history, content.rfind(b"\n") + 1)
        return run.history.open("a", encoding="utf-8")


def _open_events(run: Run) -> Any:
    """TensorBoard's writer; None where it is not installed: history.jsonl has everything that it shows."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    with output_errors(run.events):
        return SummaryWriter(str(run.events))


@contextmanager
def _quiet_writers() -> Iterator[None]:
    """No traceback of TensorBoard's thread: it keeps the system's refusal and raises it at the next call."""
    before = threading.excepthook
    threading.excepthook = lambda failed: None if issubclass(failed.exc_type, OSError) else before(failed)
    try:
        yield
    finally:
        threading.excepthook = before
