"""Records under results/ → the tables that people read. results/README.md is written anew each time, never typed."""

import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.durable import write_durably
from weakspot.errors import amount
from weakspot.experiments.records import Record, records_of
from weakspot.experiments.series import (
    AT_FULL_RECALL,
    POOLED,
    SUMMED,
    UNSCORED,
    by_series,
    complete,
    differences,
    figures_of_seed,
    folds_of,
    mean_of_folds,
    pooled,
    promises_kept,
)
from weakspot.experiments.standing import standing

SUMMARY = {
    "average_precision": "AP",
    POOLED: "AP, folds pooled",
    "auroc": "AUROC",
    AT_FULL_RECALL: "FP at full recall",
    "hit_rate": "hit",
    "pixel_aupro": "AUPRO",
    "cell_iou": "cell IoU",
}
COLUMNS = {
    "average_precision": "AP",
    "heat_average_precision": "AP heat",
    "mean_heat_average_precision": "AP mean heat",
    "auroc": "AUROC",
    "best_f1": "best F1*",
    "false_negatives": "FN*",
    "false_positives": "FP*",
    AT_FULL_RECALL: "FP at full recall",
    "escapes": "escapes",
    "review": "review",
    "false_alarms": "false alarms",
    "hit_rate": "hit",
    "cell_iou": "cell IoU",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_aupro": "AUPRO",
}
COUNTS = {"false_negatives", "false_positives", AT_FULL_RECALL, *SUMMED}
NOTE = """# Results

Made from the records beside this page by `weakspot experiment`; nothing here is typed. Scores of test pictures only.

A row has one experiment, recipe, split and number of bad pictures to train on: mean ± standard deviation over `n`
seeds, or the one figure there is. A seed draws who is tested, which bad pictures train, and the weights together; where
it says *weights*, the split and the bad pictures are those of one seed. Seeds that lack a fold that others have are
left out of the means. Of KolektorSDD's folds AP and all that is no count is the mean of the folds' own, *pooled* is one
ranking over their test pictures, and false positives at full recall are those of the folds together. Minutes are
a training's with those of its folds, beside other work on the same machine. Promises: escapes and false alarms on test
within the 95 % interval that the counts out of fold leave likely.
"""
RUNS = """## Runs

\\* at the best F1 on the test pictures themselves, as the literature prints it. Escapes, review and false alarms are
counted at thresholds chosen without them. With one seed a difference of a point of AP between two rows means little:
one of 52 bad pictures ranked last costs 1.7 points.
"""


def write_tables(results: Path) -> Path:
    """results/README.md from every record below `results`; one process at a time."""
    path = results / "README.md"
    with _alone(results):
        write_durably(path, _page(results).encode())
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process writes there, so that none overwrites a page with one that knows fewer records."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _page(results: Path) -> str:
    experiments: dict[Path, list[Record]] = {}
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        records = sorted(records_of(folder), key=_in_order)
        if records:
            experiments[folder] = records
    rows = [row for folder, records in experiments.items() for row in _summary(folder, records)]
    heads = "experiment", "recipe", "split", "size", "bad", "seeds", "n", *SUMMARY.values(), "minutes", "promises kept"
    kept, of = promises_kept([record for records in experiments.values() for record in records])
    total = f"Promises kept, over all runs: **{_share(kept, of)}** ({100 * kept / of:.0f} %).\n" if of else ""
    runs = [_runs(folder, records) for folder, records in experiments.items()]
    apart = [line for folder, records in experiments.items() for line in _told_apart(folder, records)]
    beside = standing(record for records in experiments.values() for record in records)
    return "\n".join([NOTE, *_table(heads, rows), "", *apart, total, *beside, RUNS, *runs])


def _told_apart(folder: Path, records: list[Record]) -> Iterator[str]:
    """Why runs of one name stand in several rows."""
    for name, settings in differences(records).items():
        yield f"{folder.name}: runs of {name} differ in {', '.join(settings)}; each kind has a row of its own.\n"


def _in_order(record: Record) -> list[str]:
    """Numbers in a name by their size: bad5 before bad10."""
    return [part.rjust(10, "0") if part.isdigit() else part for part in re.split(r"(\d+)", record["run"])]


def _summary(folder: Path, records: list[Record]) -> Iterator[list[str]]:
    """A row for each series."""
    for seeds in by_series(records).values():
        every = [record for folds in seeds.values() for record in folds]
        together = complete(seeds)
        figures = [figures_of_seed(folder, folds) for folds in together.values()]
        cells = {
            name: _over_seeds(name, [each[name] for each in figures if name in each], len(figures)) for name in SUMMARY
        }
        if cells[POOLED]:
            cells[POOLED] += _without_score(figures, " ({})")
        yield [
            folder.name,
            ", ".join(filter(None, (every[0]["recipe"], every[0].get("variant")))),
            _split(every[0], together.values()),
            ", ".join(dict.fromkeys(_size(record) for record in every)),
            _range([record["positives"] for record in every]),
            _seeds([folds[0] for folds in together.values()]),
            str(len(together)),
            *cells.values(),
            f"{np.mean([record['seconds'] for record in every]) / 60:.0f}",
            _share(*promises_kept(every)),
        ]


def _split(record: Record, seeds: Iterable[list[Record]]) -> str:
    """The split's name, and of which of its folds the figures are."""
    folds = sorted({fold for each in seeds for fold in folds_of(each)})
    word = "fold" if len(folds) == 1 else "folds"
    return f"{record['split']['name']}" + (f", {word} {', '.join(map(str, folds))}" if folds else "")


def _without_score(figures: Sequence[dict[str, float]], form: str) -> str:
    """How many test pictures no ranking has; empty where each was scored."""
    count = int(sum(each.get(UNSCORED, 0) for each in figures))
    return form.format(f"{amount(count, 'test picture')} without a score") if count else ""


def _seeds(records: list[Record]) -> str:
    if not records:
        return ""
    if records[0]["run"].endswith(f"-weights{records[0].get('weights_seed')}"):
        return f"weights {', '.join(str(record['weights_seed']) for record in records)}; all else {records[0]['seed']}"
    return ", ".join(str(seed) for seed in sorted(record["seed"] for record in records))


def _over_seeds(name: str, values: Sequence[float], seeds: int) -> str:
    """Empty where a seed lacks the figure."""
    if len(values) < seeds or not values:
        return ""
    if len(values) == 1:
        return _number(name, values[0])
    digits = 1 if name in COUNTS else 3
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def _runs(folder: Path, records: list[Record]) -> str:
    """A table of one experiment's runs, and of what several folds of one seed come to."""
    columns = [name for name in COLUMNS if any(name in record["metrics"] for record in records)]
    heads = "run", "size", "bad", "k", "minutes", *(COLUMNS[name] for name in columns), "promises kept"
    rows = [
        [
            record["run"],
            _size(record),
            str(record["positives"]),
            _shares_of_cells(record["learned"]),
            f"{record['seconds'] / 60:.0f}",
            *(_number(name, record["metrics"].get(name)) for name in columns),
            _share(*promises_kept([record])),
        ]
        for record in records
    ]
    for seeds in by_series(records).values():
        for seed, folds in seeds.items():
            if len(folds) > 1:
                for word, figures in (("mean", mean_of_folds(folds)), ("pooled", pooled(folder, folds))):
                    cells = [_number(name, figures.get(name)) for name in columns]
                    rows.append([f"**{seed}, {word}{_without_score([figures], ', {}')}**", "", "", "", "", *cells, ""])
    title = f"<details>\n<summary>{folder.name}, {len(records)}</summary>\n"
    return "\n".join([title, *_table(heads, rows), "\n</details>\n"])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _size(record: Record) -> str:
    return "×".join(map(str, record["size"]))


def _range(numbers: list[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least}–{most}"


def _share(kept: int, of: int) -> str:
    return f"{kept} of {of}" if of else ""


def _shares_of_cells(learned: dict[str, Any]) -> str:
    """Shares of the cells whose hottest count; the first records name one."""
    return ", ".join(f"{share:g}" for share in learned.get("top_fractions") or [learned["top_fraction"]])


def _number(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return str(round(value)) if name in COUNTS and abs(value - round(value)) < 1e-9 else f"{value:.3f}"
