"""Whether runtimes answer alike on pictures that the detector has not seen: torch in fp32 beside ONNX Runtime and
OpenVINO in fp32, bf16 and int8, every picture of the test part of each run.

    python benchmarks/parity.py --run RUN/model.weakspot DATA [--run …] -o results/parity.json

Each model file lies in its run's folder, whose split.csv says which pictures of DATA test; the others, with which it
was trained, calibrate int8. A busy machine is fine: nothing is timed. The table stands in docs/deploy.md.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np

from weakspot.evaluation.metrics import average_precision
from weakspot.inspection.fastest import open_fastest
from weakspot.inspection.inspection import decide
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.runtimes import Answer, Runtime, offers_bf16, open_runtime, present_runtimes
from weakspot.jobs.quantize import quantized
from weakspot.jobs.verify import differences, open_reference
from weakspot.provenance import commit, versions

PAGE = Path(__file__).resolve().parents[1] / "docs" / "deploy.md"
BEGIN, END = "<!-- parity: begin -->", "<!-- parity: end -->"
NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


class Picture(NamedTuple):
    """One of a run, as its detector sees it."""

    label: int  # 1 bad, 0 good
    image: np.ndarray  # (1, C, h, w), raw


def main() -> None:
    """Compare for each run, write the record and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs=2, type=Path, action="append", required=True, metavar=("MODEL", "DATA"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    about = {"processor": machine.processor(), "threads": asked.threads, "versions": versions(), "commit": commit()}
    record = {"machine": about, "runs": [compared(*run, asked.threads) for run in asked.run]}
    asked.output.write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(page(PAGE.read_text("utf-8"), record), "utf-8")


def compared(path: Path, data: Path, threads: int) -> dict[str, Any]:
    """One run: a row for each runtime and precision."""
    detector = LoadedDetector.load_exact(path, threads)
    pictures = {part: read(detector, path.parent / "split.csv", data, part) for part in ("train", "test")}
    labels, images = zip(*pictures["test"])
    model, about = detector.model, detector.manifest
    expected = answers(open_reference(model, threads), images)
    told = {"data": data.name, "run": path.parent.name, "model_sha256": model.sha256, "size": list(about.size)}
    told |= {"pictures": len(labels), "bad": sum(labels), "calibrated_by": len(pictures["train"])}
    rows = [row(detector, labels, expected, expected) | {"runtime": "torch", "precision": "fp32"}]
    for name, precision, runtime in runtimes(model, [each.image[0] for each in pictures["train"]], threads):
        found = answers(runtime, images)
        rows.append(row(detector, labels, expected, found) | {"runtime": name, "precision": precision})
        print(path.parent.name, rows[-1], flush=True)
    return told | {"rows": rows}


def read(detector: LoadedDetector, split: Path, data: Path, part: str) -> list[Picture]:
    """The pictures of one part; one that cannot be judged ends it all."""
    with split.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == part]
    return [Picture(int(row["label"]), detector.prepare(data / row["id"]).image[None]) for row in rows]


def runtimes(model: ModelFile, calibrate: list[np.ndarray], threads: int) -> Iterator[tuple[str, str, Runtime]]:
    """As inspection opens them; bf16 without its second look in fp32, too; int8 as `weakspot export` makes it."""
    int8 = replace(model, graph=quantized(model.graph, calibrate))
    for name in present_runtimes():
        yield name, "fp32", open_fastest(model, name, threads, "fp32")  # type: ignore[arg-type]
        yield name, "int8", open_runtime(int8, name, threads)
    if offers_bf16() and model.manifest.bf16_margin is not None:
        yield "openvino", "bf16", open_fastest(model, "openvino", threads, "bf16")
        yield "openvino", "bf16, no second look", open_runtime(model, "openvino", threads, "bf16")


def answers(runtime: Runtime, images: tuple[np.ndarray, ...]) -> list[Answer]:
    """One picture at a time."""
    return [runtime.run(image) for image in images]


def row(
    detector: LoadedDetector, labels: tuple[int, ...], expected: list[Answer], found: list[Answer]
) -> dict[str, Any]:
    """Differences as `weakspot verify` has them, decisions that change, and average precision."""
    raw, heat = np.array([differences(*pair) for pair in zip(found, expected)]).T
    before, after = ([decide(float(each.raw_score[0]), detector.thresholds) for each in of] for of in (expected, found))
    changed = [one for one, other in zip(before, after) if one != other]
    return {
        "raw_largest": float(raw.max()), "raw_p99": float(np.percentile(raw, 99)),
        "heat_largest": float(heat.max()), "heat_p99": float(np.percentile(heat, 99)),
        "changed": len(changed), "changed_outside_review": sum(one != "review" for one in changed),
        "ap": average_precision(np.array(labels), np.array([each.raw_score[0] for each in found])),
    }  # fmt: skip


def page(text: str, record: dict[str, Any]) -> str:
    """The page with the record's table between its two marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(record)}{END}{rest.partition(END)[2]}"


def table(record: dict[str, Any]) -> str:
    """A row for each run, runtime and precision."""
    columns = (
        "data", "pictures", "runtime", "precision", "raw score, largest", "99 %", "heat, largest", "99 %",
        "decisions changed", "of these not for review before", "AP",
    )  # fmt: skip
    lines = [columns, ("---",) * len(columns)]
    for run in record["runs"]:
        size = "{} × {}".format(*run["size"])
        for each in run["rows"][1:]:
            off = (f"{each[name]:.0e}" for name in ("raw_largest", "raw_p99", "heat_largest", "heat_p99"))
            decided = (str(each[name]) for name in ("changed", "changed_outside_review"))
            shares = f"{each['ap']:.4f} ({run['rows'][0]['ap']:.4f})"
            what = f"{run['data']}, {size}", f"{run['pictures']}, {run['bad']} bad", NAMES[each["runtime"]]
            lines.append((*what, each["precision"], *off, *decided, shares))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
