"""Trainings and comparisons as the pages show them: the values of templates, read from what their processes wrote."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weakspot.service.tasks import BEGUN, LOOKED, PROGRESS, Task
from weakspot.service.training import run_of

POINTS = 240  # of a curve
MOST_HISTORY = 1 << 23  # bytes of it that are looked at: its end
MOMENTS = 4  # of a fixed picture's heat maps that are shown
WORDS = {  # of a training, by its step and how that stands
    ("look", "running"): "looking at the pictures",
    ("look", "done"): "ready to train",
    ("look", "failed"): "cannot train",
    ("train", "running"): "training",
    ("train", "done"): "finished",
    ("train", "failed"): "failed",
    ("compare", "running"): "comparing",
    ("compare", "done"): "done",
    ("compare", "failed"): "failed",
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The losses of the training that runs: SVG points in a box of 100 × 100, y down; and where it stands."""

    training: str
    stage: str
    step: int
    of: int
    points: str
    highest: float
    loss: float

    @property
    def percent(self) -> float:
        """Of this stage's steps."""
        return round(100 * self.step / max(self.of, 1), 1)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A training while it runs and after. heat_maps: of each fixed picture the names of some moments."""

    task: Task
    words: str
    done: str
    looked: dict[str, Any]
    minutes: str
    curve: Curve | None
    notes: tuple[str, ...]
    sheet: bool
    heat_maps: Mapping[str, Sequence[str]]
    has_report: bool


def in_words(task: Task) -> str:
    """How a task stands."""
    if task.outcome == "interrupted":
        return "ended by a restart of the service"
    return WORDS.get((task.step, task.outcome), task.outcome)


def watched(task: Task) -> Watched:
    """All that a training has written until now."""
    run = run_of(task)
    rows = _history(run.history)
    pictures = pictures_of(task)
    return Watched(
        task=task,
        words=in_words(task),
        done=how_far(task),
        looked=_plain(task.folder / LOOKED),
        minutes=_minutes_since(task) if task.outcome == "running" and task.step == "train" else "",
        curve=_curve([row for row in rows if "step" in row]),
        notes=tuple(line for row in rows if "note" in row for line in str(row["note"]).splitlines())[-8:],
        sheet=run.contact_sheet.name in pictures,
        heat_maps=_moments([name for name in pictures if name.startswith(("bad-", "good-"))]),
        has_report=run.report.is_file() and task.outcome == "done",
    )


def how_far(task: Task) -> str:
    """'12 of 40 pictures' while pictures are looked at."""
    far = _plain(task.folder / PROGRESS) if task.outcome == "running" and task.step != "train" else {}
    return f"{far['done']} of {far['of']} pictures" if far else ""


def pictures_of(task: Task) -> dict[str, Path]:
    """The pictures of a task by their names. Whoever asks for one is given it from here, never by a path."""
    run = run_of(task)
    found = [*task.folder.glob("*.png"), *run.folder.glob("*.png"), *run.heat_maps.glob("*.png")]
    return {path.name: path for path in found}


def _history(path: Path) -> list[dict[str, Any]]:
    """The rows of history.jsonl, from its end; one that is half written is left out."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - MOST_HISTORY))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _curve(rows: Sequence[dict[str, Any]]) -> Curve | None:
    """Of the training and stage that ran last."""
    if not rows:
        return None
    last = rows[-1]
    mine = [row for row in rows if (row["training"], row["stage"]) == (last["training"], last["stage"])]
    taken = mine[:: max(1, len(mine) // POINTS)]
    highest = max(max(row["running_loss"] for row in mine), 1e-9)
    points = " ".join(
        f"{100 * row['step'] / max(last['of'], 1):.2f},{100 - 95 * max(row['running_loss'], 0) / highest:.2f}"
        for row in (*taken, last)
    )
    where = {name: last[name] for name in ("training", "stage", "step", "of")}
    return Curve(**where, points=points, highest=highest, loss=last["running_loss"])


def _moments(names: Sequence[str]) -> dict[str, list[str]]:
    """Names as observe.py makes them, 'bad-3-search-00030.png', by picture; of many moments some, evenly spread."""
    by_picture: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: name.rsplit("-", 1)[-1]):
        by_picture.setdefault("-".join(name.split("-")[:2]), []).append(name)
    for picture, all_names in by_picture.items():
        last = len(all_names) - 1
        places = sorted({round(last * part / (MOMENTS - 1)) for part in range(MOMENTS)})
        by_picture[picture] = [all_names[place] for place in places]
    return dict(sorted(by_picture.items()))


def _minutes_since(task: Task) -> str:
    began = datetime.fromisoformat(_plain(task.folder / BEGUN)["time"])
    return f"{(datetime.now(UTC) - began).total_seconds() / 60:.0f}"


def _plain(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
