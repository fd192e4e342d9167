"""What was aimed at and what was reached, from the records that the other benchmarks wrote. `tables.py` puts it into
docs/performance.md."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

RECORDS = Path(__file__).resolve().parents[1] / "results" / "speed"
STEP_SIZES = "704x256", "1408x512"
LARGEST = "1408x512"
Rows = list[dict[str, Any]]


class Goal(NamedTuple):
    """One line: what is compared, where, the least or most it should be, and what it is."""

    work: str
    size: str
    aim: float
    found: float
    most: bool = False  # the aim is the most it may be; else the least
    unit: str = "×"

    @property
    def reached(self) -> bool:
        """Whether it is."""
        return self.found <= self.aim if self.most else self.found >= self.aim


def table() -> str:
    """All goals as a table; nothing where a record is missing."""
    try:
        found = list(goals())
    except FileNotFoundError:
        return ""
    head = "### Against the goals\n\n| work | size | goal | found | |\n|---|---|---|---|---|\n"
    return head + "".join(line(goal) for goal in found) + "\n"


def line(goal: Goal) -> str:
    """One goal as a row."""
    sign, size = "≤" if goal.most else "≥", re.sub(r"(\d)x(\d)", r"\1 × \2", goal.size)
    aim, found = (
        f"{value:.4g} {goal.unit}" if value >= 100 else f"{value:.2f} {goal.unit}" for value in (goal.aim, goal.found)
    )
    return f"| {goal.work} | {size} | {sign} {aim} | {found} | {'reached' if goal.reached else '**missed**'} |\n"


def goals() -> Iterator[Goal]:
    """Every goal, for the printed kernel of 15 × 15 and two threads. Raises FileNotFoundError where a record is
    missing."""
    two, training, avx2 = rows("two_threads"), rows("training"), rows("avx2")
    for precision, aim in (("fp32", 2.3), ("bf16", 1.0)):
        yield Goal(
            f"inspection {precision}, against OpenVINO's plain graph",
            LARGEST,
            aim,
            faster(two, "forward", LARGEST, *openvino(precision)),
        )
    yield Goal(
        "inspection fp32 with AVX2 alone, against the same",
        LARGEST,
        2.5,
        faster(avx2, "forward", LARGEST, *openvino("fp32")),
    )
    for precision in ("fp32", "bf16"):
        bare, whole = ((f"OpenVINO, {name}", precision) for name in ("bare graph", "weakspot inspect"))
        longer = faster(two, "inspect", LARGEST, whole, bare)
        yield Goal(f"`inspect` {precision} with reading, against the bare graph", LARGEST, 1.15, longer, most=True)
    for precision, aim in (("bf16", 2.0), ("fp32", 5.0)):
        for size in STEP_SIZES:
            found = faster(training, "training_step", size, ("PyTorch eager", precision), ("PyTorch, weakspot", "bf16"))
            yield Goal(f"training step of stage one, against PyTorch {precision} eager", size, aim, found)
    for without in ("weakspot, features computed", "PyTorch eager, features computed"):
        for size in STEP_SIZES:
            found = faster(training, "stage_two", size, (without, "bf16"), ("weakspot, features kept", "bf16"))
            yield Goal(f"step of stage two with kept features, against {without}", size, 10.0, found)
    areas = [row["seconds"] / pixels(row["size"]) for row in rows("areas")]
    yield Goal("most time a megapixel, over the least", "0.05 to 8 megapixels", 1.5, max(areas) / min(areas), most=True)
    starts = rows("start", "starts")
    slowest = max(starts, key=lambda row: row["more"])
    yield Goal("start of `inspect`, above the bare runtime", slowest["size"], 1.0, slowest["more"], most=True, unit="s")
    yield from memory()


def memory() -> Iterator[Goal]:
    """Peak memory of the verbs, the largest of all recipes, kernels and runtimes, without the setting that spares
    it."""
    for verb, aim in (("inspect", 1500), ("train", 6000)):
        peak = max(row["peak_mb"] for row in rows("memory", "peaks") if row["verb"] == verb and row["memory"] == "fast")
        yield Goal(f"peak memory of `{verb}`", LARGEST, aim, peak, most=True, unit="MB")


def rows(name: str, key: str = "rows") -> Rows:
    """The rows of a record."""
    found: Rows = json.loads((RECORDS / f"{name}.json").read_text())[key]
    return found


def openvino(precision: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """The plain graph and ours."""
    return ("OpenVINO, plain graph", precision), ("OpenVINO, weakspot", precision)


def faster(found: Rows, work: str, size: str, slow: tuple[str, str], fast: tuple[str, str]) -> float:
    """How many times as fast one implementation is as another, each by name and precision."""
    seconds = {
        (row["implementation"], row["precision"]): row["seconds"]
        for row in found
        if (row["work"], row["size"]) == (work, size)
    }
    return float(seconds[slow] / seconds[fast])


def pixels(size: str) -> int:
    """'704x256' → their number."""
    height, _, width = size.partition("x")
    return int(height) * int(width)
