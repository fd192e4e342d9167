"""Inspections of labelled pictures → how often the detector would be wrong, and whether it looks at the defect.

Reads no files: masks and inspections come through functions. A picture that could not be inspected stands in a list of
its own, never inside a rate.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.data.samples import Sample
from weakspot.errors import ImageError, MetricError, shown
from weakspot.evaluation import intervals, localization, metrics
from weakspot.evaluation.intervals import Interval
from weakspot.evaluation.localization import Mask, PixelHeat
from weakspot.evaluation.metrics import Counts
from weakspot.evaluation.promises import promises
from weakspot.inspection.inspection import Inspection, Thresholds

Inspect = Callable[[Sample], Inspection]
ReadMask = Callable[[Path, int, int], Mask]  # path, height, width of the picture → (H, W)
TOLERANCE_CELLS = 2  # protocol.md: the hottest cell within 2 cells of the mask
FPR_LIMIT = 0.3  # protocol.md: of AUPRO


@dataclass(frozen=True, kw_only=True)
class Row:
    """One inspected picture beside its truth; `hit` and `cell_iou` only where a bad picture has a usable mask."""

    sample: Sample
    inspection: Inspection
    hit: bool | None = None
    cell_iou: float | None = None
    mask_problem: str = ""  # why a mask that was given could not be used


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A picture that could not be read or judged, and why. It is in no count but its own."""

    sample: Sample
    reason: str


@dataclass(frozen=True, kw_only=True)
class Background:
    """What a report says beside the figures. The caller knows it, the pictures don't; where it is left out, the report
    says so."""

    title: str = "How well the detector tells good parts from bad"
    data: str = ""  # which pictures, in words
    held_out: bool | None = None  # whether the pictures had no part in training, thresholds and recipe; None: not known
    trained_on: frozenset[str] = frozenset()  # SHA-256 of the training pictures' files: looked for among these pictures
    doubted: tuple[Sample, ...] = ()  # training pictures whose label the evidence doubts, so that they can be shown
    drawn: Path | None = None  # contact sheet of the defects that were drawn on good pictures in training
    split: str = ""  # the rule that divided the pictures, in words
    # "training", "test", …: counts such as good, bad, parts
    parts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    threshold_evidence: Mapping[str, Any] = field(default_factory=dict)  # of ThresholdChoice
    settings: Mapping[str, Any] = field(default_factory=dict)  # as plain values, nested
    training: Mapping[str, Any] = field(default_factory=dict)  # seed, seconds, machine, versions, commit, …
    audit: tuple[str, ...] = ()  # what the audit found, a sentence each
    limits: tuple[str, ...] = ()  # further things that these figures don't show
    escape_limits: tuple[float, ...] = (0.1, 0.05, 0.01)  # shares of bad pictures against which the count is held
    false_alarm_limits: tuple[float, ...] = (0.05, 0.01)
    defect_rate: float | None = None  # share of bad parts on the line, entered by the plant


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A detector on labelled pictures; figures that these pictures don't define stand in `not_measured` instead."""

    rows: tuple[Row, ...]
    refused: tuple[Refused, ...]
    thresholds: Thresholds
    counts: Counts  # of pictures, at the model's thresholds
    parts: int  # groups among the rows
    # of parts: one with a bad picture stands under bad, one with a good picture under good, each by its worst decided
    # picture
    part_counts: Counts
    by_decision: Mapping[str, float]  # image_metrics of raw_score
    by_heat: Mapping[str, float]  # image_metrics of heat_score
    localization: Mapping[str, float]
    intervals: Mapping[str, Interval]  # 95 %, of figures above by name; heat_… of by_heat
    not_measured: Mapping[str, str]  # what → why
    background: Background
    seen_in_training: int  # evaluated files that are byte for byte training pictures
    created: str  # RFC 3339, UTC

    @property
    def metrics(self) -> dict[str, float]:
        """All figures as plain numbers by their names in records; those of the heat's score begin with heat_."""
        c = self.counts
        by_heat = {f"heat_{name}": value for name, value in self.by_heat.items()}
        wrong = {name: k for name, (k, n) in self.errors.items() if n}
        return {
            **self.by_decision,
            **by_heat,
            **self.localization,
            **wrong,
            "review": c.bad_in_review + c.good_in_review,
        }

    @property
    def errors(self) -> dict[str, tuple[int, int]]:
        """Escapes of the bad pictures, false alarms of the good ones: k of n."""
        return self.counts.errors

    @property
    def promises(self) -> dict[str, dict[str, Any]]:
        """What the choice of thresholds promised beside what was found; empty where nothing is known of the choice, or
        where these pictures took part in it."""
        if self.seen_in_training or self.background.held_out is False:
            return {}
        return promises(self.background.threshold_evidence.get("promised", {}), self.errors)


def evaluate(
    inspect: Inspect,
    samples: Sequence[Sample],
    thresholds: Thresholds,
    *,
    read_mask: ReadMask | None = None,
    background: Background | None = None,
    on_sample: Callable[[int, int], None] | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> Evaluation:
    """Inspect each sample once and measure rankings, counts at the model's thresholds, and localization by masks.

    inspect raises ImageError for a picture that it refuses; thresholds: those the inspections were decided by;
    on_sample: is given how many are done, of how many; seed, draws: of the bootstrap (0: none). Raises MetricError
    where no picture could be inspected or a score is not finite.
    """
    pixels, rows, refused = PixelHeat(), [], []
    for done, sample in enumerate(samples, start=1):
        try:
            rows.append(_localized(sample, inspect(sample), thresholds, read_mask, pixels))
        except ImageError as error:
            refused.append(Refused(sample=sample, reason=str(error)))
        if on_sample:
            on_sample(done, len(samples))
    if not rows:
        first = refused[0].reason if refused else "there is none"
        raise MetricError(f"none of {len(samples)} pictures could be inspected; the first: {first}")
    return measure(rows, refused, thresholds, pixels, background or Background(), seed, draws)


def measure(
    rows: Sequence[Row],
    refused: Sequence[Refused],
    thresholds: Thresholds,
    pixels: PixelHeat,
    background: Background,
    seed: int = 0,
    draws: int = 1000,
) -> Evaluation:
    """The figures of pictures that have been inspected; `pixels` holds the heat of those with a mask."""
    _check_thresholds(rows, thresholds)
    labels = np.array([row.sample.label for row in rows])
    groups = [row.sample.group for row in rows]
    raw = np.array([row.inspection.raw_score for row in rows])
    heat = np.array([row.inspection.heat_score for row in rows])
    not_measured = _missing_kinds(labels, refused) | _mask_problems(rows)
    by_decision, bounds = _ranking(labels, raw, groups, seed, draws, not_measured)
    by_heat, heat_bounds = _ranking(labels, heat, groups, seed, draws, not_measured)
    where, hit_bounds = _localization(rows, pixels, not_measured)
    return Evaluation(
        rows=tuple(rows),
        refused=tuple(refused),
        thresholds=thresholds,
        counts=metrics.at_thresholds(labels, raw, thresholds.bad_from, thresholds.good_below),
        parts=len(set(groups)),
        part_counts=_part_counts(labels, raw, groups, thresholds),
        by_decision=by_decision,
        by_heat=by_heat,
        localization=where,
        intervals=bounds | {f"heat_{name}": bound for name, bound in heat_bounds.items()} | hit_bounds,
        not_measured=not_measured,
        background=background,
        seen_in_training=sum(row.inspection.image.sha256 in background.trained_on for row in rows),
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


def _localized(
    sample: Sample, inspection: Inspection, thresholds: Thresholds, read_mask: ReadMask | None, pixels: PixelHeat
) -> Row:
    """One row; its heat is added to `pixels` where the truth of every pixel is known: by the mask, or because the
    picture is good."""
    localization.checked_heat(inspection.heat_map)
    height, width = inspection.image.height, inspection.image.width
    if read_mask is None or height is None or width is None or (sample.label and sample.mask is None):
        return Row(sample=sample, inspection=inspection)
    if not sample.label or sample.mask is None:
        pixels.add(inspection.heat_map, np.zeros((height, width), dtype=np.bool_))
        return Row(sample=sample, inspection=inspection)
    try:
        mask = read_mask(sample.mask, height, width)
        hit = localization.is_hit(inspection.heat_map, mask, TOLERANCE_CELLS)
        iou = localization.cell_iou_of(inspection.heat_map, mask, thresholds.region_from)
    except (ImageError, MetricError) as error:
        return Row(sample=sample, inspection=inspection, mask_problem=str(error))
    pixels.add(inspection.heat_map, mask)
    return Row(sample=sample, inspection=inspection, hit=hit, cell_iou=iou)


def _ranking(
    labels: metrics.Labels,
    scores: metrics.Scores,
    groups: Sequence[Hashable],
    seed: int,
    draws: int,
    not_measured: dict[str, str],
) -> tuple[dict[str, float], dict[str, Interval]]:
    """image_metrics with their intervals: over drawn parts for AP and AUROC, exact for counts."""
    metrics.checked(labels, scores, both=False)
    try:
        figures = metrics.image_metrics(labels, scores)
    except MetricError as error:
        not_measured["ranking"] = str(error)
        return {}, {}
    bad, good = int(labels.sum()), int((labels == 0).sum())
    counted = {"false_positives_at_full_recall": good, "false_positives": good, "false_negatives": bad}
    bounds = {name: intervals.clopper_pearson(int(figures[name]), n) for name, n in counted.items()}
    drawn = {"average_precision": metrics.quick_average_precision, "auroc": metrics.quick_auroc} if draws else {}
    try:
        for name, metric in drawn.items():
            bounds[name] = intervals.bootstrap_interval(metric, labels, scores, groups, seed, draws)
    except MetricError as error:
        not_measured["intervals of AP and AUROC"] = str(error)
    return figures, bounds


def _part_counts(
    labels: metrics.Labels, scores: metrics.Scores, groups: Sequence[str], thresholds: Thresholds
) -> Counts:
    """A part is missed when any of its bad pictures is, and a false alarm when any of its good ones is; it may stand on
    both sides."""
    worst: dict[tuple[int, str], float] = {}
    for label, score, group in zip(labels.tolist(), scores.tolist(), groups, strict=True):
        known = worst.setdefault((label, group), score)
        worst[label, group] = min(known, score) if label else max(known, score)
    of_parts = [label for label, _ in worst]
    return metrics.at_thresholds(of_parts, list(worst.values()), thresholds.bad_from, thresholds.good_below)


def _localization(
    rows: Sequence[Row], pixels: PixelHeat, not_measured: dict[str, str]
) -> tuple[dict[str, float], dict[str, Interval]]:
    marked = [row for row in rows if row.hit is not None and row.cell_iou is not None]
    if not marked:
        masks = "no bad picture has a mask that can be used; give masks to learn whether the heat lies on the defect"
        none = "there are no bad pictures here, so nothing says whether the heat lies on a defect"
        not_measured["localization"] = masks if any(row.sample.label for row in rows) else none
        return {}, {}
    hits = sum(bool(row.hit) for row in marked)
    figures = {
        "pictures_with_mask": len(marked),
        "hits": hits,
        "hit_rate": hits / len(marked),
        "cell_iou": float(np.mean([row.cell_iou for row in marked])),
    }
    try:
        figures |= localization.as_metrics(pixels, FPR_LIMIT)
    except MetricError as error:
        not_measured["pixel metrics"] = str(error)
    return figures, {"hit_rate": intervals.clopper_pearson(hits, len(marked))}


def _missing_kinds(labels: metrics.Labels, refused: Sequence[Refused]) -> dict[str, str]:
    """The rates whose pictures are missing, and why."""
    missing = {}
    for label, word, rate in ((1, "bad", "escapes"), (0, "good", "false_alarms")):
        if label not in labels:
            n = sum(item.sample.label == label for item in refused)
            none = f"none of {n:,} {word} pictures could be inspected" if n else f"there are no {word} pictures here"
            missing[rate] = none
    return missing


def _mask_problems(rows: Sequence[Row]) -> dict[str, str]:
    return {f"mask of {shown(row.sample.id)}": row.mask_problem for row in rows if row.mask_problem}


def _check_thresholds(rows: Sequence[Row], thresholds: Thresholds) -> None:
    wanted = thresholds.good_below, thresholds.bad_from
    for row in rows:
        used = row.inspection.good_below, row.inspection.bad_from
        if used != wanted:
            was = f"{shown(row.sample.id)} was decided at (good_below, bad_from) = {used}, not at {wanted}"
            raise MetricError(f"{was}; inspect all pictures alike")
