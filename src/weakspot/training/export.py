"""From a trained detector to the graph that any runtime computes, raw pixels in; refused when a runtime disagrees.

The exporter is torch's older one (`dynamo=False`): 2 s where the newer one takes 31 s and a further package, for the
same answers (LOG.md).
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from weakspot.errors import TrainingError
from weakspot.network.detector import Detector

OPSET = 18
FREE_SIZES_FROM = 128  # pixels a side; smaller, the last maps are single cells, whose mirrored border is another graph
CROPPED = 2  # pictures that are compared at another size, too
TOLERANCE = 1e-4  # largest difference from torch, relative to the largest value, of raw score, heat score and heat
OUTPUTS = ("raw_score", "heat_score", "pred_score", "anomaly_map")

Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Parity:
    """How far a runtime's answers lie from torch's on real pictures, both in fp32."""

    runtime: str
    images: int
    raw_score: float  # largest relative differences
    heat_score: float
    heat_map: float
    flips: int  # decisions that would change at any of the thresholds

    @property
    def worst(self) -> float:
        """The largest difference of all."""
        return max(self.raw_score, self.heat_score, self.heat_map)

    @property
    def holds(self) -> bool:
        """Whether the runtime may answer in torch's place."""
        return self.worst <= TOLERANCE and self.flips == 0


class _Graph(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        answer = self.detector(image)
        return answer.raw_score, answer.heat_score, answer.raw_score.sigmoid(), answer.heat.sigmoid()


def export_graph(detector: Detector, height: int, width: int, bit_depth: int) -> bytes:
    """The detector as an ONNX graph, in fp32.

    `image` (N, C, H, W) uint8 or uint16 → `raw_score` (N,), `heat_score` (N,), `pred_score` (N,), `anomaly_map`
    (N, 1, h, w). N is free; H and W too for a detector of at least FREE_SIZES_FROM pixels a side. height, width: the
    detector's, pixels; bit_depth: 8 or 16.
    """
    image = torch.zeros(1, detector.settings.channels, height, width, dtype=torch.uint8)
    on_cpu = _Graph(detector).cpu().eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The tracer warns of every Python branch on a shape, all of which hold for any picture from 64 × 64.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            on_cpu, (image,), buffer, dynamo=False,  # type: ignore[arg-type]
            opset_version=OPSET, input_names=["image"], output_names=list(OUTPUTS),
            dynamic_axes={"image": {0: "n", 2: "height", 3: "width"}} | {name: {0: "n"} for name in OUTPUTS},
        )  # fmt: skip
    return buffer.getvalue() if bit_depth == 8 else _taking_16_bit(buffer.getvalue())


def _taking_16_bit(graph: bytes) -> bytes:
    """The exporter knows no uint16; the graph's first step, a cast to float, takes either."""
    model = onnx.load_from_string(graph)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT16
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@torch.no_grad()
def compare(
    detector: Detector, runtime: str, run: Run, pictures: list[np.ndarray], thresholds: tuple[float, ...]
) -> Parity:
    """Answers of torch in fp32 and of a runtime on the same pictures (C, H, W), some of them at a smaller size, too."""
    detector.eval()
    worst, flips = np.zeros(3), 0
    seen = [*pictures, *_cropped(pictures[:CROPPED])]
    for picture in seen:
        expected = detector(torch.from_numpy(picture.astype(np.float32))[None].to(detector.mean.device))
        raw, heat_score = float(expected.raw_score), float(expected.heat_score)
        heat = expected.heat.sigmoid()[0, 0].cpu().numpy()
        got_raw, got_heat_score, got_heat = run(picture[None])
        differences = (
            abs(float(got_raw[0]) - raw) / max(1.0, abs(raw)),
            abs(float(got_heat_score[0]) - heat_score) / max(1.0, abs(heat_score)),
            float(np.abs(got_heat[0] - heat).max()) / max(1e-3, float(heat.max())),
        )
        worst = np.maximum(worst, differences)
        flips += any((raw >= threshold) != (float(got_raw[0]) >= threshold) for threshold in thresholds)
    raw_score, heat_score, heat_map = map(float, worst)
    return Parity(runtime, len(seen), raw_score, heat_score, heat_map, flips)


def refuse_differences(parities: list[Parity]) -> None:
    """Raises TrainingError, naming runtime and difference, when one does not hold: no file is written then."""
    for parity in parities:
        if not parity.holds:
            raise TrainingError(
                f"the exported graph answers differently on {parity.runtime}: largest relative difference "
                f"{parity.worst:.1e} (allowed {TOLERANCE:.0e}), {parity.flips} of {parity.images} decisions changed; "
                "no model file is written. Report this with the output of `weakspot doctor`"
            )


def _cropped(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Three quarters of each picture's height and width, where the graph takes any size."""
    sizes = [[side * 3 // 4 for side in picture.shape[1:]] for picture in pictures]
    return [
        picture[:, :height, :width]
        for picture, (height, width) in zip(pictures, sizes, strict=True)
        if min(height, width) >= FREE_SIZES_FROM
    ]
