"""Trainings and comparisons as the pages show them: the values of templates, read from what their processes wrote."""

import json
import threading
import tomllib
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from weakspot.runs import Run
from weakspot.service.tasks import BEGUN, LOOKED, PROGRESS, SETTINGS, Task
from weakspot.service.training import run_of

POINTS = 240  # of a curve
MOST_HISTORY = 1 << 23  # bytes of it that are looked at: its end
TAIL = 200  # bytes by which what was read is known again
NOTES = 8  # that are shown
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
    """A training while it runs and after. planned: when it was looked at, or anew since; remark: on what was asked for;
    heat_maps: of each fixed picture the names of some moments."""

    task: Task
    words: str
    done: str
    looked: dict[str, Any]
    planned: str
    remark: str
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
    steps, notes = _history(run.history).now()
    pictures = pictures_of(task)
    looked = _plain(task.folder / LOOKED)
    return Watched(
        task=task,
        words=in_words(task),
        done=how_far(task),
        looked=looked,
        planned=_planned(run, looked),
        remark=_remark(task, looked),
        minutes=_minutes_since(task) if task.outcome == "running" and task.step == "train" else "",
        curve=_curve(steps),
        notes=notes,
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


class _History:
    """A history.jsonl as far as it was read: the steps of the training and stage that ran last, and the last notes.

    What was read is not read again, unless the file no longer has it: a run that was killed goes on with a shorter one.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._reading = path, threading.Lock()
        self._begin_anew()

    def now(self) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """The steps and the notes, from the file's end; a line that is half written is left out."""
        with self._reading:
            for line in self._new_lines():
                with suppress(ValueError):
                    self._take(json.loads(line))
            return list(self._steps), tuple(self._notes)

    def _begin_anew(self) -> None:
        self._offset, self._tail = 0, b""  # bytes that were read, and the last of them
        self._steps: list[dict[str, Any]] = []
        self._notes: deque[str] = deque(maxlen=NOTES)

    def _new_lines(self) -> list[bytes]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            self._begin_anew()
            return []
        with file:
            file.seek(self._offset - len(self._tail))
            if file.read(len(self._tail)) != self._tail:
                self._begin_anew()
            self._offset = file.seek(max(self._offset, file.seek(0, 2) - MOST_HISTORY))
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset, self._tail = self._offset + len(whole), (whole or self._tail)[-TAIL:]
        return whole.splitlines()

    def _take(self, row: dict[str, Any]) -> None:
        if "note" in row:
            self._notes.extend(str(row["note"]).splitlines())
        if "step" in row:
            if self._steps and any(row[name] != self._steps[-1][name] for name in ("training", "stage")):
                self._steps.clear()
            self._steps.append(row)


@lru_cache(maxsize=8)  # trainings that are watched at once
def _history(path: Path) -> _History:
    return _History(path)


def _curve(mine: Sequence[dict[str, Any]]) -> Curve | None:
    """Of the steps of one stage."""
    if not mine:
        return None
    last = mine[-1]
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


def _planned(run: Run, looked: dict[str, Any]) -> str:
    """What the run keeps, which it changes where its first steps are slow; before it has begun what was looked at."""
    plan = run.state().get("plan")
    if plan is None or round(plan["minutes"]) == round(looked.get("minutes", -1)):
        return str(looked.get("plan", ""))
    height, width = plan["size"]
    return f"{height} × {width} pixels: about {max(1, round(plan['minutes']))} min, planned anew by its first steps"


def _remark(task: Task, looked: dict[str, Any]) -> str:
    asked = tomllib.loads((task.folder / SETTINGS).read_text(encoding="utf-8"))
    minutes = asked.get("minutes", looked.get("minutes", 0))
    if looked.get("minutes", 0) <= max(1, minutes):
        return ""
    why = "the settings name the size of the pictures" if "size" in asked else "no smaller size of the pictures fits"
    return f"You asked for {minutes:g} min, and it takes longer: {why}."


def _plain(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
