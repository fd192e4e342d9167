"""Stop anywhere, go on to the same bits: everything a training is, as arrays and JSON in one safetensors file. No
pickle.

The last two are kept. A checkpoint that is damaged, or belongs to other pictures or settings, is refused by name, and
the one before it is used. Of a training that is done the weights are kept, under the same two conditions.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from weakspot.durable import write_durably
from weakspot.errors import TrainingError, shown
from weakspot.network.detector import Detector
from weakspot.training.loop import StageState
from weakspot.training.train import Training

_HASH_BYTES = 32  # a SHA-256 of the rest stands in front: safetensors itself lets a flipped bit through
NAMES = ("checkpoint-a.bin", "checkpoint-b.bin")
WEIGHTS, SEAL = "detector.safetensors", "detector.json"


def save_checkpoint(folder: Path, training: Training, identity: str, number: int) -> Path:
    """Write the training beside the earlier checkpoint, never over it. identity: hash of pictures and settings; number:
    grows with each save."""
    meta = {"stage": training.stage, "state": training.state.plain(), "identity": identity, "number": number}
    data = save(_tensors(training), metadata={"weakspot": json.dumps(meta)})
    path = folder / NAMES[number % 2]
    write_durably(path, hashlib.sha256(data).digest() + data)
    return path


def load_checkpoint(folder: Path, training: Training, identity: str) -> tuple[int, list[str]]:
    """Put the newest whole checkpoint into a freshly started training → its number (0 where there is none) and what was
    wrong with others."""
    found: list[tuple[int, dict[str, Any], bytes]] = []
    complaints: list[str] = []
    for path in (folder / name for name in NAMES):
        try:
            data = _checked_bytes(path)
            meta = _meta(data)
            if meta["identity"] != identity:
                raise TrainingError("belongs to other pictures or settings")
            found.append((meta["number"], meta, data))
        except FileNotFoundError:
            continue
        except (TrainingError, SafetensorError, KeyError, ValueError) as error:
            complaints.append(f"{shown(path)}: {error}; not used")
    if not found:
        return 0, complaints
    number, meta, data = max(found, key=lambda entry: entry[0])
    _restore(training, meta, load(data))
    return number, complaints


def save_weights(folder: Path, detector: Detector, identity: str) -> None:
    """Keep what a training came to. Weights without their seal count as none, so it is written last."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()})
    write_durably(folder / WEIGHTS, data)
    write_durably(
        folder / SEAL, json.dumps({"identity": identity, "sha256": hashlib.sha256(data).hexdigest()}).encode()
    )


def load_weights(folder: Path, detector: Detector, identity: str) -> bool:
    """Put the weights of a training that is done into a detector; False where there are none. Raises TrainingError
    where they must not be used."""
    path = folder / WEIGHTS
    if not path.exists():
        return False
    try:
        seal = json.loads((folder / SEAL).read_bytes())
        data = path.read_bytes()
        if seal["identity"] != identity:
            raise TrainingError("belongs to other pictures or settings")
        if seal["sha256"] != hashlib.sha256(data).hexdigest():
            raise TrainingError("cut short or altered (its checksum does not fit)")
        tensors = load(data)
        if _shapes(tensors) != _shapes(detector.state_dict()):
            raise TrainingError("belongs to another network")
    except TrainingError as error:
        raise TrainingError(f"{shown(path)}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise TrainingError(
            f"{shown(path)}: {SEAL} beside it is missing or damaged, so nothing tells which training it is of"
        ) from None
    detector.load_state_dict(tensors)
    return True


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _tensors(training: Training) -> dict[str, torch.Tensor]:
    tensors = {f"detector.{name}": value for name, value in training.detector.state_dict().items()}
    tensors |= {f"momentum.{i:04}": value for i, value in enumerate(training.state.momenta)}
    tensors |= {f"average.{i:04}": value for i, value in enumerate(training.state.averages)}
    tensors["random"] = torch.get_rng_state()
    if training.machine.device == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    if training.cells is not None:
        tensors["cells"] = training.cells
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _restore(training: Training, meta: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    prefix = "detector."
    training.detector.load_state_dict(
        {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    )
    training.stage = meta["stage"]
    training.state = StageState(
        **meta["state"],
        momenta=[tensors[name] for name in sorted(tensors) if name.startswith("momentum.")],
        averages=[tensors[name] for name in sorted(tensors) if name.startswith("average.")],
    )
    training.cells = tensors.get("cells")
    torch.set_rng_state(tensors["random"])
    if "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])


def _checked_bytes(path: Path) -> bytes:
    data = path.read_bytes()
    if hashlib.sha256(data[_HASH_BYTES:]).digest() != data[:_HASH_BYTES]:
        raise TrainingError("cut short or altered (its checksum does not fit)")
    return data[_HASH_BYTES:]


def _meta(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return dict(json.loads(header["__metadata__"]["weakspot"]))
