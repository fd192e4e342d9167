"""Weights as safetensors, and the checks that the library leaves out: names and keys that nobody asked for, NaN,
numbers so small that processors take a hundred times as long for them."""

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

Weights = dict[str, NDArray[Any]]
_DTYPES = (np.float32, np.int64)  # weights and statistics; batch norm's counters


def pack_weights(weights: Weights) -> bytes:
    """float32 and int64 arrays by name → a safetensors file. What is denormal becomes 0: a variance that faded away."""
    plain = {name: np.asarray(array, order="C") for name, array in weights.items()}
    return save({name: np.where(_denormal(array), array.dtype.type(0), array) for name, array in plain.items()})


def unpack_weights(data: bytes, shapes: dict[str, tuple[int, ...]]) -> Weights:
    """A safetensors file → its arrays.

    Raises ValueError unless it holds exactly these names and shapes, all finite and none denormal.
    """
    try:
        weights: Weights = load(data)
    except (SafetensorError, KeyError) as error:  # KeyError: a type that numpy does not have
        raise ValueError(f"it is no safetensors file ({error})") from None
    header = strict_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
    if header.keys() != shapes.keys():
        raise ValueError("the names of its tensors are not those of the manifest")
    for name, array in weights.items():
        if array.dtype not in _DTYPES or array.shape != shapes[name]:
            raise ValueError(f"tensor {name} is {array.dtype} {array.shape}, not as the manifest says")
        if not np.isfinite(array).all():
            raise ValueError(f"tensor {name} holds NaN or infinity")
        if _denormal(array).any():
            raise ValueError(f"tensor {name} holds denormal numbers")
    return weights


def _denormal(array: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((array != 0) & (np.abs(array) < np.finfo(np.float32).tiny))


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
