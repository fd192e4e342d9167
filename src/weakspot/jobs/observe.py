"""What is kept and shown of trainings while they run: history.jsonl, TensorBoard events, heat maps of a few pictures.
Changes nothing."""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol

import numpy as np
import torch
from PIL import Image

from weakspot.durable import told
from weakspot.inspection.overlay import colour
from weakspot.network.detector import Detector
from weakspot.runs import Run
from weakspot.training.images import TrainingImages
from weakspot.training.loop import Step, train_only
from weakspot.training.pairs import View
from weakspot.training.stages import Recipe

log = logging.getLogger(__name__)
FIXED = 2  # pictures of each label whose heat maps are kept
HEAT_MAPS_EVERY = 50  # steps (the paper's Fig. 6 shows such a series)


class Progress(Protocol):
    """Who shows a run to a person."""

    def start(self, stage: str, iterations: int) -> None: ...
    def step(self, values: dict[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...
    def end(self) -> None: ...


class Observer:
    """Watches the trainings of one run, in order. `stop` is set by Ctrl-C and SIGTERM while `interruptible` is open."""

    def __init__(self, run: Run | None, progress: Progress | None) -> None:
        self.run, self.progress = run, progress
        self.stopping = threading.Event()
        self.name, self.stage = "", ""
        self.recipe: Recipe | None = None
        self.fixed: list[tuple[str, torch.Tensor]] = []
        self.history: IO[str] | None = None
        self.events: Any = None

    def begin(self, name: str, chosen: Recipe, images: TrainingImages) -> None:
        """A training begins, or is gone on with."""
        self.name, self.stage, self.recipe = name, "", chosen
        chosen_ones = [(label, index) for label in (1, 0) for index in np.flatnonzero(images.labels == label)[:FIXED]]
        self.fixed = (
            [
                (f"{'bad' if label else 'good'}-{index}", images.batch((View(int(index)),)))
                for label, index in chosen_ones
            ]
            if name == "final"
            else []
        )

    def step(self, detector: Detector, step: Step) -> None:
        """One step of the training that began last."""
        if step.stage != self.stage:
            self._next_stage(step)
        row = {"training": self.name, **step.plain()}
        if self.progress:
            self.progress.step(row)
        self._keep(row)
        if self.events and step.step % 10 == 0:
            for key in (
                "loss",
                "running_loss",
                "learning_rate",
                "gradient_norm",
                "bad_heat",
                "good_heat",
                "bad_score",
                "good_score",
            ):
                self._event(self.events.add_scalar, f"{self.name}/{step.stage}/{key}", getattr(step, key), step.step)
        if self.run and self.fixed and step.step % HEAT_MAPS_EVERY == 0:
            self._keep_heat_maps(detector, step)

    def note(self, text: str) -> None:
        """A line for the person, and for the history."""
        if self.progress:
            self.progress.note(text)
        self._keep({"training": self.name, "note": text})

    def warn(self, text: str) -> None:
        """A note that also reaches who asked for no progress, as a script does."""
        if not self.progress:
            log.warning("%s", text)
        self.note(text)

    def stop(self) -> bool:
        """Whether someone asked to stop."""
        return self.stopping.is_set()

    def _keep(self, row: dict[str, Any]) -> None:
        """A line of the history, at once, so that a full disk shows at the step that does not fit."""
        if self.history and self.run:
            with told(self.run.history):
                self.history.write(json.dumps(row) + "\n")
                self.history.flush()

    def _event(self, add: Callable[..., None], *what: Any) -> None:
        assert self.run is not None
        with told(self.run.events):
            add(*what)

    def _next_stage(self, step: Step) -> None:
        self.stage = step.stage
        if self.progress:
            self.progress.end()
            self.progress.start(f"{self.name} {step.stage}", step.of)

    @torch.no_grad()
    def _keep_heat_maps(self, detector: Detector, step: Step) -> None:
        """The fixed pictures' heat, each as one PNG on the fixed scale from 0 to 1."""
        assert self.run is not None
        trained = tuple(name for name in ("shared", "localization", "decision") if getattr(detector, name).training)
        detector.eval()
        for name, image in self.fixed:
            heat = detector.heat(detector.features(image.to(detector.mean.device))).sigmoid()[0, 0].cpu().numpy()
            picture = Image.fromarray(colour(heat)).resize(
                (heat.shape[1] * 4, heat.shape[0] * 4), Image.Resampling.NEAREST
            )
            with told(self.run.heat_maps):
                self.run.heat_maps.mkdir(exist_ok=True)
                picture.save(self.run.heat_maps / f"{name}-{step.stage}-{step.step:05}.png")
            if self.events:
                self._event(self.events.add_image, f"heat/{name}", np.asarray(picture).transpose(2, 0, 1), step.step)
        train_only(detector, trained)


@contextmanager
def observing(run: Run | None, progress: Progress | None) -> Iterator[Observer]:
    """An observer whose files are open, and which Ctrl-C and SIGTERM ask to stop."""
    observer = Observer(run, progress)
    try:
        with _interruptible(observer.stopping), _quiet_writers():
            if run is not None:
                observer.history, observer.events = _open_history(run), _open_events(run)
            yield observer
    finally:
        for file in (observer.history, observer.events):
            if file is not None:
                with suppress(OSError):  # what did not fit was told when it was written
                    file.close()
        if progress:
            progress.end()


def _open_history(run: Run) -> IO[str]:
    """The history, to be gone on with; a last line that a full disk or a kill has torn is cut off."""
    with told(run.history):
        content = run.history.read_bytes() if run.history.exists() else b""
        if not content.endswith(b"\n") and content:
            os.truncate(run.history, content.rfind(b"\n") + 1)
        return run.history.open("a", encoding="utf-8")


def _open_events(run: Run) -> Any:
    """TensorBoard's writer; None where it is not installed, for it is a convenience, and history.jsonl has
    everything."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    with told(run.events):
        return SummaryWriter(str(run.events))


@contextmanager
def _quiet_writers() -> Iterator[None]:
    """TensorBoard's thread keeps the system's refusal and raises it at the next call, where it is told; its own
    traceback would only confuse."""
    before = threading.excepthook
    threading.excepthook = lambda failed: None if issubclass(failed.exc_type, OSError) else before(failed)
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def _interruptible(stopping: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask to stop at the next step, a second one interrupts at once. Only the main thread can be
    asked."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
