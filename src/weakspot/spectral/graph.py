"""The large layer of an ONNX graph in the spectral form, put there when the graph is opened.

The model file keeps the plain graph: it is smaller than the kernel's spectrum, any tool can read it, and it is the
form to run where matrix units make bf16 convolutions nearly free. The rewritten graph holds standard operators only,
so every runtime takes it. It fits pictures of one size.
"""

from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from weakspot.errors import ModelFileError
from weakspot.spectral import onnx_format as onnx
from weakspot.spectral import transforms
from weakspot.spectral.onnx_format import Array, Message
from weakspot.spectral.tiles import SMALLEST_KERNEL, Tiling, choose_tiling, gain

PREFIX = "spectral_"  # of the names of all that is added


@dataclass(frozen=True)
class LargeLayer:
    """Convolution, ReLU and 1 × 1 convolution, which follow one another in the graph and are replaced together.

    The 1 × 1 layer belongs to it because the spectral form ends with channels last: only the one channel that is left
    has to be moved into place.
    """

    padded: str  # name of the map that goes in, mirrored at its border
    output: str  # name of the map that comes out
    nodes: tuple[str, ...]  # by what they put out
    weights: tuple[str, ...]  # names of the tensors below
    kernel: NDArray[np.float32]  # (out, in, k, k), batch norm folded in
    bias: NDArray[np.float32]  # (out,)
    point_kernel: NDArray[np.float32]  # (few, out, 1, 1)
    point_bias: NDArray[np.float32]  # (few,)


def in_spectral_form(model: bytes, height: int, width: int) -> bytes:
    """The same ONNX model for pictures of height × width pixels; unchanged where the spectral form gains nothing.

    Any number of pictures may come at once. Raises ModelFileError when the bytes are no ONNX model.
    """
    try:
        read = onnx.read_model(model)
        layer = find_large_layer(read.graph)
    except (DecodeError, ValueError, IndexError) as error:
        raise ModelFileError(f"graph.onnx: not an ONNX model ({error}); make the model file again") from None
    if layer is None or (tiling := worthwhile_tiling(layer, -(-height // 8), -(-width // 8))) is None:
        return model
    return onnx.model_bytes(read, replace_layer(read.graph, layer, tiling))


def find_large_layer(graph: Message) -> LargeLayer | None:
    """The first convolution with a large kernel that ReLU and a 1 × 1 convolution follow; None where there is none."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    if not graph.node:
        raise ValueError("it has no nodes")
    for convolution in graph.node:
        if min(_kernel_sides(convolution, tensors)) < SMALLEST_KERNEL:
            continue
        relu = _only_reader(graph, convolution, "Relu")
        point = relu and _only_reader(graph, relu, "Conv")
        if relu and point and _kernel_sides(point, tensors) == [1, 1]:
            weights = (*convolution.input[1:3], *point.input[1:3])
            outputs = tuple(node.output[0] for node in (convolution, relu, point))
            arrays = (onnx.floats(tensors[name]) for name in weights)
            return LargeLayer(convolution.input[0], outputs[-1], outputs, weights, *arrays)
    return None


def worthwhile_tiling(layer: LargeLayer, height: int, width: int) -> Tiling | None:
    """The best tiling for a map of height × width cells; None where the plain form is faster."""
    outputs, inputs, kernel, _ = layer.kernel.shape
    tiling = choose_tiling(height, width, kernel, (inputs, outputs))
    return tiling if gain(tiling, (inputs, outputs)) > 1 else None


def replace_layer(graph: Message, layer: LargeLayer, tiling: Tiling) -> dict[str, Array]:
    """Put the spectral steps where the last of the layer's three nodes stood; returns the constants that they read."""
    steps, constants = spectral_steps(layer, tiling)
    nodes: list[Message] = []
    for node in graph.node:
        nodes += steps if node.output[0] == layer.output else [] if node.output[0] in layer.nodes else [node]
    graph.ClearField("node")
    graph.node.extend(nodes)
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name in layer.weights:
            del graph.initializer[place]
    return {PREFIX + name: array for name, array in constants.items()}


def spectral_steps(layer: LargeLayer, t: Tiling) -> tuple[list[Message], dict[str, Array]]:
    """The nodes, in order, and the constants that they read (named without PREFIX).

    N stands for the pictures, P for all tiles of all pictures.
    """
    steps, (outputs, inputs) = _Steps(layer.padded), layer.kernel.shape[:2]
    steps.transpose(2, 3, 0, 1)  # (rows and columns of the padded map, N, in)
    steps.reshape((t.height + t.kernel - 1) * (t.width + t.kernel - 1), -1)
    steps.apply("Gather", tile_cells=transforms.tile_cells(t))  # (rows, columns, down, across, N · in)
    steps.reshape(t.rows, -1)
    steps.multiply(rows_in=transforms.rows_in(t))
    steps.reshape(t.half, 2 * t.columns, -1)
    steps.multiply(columns_in=transforms.columns_in(t))
    steps.reshape(t.half, t.columns, 2, 2, -1, inputs)
    steps.transpose(1, 0, 2, 4, 3, 5)  # (columns, half, re or im of the answer, P, re or im of the kernel, in)
    steps.reshape(t.columns, t.half, -1, 2 * inputs)
    steps.apply("MatMul", kernel=transforms.kernel_spectrum(layer.kernel, t))  # (columns, half, 2 · P, out)
    steps.reshape(t.columns, -1)
    steps.multiply(columns_out=transforms.columns_out(t))
    steps.reshape(t.column_step, 4 * t.half, -1)
    steps.multiply(rows_out=transforms.rows_out(t))
    steps.reshape(t.column_step, t.row_step, t.down, t.across, -1, outputs)
    steps.apply("Add", bias=layer.bias)
    steps.apply("Relu")
    steps.apply("MatMul", point_kernel=np.ascontiguousarray(layer.point_kernel[:, :, 0, 0].T))
    steps.apply("Add", point_bias=layer.point_bias)
    steps.transpose(4, 5, 2, 1, 3, 0)  # (N, few, down, row_step, across, column_step)
    steps.reshape(0, 0, t.down * t.row_step, t.across * t.column_step)  # 0: as it was
    steps.apply("Slice", cut_from=_integers(0, 0), cut_to=_integers(t.height, t.width), cut_axes=_integers(2, 3))
    steps.nodes[-1].output[0] = layer.output
    return steps.nodes, steps.constants


class _Steps:
    """A chain of nodes, each of which takes what the last one put out."""

    def __init__(self, start: str) -> None:
        self.last, self.nodes = start, list[Message]()
        self.constants: dict[str, Array] = {}

    def apply(self, operator: str, **constants: Array) -> None:
        """A node that reads what came last, then the constants."""
        self._add(onnx.node(operator, [self.last, *self._read(constants)], self._output))

    def multiply(self, **matrix: NDArray[np.float64]) -> None:
        """A constant matrix times what came last."""
        inputs = self._read({name: values.astype(np.float32) for name, values in matrix.items()})
        self._add(onnx.node("MatMul", [*inputs, self.last], self._output))

    def transpose(self, *order: int) -> None:
        self._add(onnx.node("Transpose", [self.last], self._output, perm=order))

    def reshape(self, *shape: int) -> None:
        self.apply("Reshape", **{f"shape_{len(self.nodes)}": _integers(*shape)})

    @property
    def _output(self) -> str:
        return f"{PREFIX}{len(self.nodes)}"

    def _read(self, constants: dict[str, Array]) -> list[str]:
        self.constants |= constants
        return [PREFIX + name for name in constants]

    def _add(self, node: Message) -> None:
        self.nodes.append(node)
        self.last = node.output[0]


def _integers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _kernel_sides(node: Message, tensors: dict[str, Message]) -> list[int]:
    """Height and width of a convolution's kernel; [0] for any other node."""
    if node.op_type != "Conv" or node.input[1] not in tensors:
        return [0]
    return list(tensors[node.input[1]].dims[2:]) or [0]


def _only_reader(graph: Message, node: Message, operator: str) -> Message | None:
    """The one node that reads another's output, if there is one only and it is of that kind."""
    readers = [other for other in graph.node if node.output[0] in other.input]
    return readers[0] if len(readers) == 1 and readers[0].op_type == operator else None
