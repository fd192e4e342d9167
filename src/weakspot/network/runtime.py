"""The detector by torch itself, from the weights in a model file: the reference that exported graphs are compared
with."""

import numpy as np
import torch
from numpy.typing import NDArray

from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.runtimes import Answer, Memory, Precision
from weakspot.network.detector import Detector
from weakspot.network.large_kernel import large_layers
from weakspot.settings import NetworkSettings


class TorchRuntime:
    """fp32 on the CPU."""

    name = "torch"
    precision: Precision = "fp32"

    def __init__(self, model: ModelFile, threads: int, memory: Memory = "fast") -> None:
        torch.set_num_threads(threads)
        self._detector = Detector(NetworkSettings(**model.manifest.network))
        self._detector.load_state_dict(
            {name: torch.from_numpy(np.array(array)) for name, array in model.weights.items()}
        )
        self._detector.eval().requires_grad_(False)
        for layer in large_layers(self._detector):
            layer.plain = memory == "small"
            layer.freeze(True)

    @torch.no_grad()
    def run(self, images: NDArray[np.uint8] | NDArray[np.uint16]) -> Answer:
        """(N, C, H, W) raw pixels → Answer."""
        answers = [self._detector(torch.from_numpy(image.astype(np.float32))[None]) for image in images]
        raw, heat_scores, heats = (torch.cat(values).numpy() for values in zip(*answers, strict=True))
        return Answer(
            raw.astype(np.float64), heat_scores.astype(np.float64), (1 / (1 + np.exp(-heats[:, 0]))).astype(np.float32)
        )
