"""How long each work takes, beside what else can do it, and beside the least time that its arithmetic or its memory
needs on this machine.

    python benchmarks/speed.py [--quick] [--avx2] [--json FILE]

All implementations of a work run in turn, round after round, in one process; medians are told. Run it on a quiet
machine: the load is printed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import machine
import openvino
import torch
from work import WORKS, Entry, Setting, compiled

from weakspot.network.memory import keep_freed_memory

SIZES = (352, 128), (704, 256), (1408, 512), (4096, 256)
AREAS = (256, 192), (512, 384), (1024, 768), (2048, 1536), (3264, 2448)  # 0.05 to 8 megapixels, for `forward`
SPINS = 2.0  # seconds of a run from which on threads that still spin at its start don't count
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def main() -> None:
    """Measure what the arguments ask for, print a table, write the rows."""
    asked = arguments()
    if asked.peak:
        return print(peak_of(*asked.peak))
    if asked.avx2 and any(os.environ.get(name) != value for name, value in AVX2.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | AVX2)  # libraries read it when they load
    keep_freed_memory()
    notes = {
        "processor": machine.processor(),
        "load_before": machine.others_load(),
        "instructions": "AVX2" if asked.avx2 else "all",
    }
    notes |= {"versions": {"torch": torch.__version__, "openvino": openvino.__version__.split("-")[0]}}
    print(notes, "" if notes["load_before"] < 0.2 else "NOT A QUIET MACHINE: others are at work", sep="\n")
    if asked.avx2:
        refuse_wider_instructions()
    rows = []
    for row in measured(asked):
        rows.append(row)
        print(line(row), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps({"machine": notes, "rows": rows}, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, all threads, no memory: two minutes")
    parser.add_argument(
        "--avx2",
        action="store_true",
        help="stand in for a processor without AVX-512: OpenVINO and PyTorch limited to AVX2",
    )
    parser.add_argument("--json", type=Path, help="where rows are written, after each")
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--size", nargs="+", type=size_of, help="HEIGHTxWIDTH, pixels")
    parser.add_argument("--threads", nargs="+", type=int, help="default: one, and all cores")
    parser.add_argument(
        "--kernel", nargs="+", type=int, default=[15], help="the third kernel's cells: 15 as printed, 7"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=30.0,
        help="for a work at one setting, where three rounds don't take longer; default: 30",
    )
    parser.add_argument("--areas", action="store_true", help="`forward` by weakspot alone, from 0.05 to 8 megapixels")
    parser.add_argument("--peak", nargs=6, metavar="", help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows, one for each implementation of each work at each setting."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    sizes = asked.size or (AREAS if asked.areas else SIZES[:2] if asked.quick else SIZES)
    for threads in asked.threads or ([cores] if asked.quick or asked.areas else sorted({1, cores})):
        rates = machine.rates(
            threads, ["fp32"] if asked.avx2 else machine.DTYPES
        )  # without its units bf16 would take minutes
        print("rates:", {name: f"{rate / 1e9:.0f} G/s" for name, rate in rates.items()})
        for kernel, work, size in product(asked.kernel, ["forward"] if asked.areas else asked.work, sizes):
            setting = Setting(size, threads, kernel)
            entries = [entry for entry in WORKS[work](setting) if usable(entry, asked)]
            for entry, seconds, plain in timed(entries, threads, asked.seconds):
                row = {
                    "work": work,
                    "implementation": entry.implementation,
                    "size": f"{size[0]}x{size[1]}",
                    "kernel": kernel,
                }
                row |= {
                    "precision": entry.precision,
                    "threads": threads,
                    "seconds": seconds,
                    "plain_seconds": plain,
                    "ratio": plain / seconds,
                }
                row |= {"floor_seconds": max(entry.multiply_adds / rates[entry.precision], entry.moved / rates["copy"])}
                yield row | {"peak_mb": None if asked.quick or asked.areas else peak_mb(work, entry, setting)}


def usable(entry: Entry, asked: argparse.Namespace) -> bool:
    """ONNX Runtime cannot be limited to AVX2, which has no bf16 either; areas are about ours."""
    if asked.areas and not (entry.ours and entry.implementation.startswith("OpenVINO") and entry.precision == "fp32"):
        return False
    return not (asked.avx2 and (entry.precision == "bf16" or entry.implementation.startswith("ONNX")))


def timed(entries: list[Entry], threads: int, longest: float) -> list[tuple[Entry, float, float]]:
    """Each entry with its median seconds and those of the plain entry it is compared with: same runtime and precision,
    or the first plain one.

    longest: seconds for all rounds, where three rounds don't take longer; one round where one takes a third of it.
    """
    torch.set_num_threads(threads)
    runs = [entry.make() for entry in entries]
    first = [timed_once(run) for run in runs]
    rounds = max(1 if sum(first) > longest / 3 else 3, min(15, int(longest / 2 / sum(first))))
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, kept, begun in zip(runs, times, first):
            if begun < SPINS:
                run()  # not timed: threads of the runtime before may still be spinning
            kept.append(timed_once(run))
    medians = [statistics.median(kept) for kept in times]
    return [(entry, seconds, medians[plain_twin(entry, entries)]) for entry, seconds in zip(entries, medians)]


def timed_once(run: Callable[[], object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def plain_twin(entry: Entry, entries: list[Entry]) -> int:
    """The index of the plain entry of the same runtime and precision; the entry's own where there is none."""
    runtime = entry.implementation.split()[0].rstrip(",")
    for index, other in enumerate(entries):
        if (
            not other.ours
            and other.precision == entry.precision
            and other.implementation.split()[0].rstrip(",") == runtime
        ):
            return index
    plain = [index for index, other in enumerate(entries) if not other.ours and other.precision == entry.precision]
    return plain[0] if plain else entries.index(entry)


def peak_mb(work: str, entry: Entry, setting: Setting) -> int:
    """Largest resident memory of a process that does this once, and nothing else."""
    asked = [
        work,
        entry.implementation,
        entry.precision,
        f"{setting.size[0]}x{setting.size[1]}",
        str(setting.threads),
        str(setting.kernel),
    ]
    told = subprocess.run([sys.executable, __file__, "--peak", *asked], capture_output=True, text=True, check=True)
    return int(told.stdout.split()[-1])


def peak_of(work: str, implementation: str, precision: str, size: str, threads: str, kernel: str) -> int:
    """The same, in that process. In MB; the graph was exported in it too, which inspection does not do."""
    torch.set_num_threads(int(threads))
    entries = WORKS[work](Setting(size_of(size), int(threads), int(kernel)))
    run = next(
        entry for entry in entries if (entry.implementation, entry.precision) == (implementation, precision)
    ).make()
    run()
    return machine.peak_mb()


def refuse_wider_instructions() -> None:
    """Stop where a layer of a compiled graph still uses AVX-512: then nothing here would be true."""
    operations = compiled(Setting((256, 256), 1), "fp32", ours=False).get_runtime_model().get_ordered_ops()
    wide = {
        str(kind)
        for kind in (op.get_rt_info()["primitiveType"] for op in operations if "primitiveType" in op.get_rt_info())
        if "avx512" in str(kind)
    }
    if wide or "AVX2" not in torch.backends.cpu.get_cpu_capability():
        sys.exit(f"the limit to AVX2 did not take: {sorted(wide)}, torch {torch.backends.cpu.get_cpu_capability()}")


def line(row: dict[str, Any]) -> str:
    """A row as a line of the table."""
    what = f"{row['work']:14}{row['size']:>10} k{row['kernel']:<3}{row['threads']:>2} threads  "
    what += f"{row['implementation']:40}{row['precision']:5}"
    times = f"{row['seconds'] * 1e3:9.1f} ms {row['ratio']:6.2f} × plain   floor {row['floor_seconds'] * 1e3:8.1f} ms"
    return what + times + ("" if row["peak_mb"] is None else f"{row['peak_mb']:7} MB")


def size_of(text: str) -> tuple[int, int]:
    """'704x256' → (704, 256)."""
    height, _, width = text.partition("x")
    return int(height), int(width)


if __name__ == "__main__":
    main()
