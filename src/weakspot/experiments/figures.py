"""Figures in the paper's form, drawn from rows and kept heat maps with Matplotlib, which the extra [paper] brings."""

import re
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from weakspot.durable import write_durably
from weakspot.experiments.experiment import Combination, Experiment, FigureName, combinations, settings_of
from weakspot.experiments.printed import METRICS, Row
from weakspot.experiments.series import AT_FULL_RECALL
from weakspot.training.losses import cosine_alpha

FIGURE = "figure.png"  # beside the records
COLOURS = {"on": "tab:orange", "off": "tab:green"}  # of frozen and learning weights, as printed
SHOWN = 3  # pictures of a figure of heat, at most
HEAT_MAP = re.compile(r"(?P<picture>bad-\d+)-(?P<stage>[a-z-]+)-(?P<step>\d{5})\.png")


def draw_figure(experiment: Experiment, rows: Sequence[Row], folder: Path, note: Callable[[str], None]) -> None:
    """figure.png beside the records; where Matplotlib or all that it would show is missing, a note says so."""
    if experiment.figure is None:
        return
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        note("matplotlib is not installed, so tables are written and no figure is: pip install 'weakspot[paper]'")
        return
    for scale in dict.fromkeys(row.scale for row in rows if row.size) or [experiment.scale]:
        name = FIGURE if scale in (None, experiment.scale) else FIGURE.replace(".", f"-{scale}.")
        figure = Figure(figsize=(10, 5), layout="constrained")
        drawn = DRAWN[experiment.figure](figure, experiment, [row for row in rows if row.scale == scale], folder)
        if not drawn:
            note(f"nothing is on record yet of what {name} would show")
            continue
        figure.suptitle(f"{folder.name}{f', scale {scale}' if scale else ''}")
        content = BytesIO()
        figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
        write_durably(folder / name, content.getvalue())


def _alpha(figure: Any, experiment: Experiment, _rows: Sequence[Row], _folder: Path) -> bool:
    """Fig. 3: the weight of the good pictures through stage one."""
    axes, steps = figure.subplots(), range(750)
    axes.plot(steps, [cosine_alpha(step, len(steps)) for step in steps])
    axes.set(xlabel="iteration", ylabel="alpha", ylim=(0, None))
    return True


def _bars(figure: Any, experiment: Experiment, rows: Sequence[Row], _folder: Path) -> bool:
    """Fig. 5: AP and errors over the number of bad pictures; above with rotation, below without."""
    papers = {(run.recipe, _variant(run)): settings_of(experiment, run).paper for run in combinations(experiment)}
    asked = {run: (paper.freeze, paper.rotation) for run, paper in papers.items()}
    needed = {"average_precision", "false_negatives", "false_positives"}
    rows = [
        row for row in rows
        if (row.recipe, row.variant) in asked and row.positives in experiment.positives and needed <= row.ours.keys()
    ]  # fmt: skip
    panels = figure.subplots(2, 2, sharex=True)
    for axes, rotation in zip(panels, ("quarters", "off"), strict=True):
        for freeze, colour in COLOURS.items():
            own = [row for row in rows if asked[row.recipe, row.variant] == (freeze, rotation)]
            places = np.array([experiment.positives.index(row.positives or 0) for row in own])
            places = places + (0.2 if freeze == "off" else -0.2)
            heights = [row.ours["average_precision"] for row in own]
            errors = [row.deviations.get("average_precision", 0.0) for row in own]
            axes[0].bar(places, heights, 0.4, yerr=errors, color=colour, label=f"frozen: {freeze}")
            axes[1].bar(
                places, [row.ours["false_negatives"] + row.ours["false_positives"] for row in own], 0.4, color=colour
            )
        axes[0].set(ylabel=f"AP, rotation {rotation}", xticks=range(len(experiment.positives)))
        axes[0].set_xticklabels(experiment.positives)
        axes[1].set(ylabel="FN + FP")
    if rows:
        lowest = min(row.ours["average_precision"] for row in rows)
        panels[0][0].set_ylim(max(0.0, lowest - 0.05), 1)
        panels[1][0].set_ylim(panels[0][0].get_ylim())
    panels[0][0].legend()
    return bool(rows)


def _variant(run: Combination) -> str:
    return "" if run.variant is None else run.variant.name


def _lines(figure: Any, experiment: Experiment, rows: Sequence[Row], _folder: Path) -> bool:
    """Fig. 7: AP, and false positives at full recall, over the number of bad pictures; a line a variant."""
    for axes, metric in zip(figure.subplots(1, 2), ("average_precision", AT_FULL_RECALL), strict=True):
        for name in dict.fromkeys(row.name for row in rows if row.positives is not None):
            own = sorted(
                (row for row in rows if row.name == name and metric in row.ours), key=lambda row: row.positives or 0
            )
            values, errors = [row.ours[metric] for row in own], [row.deviations.get(metric, 0.0) for row in own]
            axes.errorbar([row.positives for row in own], values, errors, marker="o", label=name)
        told = [
            (each.positives, each.values[metric])
            for each in experiment.printed
            if metric in each.values and each.positives is not None
        ]
        if told:
            axes.plot(*zip(*told, strict=True), "kx", label="printed")
        axes.set(xlabel="bad pictures to train on", ylabel=METRICS[metric])
        axes.legend()
    return any(row.positives is not None for row in rows)


def _heat_through_training(figure: Any, experiment: Experiment, rows: Sequence[Row], folder: Path) -> bool:
    """Fig. 6: a picture's heat after so many iterations of stage one."""
    heat = next(heat_of(folder, rows), None)
    if heat is None:
        return False
    pictures = _pictures_in(heat)
    panels = figure.subplots(len(pictures), len(experiment.iterations), squeeze=False)
    for row, picture in zip(panels, pictures, strict=True):
        for axes, step in zip(row, experiment.iterations, strict=True):
            _show(axes, heat / f"{picture}-localization-{step:05}.png", str(step), heat / f"{picture}-mask.png")
    return True


def _heat_side_by_side(figure: Any, experiment: Experiment, rows: Sequence[Row], folder: Path) -> bool:
    """Fig. 8: a picture's heat at the end of each variant's training."""
    heats = list(heat_of(folder, rows))
    if not heats:
        return False
    pictures = _pictures_in(heats[0])
    panels = figure.subplots(len(pictures), len(heats), squeeze=False)
    for row, picture in zip(panels, pictures, strict=True):
        for axes, heat in zip(row, heats, strict=True):
            of_picture = [path for path in heat.glob(f"{picture}-*.png") if HEAT_MAP.fullmatch(path.name)]
            last = max(of_picture, key=lambda path: _stage_and_step(path), default=heat / "none")
            _show(axes, last, heat.name.split("-")[1], heat / f"{picture}-mask.png")
    return True


def _stage_and_step(path: Path) -> tuple[int, str]:
    """Stages follow one another in the order of the paper."""
    found = HEAT_MAP.fullmatch(path.name)
    assert found
    return ("localization", "decision", "fine-tuning").index(found["stage"]), found["step"]


def heat_of(folder: Path, rows: Sequence[Row]) -> Iterator[Path]:
    """The kept heat of the first run of each variant that has some."""
    for begin in dict.fromkeys("-".join(filter(None, (row.recipe, row.variant, row.scale))) for row in rows):
        found = sorted(path for path in folder.glob(f"{begin}-*.heat") if any(path.iterdir()))
        yield from found[:1]


def _pictures_in(heat: Path) -> list[str]:
    found = (HEAT_MAP.fullmatch(path.name) for path in heat.iterdir())
    return sorted({each["picture"] for each in found if each})[:SHOWN]


def _show(axes: Any, heat: Path, title: str, mask: Path) -> None:
    """A heat map with the defect's outline, or a gap where there is none, as for a schedule that never came so far."""
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
    if not heat.is_file():
        axes.text(0.5, 0.5, "none", ha="center", transform=axes.transAxes)
        return
    with Image.open(heat) as image:
        axes.imshow(np.asarray(image))
        size = image.size
    if mask.is_file():
        with Image.open(mask) as image:
            axes.contour(np.asarray(image.convert("L").resize(size)), [127], colors="white", linewidths=0.8)


DRAWN: dict[FigureName, Callable[[Any, Experiment, Sequence[Row], Path], bool]] = {
    "alpha": _alpha,
    "bars": _bars,
    "lines": _lines,
    "heat_through_training": _heat_through_training,
    "heat_side_by_side": _heat_side_by_side,
}
