"""bf16 that decides as fp32 does: what lies near a threshold is computed again."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.opened import Opened
from weakspot.inspection.runtimes import Answer, Pixels, Precision, Runtime, offers_bf16, open_runtime

# How many times as large a difference other pictures may show as the model's own. On KolektorSDD the largest of some
# 135 pictures was at most 2.9 times that of 8 good and 8 bad ones drawn among them, in 12,000 draws
# (results/speed/bf16_decisions.json).
SAFETY = 4.0


class Rechecked:
    """A runtime in bf16, and one in fp32 that answers instead where bf16 might be on the wrong side of a threshold.

    open_exact: opens the one in fp32, which happens at the first picture that needs it. margin: raw score from a
    threshold within which fp32 answers. Usable from several threads.
    """

    precision: Precision = "bf16"

    def __init__(
        self, quick: Runtime, open_exact: Callable[[], Runtime], thresholds: Thresholds, margin: float
    ) -> None:
        self.name = quick.name
        self._quick, self._margin = quick, margin
        self._exact = Opened[None, Runtime](lambda _: open_exact())
        self._bounds = np.array([thresholds.bad_from, thresholds.good_below])

    def run(self, images: Pixels) -> Answer:
        """(N, C, h, w) raw pixels → Answer; of each picture either the one or the other runtime's."""
        answer = self._quick.run(images)
        distance = np.abs(answer.raw_score[:, None] - self._bounds).min(axis=1)
        near = ~(distance > self._margin)  # so that a score that is no number is near, too
        if near.any():
            exact = self._exact.get(None).run(images[near])
            answer.raw_score[near], answer.heat_score[near], answer.heat_map[near] = exact
        return answer


def measure_bf16_margin(
    model: ModelFile, pictures: Sequence[NDArray[np.uint8] | NDArray[np.uint16]], threads: int | None = None
) -> float | None:
    """How far from a threshold bf16 may be wrong: SAFETY times its largest difference from fp32 in raw score.

    pictures: of the model's own, (C, h, w) raw pixels at its size; threads: as for `open_runtime`. None where nothing
    here computes in bf16, where it does not differ from fp32 (it was not used then), or where an answer is no number.
    """
    if not pictures or not offers_bf16():
        return None
    quick, exact = (open_runtime(model, "openvino", threads, precision) for precision in ("bf16", "fp32"))
    images = np.stack(pictures)
    largest = float(np.abs(quick.run(images).raw_score - exact.run(images).raw_score).max())
    return SAFETY * largest if 0 < largest < np.inf else None
