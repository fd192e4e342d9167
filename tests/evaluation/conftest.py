"""What the tests of evaluation are made of: samples in no folder, and inspections with scores and heat of one's
choice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from weakspot.data.samples import Sample
from weakspot.evaluation.evaluate import Background, Evaluation, evaluate
from weakspot.inspection.inspection import ImageInfo, Inspection, ModelInfo, Thresholds, decide, find_regions, sigmoid

settings.register_profile(
    "evaluation", database=None, deadline=None
)  # no folder of examples, no failure on a busy machine
settings.load_profile("evaluation")

SIZE = (48, 64)  # pixels of a toy picture: 6 × 8 cells
THRESHOLDS = Thresholds(bad_from=1.0, good_below=-1.0, rule="best_f1", chosen_on="out-of-fold scores of 40 pictures")


def made_sample(name: str, label: int, group: str = "", mask: bool = False, kind: str = "") -> Sample:
    return Sample(
        path=Path(name), label=label, group=group or name, mask=Path(f"{name}.mask") if mask else None, kind=kind
    )


def made_inspection(
    sample: Sample, raw: float, cell: tuple[int, int] = (2, 3), heat_score: float | None = None
) -> Inspection:
    heat = np.full((6, 8), 0.1, dtype=np.float32)
    heat[cell] = 0.9
    return Inspection(
        image=ImageInfo(str(sample.path), f"sha of {sample.path}", SIZE[1], SIZE[0]),
        model=ModelInfo("toy", "ab" * 32),
        decision=decide(raw, THRESHOLDS),
        defect_score=sigmoid(raw),
        raw_score=raw,
        heat_score=raw if heat_score is None else heat_score,
        bad_from=THRESHOLDS.bad_from,
        good_below=THRESHOLDS.good_below,
        heat_map=heat,
        regions=find_regions(heat, *SIZE, 0.5),
    )


def made_mask(path: Path, height: int, width: int) -> np.ndarray:
    """Marks cell (2, 3)."""
    mask = np.zeros((height, width), dtype=bool)
    mask[16:20, 24:28] = True
    return mask


@pytest.fixture
def made() -> Callable[..., Evaluation]:
    """An evaluation of pictures given as {name: (label, raw score)}; the name up to its first slash is the part."""

    def make(
        scores: dict[str, tuple[int, float]],
        background: Background | None = None,
        masks: bool = False,
        **options: object,
    ) -> Evaluation:
        samples = [
            made_sample(name, label, name.split("/")[0], mask=masks and label == 1)
            for name, (label, _) in scores.items()
        ]
        raw = {sample.path: scores[name][1] for sample, name in zip(samples, scores, strict=True)}
        read_mask = made_mask if masks else None
        inspect = lambda sample: made_inspection(sample, raw[sample.path])  # noqa: E731
        return evaluate(inspect, samples, THRESHOLDS, read_mask=read_mask, background=background, draws=20, **options)

    return make
