"""What bf16 changes on real images: every image of the test parts, in fp32 and in bf16, and whether any decision
differs.

    python benchmarks/precision.py runs/*/model.weakspot DATA --json results/speed/bf16_decisions.json

Each model file lies in its run's folder, whose split.csv says which images of DATA it has not seen. Needs OpenVINO and
a processor with bf16 units.
"""

import argparse
import csv
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from machine import processor

from weakspot.inspection.fastest import open_fastest
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import read_model_file
from weakspot.inspection.runtimes import offers_bf16, open_runtime


def main() -> None:
    """Compare for each model, print what came of it, write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="model files, each in its run's folder")
    parser.add_argument("data", type=Path, help="the folder that the runs were trained on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where the record is written")
    asked = parser.parse_args()
    if not offers_bf16():
        raise SystemExit("no OpenVINO here, or no bf16 units in this processor: nothing to compare")
    models = [compared(model, asked.data, asked.threads) for model in asked.models]
    summary = summed_up([row for model in models for row in model["rows"]])
    print(summary)
    if asked.json:
        machine = {"processor": processor(), "threads": asked.threads, "openvino": version("openvino")}
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        record = {"machine": machine, "summary": summary, "models": models}
        asked.json.write_text(json.dumps(record, indent=1) + "\n")


def compared(path: Path, data: Path, threads: int) -> dict[str, Any]:
    """One model on the images of its run's test part: a row for each, and what they come to."""
    model = read_model_file(path)
    exact, quick = (LoadedDetector(model, open_runtime(model, "openvino", threads, kind)) for kind in ("fp32", "bf16"))
    used = LoadedDetector(model, open_fastest(model, "openvino", threads, "bf16"))
    with (path.parent / "split.csv").open(encoding="utf-8", newline="") as file:
        unseen = [row for row in csv.DictReader(file) if row["part"] == "test"]
    rows = [compared_on(row["id"], data / row["id"], exact, quick, used) for row in unseen]
    thresholds = {"bad_from": model.thresholds.bad_from, "good_below": model.thresholds.good_below}
    summary = summed_up(rows)
    print(path.parent.name, summary)
    margin = model.manifest.bf16_margin
    return {"run": path.parent.name, **thresholds, "margin": margin, "summary": summary, "rows": rows}


def compared_on(
    name: str, image: Path, exact: LoadedDetector, quick: LoadedDetector, used: LoadedDetector
) -> dict[str, Any]:
    """One image in fp32, in bf16 alone, and as it is inspected: in bf16, again in fp32 where it lies near a
    threshold."""
    prepared = exact.prepare(image)
    fp32, bf16, rechecked = (detector.judge(prepared) for detector in (exact, quick, used))
    return {
        "image": name,
        "raw_fp32": fp32.raw_score,
        "raw_bf16": bf16.raw_score,
        "heat_difference": float(np.abs(fp32.heat_map - bf16.heat_map).max()),
        "decision_fp32": fp32.decision,
        "decision_bf16": bf16.decision,
        "decision_rechecked": rechecked.decision,
        "computed_again": rechecked.raw_score != bf16.raw_score,
    }


def summed_up(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Largest differences, and decisions that bf16 changed, without and with the second look."""
    return {
        "images": len(rows),
        "largest_raw_difference": max(abs(row["raw_fp32"] - row["raw_bf16"]) for row in rows),
        "largest_heat_difference": max(row["heat_difference"] for row in rows),
        "changed_by_bf16": sum(row["decision_fp32"] != row["decision_bf16"] for row in rows),
        "changed_when_rechecked": sum(row["decision_fp32"] != row["decision_rechecked"] for row in rows),
        "computed_again": sum(row["computed_again"] for row in rows),
    }


if __name__ == "__main__":
    main()
