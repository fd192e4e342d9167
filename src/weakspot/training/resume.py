"""A training that can be stopped at any moment and gone on with: checkpoints while it runs, its weights when it is
done."""

import time
from collections.abc import Callable
from pathlib import Path

from weakspot.durable import make_folder
from weakspot.errors import TrainingError
from weakspot.network.detector import Detector
from weakspot.training.checkpoint import NAMES, load_checkpoint, load_weights, save_checkpoint, save_weights
from weakspot.training.loop import Step
from weakspot.training.train import Training, run_training

EVERY = 20.0  # seconds between checkpoints: what a kill may cost


class TrainingStopped(TrainingError):
    """The user, or the system, asked a training to stop; everything needed to go on is on disk."""

    exit_status = 130


def train_resumably(
    training: Training,
    folder: Path,
    identity: str,
    on_step: Callable[[Step], None],
    stop: Callable[[], bool],
    note: Callable[[str], None],
) -> Detector:
    """Train to the end, from the folder's newest checkpoint where there is one. A training that is done is only read
    again.

    identity: hash of everything that shapes the training; checkpoints and weights of another identity, and damaged
    ones, are not used. Raises TrainingStopped when `stop()` says so.
    """
    make_folder(folder)
    try:
        if load_weights(folder, training.detector, identity):
            return training.detector.eval()
    except TrainingError as error:
        note(f"{error}; not used, and trained again")
    number, complaints = load_checkpoint(folder, training, identity)
    for complaint in complaints:
        note(complaint)
    saved, saved_at = number, time.monotonic()

    def tell_and_save(steps: list[Step]) -> None:
        nonlocal saved, saved_at
        for step in steps:
            on_step(step)
        stopping = stop()
        if stopping or time.monotonic() - saved_at > EVERY:
            saved, saved_at = saved + 1, time.monotonic()
            save_checkpoint(folder, training, identity, saved)
        if stopping:
            last = steps[-1]
            raise TrainingStopped(
                f"stopped in stage {last.stage}, pair {last.step} of {last.of}; nothing is lost: go on with --resume"
            )

    detector = run_training(training, tell_and_save)
    save_weights(folder, detector, identity)
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
    return detector
