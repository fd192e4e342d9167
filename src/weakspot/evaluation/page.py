"""The values of the report's page for its template: tables, charts and picture cards. No markup."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from weakspot.errors import shown
from weakspot.evaluation import intervals, words
from weakspot.evaluation.charts import Histogram, histogram, number, precision_recall_curve
from weakspot.evaluation.evaluate import Evaluation, Row
from weakspot.evaluation.pictures import Layers, ReadPixels, Selection, bare_picture, heat_layer, sheet_picture

TRUTH = {0: "good", 1: "bad"}
RANKING = (  # name in records, in words, in the field
    ("average_precision", "Average precision", "image_AP"),
    ("auroc", "Area under the ROC curve", "image_AUROC"),
    ("best_f1", "Best F1 on these pictures", "image_F1Max"),
    ("false_negatives", "Escapes at the best F1", "FN"),
    ("false_positives", "False alarms at the best F1", "FP"),
    ("false_positives_at_full_recall", "False alarms at zero escapes", "FP at full recall"),
    ("true_negative_rate_at_recall_99", "Good pictures passed at 99 % recall", "TNR"),
    ("true_negative_rate_at_recall_95", "Good pictures passed at 95 % recall", "TNR"),
)
LOCALIZATION = (
    ("hit_rate", "Hit rate", "bad pictures whose hottest cell lies within 2 cells of the mask"),
    ("cell_iou", "Cell IoU", "overlap of the hot cells with the masks' cells, mean over bad pictures; "
     "two people who mark one picture agree to 0.85"),
    ("pixel_auroc", "Pixel AUROC", "pairs of a bad and a good pixel that the heat ranks right (pixel_AUROC)"),
    ("pixel_ap", "Pixel AP", "average precision over pixels (pixel_AP)"),
    ("pixel_aupro", "AUPRO", "overlap by defect while up to 30 % of good pixels are lit, 1 is perfect (pixel_AUPRO)"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Card:
    """One picture as the page shows it."""

    number: int
    id: str
    group: str
    truth: str
    decision: str
    wrong: str  # "", "missed" or "false alarm"
    score: str
    order: float  # the raw score
    at: float  # its place on the axis, in per cent
    ratio: float  # width over height
    layers: Layers
    facts: tuple[tuple[str, str], ...]


def page_of(evaluation: Evaluation, selection: Selection, read_pixels: ReadPixels | None) -> dict[str, Any]:
    """Everything the template needs, by name."""
    chart = _histogram(evaluation)
    numbers = {id(row): i for i, row in enumerate(evaluation.rows, start=1)}

    def cards(items: tuple[Layers, ...]) -> list[Card]:
        return [_card(item, numbers[id(item.row)], chart) for item in items]

    background = evaluation.background
    evidence = background.threshold_evidence
    return {
        "version": _version(),
        "title": shown(background.title),
        "evaluation": evaluation,
        "background": background,
        "model": evaluation.rows[0].inspection.model,
        "standing": words.standing(evaluation),
        "headline": words.headline(evaluation),
        "rates": words.rates(evaluation),
        "shows": words.shows(evaluation),
        "does_not_show": words.does_not_show(evaluation),
        "histogram": chart,
        "curves": _curves(evaluation),
        "working_points": _working_points(evaluation),
        "thresholds": _thresholds(evaluation),
        "said_there": [*evidence.get("sentences", ()), *evidence.get("warnings", ())],
        "deciding": list(evidence.get("deciding", ())),
        "doubts": _doubts(evaluation, read_pixels),
        "trained_on_bad": background.parts.get("training", {}).get("bad", 0),
        "drawn": sheet_picture(background.drawn) if background.drawn else "",
        "promises": _promises(evaluation),
        "table": _decisions(evaluation),
        "ranking": _ranking(evaluation),
        "localization": _localization(evaluation),
        "misses": cards(selection.misses),
        "false_alarms": cards(selection.false_alarms),
        "closest_bad": cards(selection.closest_bad),
        "closest_good": cards(selection.closest_good),
        "gallery": cards(selection.gallery),
        "left_out": selection.left_out,
        "legend": heat_layer(np.linspace(0, 1, 256, dtype=np.float32)[None]),
        "settings": flat(background.settings),
        "training": flat(background.training),
        "parts": [(shown(name), counts) for name, counts in background.parts.items()],
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as rows of (dotted key, text)."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            rows.append((shown(f"{prefix}{key}"), "–" if value is None else shown(text)))
    return rows


def _labels_and_scores(evaluation: Evaluation, heat: bool = False) -> tuple[Any, Any]:
    labels = np.array([row.sample.label for row in evaluation.rows])
    scores = [row.inspection.heat_score if heat else row.inspection.raw_score for row in evaluation.rows]
    return labels, np.array(scores)


def _histogram(evaluation: Evaluation) -> Histogram:
    return histogram(*_labels_and_scores(evaluation), evaluation.thresholds)


def _curves(evaluation: Evaluation) -> dict[str, Any]:
    if not evaluation.by_decision:
        return {}
    by_score = {"decision": _labels_and_scores(evaluation), "heat": _labels_and_scores(evaluation, heat=True)}
    return {name: precision_recall_curve(*pair) for name, pair in by_score.items()}


def _working_points(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Recall and precision of what is called bad, and of what is not called good; places in per cent."""
    c, points = evaluation.counts, []
    not_good = c.caught + c.bad_in_review, c.false_alarms + c.good_in_review
    counted = {"bad": ("called bad", c.caught, c.false_alarms), "review": ("bad or for review", *not_good)}
    for key, (text, true, false) in counted.items():
        if true and (key == "bad" or evaluation.thresholds.good_below < evaluation.thresholds.bad_from):
            recall, precision = true / c.bad, true / (true + false)
            place = {"x": 100 * recall, "y": 100 * (1 - precision)}
            points.append({"key": key, "text": text, "recall": recall, "precision": precision, **place})
    return points


def _thresholds(evaluation: Evaluation) -> list[tuple[str, str]]:
    t, evidence = evaluation.thresholds, evaluation.background.threshold_evidence
    return [
        ("bad from", f"raw score {number(t.bad_from, 2)}"),
        ("good below", f"raw score {number(t.good_below, 2)}"),
        ("rule", shown(evidence.get("rule_in_words", t.rule))),
        ("chosen on", shown(t.chosen_on)),
        ("region from", f"heat {number(t.region_from, 2)}"),
    ]


def _doubts(evaluation: Evaluation, read_pixels: ReadPixels | None) -> dict[str, Any]:
    """Training pictures whose label looks wrong: sentences, and for each its name, label, score and picture."""
    evidence = evaluation.background.threshold_evidence.get("label_doubts", {})
    at_hand = {sample.id: sample for sample in evaluation.background.doubted}
    pictures = [
        one | {"uri": bare_picture(at_hand[one["picture"]], read_pixels) if one["picture"] in at_hand else ""}
        for one in evidence.get("pictures", ())
    ]
    return {"sentences": evidence.get("sentences", ()), "pictures": pictures}


def _promises(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Each rate as the choice of thresholds promised it and as it was found; then what goes to a person, which is the
    price and promises nothing."""
    names = {"escapes": "escapes", "false_alarms": "false alarms"}
    rows = [{"name": names[key], **promise} for key, promise in evaluation.promises.items()]
    chosen, found = evaluation.background.threshold_evidence.get("counts", {}), evaluation.counts.as_dict()
    for kind in ("bad", "good") if rows and evaluation.thresholds.good_below < evaluation.thresholds.bad_from else ():
        there, here = ([counts.get(f"{kind}_in_review"), counts.get(kind)] for counts in (chosen, found))
        if there[1] and here[1]:
            rows.append({"name": f"{kind} pictures for review", "promised": there, "found": here, "expected": None})
    return rows


def _decisions(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Truth by decision: a row for each kind of pictures, refused ones in a column of their own."""
    c = evaluation.counts
    rows = (
        ("bad", "good", c.escapes, c.bad_in_review, c.caught),
        ("good", "bad", c.passed, c.good_in_review, c.false_alarms),
    )
    table = []
    for truth, wrong, good, review, bad in rows:
        refused = sum(TRUTH[item.sample.label] == truth for item in evaluation.refused)
        counts = {"good": good, "review": review, "bad": bad, "refused": refused, "n": good + review + bad}
        if counts["n"] or refused:
            table.append({"truth": truth, "wrong": wrong, **counts})
    return table


def _ranking(evaluation: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for key, name, field in RANKING if evaluation.by_decision else ():
        values = [
            _value(key, figures, evaluation, prefix)
            for figures, prefix in ((evaluation.by_decision, ""), (evaluation.by_heat, "heat_"))
        ]
        rows.append({"name": name, "field": field, "decision": values[0], "heat": values[1]})
    return rows


def _value(key: str, figures: Mapping[str, float], evaluation: Evaluation, prefix: str) -> tuple[str, str]:
    """A figure and its interval as text."""
    value, bound = figures[key], evaluation.intervals.get(prefix + key)
    if isinstance(value, int):
        n = evaluation.counts.bad if key == "false_negatives" else evaluation.counts.good
        return f"{value:,} of {n:,}", intervals.between(bound) if bound else ""
    if bound and bound[0] == bound[1]:
        # an interval without width, such as that of a perfect ranking, must not look like certainty
        return f"{value:.3f}", "in every draw"
    return f"{value:.3f}", f"{bound[0]:.3f} to {bound[1]:.3f}" if bound else ""


def _localization(evaluation: Evaluation) -> list[dict[str, Any]]:
    figures, rows = evaluation.localization, []
    for key, name, explained in LOCALIZATION:
        if key not in figures:
            continue
        value = f"{figures[key]:.3f}", ""
        if key == "hit_rate":
            value = (
                f"{int(figures['hits'])} of {int(figures['pictures_with_mask'])}",
                intervals.between(evaluation.intervals["hit_rate"]),
            )
        rows.append({"name": name, "value": value, "explained": explained})
    return rows


def _card(item: Layers, number_: int, chart: Histogram) -> Card:
    row, inspection = item.row, item.row.inspection
    truth = TRUTH[row.sample.label]
    wrong = {("bad", "good"): "missed", ("good", "bad"): "false alarm"}.get((truth, inspection.decision), "")
    width, height = inspection.image.width or 1, inspection.image.height or 1
    return Card(
        number=number_,
        id=shown(row.sample.id),
        group=shown(row.sample.group),
        truth=truth,
        decision=inspection.decision,
        wrong=wrong,
        score=f"{inspection.defect_score:.2f}",
        order=inspection.raw_score,
        at=chart.at(inspection.raw_score),
        ratio=round(width / height, 4),
        layers=item,
        facts=_facts(row),
    )


def _facts(row: Row) -> tuple[tuple[str, str], ...]:
    inspection, sample = row.inspection, row.sample
    facts = [
        ("truth", TRUTH[sample.label] + (f" ({shown(sample.kind)})" if sample.kind else "")),
        ("raw score", number(inspection.raw_score, 3)),
        ("heat's score", number(inspection.heat_score, 3)),
        ("part", shown(sample.group)),
        ("regions", str(len(inspection.regions))),
        ("size", f"{inspection.image.width} × {inspection.image.height} pixels"),
    ]
    if row.hit is not None:
        facts.append(("hottest cell", "on the defect" if row.hit else "not on the defect"))
    if row.cell_iou is not None:
        facts.append(("cell IoU", f"{row.cell_iou:.2f}"))
    facts += [("mask", shown(row.mask_problem))] if row.mask_problem else []
    facts += [("warning", shown(warning)) for warning in inspection.warnings]
    return tuple(facts)


def _version() -> str:
    try:
        return version("weakspot")
    except PackageNotFoundError:  # run from the source tree
        return "(not installed, run from its source)"
