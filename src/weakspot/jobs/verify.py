"""Whether a model file's runtimes answer alike on pictures: each beside torch, or beside the first where torch is not."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.errors import ImageError, WeakspotError, shown
from weakspot.inspection.fastest import open_fastest
from weakspot.inspection.inspection import decide
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.processor import usable_cores
from weakspot.inspection.runtimes import Answer, Runtime, offers_bf16, open_runtime, present_runtimes
from weakspot.inspection.sources import find_images
from weakspot.inspection.loaded import Prepared
from weakspot.progress import OnCount

LEAST_HEAT = 1e-3  # below it heat is compared as it is, not by its share


@dataclass
class Compared:
    """One runtime's answers beside the reference's.

    raw_score, heat_map: largest differences, of the score relative where it exceeds 1, of heat by the map's hottest
    cell; changed: pictures that it decides otherwise; problem: why it has no answer.
    """

    runtime: str
    precision: str
    raw_score: float = 0.0
    heat_map: float = 0.0
    changed: list[str] = field(default_factory=list)
    problem: str = ""
    ok: bool = True


@dataclass
class Parity:
    """What came of it. images: that were compared; refused: why others were not."""

    reference: str
    images: int = 0
    runtimes: list[Compared] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all pictures were compared, and every runtime may answer in the reference's place."""
        return bool(self.images and not self.refused and all(each.ok for each in self.runtimes))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {**asdict(self), "ok": self.ok}


def verify_on(detector: LoadedDetector, paths: Sequence[Path], threads: int | None = None, on_image: Any = None) -> Parity:
    """Ask every runtime and precision of these files, folders or patterns of pictures; labels are not needed.

    fp32 may differ by the model file's tolerance; bf16, which is asked as inspection asks it, in no decision.
    """
    threads = threads or usable_cores()
    model, images = detector.model, find_images(paths).images
    reference, *others = _opened(model, threads)
