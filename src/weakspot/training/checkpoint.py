"""Stop anywhere, go on to the same bits: a training on disk, as arrays and JSON in safetensors files. No pickle.

While it runs the last two checkpoints are kept, when it is done its weights. What is damaged, or belongs to another
training, is refused by name: the checkpoint before it is used, or the training begins again.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from weakspot.durable import make_folder, remove_leftovers, write_durably
from weakspot.errors import TrainingError, shown
from weakspot.network.detector import Detector
from weakspot.training.state import StageState, Training

CHECKPOINTS = ("checkpoint-a.bin", "checkpoint-b.bin")
WEIGHTS = "detector.bin"
_HASH_BYTES = 32  # a SHA-256 of the rest stands in front: safetensors itself lets a flipped bit through


class Shelf:
    """Where one training lies on disk.

    identity: hash of everything that shapes the training; what belongs to another one is not used. every: seconds
    between checkpoints, which is what a kill may cost.
    """

    def __init__(self, folder: Path, identity: str, every: float = 20.0) -> None:
        self.folder, self.identity, self.every = folder, identity, every
        self.number, self.saved_at = 0, time.monotonic()
        self.complaints: list[str] = []  # what could not be used, and why
        make_folder(folder)
        remove_leftovers(folder)

    def load_weights(self, detector: Detector) -> bool:
        """Put the weights of a training that is done into a detector; False where there are none to use."""
        found = self._read(WEIGHTS)
        if found is None:
            return False
        _, tensors = found
        if _shapes(tensors) != _shapes(detector.state_dict()):
            self.complaints.append(f"{shown(self.folder / WEIGHTS)}: belongs to another network; not used")
            return False
        detector.load_state_dict(tensors)
        detector.eval()
        return True

    def restore(self, training: Training) -> None:
        """Put the newest whole checkpoint, where there is one, into a freshly started training."""
        read = [found for name in CHECKPOINTS if (found := self._read(name)) is not None]
        if read:
            meta, tensors = max(read, key=lambda found: int(found[0]["number"]))
            self.number = meta["number"]
            _restore(training, meta, tensors)

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is old enough for a new one."""
        return time.monotonic() - self.saved_at > self.every

    def save_checkpoint(self, training: Training) -> None:
        """Write the training beside the checkpoint before, never over it."""
        self.number, self.saved_at = self.number + 1, time.monotonic()
        meta = {"stage": training.stage, "state": training.state.plain(), "number": self.number}
        self._write(CHECKPOINTS[self.number % 2], _tensors(training), meta)

    def save_weights(self, detector: Detector) -> None:
        """Keep what the training came to; its checkpoints go."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
        self._write(WEIGHTS, tensors, {})
        for name in CHECKPOINTS:
            (self.folder / name).unlink(missing_ok=True)

    def _write(self, name: str, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
        data = save(tensors, metadata={"weakspot": json.dumps(meta | {"identity": self.identity})})
        write_durably(self.folder / name, hashlib.sha256(data).digest() + data)

    def _read(self, name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
        """What `_write` wrote; None where there is nothing, or nothing that may be used."""
        path = self.folder / name
        try:
            return _checked(path.read_bytes(), self.identity)
        except FileNotFoundError:
            return None
        except (OSError, TrainingError, SafetensorError, KeyError, ValueError) as error:
            self.complaints.append(f"{shown(path)}: {error}; not used")
            return None


def _checked(content: bytes, identity: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    data = content[_HASH_BYTES:]
    if hashlib.sha256(data).digest() != content[:_HASH_BYTES]:
        raise TrainingError("cut short or altered (its checksum does not fit)")
    length = int.from_bytes(data[:8], "little")
    meta = dict(json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["weakspot"]))
    if meta["identity"] != identity:
        raise TrainingError("belongs to other pictures, groups, settings, or another version")
    return meta, load(data)


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _tensors(training: Training) -> dict[str, torch.Tensor]:
    tensors = {f"detector.{name}": value for name, value in training.detector.state_dict().items()}
    tensors |= {f"momentum.{i:04}": value for i, value in enumerate(training.state.momenta)}
    tensors |= {f"average.{i:04}": value for i, value in enumerate(training.state.averages)}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _restore(training: Training, meta: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    def numbered(kind: str) -> list[torch.Tensor]:
        return [tensors[name] for name in sorted(tensors) if name.startswith(f"{kind}.")]

    weights = {name: tensors[f"detector.{name}"] for name in training.detector.state_dict()}
    training.detector.load_state_dict(weights)
    training.stage = meta["stage"]
    training.state = StageState(**meta["state"], momenta=numbered("momentum"), averages=numbered("average"))
