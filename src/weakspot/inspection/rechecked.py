"""bf16 that decides as fp32 does: what lies near a threshold is computed again."""

from collections.abc import Callable
from threading import Lock

import numpy as np

from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.runtimes import Answer, Pixels, Precision, Runtime

# Raw score. The largest difference of bf16 from fp32 on 399 unseen images of KolektorSDD was 0.075
# (results/speed/bf16_decisions.json).
MARGIN = 0.25


class Rechecked:
    """A runtime in bf16, beside one in fp32 that answers instead where bf16 might be on the wrong side of a threshold.

    open_exact: opens the one in fp32, which happens at the first picture that needs it. Usable from several threads.
    """

    precision: Precision = "bf16"

    def __init__(self, quick: Runtime, open_exact: Callable[[], Runtime], thresholds: Thresholds) -> None:
        self.name = quick.name
        self._quick, self._open_exact = quick, open_exact
        self._exact: Runtime | None = None
        self._bounds = np.array([thresholds.bad_from, thresholds.good_below])
        self._lock = Lock()

    def run(self, images: Pixels) -> Answer:
        """(N, C, h, w) raw pixels → Answer; of each picture either the one or the other runtime's."""
        answer = self._quick.run(images)
        distance = np.abs(answer.raw_score[:, None] - self._bounds).min(axis=1)
        near = ~(distance > MARGIN)  # so that a score that is no number is near, too
        if near.any():
            exact = self._exactly().run(images[near])
            answer.raw_score[near], answer.heat_score[near], answer.heat_map[near] = exact
        return answer

    def _exactly(self) -> Runtime:
        with self._lock:
            if self._exact is None:
                self._exact = self._open_exact()
            return self._exact
