"""A detector's graph in 8-bit integers, by NNCF: weights, and activations by what they are on calibration pictures."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import onnx
from numpy.typing import NDArray

from weakspot.inspection.runtimes import no_telemetry


def quantized(core: bytes, images: Sequence[NDArray[Any]]) -> bytes:
    """The graph with its convolutions in int8, its scales chosen on `images`, (C, h, w) raw at the detector's size.

    All up to the first convolution and from the last one on stays fp32. Any runtime takes it: quantization stands in
    it as QuantizeLinear and DequantizeLinear.
    """
    graph = onnx.load_from_string(core)
    kept = _kept(graph)
    with _quiet():
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        # Ranges reach to the largest value that any picture has: NNCF's own, the mean over pictures, cuts off what is
        # rare, and that are the defects. Its correction of biases is by means over pictures, too (LOG.md).
        advanced = AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX, disable_bias_correction=True
        )
        made = nncf.quantize(
            graph,
            nncf.Dataset([image[None] for image in images], lambda image: {"image": image}),
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=kept, validate=False),  # some NNCF never looks at
            advanced_parameters=advanced,
        )
    return bytes(made.SerializeToString())


def _kept(graph: onnx.ModelProto) -> list[str]:
    """Names of what stays fp32: all up to the first convolution, and all from the last one on.

    Before the first lies the normalization, whose range no calibration picture knows: a picture may be lighter than
    all of them. Every node gets a new name, since a graph may leave them out.
    """
    nodes = list(graph.graph.node)
    for place, node in enumerate(nodes):
        node.name = f"node_{place}"
    convolutions = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    inner = range(convolutions[0] + 1, convolutions[-1]) if convolutions else range(0)
    return [node.name for place, node in enumerate(nodes) if place not in inner]


@contextmanager
def _quiet() -> Iterator[None]:
    """NNCF reports to its maker where openvino_telemetry is there, draws its progress on stdout, and logs."""
    logger = logging.getLogger("nncf")
    with no_telemetry(), redirect_stdout(StringIO()):
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
