"""The figures in docs/performance.md and docs/large_images.md, put there from the records that the other benchmarks
wrote: what stands between the two marks is replaced.

python benchmarks/tables.py
"""

import json
from pathlib import Path
from typing import Any

import goals

ROOT = Path(__file__).resolve().parents[1]
RECORDS, PAGE = ROOT / "results" / "speed", ROOT / "docs" / "performance.md"
LARGE = ROOT / "docs" / "large_images.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
WORKS = {
    "large_kernel": "The large layer, forth and back, on a pair",
    "forward": "One image through the network, bare runtimes",
    "training_step": "A training step of stage one, on a pair",
    "stage_two": "A step of stage two, on a pair",
    "inspect": "`inspect`, a PNG in memory to an `Inspection`",
    "train_to_model": "A whole training of the printed recipe at a fiftieth of its steps, graph written",
}


def main() -> None:
    """Rewrite both pages' figures."""
    for page, figures in FIGURES.items():
        page.write_text(written(page.read_text(encoding="utf-8"), figures()), encoding="utf-8")


def written(page: str, figures: str) -> str:
    """The page's text with these figures between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{figures}{END}{after}"


def performance() -> str:
    """All of docs/performance.md's figures."""
    records = sorted(path for path in RECORDS.glob("*.json") if "rows" in json.loads(path.read_text()))
    parts = [demo(), goals.table() + "\n".join(section(path) for path in records), default_beside_before(), latencies()]
    return "".join([*parts, starts(), peaks(), profiles()]) or "Nothing recorded yet.\n"


def section(path: Path) -> str:
    """One record as headings and tables."""
    record = json.loads(path.read_text())
    machine, rows = record["machine"], record["rows"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    told = f"{machine['processor']}; instructions: {machine['instructions']}; {versions}"
    told += f"; load before: {machine['load_before']:.2f}"
    works = [table(title, [row for row in rows if row["work"] == work]) for work, title in WORKS.items()]
    return f"### `results/speed/{path.name}`\n\n{told}\n\n" + "\n".join(work for work in works if work)


def demo() -> str:
    """The record of `demo.py`; nothing where there is none."""
    path = ROOT / "results" / "demo.json"
    if not path.exists():
        return ""
    record = json.loads(path.read_text())
    about, seconds, reached, parts = (record[name] for name in ("machine", "seconds", "reached", "pictures"))
    how = f"{about['cores']} cores, {'bf16' if record['bf16'] else 'fp32'}; {about['processor']}"
    test = parts["test"]
    found = f"AP {reached['average_precision']:.3f} on {test['good']} good and {test['bad']} bad images not trained on"
    return (
        f"### The demo\n\n`scripts/demo` from a fresh clone: {seconds['installation']:.0f} s of installation and "
        f"{seconds['demo']:.0f} s of everything else, {sum(seconds.values()):.0f} s in all; {found} "
        f"({' × '.join(map(str, record['size']))} pixels; {how}; load before: {about['load_before']:.2f}).\n\n"
    )


def default_beside_before() -> str:
    """The record of `default.py`; nothing where there is none."""
    path = RECORDS / "default_beside_before.json"
    if not path.exists():
        return ""
    record = json.loads(path.read_text())
    about, work = record["machine"], {name: f"{macs / 1e9:.1f} G" for name, macs in record["multiply_adds"].items()}
    told = f"{record['size'].replace('x', ' × ')}, fp32, medians of {about['rounds']} in turn; {about['processor']}"
    told += f"; load before: {about['load_before']:.2f}; multiply-adds: {work['before']} before, {work['default']} now"
    title = f"### `results/speed/{path.name}`\n\n`inspect` with the default network and with the one before it; {told}"
    head = "| runtime | threads | before, ms | default, ms | times as fast |\n|---|---|---|---|---|\n"
    lines = [
        f"| {row['runtime']} | {row['threads']} | {row['before_seconds'] * 1e3:.1f} "
        f"| {row['default_seconds'] * 1e3:.1f} | {row['times_as_fast']:.2f} |\n"
        for row in record["inspections"]
    ]
    return f"\n{title}\n\n{head}{''.join(lines)}"


def latencies() -> str:
    """The record of `latency.py`; nothing where there is none."""
    path = RECORDS / "latency.json"
    if not path.exists():
        return ""
    record = json.loads(path.read_text())
    about = record["machine"]
    told = f"{about['processor']}; {about['threads']} threads; load before: {about['load_before']:.2f}"
    title = f"### `results/speed/latency.json`\n\nOne picture at a time, {about['pictures']:,} of them; {told}"
    head = "| size | implementation | precision | p50, ms | p95, ms | p99, ms |\n|---|---|---|---|---|---|\n"
    columns = ("implementation", "precision", "p50", "p95", "p99")
    rows = [[row["size"].replace("x", " × "), *(str(row[name]) for name in columns)] for row in record["latencies"]]
    return f"\n{title}\n\n{head}" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def starts() -> str:
    """The record of `start.py`; nothing where there is none."""
    path = RECORDS / "start.json"
    if not path.exists():
        return ""
    record = json.loads(path.read_text())
    head = (
        "| size | kernel | runtime | `weakspot inspect`, s | bare runtime, s | more, s |\n|---|---|---|---|---|---|\n"
    )
    rows = [start_line(row) for row in record["starts"]]
    told = f"{record['machine']['processor']}; load before: {record['machine']['load_before']:.2f}"
    title = "### `results/speed/start.json`\n\nFrom the start of a process to the answer for one image"
    return f"\n{title}; {told}\n\n{head}{''.join(rows)}"


def peaks() -> str:
    """The record of `memory.py`; nothing where there is none."""
    path = RECORDS / "memory.json"
    if not path.exists():
        return ""
    head = "| verb | kernel | how | memory | peak, MB |\n|---|---|---|---|---|\n"
    rows = [
        " | ".join(str(row[name]) for name in ("verb", "kernel", "how", "memory", "peak_mb"))
        for row in json.loads(path.read_text())["peaks"]
    ]
    lines = "".join(f"| {row} |\n" for row in rows)
    title = "### `results/speed/memory.json`\n\nLargest resident memory of a verb's process, 1408 × 512"
    return f"\n{title}\n\n{head}{lines}"


def large_peaks() -> str:
    """The record of `large_memory.py`, for the page of large images."""
    head = "| images | file | detector's size | peak, MB |\n|---|---|---|---|\n"
    rows = json.loads((RECORDS / "large_memory.json").read_text())["peaks"]
    sizes = [[" × ".join(f"{side:,}" for side in reversed(row[name])) for name in ("picture", "size")] for row in rows]
    lines = [f"| {own} | {row['file']} | {seen} | {row['peak_mb']:,} |\n" for (own, seen), row in zip(sizes, rows)]
    return head + "".join(lines)


def profiles() -> str:
    """The record of `step_profile.py`; nothing where there is none."""
    path = RECORDS / "step_profile.json"
    if not path.exists():
        return ""
    told = "\n### `results/speed/step_profile.json`\n\nOperations of weakspot's training step on a pair, bf16\n"
    for size, rows in json.loads(path.read_text())["profiles"].items():
        head = f"\n**{size.replace('x', ' × ')}**\n\n| operation | calls | ms a step |\n|---|---|---|\n"
        told += head + "".join(f"| `{row['operation']}` | {row['calls']} | {row['milliseconds']} |\n" for row in rows)
    return told


def start_line(row: dict[str, Any]) -> str:
    """One row of it."""
    numbers = " | ".join(f"{row[name]:.2f}" for name in ("seconds", "bare_seconds", "more"))
    return f"| {row['size'].replace('x', ' × ')} | {row['kernel']} | {row['runtime']} | {numbers} |\n"


def table(title: str, rows: list[dict[str, Any]]) -> str:
    """One work's rows; nothing where there are none."""
    if not rows:
        return ""
    columns = ("size", "kernel", "threads", "implementation", "precision", "ms", "× plain", "floor, ms", "peak, MB")
    head = f"**{title}**\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n"
    return head + "".join(line(row) for row in rows)


def line(row: dict[str, Any]) -> str:
    """One row."""
    size = row["size"].replace("x", " × ")
    numbers = (
        f"{row['seconds'] * 1e3:.1f} | {row['ratio']:.2f} | {row['floor_seconds'] * 1e3:.1f} | {row['peak_mb'] or ''}"
    )
    return (
        f"| {size} | {row['kernel']} | {row['threads']} | {row['implementation']} | {row['precision']} | {numbers} |\n"
    )


FIGURES = {PAGE: performance, LARGE: large_peaks}  # of each page


if __name__ == "__main__":
    main()
