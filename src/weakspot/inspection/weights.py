"""Weights as safetensors, read more strictly than the library does: it lets through duplicate names, NaN, and names or
shapes nobody asked for."""

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

Weights = dict[str, NDArray[Any]]
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
}  # weights and statistics; batch norm's counters
_MAX_HEADER = 2**24  # bytes


def pack_weights(weights: Weights) -> bytes:
    """float32 and int64 arrays by name → a safetensors file."""
    return save({name: np.asarray(array, order="C") for name, array in weights.items()})


def unpack_weights(data: bytes, shapes: dict[str, tuple[int, ...]]) -> Weights:
    """A safetensors file → read-only views of `data`. Raises ValueError unless it holds exactly these names and shapes,
    back to back, all finite."""
    header_size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 0 < header_size <= min(len(data) - 8, _MAX_HEADER):
        raise ValueError("its header is longer than the file")
    header = strict_json(data[8 : 8 + header_size])
    if not isinstance(header, dict) or header.keys() != shapes.keys():
        raise ValueError("the names of its tensors are not those of the manifest")
    weights, offset = {}, 0
    for name in sorted(header, key=lambda name: _begin(header[name])):
        weights[name], size = _tensor(data, 8 + header_size + offset, header[name], shapes[name], offset)
        offset += size
    if 8 + header_size + offset != len(data):
        raise ValueError("bytes follow its last tensor")
    return weights


def strict_json(data: bytes) -> Any:
    """JSON as the standard has it: UTF-8, no key twice, no NaN or infinity. Raises ValueError."""
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("too deeply nested") from None


def _tensor(
    data: bytes, start: int, entry: dict[str, Any], shape: tuple[int, ...], offset: int
) -> tuple[NDArray[Any], int]:
    """One tensor as a view of the file, and its bytes; the entry must say exactly what is expected there."""
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry.get("dtype"), str) else None
    if dtype is None or 0 in shape:
        raise ValueError("a tensor is empty or of another type than float32 and int64")
    size = math.prod(shape) * dtype.itemsize
    if entry != {
        "dtype": entry["dtype"],
        "shape": list(shape),
        "data_offsets": [offset, offset + size],
    } or start + size > len(data):
        raise ValueError("a tensor has another shape or place than the manifest says")
    array = np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("a tensor holds NaN or infinity")
    return array, size


def _begin(entry: Any) -> int:
    match entry:
        case {"data_offsets": [int(begin), int(_)]}:
            return begin
    raise ValueError("a tensor has no place")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not finite")
    return value
