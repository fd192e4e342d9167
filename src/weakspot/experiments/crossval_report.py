"""The page of a cross-validation: its figures, and the hardest pictures with what the unseeing detector saw in them."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from weakspot.data.reading import read_image, read_mask
from weakspot.data.samples import Sample
from weakspot.errors import WeakspotError
from weakspot.evaluation.evaluate import Row
from weakspot.evaluation.pictures import MIDDLE, Layers, layers_of
from weakspot.inspection.loaded import LoadedDetector

WORDS = {
    "pooled_average_precision": "AP, one ranking over all folds",
    "average_precision": "AP, mean of the folds",
    "auroc": "AUROC, one ranking",
    "best_f1": "best F1*",
    "false_negatives": "FN at the best F1*",
    "false_positives": "FP at the best F1*",
    "false_positives_at_full_recall": "FP at full recall*",
    "escapes": "bad pictures called good",
    "review": "for review",
    "false_alarms": "good pictures called bad",
    "hit_rate": "hottest cell on the defect",
    "cell_iou": "IoU of cells",
    "pixel_auroc": "AUROC of pixels",
    "pixel_ap": "AP of pixels",
    "pixel_aupro": "AUPRO",
    "unscored": "pictures without a score",
}


@dataclass(frozen=True, kw_only=True)
class Hard:
    """A picture that is ranked among those of the other label."""

    sample: Sample
    wrong: float  # share of the other label's pictures on whose wrong side it stands, 0 to 1, mean over seeds
    model: Path  # of a fold that had not seen it


def report_html(figures: Mapping[str, Any], hardest: Sequence[Hard]) -> str:
    """The page, whole: style and pictures inside; the browser fetches nothing and runs nothing."""
    opened = lru_cache(maxsize=2)(LoadedDetector.load_exact)
    cards = [{"hard": hard, "layers": _layers(hard, opened)} for hard in hardest]
    environment = Environment(
        loader=PackageLoader("weakspot.experiments", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    template = environment.get_template("crossval.html.j2")
    style = environment.loader and environment.loader.get_source(environment, "crossval.css")[0]
    allowed = f"'sha256-{b64encode(sha256((style or '').encode()).digest()).decode()}'"
    return template.render(
        figures=figures, words=WORDS, cards=cards, style=style, allowed_style=allowed, version=version("weakspot")
    )


def _layers(hard: Hard, opened: Any) -> Layers | str:
    """The picture and its heat; or why they cannot be shown, such as a run that was moved away."""
    try:
        detector: LoadedDetector = opened(hard.model)
        row = Row(sample=hard.sample, inspection=detector.inspect(hard.sample.path))
        return layers_of(row, lambda sample: read_image(sample.path, detector.manifest.read).pixels, read_mask, MIDDLE)
    except WeakspotError as error:
        return str(error)
