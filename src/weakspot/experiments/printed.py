"""Our figures beside printed ones: rows of numbers from records, as Markdown and as JSON. Draws nothing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from weakspot.durable import write_together
from weakspot.experiments.experiment import Experiment, Printed
from weakspot.experiments.records import TABLE_JSON, Record, records_of
from weakspot.experiments.series import (
    AT_FULL_RECALL,
    POOLED,
    by_series,
    complete,
    differences,
    figures_of_seed,
    folds_of,
)

TABLE = "table.md"  # beside the records
METRICS = {
    "average_precision": "AP",
    POOLED: "AP, pooled",
    "false_negatives": "FN*",
    "false_positives": "FP*",
    AT_FULL_RECALL: "FP at full recall",
}
OF_FOLDS = ("false_negatives", "false_positives")  # added up over a seed's folds, as printed
NOTE = """Made by `weakspot experiment` from the records beside it. AP is the mean of the folds' own, *pooled* that of
one ranking; counts are those of all folds together, \\* at the best F1 on the test pictures themselves, as printed.
Mean ± standard deviation over `n` seeds. A size has a table of its own: no row is compared with one of another size.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: ours, printed, or both. `ours`: means over seeds; `deviations`: where there are several."""

    name: str
    size: tuple[int, int] | None = None  # None: printed alone
    scale: str | None = None
    recipe: str = ""
    variant: str = ""
    positives: int | None = None
    seeds: int = 0
    folds: int = 0
    ours: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)
    printed: Mapping[Any, float] = field(default_factory=dict)  # by names of `METRICS`
    where: str = ""


def rows_of(experiment: Experiment, folder: Path) -> list[Row]:
    """A row for each series, then the printed means over several, then what is printed and was not run here."""
    rows = list(_series(experiment, folder))
    means = [row for size in _sizes(rows) for row in _means(experiment, [each for each in rows if each.size == size])]
    ran = [(row.recipe, row.variant, row.positives) for row in rows]
    alone = [
        Row(
            name=each.name or _label(each.recipe, each.variant),
            positives=each.positives,
            printed=each.values,
            where=each.where,
        )
        for each in experiment.printed
        if not each.variants and not any(_is_of(experiment, each, *run) for run in ran)
    ]
    return [*rows, *means, *alone]


def write_printed(experiment: Experiment, folder: Path) -> list[Row]:
    """table.md and table.json beside the records; returns the rows."""
    rows, apart = rows_of(experiment, folder), differences(records_of(folder))
    lines = [f"# {folder.name}", "", experiment.claim, "", experiment.expected, "", NOTE]
    for size in _sizes(rows):
        of_size = [row for row in rows if row.size == size]
        scale = f", scale {of_size[0].scale}" if of_size[0].scale else ""
        lines += [f"## {size[0]} × {size[1]} pixels{scale}", "", *_markdown(of_size), ""]
    if alone := [row for row in rows if row.size is None]:
        lines += ["## Printed, not run here", "", *_markdown(alone), ""]
    lines += [
        f"{name}: its runs differ in {', '.join(keys)}, so each kind has a row.\n" for name, keys in apart.items()
    ]
    lines += list(_left_out(experiment, folder))
    content = json.dumps({"experiment": folder.name, "rows": [asdict(row) for row in rows]}, indent=1, allow_nan=False)
    write_together({folder / TABLE: "\n".join(lines).encode(), folder / TABLE_JSON: content.encode()})
    return rows


def _series(experiment: Experiment, folder: Path) -> Iterator[Row]:
    for seeds in by_series(records_of(folder)).values():
        together = complete(seeds, _folds(experiment))
        if not together:
            continue
        first = next(iter(together.values()))[0]
        variant, positives = first.get("variant") or "", first["settings"].get("positives")
        printed = _printed_of(experiment, first["recipe"], variant, positives)
        means, deviations = _over_seeds([_figures(folder, folds) for folds in together.values()])
        yield Row(
            name=_label(first["recipe"], variant),
            size=(first["size"][0], first["size"][1]),
            scale=first.get("scale"),
            recipe=first["recipe"],
            variant=variant,
            positives=positives,
            seeds=len(together),
            folds=len(next(iter(together.values()))),
            ours=means,
            deviations=deviations,
            printed=printed.values if printed else {},
            where=printed.where if printed else "",
        )


def _folds(experiment: Experiment) -> tuple[int, ...]:
    """Those that a seed needs to be compared with what is printed of all."""
    return () if experiment.splits == "hold_out" else experiment.folds


def _left_out(experiment: Experiment, folder: Path) -> Iterator[str]:
    """Which seeds have no part in any row, since a fold of theirs is missing."""
    for seeds in by_series(records_of(folder)).values():
        for seed in sorted(seeds.keys() - complete(seeds, _folds(experiment)).keys()):
            found = ", ".join(map(str, sorted(folds_of(seeds[seed])))) or "none"
            yield f"{seed}: in no row, for of its folds only {found} is on record.\n"


def _figures(folder: Path, folds: list[Record]) -> dict[str, float]:
    figures = figures_of_seed(folder, folds)
    figures |= {name: figures[name] * len(folds) for name in OF_FOLDS if name in figures}
    return {name: figures[name] for name in METRICS if name in figures}


def _over_seeds(figures: Sequence[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    shared = [name for name in METRICS if all(name in each for each in figures)]
    values = {name: [each[name] for each in figures] for name in shared}
    deviations = {name: float(np.std(each, ddof=1)) for name, each in values.items() if len(each) > 1}
    return {name: float(np.mean(each)) for name, each in values.items()}, deviations


def _means(experiment: Experiment, rows: Sequence[Row]) -> Iterator[Row]:
    """Of printed means over variants those of which all that was asked for is on record, and once."""
    for printed in experiment.printed:
        members = [row for row in rows if row.variant in printed.variants]
        asked = product(experiment.recipes, printed.variants, experiment.positives or (None,))
        found = [(row.recipe, row.variant, row.positives if experiment.positives else None) for row in members]
        if printed.variants and sorted(found, key=str) == sorted(asked, key=str):
            shared = set.intersection(*(set(row.ours) for row in members))
            ours = {name: float(np.mean([row.ours[name] for row in members])) for name in METRICS if name in shared}
            yield Row(
                name=printed.name, size=rows[0].size, scale=rows[0].scale, ours=ours, printed=printed.values,
                where=printed.where, seeds=min(row.seeds for row in members),
            )  # fmt: skip


def _printed_of(experiment: Experiment, recipe: str, variant: str, positives: int | None) -> Printed | None:
    for each in experiment.printed:
        if _is_of(experiment, each, recipe, variant, positives):
            return each
    return None


def _is_of(experiment: Experiment, printed: Printed, recipe: str, variant: str, positives: int | None) -> bool:
    """Whether a printed value is one of such runs; where all have one number of bad pictures, it need not name it."""
    if printed.name or printed.variants:
        return False
    told = experiment.settings.get("positives") if printed.positives is None else printed.positives
    return (printed.recipe, printed.variant, told) == (recipe, variant, positives)


def _sizes(rows: Sequence[Row]) -> list[tuple[int, int]]:
    return sorted({row.size for row in rows if row.size is not None})


def _label(recipe: str, variant: str) -> str:
    return f"{recipe}, {variant}" if variant else recipe


def _markdown(rows: Sequence[Row]) -> list[str]:
    of_ours = [name for name in METRICS if any(name in row.ours for row in rows)]
    printed = [name for name in METRICS if any(name in row.printed for row in rows)]
    heads = ["", "bad", "n", *(METRICS[name] for name in of_ours), *(f"{METRICS[name]} printed" for name in printed)]
    heads += ["printed where"] * bool(printed)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [row.name, "" if row.positives is None else str(row.positives), str(row.seeds or "")]
        cells += [_cell(name, row.ours.get(name), row.deviations.get(name)) for name in of_ours]
        cells += [_cell(name, row.printed.get(name)) for name in printed] + [row.where] * bool(printed)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(name: str, value: float | None, deviation: float | None = None) -> str:
    if value is None:
        return ""
    digits = 3 if "precision" in name else 1
    text = str(round(value)) if digits == 1 and abs(value - round(value)) < 1e-9 else f"{value:.{digits}f}"
    return text if deviation is None else f"{value:.{digits}f} ± {deviation:.{digits}f}"
