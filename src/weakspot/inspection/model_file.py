"""`*.weakspot`: a trained detector in one file, written whole or not at all, and refused when it was altered since.

Members, in this order: manifest.json, manifest.sha256, weights.safetensors, graph.onnx, selftest.png, card.md;
docs/model_file.md has the details. A checksum shows accidents, not forgeries: whoever can write the file can also write
its checksums.
"""

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from weakspot.durable import output_errors, replacing
from weakspot.errors import ModelFileError, WeakspotError, quoted, shown
from weakspot.inspection.container import COPY_AGAIN, altered, file_sha256, open_regular, pack, unpack
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.manifest import FORMAT_VERSION, Manifest, ThresholdRecord
from weakspot.inspection.selftest import check_selftest
from weakspot.inspection.weights import Weights, pack_weights, strict_json, unpack_weights

MANIFEST, CHECKSUM = "manifest.json", "manifest.sha256"
WEIGHTS, GRAPH, SELFTEST, CARD = "weights.safetensors", "graph.onnx", "selftest.png", "card.md"
MEMBERS = [MANIFEST, CHECKSUM, WEIGHTS, GRAPH, SELFTEST, CARD]  # in this order
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A model file's content in memory. sha256: of the whole file, empty as long as it was neither written nor read."""

    manifest: Manifest
    weights: Weights = field(repr=False)  # float32 and int64
    graph: bytes = field(repr=False)  # ONNX: raw pixels in, scores and heat map out
    selftest: bytes = field(repr=False)  # PNG, by `encode_selftest`
    card: str = field(repr=False)  # Markdown
    sha256: str = ""

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds in force."""
        return self.manifest.thresholds.in_force()


def write_model_file(path: Path, model: ModelFile) -> ModelFile:
    """Write `model` under `path` → the model as its reader will get it: hashes, shapes and SHA-256 filled in.

    Raises ModelFileError when it would be refused on reading (NaN in the weights, say) and OutputError when the place
    cannot be written; an earlier file stays as it was in both cases. Whoever might read that may read this one.
    """
    members = _members(model)
    checked = _checked_model(path, _manifest(members[MANIFEST], path), members, sha256="")
    with replacing(path) as file:
        if path.exists():
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
        pack(members, file)
        return replace(checked, sha256=file_sha256(file))


def read_model_file(path: Path) -> ModelFile:
    """Read and check a model file: form, version, every hash, exact tensors, finiteness. Executes nothing of it.

    Takes less than twice the file's size in memory. Links, pipes and devices are refused. Raises ModelFileError.
    """
    members, sha256 = unpack(path, MANIFEST)
    if members.get(CHECKSUM, b"").decode("latin-1") != _sha256(members[MANIFEST]):
        raise altered(path, f"{MANIFEST} does not fit its checksum")
    return _checked_model(path, _manifest(members[MANIFEST], path), members, sha256)


def set_thresholds(path: Path, choose: Callable[[Manifest], Thresholds], reason: str) -> ModelFile:
    """Change the thresholds in a model file to what `choose` makes of its manifest; weights and graph stay as they are.

    The earlier ones stay among the changes, and the card says so. Of several changes at a time each builds on the one
    before. Raises what `choose` raises, ModelFileError and OutputError; the file then stays as it was.
    """
    with _held(path):
        model = read_model_file(path)
        record = model.manifest.thresholds.changed_to(choose(model.manifest), reason)
        manifest = model.manifest.model_copy(update={"thresholds": record})
        return write_model_file(path, replace(model, manifest=manifest, card=model.card + _told(record)))


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """The model file at a path is this block's to change; who else wants to waits."""
    open_regular(path).close()
    while True:
        with output_errors(path):
            file = open(path, "r+b")  # noqa: SIM115  # closed below
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):  # else it was replaced while this waited
                yield
                return


def _told(record: ThresholdRecord) -> str:
    """The newest change, for the end of the card."""
    change = record.changes[-1]
    now = f"bad from {record.bad_from:.3f}, good below {record.good_below:.3f}"
    return f"\nThresholds changed {change.time}: {now} ({' '.join(change.reason.split())}).\n"


def _members(model: ModelFile) -> dict[str, bytes]:
    """The file's members in order, the manifest completed with their hashes."""
    content = {
        WEIGHTS: pack_weights(model.weights),
        GRAPH: bytes(model.graph),
        SELFTEST: bytes(model.selftest),
        CARD: model.card.encode("utf-8"),
    }
    shapes = {name: array.shape for name, array in sorted(model.weights.items())}
    manifest = model.manifest.model_copy(
        update={"tensors": shapes, "members": {name: _sha256(data) for name, data in content.items()}}
    )
    text = json.dumps(manifest.as_dict(), indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8")
    return {MANIFEST: text, CHECKSUM: _sha256(text).encode("ascii"), **content}


def _manifest(data: bytes, path: Path) -> Manifest:
    """manifest.json, of this version and with nothing missing, unknown or of another type."""
    plain = _checked(path, MANIFEST, lambda: strict_json(data))
    version = plain.get("format_version") if isinstance(plain, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelFileError(
            f"{shown(path)}: was written by a newer weakspot "
            f"(format version {version}; this one reads {FORMAT_VERSION}); update weakspot to use it"
        )
    return _checked(path, MANIFEST, lambda: Manifest.model_validate_json(data, strict=True))


def _checked_model(path: Path, manifest: Manifest, members: dict[str, bytes], sha256: str) -> ModelFile:
    """The members against the manifest: hashes first, then what they hold."""
    content = {name: data for name, data in members.items() if name not in (MANIFEST, CHECKSUM)}
    if list(members) != MEMBERS or manifest.members.keys() != content.keys():
        raise _unfit(path, MANIFEST, f"the members of this format are {', '.join(MEMBERS)}")
    for name, data in content.items():
        if _sha256(data) != manifest.members[name]:
            raise _unfit(path, name, "its SHA-256 is not the manifest's")
    weights = _checked(path, WEIGHTS, lambda: unpack_weights(content[WEIGHTS], manifest.tensors))
    _checked(
        path, SELFTEST, lambda: check_selftest(content[SELFTEST], manifest.size, manifest.channels, manifest.bit_depth)
    )
    card = _checked(path, CARD, lambda: content[CARD].decode("utf-8"))
    return ModelFile(manifest, weights, content[GRAPH], content[SELFTEST], card, sha256)


def _checked(path: Path, member: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _unfit(path, member, f"{'.'.join(str(part) for part in first['loc']) or 'it'}: {first['msg']}") from None
    except (ValueError, WeakspotError) as error:
        raise _unfit(path, member, str(error)) from None


def _unfit(path: Path, member: str, finding: str) -> ModelFileError:
    return ModelFileError(f"{shown(path)}: {member} is not as this format asks ({quoted(finding)}); {COPY_AGAIN}")


def _sha256(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()
