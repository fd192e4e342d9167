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

    Reading and scores stay fp32: what is no layer is not touched. Any runtime takes it: quantization stands in it as
    QuantizeLinear and DequantizeLinear.
    """
    with _quiet():
        import nncf

        data = nncf.Dataset([image[None] for image in images], lambda image: {"image": image})
        made = nncf.quantize(onnx.load_from_string(core), data, subset_size=len(images))
    return bytes(made.SerializeToString())


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
