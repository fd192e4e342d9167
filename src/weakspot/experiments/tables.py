"""Records under results/ → the tables that people read. results/README.md is written anew each time, never typed."""

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.durable import write_durably
from weakspot.evaluation.metrics import average_precision

COLUMNS = {
    "average_precision": "AP",
    "heat_average_precision": "AP heat",
    "auroc": "AUROC",
    "best_f1": "best F1*",
    "false_negatives": "FN*",
    "false_positives": "FP*",
    "false_positives_at_full_recall": "FP at full recall",
    "escapes": "escapes",
    "review": "review",
    "false_alarms": "false alarms",
    "hit_rate": "hit",
    "cell_iou": "cell IoU",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_aupro": "AUPRO",
}
SUMMED = ("escapes", "review", "false_alarms")  # of folds
COUNTS = {"false_negatives", "false_positives", "false_positives_at_full_recall", *SUMMED}
NOTE = """# Results

Made from the records beside this page by `weakspot experiment`; nothing here is typed. Scores of test pictures only.
\\* at the best F1 on the test pictures themselves, as the literature prints it. Escapes, review and false alarms are
counted at thresholds chosen without them. *pooled*: one ranking over the folds' test pictures; *mean*: of the folds'
own figures. A seed draws who is tested, which bad pictures train, and the weights together. With one seed a difference
of a point of AP between two rows means little: one of 52 bad pictures ranked last costs 1.7 points.
"""


def write_tables(results: Path) -> Path:
    """results/README.md from every record below `results`."""
    sections = [NOTE]
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        records = [record for record in records if "metrics" in record and "recipe" in record]
        if records:
            sections.append(_section(folder, records))
    path = results / "README.md"
    write_durably(path, "\n".join(sections).encode())
    return path


def _section(folder: Path, records: list[dict[str, Any]]) -> str:
    columns = [name for name in COLUMNS if any(name in record["metrics"] for record in records)]
    lines = [
        f"## {folder.name}",
        "",
        "| run | size | bad | k | minutes | " + " | ".join(COLUMNS[name] for name in columns) + " |",
        "|---" * (5 + len(columns)) + "|",
    ]
    for record in records:
        size, k = "×".join(map(str, record["size"])), _shares(record["learned"])
        cells = [
            record["run"],
            size,
            record["positives"],
            k,
            f"{record['seconds'] / 60:.0f}",
            *(_number(name, record["metrics"].get(name)) for name in columns),
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    for name, row in _over_folds(folder, records).items():
        lines.append(f"| {name} | | | | | " + " | ".join(_number(column, row.get(column)) for column in columns) + " |")
    return "\n".join(lines) + "\n"


def _shares(learned: dict[str, Any]) -> str:
    """Shares of the cells whose hottest count; the first records name one."""
    return ", ".join(f"{share:g}" for share in learned.get("top_fractions") or [learned["top_fraction"]])


def _over_folds(folder: Path, records: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and pooled rows for every recipe, split and seed of which several folds are on record."""
    by_series: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if "-fold" in record["run"]:
            by_series[f"{record['recipe']} {record['split']['name']} seed {record['seed']}"].append(record)
    rows = {}
    for series, folds in by_series.items():
        if len(folds) > 1:
            shared = set.intersection(*(set(record["metrics"]) for record in folds))
            rows[f"**{series}, mean**"] = {
                name: float(np.mean([record["metrics"][name] for record in folds])) for name in shared
            }
            rows[f"**{series}, pooled**"] = _pooled(folder, folds)
    return rows


def _pooled(folder: Path, folds: list[dict[str, Any]]) -> dict[str, float]:
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


def _number(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if name in COUNTS and float(value).is_integer() else f"{value:.3f}"
