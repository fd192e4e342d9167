"""A detector's graph as other programs take it: a picture as the camera gives it in, decision and thresholds inside.

The graph in the model file takes pictures at the detector's size and leaves deciding to weakspot. Here both become
part of it, in operators that every runtime has. It fits pictures of one size: then `fit_image` is two constant
matrices. What `LoadedDetector` refuses (a black picture, one of another product) such a graph judges.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from weakspot.data.reading import area
from weakspot.data.resizing import down_first
from weakspot.inspection.inspection import Decision, Thresholds
from weakspot.inspection.manifest import Manifest
from weakspot.settings import CELL, Size

Target = Literal["onnx", "openvino"]
Constants = dict[str, NDArray[Any]]
ANOMALY = ("pred_score", "pred_label", "anomaly_map", "pred_mask")  # model_api takes these four, and no more
OUTPUTS: dict[Target, tuple[str, ...]] = {
    "onnx": ("raw_score", "heat_score", *ANOMALY, "decision"),
    "openvino": ANOMALY,
}
DECISIONS: tuple[Decision, ...] = ("good", "review", "bad")  # by the number that `decision` gives
BOOLEAN = ("pred_label", "pred_mask")
MAPS = ("anomaly_map", "pred_mask")
FIXED = 2048  # 2^11; Pillow reckons with weights of 22 bits
SMALL = 256  # numbers of a tensor; smaller ones stay fp32, since nothing is saved
# What decides. A raw score that is no number lies below nothing, so it is bad.
DECIDING = """
    below_bad = Less(raw_score, bad_from)
    pred_label = Not(below_bad)
    below_good = Less(raw_score, good_below)
    counted_bad = Cast<to=7>(below_bad)
    counted_good = Cast<to=7>(below_good)
    steps_below = Add(counted_bad, counted_good)
    decision = Sub(two, steps_below)
    anomaly_map = Slice(whole_map, map_from, map_to, map_axes)
    below_region = Less(anomaly_map, region_from)
    pred_mask = Not(below_region)
"""


def build_graph(
    core: bytes, manifest: Manifest, thresholds: Thresholds, picture: Size, target: Target
) -> onnx.ModelProto:
    """`core`, a detector's graph in whatever precision, between what reads a picture and what decides.

    picture: height and width in pixels at which pictures come. Input `image`: for onnx (N, C, H, W), channels as the
    detector's, red first; for openvino (1, H, W, 3), blue first, as OpenCV reads files, for a grey detector too. Values
    are raw, uint8 or uint16 as the detector's.
    """
    made = onnx.load_from_string(core)
    for node in made.graph.node:
        _rename(node.input, "image", "fitted")
        _rename(node.input, "anomaly_map", "whole_map")
        _rename(node.output, "anomaly_map", "whole_map")
    reading, constants = _reading(manifest, picture, target)
    constants |= _deciding_constants(manifest, thresholds, picture)
    nodes = [*_nodes(reading), *made.graph.node, *_nodes(DECIDING.splitlines())]
    for field in ("node", "input", "output"):
        made.graph.ClearField(field)
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    made.graph.input.append(_input(manifest, picture, target))
    made.graph.output.extend(map(_output, OUTPUTS[target]))
    made.graph.name = manifest.name
    onnx.checker.check_model(made)
    return made


def with_half_weights(core: bytes) -> bytes:
    """The same graph with its weights kept in fp16: half the size. Computed with in fp32, so that nothing overflows."""
    made = onnx.load_from_string(core)
    casts = []
    for tensor in made.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALL:
            name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_fp16"))
            casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *made.graph.node]
    made.graph.ClearField("node")
    made.graph.node.extend(nodes)
    return bytes(made.SerializeToString())


def resize_matrix(old: int, new: int, full: int) -> NDArray[np.float64]:
    """Pillow's BILINEAR along one side, (full, old): a triangle as wide as the reduction, at least 1 pixel.

    full: at least `new`; the rest is what the resized side mirrors.
    """
    if old == new:
        weights = np.eye(old)
    else:
        centres = (np.arange(new) + 0.5) * (old / new)
        weights = np.maximum(0, 1 - np.abs(np.arange(old) + 0.5 - centres[:, None]) / max(old / new, 1.0))
        weights *= 1 / weights.sum(1, keepdims=True)
    return np.pad(weights, ((0, full - new), (0, 0)), "symmetric")


def _in_22_bits(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights as the whole numbers that Pillow reckons with."""
    return np.floor(matrix * (FIXED * FIXED) + 0.5)


def _reading(manifest: Manifest, picture: Size, target: Target) -> tuple[list[str], Constants]:
    """`fit_image` from `image` to `fitted`, (N, C, h, w) float, and the constants that it reads."""
    lines, constants = ["numbers = Cast<to=1>(image)"], Constants()
    last = "numbers"
    if target == "openvino":
        more, added = _channels(manifest.channels)
        lines, constants, last = lines + more, constants | added, "planes"
    shown = area(*picture, manifest.size, manifest.fit)
    sides = list(zip(picture, shown, manifest.size))
    order = ((1, "across", 3), (0, "down", 2))
    for side, name, axis in order[::-1] if down_first(picture, shown) else order:
        if len(set(sides[side])) > 1:
            matrix = resize_matrix(*sides[side])
            more, constants[name] = _resizing(name, last, matrix, axis, whole=manifest.bit_depth == 8)
            lines, last = lines + more, f"{name}_done"
    if manifest.bit_depth == 8 and last.endswith("_done"):
        constants |= {"fixed_point": np.array(FIXED, np.float32), "fixed_half": np.array(FIXED / 2, np.float32)}
    return [*lines, f"fitted = {'Identity' if manifest.bit_depth == 8 else 'Round'}({last})"], constants


def _channels(channels: int) -> tuple[list[str], Constants]:
    """From (N, H, W, 3), blue first, to `planes` (N, C, H, W), red first, or grey as `as_grey` has it."""
    lines = ["blue_first = Transpose<perm=[0, 3, 1, 2]>(numbers)"]
    if channels == 3:
        return [*lines, "planes = Gather<axis=1>(blue_first, red_first)"], {"red_first": np.array([2, 1, 0])}
    lines += [
        "grey_weighed = Mul(blue_first, grey_shares)",
        "grey_sum = ReduceSum(grey_weighed, grey_axis)",
        "grey_more = Add(grey_sum, grey_half)",
        "grey_exact = Div(grey_more, grey_whole)",
        "planes = Floor(grey_exact)",
    ]
    return lines, {
        "grey_shares": np.array([7471, 38470, 19595], np.float32).reshape(1, 3, 1, 1),
        "grey_axis": np.array([1]),
        "grey_half": np.array(32768, np.float32),
        "grey_whole": np.array(65536, np.float32),
    }


def _resizing(
    name: str, source: str, matrix: NDArray[np.float64], axis: int, whole: bool
) -> tuple[list[str], NDArray[np.float32]]:
    """A side of (N, C, H, W) times a matrix, and the constant that holds it, named `name`.

    whole: of 8 bits, as Pillow computes it: weights of 22 bits, rounded. Exact in fp32 as two halves of 11 bits each.
    """
    if whole:
        fixed = _in_22_bits(matrix)
        matrix = np.concatenate([fixed // FIXED, fixed % FIXED])
    constant = np.ascontiguousarray(matrix.T if axis == 3 else matrix, np.float32)
    product = f"MatMul({source}, {name})" if axis == 3 else f"MatMul({name}, {source})"
    if not whole:
        return [f"{name}_done = {product}"], constant
    return [
        f"{name}_both = {product}",
        f"{name}_high, {name}_low = Split<axis={axis}, num_outputs=2>({name}_both)",
        f"{name}_low_exact = Div({name}_low, fixed_point)",
        f"{name}_carry = Floor({name}_low_exact)",
        f"{name}_sum = Add({name}_high, {name}_carry)",
        f"{name}_more = Add({name}_sum, fixed_half)",
        f"{name}_exact = Div({name}_more, fixed_point)",
        f"{name}_done = Floor({name}_exact)",
    ], constant


def _deciding_constants(manifest: Manifest, thresholds: Thresholds, picture: Size) -> Constants:
    """What DECIDING reads; the map is cut to what does not lie over mirrored borders."""
    decide = ("bad_from", "good_below", "region_from")
    cells = [-(-side // CELL) for side in area(*picture, manifest.size, manifest.fit)]
    return {
        **{name: np.array(getattr(thresholds, name), np.float32) for name in decide},
        "two": np.array(2),
        "map_from": np.array([0, 0]),
        "map_to": np.array(cells),
        "map_axes": np.array([2, 3]),
    }


def _nodes(lines: Sequence[str]) -> list[Any]:
    """ONNX's own notation, a node a line."""
    return list(onnx.parser.parse_graph("made () => () { " + " ".join(lines) + " }").node)


def _rename(names: Any, old: str, new: str) -> None:
    names[:] = [new if name == old else name for name in names]


def _input(manifest: Manifest, picture: Size, target: Target) -> Any:
    kind = TensorProto.UINT8 if manifest.bit_depth == 8 else TensorProto.UINT16
    shape: list[str | int | None] = ["N", manifest.channels, *picture] if target == "onnx" else [1, *picture, 3]
    return helper.make_tensor_value_info("image", kind, shape)


def _output(name: str) -> Any:
    kind = TensorProto.BOOL if name in BOOLEAN else TensorProto.INT64 if name == "decision" else TensorProto.FLOAT
    shape: list[str | int | None] = ["N", 1, "rows", "columns"] if name in MAPS else ["N"]
    return helper.make_tensor_value_info(name, kind, shape)
