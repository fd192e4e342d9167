"""The large layer of an ONNX graph in the spectral form, put there when the graph is loaded.

The file keeps the plain graph: it is smaller than the kernel's spectrum, any tool can read it, and it is the form to
run where matrix units make bf16 convolutions nearly free. The rewritten graph holds standard operators only, so every
runtime takes it. It fits pictures of one size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weakspot.errors import ModelFileError
from weakspot.inspection import onnx_bytes as onnx
from weakspot.inspection.onnx_bytes import Message
from weakspot.inspection.spectral import Tiling, Transforms, choose_tiling, kernel_spectrum, plain_cost, spectral_cost

Array = NDArray[np.float32] | NDArray[np.int64]
SMALLEST_KERNEL = 7  # below it the plain form won at every size tried
PREFIX = "spectral_"  # of the names of all that is added


@dataclass(frozen=True)
class LargeLayer:
    """Convolution, ReLU and 1 × 1 convolution, which follow one another in the graph and are replaced together.

    The 1 × 1 layer belongs to it because the spectral form ends with channels last: only the one channel that is left
    has to be moved into place.
    """

    nodes: tuple[str, ...]  # by what they put out
    weights: tuple[str, ...]  # their tensors' names
    padded: str  # the map that goes in, mirrored at its border
    kernel: NDArray[np.float32]  # (out, in, k, k), batch norm folded in
    bias: NDArray[np.float32]  # (out,)
    point_kernel: NDArray[np.float32]  # (out, few)
    point_bias: NDArray[np.float32]  # (few,)

    @property
    def output(self) -> str:
        """The map that comes out."""
        return self.nodes[-1]


def spectral_graph(model: bytes, height: int, width: int, images: int = 1) -> bytes:
    """The same ONNX model for pictures of height × width pixels, with its large layer in the spectral form, or
    unchanged where that gains nothing.

    images: how many usually come at once, for the choice of tiles; any number may. Raises ModelFileError when the bytes
    are not an ONNX model.
    """
    try:
        fields = onnx.read_message(model)
        graph = onnx.messages(fields, onnx.MODEL_GRAPH)[0]
        layer = find_large_layer(graph)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ModelFileError(f"graph.onnx: not an ONNX model ({error}); make the model file again") from None
    if layer is None:
        return model
    tiling = worthwhile_tiling(layer, -(-height // 8), -(-width // 8), images)
    if tiling is None:
        return model
    rewritten = replace_layer(graph, layer, tiling)
    return onnx.write_message(
        [(n, wire, rewritten if n == onnx.MODEL_GRAPH else content) for n, wire, content in fields]
    )


def find_large_layer(graph: Message) -> LargeLayer | None:
    """The first convolution with a large kernel that a padding leads to and ReLU and a 1 × 1 convolution follow; None
    where there is none."""
    tensors = {onnx.text(tensor, onnx.TENSOR_NAME): tensor for tensor in onnx.messages(graph, onnx.GRAPH_INITIALIZER)}
    nodes = onnx.messages(graph, onnx.GRAPH_NODE)
    for convolution in (node for node in nodes if _operator(node) == "Conv"):
        kernel = onnx.shape(tensors.get(_inputs(convolution)[1], []))
        if len(kernel) != 4 or min(kernel[2:]) < SMALLEST_KERNEL or not _is_padded(nodes, convolution):
            continue
        relu = _only_reader(nodes, convolution, "Relu")
        point = relu and _only_reader(nodes, relu, "Conv")
        if relu and point and onnx.shape(tensors.get(_inputs(point)[1], []))[2:] == (1, 1):
            return _layer(convolution, relu, point, tensors)
    return None


def worthwhile_tiling(layer: LargeLayer, height: int, width: int, images: int) -> Tiling | None:
    """The best tiling for a map of height × width cells; None where the plain form is faster."""
    channels, kernel = (layer.kernel.shape[1], layer.kernel.shape[0]), layer.kernel.shape[2]
    tiling = choose_tiling(height, width, kernel, channels, images)
    faster = spectral_cost(tiling, channels, images) < plain_cost(height, width, kernel, channels, images)
    return tiling if faster else None


def replace_layer(graph: Message, layer: LargeLayer, tiling: Tiling) -> Message:
    """The graph with the layer's three nodes replaced by the spectral steps, which stand where the last of them
    stood."""
    steps, constants = spectral_steps(layer, tiling)
    nodes: list[Message] = []
    for node in onnx.messages(graph, onnx.GRAPH_NODE):
        output = onnx.text(node, onnx.NODE_OUTPUT)
        nodes += steps if output == layer.output else [] if output in layer.nodes else [node]
    tensors = [
        tensor
        for tensor in onnx.messages(graph, onnx.GRAPH_INITIALIZER)
        if onnx.text(tensor, onnx.TENSOR_NAME) not in layer.weights
    ]
    tensors += [onnx.tensor(PREFIX + name, array) for name, array in constants.items()]
    rest = [field for field in graph if field[0] not in (onnx.GRAPH_NODE, onnx.GRAPH_INITIALIZER)]
    return rest + onnx.fields(onnx.GRAPH_NODE, nodes) + onnx.fields(onnx.GRAPH_INITIALIZER, tensors)


def spectral_steps(layer: LargeLayer, tiling: Tiling) -> tuple[list[Message], dict[str, Array]]:
    """The nodes, in order, and the constants that they read (named without PREFIX). P stands for all tiles of all
    pictures, N for pictures."""
    t, transforms, steps = tiling, Transforms(tiling), _Steps(layer.padded)
    outputs, inputs = layer.kernel.shape[:2]
    steps.transpose(2, 3, 0, 1)  # (rows and columns of the padded map, N, in)
    steps.reshape((t.height + t.kernel - 1) * (t.width + t.kernel - 1), -1)
    steps.read("Gather", "tile_cells", transforms.tile_cells())  # (rows, columns, down, across, N · in)
    steps.reshape(t.rows, -1)
    steps.multiply("rows_in", transforms.rows_in)
    steps.reshape(t.half, 2 * t.columns, -1)
    steps.multiply("columns_in", transforms.columns_in)
    steps.reshape(t.half, t.columns, 2, 2, -1, inputs)
    steps.transpose(1, 0, 2, 4, 3, 5)  # (columns, half, re or im of the answer, P, re or im of the kernel, in)
    steps.reshape(t.columns, t.half, -1, 2 * inputs)
    steps.read("MatMul", "kernel", kernel_spectrum(layer.kernel, transforms))  # (columns, half, 2 · P, out)
    steps.reshape(t.columns, -1)
    steps.multiply("columns_out", transforms.columns_out)
    steps.reshape(t.column_step, 4 * t.half, -1)
    steps.multiply("rows_out", transforms.rows_out)
    steps.reshape(t.column_step, t.row_step, t.down, t.across, -1, outputs)
    steps.read("Add", "bias", layer.bias)
    steps.apply("Relu")
    steps.read("MatMul", "point_kernel", layer.point_kernel)
    steps.read("Add", "point_bias", layer.point_bias)
    steps.transpose(4, 5, 2, 1, 3, 0)  # (N, few, down, row_step, across, column_step)
    steps.reshape(0, 0, t.down * t.row_step, t.across * t.column_step)  # 0: as it was
    steps.cut(t.height, t.width, layer.output)
    return steps.nodes, steps.constants


class _Steps:
    """A chain of nodes, each of which takes what the last one put out."""

    def __init__(self, start: str) -> None:
        self.last, self.nodes = start, list[Message]()
        self.constants: dict[str, Array] = {}

    def apply(
        self, operator: str, *before: str, after: tuple[str, ...] = (), output: str = "", **attributes: tuple[int, ...]
    ) -> None:
        output = output or f"{PREFIX}{len(self.nodes)}"
        self.nodes.append(onnx.node(operator, [*before, self.last, *after], output, **attributes))
        self.last = output

    def constant(self, name: str, array: Array) -> str:
        self.constants[name] = array
        return PREFIX + name

    def transpose(self, *order: int) -> None:
        self.apply("Transpose", perm=order)

    def reshape(self, *shape: int) -> None:
        self.apply("Reshape", after=(self.constant(f"shape_{len(self.nodes)}", np.array(shape, np.int64)),))

    def read(self, operator: str, name: str, array: Array) -> None:
        self.apply(operator, after=(self.constant(name, array),))

    def multiply(self, name: str, matrix: NDArray[np.float64]) -> None:
        """The constant matrix times what came last."""
        self.apply("MatMul", self.constant(name, matrix.astype(np.float32)))

    def cut(self, height: int, width: int, output: str) -> None:
        bounds = {"cut_from": (0, 0), "cut_to": (height, width), "cut_axes": (2, 3)}
        self.apply(
            "Slice",
            after=tuple(self.constant(key, np.array(value, np.int64)) for key, value in bounds.items()),
            output=output,
        )


def _layer(convolution: Message, relu: Message, point: Message, tensors: dict[str, Message]) -> LargeLayer:
    weights = _inputs(convolution)[1:3] + _inputs(point)[1:3]
    kernel, bias, point_kernel, point_bias = (onnx.floats(tensors[name]) for name in weights)
    return LargeLayer(
        nodes=tuple(onnx.text(node, onnx.NODE_OUTPUT) for node in (convolution, relu, point)),
        weights=tuple(weights),
        padded=_inputs(convolution)[0],
        kernel=kernel,
        bias=bias,
        point_kernel=np.ascontiguousarray(point_kernel[:, :, 0, 0].T),
        point_bias=point_bias,
    )


def _operator(node: Message) -> str:
    return onnx.text(node, onnx.NODE_OPERATOR)


def _inputs(node: Message) -> list[str]:
    return onnx.texts(node, onnx.NODE_INPUT)


def _is_padded(nodes: list[Message], convolution: Message) -> bool:
    return any(
        _operator(node) == "Pad" and onnx.text(node, onnx.NODE_OUTPUT) == _inputs(convolution)[0] for node in nodes
    )


def _only_reader(nodes: list[Message], node: Message, operator: str) -> Message | None:
    """The one node that reads another's output, if there is one only and it is of that kind."""
    output = onnx.text(node, onnx.NODE_OUTPUT)
    readers = [other for other in nodes if output in _inputs(other)]
    return readers[0] if len(readers) == 1 and _operator(readers[0]) == operator else None
