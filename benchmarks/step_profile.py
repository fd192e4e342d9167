"""Where the milliseconds of a training step go, operation by operation: the share of each in a pair's step of stage
one.

python benchmarks/step_profile.py --size 704x256 --json results/speed/step_profile.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import machine
import torch
from speed import size_of
from torch.profiler import ProfilerActivity, profile
from work import Setting, training_step

from weakspot.network.memory import keep_freed_memory

STEPS, TOLD = 5, 14  # steps profiled; operations told, the others are summed up


def main() -> None:
    """Profile weakspot's step in bf16, print the operations that take longest, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, nargs="+", default=[(704, 256)])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(asked.threads)
    notes = {"processor": machine.processor(), "load_before": machine.others_load(), "threads": asked.threads}
    profiles = {f"{height}x{width}": profiled(Setting((height, width), asked.threads)) for height, width in asked.size}
    if asked.json:
        asked.json.write_text(json.dumps({"machine": notes, "profiles": profiles}, indent=1) + "\n")


def profiled(setting: Setting) -> list[dict[str, Any]]:
    """Operations with their milliseconds a step, longest first."""
    entry = next(
        entry
        for entry in training_step(setting)
        if entry.ours and entry.precision == "bf16" and "small" not in entry.implementation
    )
    step = entry.make()
    step()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(STEPS):
            step()
    found = sorted(seen.key_averages(), key=lambda average: average.self_cpu_time_total, reverse=True)
    rows = [
        {"operation": a.key, "calls": a.count // STEPS, "milliseconds": round(a.self_cpu_time_total / 1000 / STEPS, 2)}
        for a in found
    ]
    rest = {"operation": "all others", "calls": sum(row["calls"] for row in rows[TOLD:])}
    rows = [*rows[:TOLD], rest | {"milliseconds": round(sum(row["milliseconds"] for row in rows[TOLD:]), 2)}]
    print(setting.size, *rows, sep="\n")
    return rows


if __name__ == "__main__":
    main()
