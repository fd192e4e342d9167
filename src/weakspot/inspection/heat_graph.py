"""The part of a detector's graph from normalized pixels to the heat's logits: what can be computed piece by piece.

Whatever depends on the whole picture (its own mean and deviation, the hottest cells) lies before or after it.
"""

from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
from google.protobuf.message import DecodeError

from weakspot.errors import ModelFileError, quoted, shown
from weakspot.inspection.model_file import ModelFile
from weakspot.settings import CELL
from weakspot.spectral import onnx_format as onnx
from weakspot.spectral.onnx_format import Message

FLOAT = 1  # as ONNX numbers element types
_DATA_INPUT = {"Where": 2}  # by operator, where the map comes in; 0 for all others
# bytes a number in fp32; and copies of each map: itself, and with its mirrored border
_BYTES, _COPIES = 4, 2


@dataclass(frozen=True)
class HeatGraph:
    """A graph `image` (N, C, H, W), normalized float32 → `anomaly_map` (N, 1, ⌈H/8⌉, ⌈W/8⌉), logits.

    Its other outputs are there for runtimes that ask for them.
    """

    graph: bytes
    margin: int  # pixels on each side of a cell that it sees beyond itself, in whole cells
    bytes_a_pixel: float  # of memory that the largest layer takes
    least_deviation: float  # added to a picture's own, raw units; 0 where the training's normalizes


def heat_graph(model: ModelFile) -> HeatGraph:
    """Cut it out of the model's graph. Raises ModelFileError for a graph that is not as training makes them."""
    try:
        read = onnx.read_model(model.graph)
        path = _path(read.graph)
        margin, bytes_a_pixel = _geometry(read.graph, path, model.manifest.channels)
        least = _least_deviation(read.graph, path[0])
        return HeatGraph(_cut_out(read, path), margin, bytes_a_pixel, least)
    except (DecodeError, ValueError, KeyError, IndexError, ArithmeticError) as error:
        found = f"model {shown(model.manifest.name)}: its graph is not one of weakspot's own ({quoted(error)})"
        raise ModelFileError(f"{found}; train again to look at large pictures or to ignore parts of them") from None


def with_graph(model: ModelFile, cut: HeatGraph, size: tuple[int, int]) -> ModelFile:
    """A model that a runtime opens on the cut graph at a size, (height, width)."""
    return replace(model, graph=cut.graph, manifest=model.manifest.model_copy(update={"size": size}))


def _path(graph: Message) -> list[Message]:
    """The nodes that a picture's map goes through, from the division by its deviation to the heat's logits."""
    makers = {output: node for node in graph.node for output in node.output}
    path = [makers[makers["anomaly_map"].input[0]]]
    if path[0].op_type == "Where":  # ignored cells, which are no part of it
        path = [makers[path[0].input[2]]]
    while path[0].op_type != "Div":
        if len(path) > len(graph.node):
            raise ValueError("its nodes run in a circle")
        path.insert(0, makers[path[0].input[_DATA_INPUT.get(path[0].op_type, 0)]])
    if makers[path[0].input[0]].op_type != "Sub":
        raise ValueError("it does not begin with a normalization")
    return path


def _geometry(graph: Message, path: list[Message], channels: int) -> tuple[int, float]:
    """Margin and bytes a pixel. Blocks of pixels that become channels show in the first convolution's."""
    layers = [node for node in path if node.op_type in ("Conv", "MaxPool")]
    names = {node.input[1] for node in layers if node.op_type == "Conv"}
    kernels = {tensor.name: onnx.floats(tensor).shape for tensor in graph.initializer if tensor.name in names}
    step = isqrt(kernels[layers[0].input[1]][1] // channels)
    field, most = step, 0.0
    for node in layers:
        given = {attribute.name: list(attribute.ints) for attribute in node.attribute}
        field += (given["kernel_shape"][0] - 1) * step
        if node.op_type == "Conv":
            most = max(most, _COPIES * _BYTES * sum(kernels[node.input[1]][:2]) / step**2)
        step *= given["strides"][0]
    if step != CELL:
        raise ValueError(f"a cell of {step} pixels")
    if field < CELL or most <= 0:
        raise ValueError(f"a cell sees {field} pixels")
    return -(-(field - CELL) // (2 * CELL)) * CELL, most


def _least_deviation(graph: Message, division: Message) -> float:
    """What is added to a picture's own deviation; 0 where the deviation is a constant, the training's."""
    maker = next((node for node in graph.node if division.input[1] in node.output), None)
    if maker is None or maker.op_type != "Add":
        return 0.0
    (addend,) = (tensor for tensor in graph.initializer if tensor.name in maker.input)
    return float(onnx.floats(addend).item())


def _cut_out(model: Message, path: list[Message]) -> bytes:
    """The model from behind the division, which becomes its input, to the logits."""
    graph, normalized, logits = model.graph, path[0].output[0], path[-1].output[0]
    nodes, wanted = list[Message](), {logits}
    for node in reversed(graph.node):
        if node is not path[0] and wanted & set(node.output) and normalized not in node.output:
            nodes.insert(0, node)
            wanted.update(node.input)
    for node in nodes:
        names = ["image" if name == normalized else name for name in node.input]
        del node.input[:]
        node.input.extend(names)
    nodes.append(onnx.node("Identity", [logits], "anomaly_map"))
    nodes.append(onnx.node("ReduceMax", [logits], "largest"))
    nodes += [onnx.node("Reshape", ["largest", "one_number"], name) for name in ("raw_score", "heat_score")]
    outputs = [output for output in graph.output if output.name != "pred_score"]
    for field, kept in (("node", nodes), ("output", outputs)):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)
    graph.input[0].type.tensor_type.elem_type = FLOAT
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name not in wanted:
            del graph.initializer[place]
    return onnx.model_bytes(model, {"one_number": np.array([-1])})
