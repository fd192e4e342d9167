"""Records put together: the folds of one seed, and seeds that differ in nothing else. Numbers only.

A run's name says what it belongs to: sharp-clean-fold1-bad10-seed3 is a fold of sharp-clean-bad10-seed3, which
is a seed of sharp-clean-bad10. Of sharp-hold_out-seed3-weights0 only the weights are drawn anew.
"""

import csv
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.evaluation.metrics import average_precision

Record = dict[str, Any]
SUMMED = ("escapes", "review", "false_alarms")  # of folds
POOLED = "pooled_average_precision"
AT_FULL_RECALL = "false_positives_at_full_recall"


def by_series(records: list[Record]) -> dict[str, dict[str, list[Record]]]:
    """Series → seed → records of its folds, each under its name."""
    series: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        seed = re.sub(r"-fold\d", "", record["run"])
        series[re.sub(r"-(seed|weights)\d+$", "", seed)][seed].append(record)
    return series


def complete(seeds: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """The seeds of a series that have as many folds on record as any other; the rest would not compare."""
    most = max(map(len, seeds.values()))
    return {seed: folds for seed, folds in seeds.items() if len(folds) == most}


def mean_of_folds(folds: list[Record]) -> dict[str, float]:
    """Means of the metrics that all of them have."""
    shared = set.intersection(*(set(record["metrics"]) for record in folds))
    return {name: float(np.mean([record["metrics"][name] for record in folds])) for name in shared}


def pooled(folder: Path, folds: list[Record]) -> dict[str, float]:
    """Of one ranking over the folds' test pictures, and sums of counts. folder: where their scores lie."""
    scores: dict[str, list[float]] = defaultdict(list)
    for record in folds:
        with (folder / f"{record['run']}.scores.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for name in ("label", "raw_score", "heat_score"):
                    scores[name].append(float(row[name]))
    labels = np.array(scores["label"], int)
    counted = [name for name in SUMMED if all(name in record["metrics"] for record in folds)]
    return {
        "average_precision": average_precision(labels, np.array(scores["raw_score"])),
        "heat_average_precision": average_precision(labels, np.array(scores["heat_score"])),
        **{name: sum(record["metrics"][name] for record in folds) for name in counted},
    }


def figures_of_seed(folder: Path, folds: list[Record]) -> dict[str, float]:
    """What one seed comes to: of several folds their mean, AP also pooled, false positives at full recall together."""
    figures = mean_of_folds(folds)
    if len(folds) > 1:
        figures[POOLED] = pooled(folder, folds)["average_precision"]
        if AT_FULL_RECALL in figures:
            figures[AT_FULL_RECALL] *= len(folds)
    return figures


def promises_kept(records: list[Record]) -> tuple[int, int]:
    """How many promises the tests kept, of how many."""
    promises = [promise["kept"] for record in records for promise in record.get("promises", {}).values()]
    return sum(promises), len(promises)
