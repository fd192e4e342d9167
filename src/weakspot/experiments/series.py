"""Records put together: the folds of one seed, and seeds that differ in nothing else. Numbers only.

A run's name says what it belongs to: sharp-clean-fold1-bad10-seed3 is a fold of sharp-clean-bad10-seed3, which
is a seed of sharp-clean-bad10. Of sharp-hold_out-seed3-weights0 only the weights are drawn anew.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.evaluation.metrics import average_precision
from weakspot.experiments.records import Record, scores_of
from weakspot.settings import TrainSettings, as_plain

SUMMED = ("escapes", "review", "false_alarms")  # of folds
UNSCORED = "unscored"  # test pictures that were refused
VARYING = ("seed", "split_seed", "draw_seed", "threads")  # settings that may differ within a series
POOLED = "pooled_average_precision"
AT_FULL_RECALL = "false_positives_at_full_recall"


def by_series(records: list[Record]) -> dict[tuple[str, str], dict[str, list[Record]]]:
    """Series → seed → records of its folds, each under its name; other settings or other pictures are another series.

    A series is named by its runs' common name and by what they were made with, as JSON.
    """
    series: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        seed = re.sub(r"-fold\d+", "", record["run"])
        name = re.sub(r"-(seed|weights)\d+$", "", seed)
        series[name, json.dumps(_made_with(record), sort_keys=True)][seed].append(record)
    return series


def differences(records: list[Record]) -> dict[str, list[str]]:
    """Name → the settings in which the series of that name differ; only names of several series."""
    named: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, made_with in by_series(records):
        named[name].append(json.loads(made_with))
    return {
        name: sorted(key for key in set().union(*each) if any(one.get(key) != each[0].get(key) for one in each))
        for name, each in named.items()
        if len(each) > 1
    }


def _made_with(record: Record) -> dict[str, Any]:
    """What seeds that are compared have in common; a setting that the record does not know yet is at its default."""
    settings = as_plain(TrainSettings()) | record.get("settings", {})
    return {key: value for key, value in settings.items() if key not in VARYING} | {
        "data_fingerprint": record.get("data_fingerprint")
    }


def complete(seeds: dict[str, list[Record]], needed: Iterable[int] | None = None) -> dict[str, list[Record]]:
    """The seeds of a series that have every fold that is needed on record; without others.

    needed: numbers of folds; None: those that any seed has.
    """
    held = {seed: folds_of(records) for seed, records in seeds.items()}
    every = set[int]().union(*held.values()) if needed is None else set(needed)
    whole = [seed for seed in seeds if held[seed] == every or (every and held[seed] > every)]
    return {seed: [each for each in seeds[seed] if folds_of([each]) <= every] for seed in whole}


def folds_of(records: Iterable[Record]) -> set[int]:
    """The folds that these runs tested, by their names; none of a hold-out."""
    return {int(found[1]) for record in records if (found := re.search(r"-fold(\d+)", record["run"]))}


def mean_of_folds(folds: list[Record]) -> dict[str, float]:
    """Means of the metrics that all of them have."""
    shared = set.intersection(*(set(record["metrics"]) for record in folds))
    return {name: float(np.mean([record["metrics"][name] for record in folds])) for name in shared}


def pooled(folder: Path, folds: list[Record]) -> dict[str, float]:
    """Of one ranking over the folds' test pictures that have a score, and sums of counts.

    folder: where their scores lie. A ranking takes both a bad and a good picture; without them it is left out.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    unscored = 0
    for record in folds:
        for row in scores_of(folder, record):
            if not row["raw_score"]:  # the picture was refused
                unscored += 1
                continue
            for name in ("label", "raw_score", "heat_score"):
                scores[name].append(float(row[name]))
    labels = np.array(scores["label"], int)
    counted = [name for name in SUMMED if all(name in record["metrics"] for record in folds)]
    ranked = {"average_precision": "raw_score", "heat_average_precision": "heat_score"} if len(set(labels)) > 1 else {}
    return {
        UNSCORED: unscored,
        **{name: average_precision(labels, np.array(scores[by])) for name, by in ranked.items()},
        **{name: sum(record["metrics"][name] for record in folds) for name in counted},
    }


def figures_of_seed(folder: Path, folds: list[Record]) -> dict[str, float]:
    """What one seed comes to: of several folds their mean, AP also pooled, false positives at full recall together."""
    figures = mean_of_folds(folds)
    if len(folds) > 1:
        together = pooled(folder, folds)
        figures[UNSCORED] = together[UNSCORED]
        if "average_precision" in together:
            figures[POOLED] = together["average_precision"]
        if AT_FULL_RECALL in figures:
            figures[AT_FULL_RECALL] *= len(folds)
    return figures


def promises_kept(records: list[Record]) -> tuple[int, int]:
    """How many promises the tests kept, of how many."""
    promises = [promise["kept"] for record in records for promise in record.get("promises", {}).values()]
    return sum(promises), len(promises)
