"""One recipe over all folds of a set and several seeds: an experiment that flags ask for, and what came of it."""

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from weakspot.csv_text import csv_line
from weakspot.data.layouts import read_layout
from weakspot.data.samples import Sample
from weakspot.durable import is_leftover, make_folder, refuse_below, write_durably, write_together
from weakspot.errors import OutputError, SettingsError, shown
from weakspot.evaluation.metrics import image_metrics
from weakspot.experiments.crossval_report import Hard, report_html
from weakspot.experiments.experiment import Experiment, checked, combinations, read_experiment, settings_of
from weakspot.experiments.records import Record, records_of, scores_of
from weakspot.experiments.run import run_experiment
from weakspot.experiments.series import SUMMED, by_series, complete, mean_of_folds, promises_kept
from weakspot.progress import Shows
from weakspot.settings import Size, TrainSettings, read_settings

TABLE, NAME = "crossval.toml", "crossval"
MAY_GROW = ("seeds", "weights_seeds")  # a crossval is gone on with by more of them
COLUMNS = ("seed", "fold", "id", "label", "group", "decision", "raw_score", "heat_score", "reason")
OF_ALL_FOLDS = ("best_f1", "false_negatives", "false_positives", "false_positives_at_full_recall", "auroc")
LOCALIZATION = ("hit_rate", "cell_iou", "pixel_auroc", "pixel_ap", "pixel_aupro")
HARDEST = 24  # pictures of the gallery


@dataclass(frozen=True, kw_only=True)
class Crossval:
    """What a cross-validation came to, and where it lies."""

    figures: dict[str, Any]  # as crossval.json has them
    report: Path
    scores: Path  # a row for each seed and picture, judged by the detector that had not seen it


def crossval(
    data: Path | str,
    output: Path,
    *,
    folds: str = "3",
    seeds: Sequence[int] = (0,),
    weights_seeds: Sequence[int] = (),
    split_seed: int | None = None,
    draw_seed: int | None = None,
    positives: int | None = None,
    recipe: str = "sharp",
    layout: str = "auto",
    size: Size | None = None,
    schedule: float | None = None,
    settings: Path | None = None,
    jobs: int = 1,
    threads: int | None = None,
    progress: Shows | None = None,
) -> Crossval:
    """Train and test on every fold for every seed, then scores.csv, crossval.json and report.html in `output`.

    folds: KolektorSDD's "clean" or "official", or how many to make by groups; seeds: each draws who is tested, which
    bad pictures train, and the weights, but for what split_seed, draw_seed or weights_seeds draw in its place. What was
    stopped is gone on with; a run that is on record is not repeated. Raises SettingsError, DataError, TrainingError,
    OutputError.
    """
    refuse_below(output, Path(data))
    chosen = read_settings(TrainSettings, settings, size=size, schedule=schedule)  # said before anything is written
    if chosen.size is None:
        raise SettingsError("folds that are compared look at one size; give --size, such as 256x256")
    is_word = str(data) == "elpv" and not Path(data).exists()  # of the installed package
    asked: dict[str, Any] = {
        "data": "elpv" if is_word else str(Path(data).resolve()),
        "layout": "elpv" if is_word else layout,
        **_split(folds),
        "seeds": list(seeds),
        "weights_seeds": list(weights_seeds),
        "split_seed": split_seed,
        "draw_seed": draw_seed,
        "recipes": [recipe],
        "positives": [] if positives is None else [positives],
        "settings": _settings(settings, size, schedule),
    }
    read_layout(Path(asked["data"]), asked["layout"])  # what is missing is said before anything is written
    table = _written(output, {key: value for key, value in asked.items() if value is not None})
    run_experiment(table, output / "results", threads=threads, jobs=jobs, progress=progress)
    return _summed_up(read_experiment(table), output)


def _split(folds: str) -> dict[str, Any]:
    if folds in ("clean", "official"):
        return {"splits": folds, "folds": [0, 1, 2]}
    if not folds.isdecimal() or not 2 <= int(folds) <= 100:
        raise SettingsError(f"--folds {shown(folds)}; needed is clean, official, or a number from 2 to 100, such as 3")
    return {"splits": "groups", "parts": int(folds), "folds": list(range(int(folds)))}


def _settings(path: Path | None, size: Size | None, schedule: float | None) -> dict[str, Any]:
    """What the runs share: as the file says, a run that did not learn kept, since it is a result, too."""
    given = tomllib.loads(path.read_text(encoding="utf-8-sig")) if path else {}
    flags = {"size": None if size is None else list(size), "schedule": schedule}
    return {"unlearned": "keep"} | given | {key: value for key, value in flags.items() if value is not None}


def _written(output: Path, asked: dict[str, Any]) -> Path:
    """The experiment's file in `output`. Raises OutputError where another crossval, or something else, lies there."""
    table, experiment = output / TABLE, checked(_as_experiment(asked), "crossval")
    for run in combinations(experiment):
        settings_of(experiment, run)  # what is wrong with one is said before anything is written
    if table.is_file():
        before = vars(read_experiment(table))
        for key, value in vars(experiment).items():
            grew = key in MAY_GROW and before[key] and set(before[key]) <= set(value)
            if value != before[key] and not grew:
                found = f"was begun with {key} = {before[key]!r}, not {value!r}"
                raise OutputError(f"{shown(output)}: {found}; give the same, or choose another --output")
    elif output.exists() and (not output.is_dir() or not all(map(is_leftover, output.iterdir()))):
        raise OutputError(f"{shown(output)}: is not empty, and holds no crossval; choose another --output")
    make_folder(output)
    write_durably(table, tomli_w.dumps(asked).encode())
    return table


def _as_experiment(asked: dict[str, Any]) -> Experiment:
    return read_settings(Experiment, **asked)


def _summed_up(experiment: Experiment, output: Path) -> Crossval:
    """All from the records; writes it."""
    folder = output / "results" / NAME
    names = {run.name for run in combinations(experiment)}
    records = [record for record in records_of(folder) if record["run"] in names]
    if missing := sorted(names - {record["run"] for record in records}):
        raise OutputError(f"{shown(folder)}: has no record of {missing[0]}; the same command makes it")
    ((_, seeds),) = by_series(records).items() if len(by_series(records)) == 1 else [("", _all(records))]
    together = complete(seeds)
    rows = {seed: list(_rows(folder, folds)) for seed, folds in together.items()}
    figures = _figures(together, rows)
    scores = [{"seed": seed, **row} for seed, each in rows.items() for row in each]
    place = Crossval(figures=figures, report=output / "report.html", scores=output / "scores.csv")
    samples = {sample.id: sample for sample in read_layout(Path(experiment.data), experiment.layout)}
    page = report_html(figures, list(_hardest(rows, samples, output / "runs" / NAME)))
    write_together(
        {
            place.scores: "".join(
                csv_line(map(row.get, COLUMNS)) for row in [dict(zip(COLUMNS, COLUMNS)), *scores]
            ).encode(),
            output / "crossval.json": json.dumps(figures, indent=1, allow_nan=False).encode(),
            place.report: page.encode(),
        }
    )
    return place


def _all(records: list[Record]) -> dict[str, list[Record]]:
    """Seeds by name, where records differ in more than the seed; the records' own check says in what."""
    seeds: dict[str, list[Record]] = defaultdict(list)
    for each in by_series(records).values():
        for name, folds in each.items():
            seeds[name] += folds
    return seeds


def _rows(folder: Path, folds: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """Each test picture of a seed's folds, as the fold's detector judged it."""
    for record in folds:
        for row in scores_of(folder, record):
            yield {**row, "fold": record["run"]}


def _figures(seeds: Mapping[str, list[Record]], rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    by_seed = [{"seed": seed, **_of_seed(folds, rows[seed])} for seed, folds in seeds.items()]
    numbers = [
        name for name in by_seed[0] if all(isinstance(each.get(name), int | float) for each in by_seed)
    ] if by_seed else []  # fmt: skip
    values = {name: [each[name] for each in by_seed] for name in numbers}
    records = [record for folds in seeds.values() for record in folds]
    kept, of = promises_kept(records)
    return {
        "made_by": "weakspot crossval",
        "data": records[0]["experiment"],
        "data_fingerprint": records[0]["data_fingerprint"],
        "recipe": records[0]["recipe"],
        "split": records[0]["split"]["name"],
        "size": records[0]["size"],
        "settings": records[0]["settings"],
        "positives": sorted({record["positives"] for record in records}),
        "seeds": list(seeds),
        "folds": len(next(iter(seeds.values()))),
        "mean": {name: float(np.mean(each)) for name, each in values.items()},
        "deviation": {name: float(np.std(each, ddof=1)) for name, each in values.items() if len(each) > 1},
        "by_seed": by_seed,
        "promises": {"kept": kept, "of": of},
    }


def _of_seed(folds: Sequence[Record], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """AP pooled and by fold, what one ranking over all folds says, counts at thresholds chosen without them."""
    scored = [row for row in rows if row["raw_score"]]
    labels, scores = [int(row["label"]) for row in scored], [float(row["raw_score"]) for row in scored]
    mean = mean_of_folds(list(folds))
    figures: dict[str, Any] = {
        "fold_average_precision": [record["metrics"].get("average_precision") for record in folds],
        "unscored": len(rows) - len(scored),
    }
    if len(set(labels)) > 1:
        pooled = image_metrics(labels, scores)
        figures |= {"pooled_average_precision": pooled["average_precision"]} | {
            name: pooled[name] for name in OF_ALL_FOLDS
        }
    summed = {name: sum(record["metrics"][name] for record in folds) for name in SUMMED if name in mean}
    return figures | {name: mean[name] for name in ("average_precision", *LOCALIZATION) if name in mean} | summed


def _hardest(rows: Mapping[str, list[dict[str, Any]]], samples: Mapping[str, Sample], runs: Path) -> Iterator[Hard]:
    """The pictures that stand most on the wrong side of the others' scores, by the mean over seeds, hardest first."""
    wrong: dict[str, list[float]] = defaultdict(list)
    folds: dict[str, str] = {}
    for of_seed in rows.values():
        scored = [row for row in of_seed if row["raw_score"]]
        by_label = {
            label: np.array([float(row["raw_score"]) for row in scored if row["label"] == label]) for label in "01"
        }
        for row in scored:
            others, own = by_label["0" if row["label"] == "1" else "1"], float(row["raw_score"])
            beaten = others >= own if row["label"] == "1" else others <= own
            wrong[row["id"]].append(float(beaten.mean()) if len(others) else 0.0)
            folds.setdefault(row["id"], row["fold"])
    hard = sorted(wrong, key=lambda name: -float(np.mean(wrong[name])))[:HARDEST]
    for name in hard:
        if name in samples:
            yield Hard(
                sample=samples[name], wrong=float(np.mean(wrong[name])), model=runs / folds[name] / "model.weakspot"
            )
