"""Long work of a service in processes of its own, at low priority: trainings and comparisons, one of each at a time.

A task is a folder with what was ordered, what was begun and how it ended; whatever is not there yet did not happen, so
that a task whose process died with the service is known by what it left.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from weakspot.durable import make_folder, write_durably
from weakspot.errors import OutputError
from weakspot.inspection.inspection import now
from weakspot.service.problems import Problem, missing

log = logging.getLogger(__name__)
Kind = Literal["training", "comparison"]
Step = Literal["look", "train", "compare"]
Outcome = Literal["running", "done", "failed", "cancelled", "interrupted"]
ORDER, BEGUN, ENDED, LOG = "order.json", "begun.json", "ended.json", "log.txt"  # what lies in a task's folder
PROGRESS, LOOKED, RESULT, SETTINGS, RUN = "progress.json", "looked.json", "result.json", "settings.toml", "run"
LOWEST_PRIORITY = 19  # nice: what the line needs comes first
STOP_SECONDS = 20.0  # for a process that was asked to stop to keep where it stands


@dataclass(frozen=True, kw_only=True)
class Task:
    """One of them. order: what was asked for; step: what was begun last; why: how it ended, in words."""

    id: str
    folder: Path
    kind: Kind
    order: dict[str, Any]
    step: Step
    outcome: Outcome
    why: str


class Tasks:
    """The tasks of one service. secret: what their processes are told, and no file is: where the store is.

    `store` in it is told only to those that read it. Others decode pictures that anybody may have sent.
    """

    def __init__(self, folder: Path, secret: dict[str, Any]) -> None:
        self._folder, self._secret = folder, secret
        self._running: dict[str, tuple[Kind, subprocess.Popen[bytes]]] = {}
        self._cancelled: dict[str, str] = {}
        self._unwritten: dict[str, dict[str, Any]] = {}  # how tasks ended for which the disk had no room
        self._changing = threading.Lock()
        self._closing = False

    def add(self, kind: Kind, step: Step, by: str, order: dict[str, Any], files: Mapping[str, bytes] = {}) -> str:
        """A new task, at work, with files in its folder → its id. Raises Problem where one of its kind is at work."""
        with self._changing:
            self._refuse_second(kind)
            number = str(uuid4())
            make_folder(self._folder / number)
            for name, content in files.items():
                write_durably(self._folder / number / name, content)
            said = {"kind": kind, "time": now(), "by": by} | order
            write_durably(self._folder / number / ORDER, json.dumps(said).encode())
            self._start(number, kind, step)
        return number

    def begin(self, number: str, kind: Kind, step: Step) -> None:
        """Let a task that rests go on with a step. Raises Problem where one of its kind is at work."""
        with self._changing:
            self._refuse_second(kind)
            self._start(number, kind, step)

    def cancel(self, number: str, by: str) -> None:
        """Ask a task that is at work to stop; nothing happens to another. What it has learned stays."""
        with self._changing:
            if number in self._running:
                self._cancelled[number] = by
                _, process = self._running[number]
                process.terminate()
                killing = threading.Timer(STOP_SECONDS, process.kill)
                killing.daemon = True
                killing.start()

    def remove(self, number: str) -> None:
        """Forget a task and all that it left. Raises Problem for one that is at work."""
        with self._changing:
            if number in self._running:
                raise Problem(409, "at-work", "it is at work; cancel it first")
            shutil.rmtree(self._folder / number, ignore_errors=True)
            self._unwritten.pop(number, None)

    def find(self, number: str, kind: Kind) -> Task:
        """The task of that id and kind. Raises Problem where there is none."""
        found = self._read(self._folder / number)
        if found is None or found.kind != kind:
            raise missing(kind)
        return found

    def all(self, kind: Kind) -> list[Task]:
        """Those of a kind, the newest first."""
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        found = [task for folder in folders if (task := self._read(folder)) is not None and task.kind == kind]
        return sorted(found, key=lambda task: str(task.order["time"]), reverse=True)

    def close(self) -> None:
        """Ask those at work to keep where they stand; after the next start they can be gone on with."""
        with self._changing:
            self._closing = True
            running = [process for _, process in self._running.values()]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _refuse_second(self, kind: Kind) -> None:
        if self._closing or any(running == kind for running, _ in self._running.values()):
            raise Problem(409, "at-work", f"a {kind} is at work; wait for it, or cancel it")

    def _start(self, number: str, kind: Kind, step: Step) -> None:
        folder = self._folder / number
        write_durably(folder / BEGUN, json.dumps({"step": step, "time": now()}).encode())
        (folder / ENDED).unlink(missing_ok=True)
        self._unwritten.pop(number, None)
        command = [sys.executable, "-m", "weakspot.service.worker", step, str(folder)]
        with (folder / LOG).open("ab") as log:
            # a group of its own, so that Ctrl-C is for the service; no session, within which alone niceness would count
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, process_group=0
            )
        with suppress(OSError):  # it ended at once
            os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST_PRIORITY)
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.write(json.dumps(self._told(folder, step)).encode() + b"\n")
            process.stdin.flush()  # and left open: its end tells the process that the service is gone
        self._running[number] = kind, process
        threading.Thread(target=self._wait, args=(number, process), daemon=True).start()

    def _told(self, folder: Path, step: Step) -> dict[str, Any]:
        reads_store = step == "compare" or (step == "look" and _plain(folder / ORDER).get("folder") is None)
        return self._secret if reads_store else self._secret | {"store": None}

    def _wait(self, number: str, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        with self._changing:
            by = self._cancelled.pop(number, None)
            try:
                if by is not None:
                    self._end(number, "cancelled", f"cancelled by {by}")
                elif not self._closing:
                    self._end(number, "failed", _why_it_died(status))
            finally:
                del self._running[number]  # last: whoever finds it at rest finds how it ended

    def _end(self, number: str, outcome: Outcome, why: str) -> None:
        """Say how a task ended that did not say so itself; until the service ends also where no disk takes it."""
        if (self._folder / number / ENDED).exists():
            return
        try:
            write_end(self._folder / number, outcome, why)
        except OutputError as error:
            log.error("%s", error)
            self._unwritten[number] = {"outcome": outcome, "why": why}

    def _read(self, folder: Path) -> Task | None:
        at_work = folder.name in self._running  # asked first; also while a process that has done its work ends
        order, begun, ended = (_plain(folder / name) for name in (ORDER, BEGUN, ENDED))
        ended = ended or self._unwritten.get(folder.name, {})
        if not order or not begun:
            return None
        outcome: Outcome = "running" if at_work else ended.get("outcome", "interrupted")
        why = "" if at_work else ended.get("why", "")
        return Task(
            id=folder.name, folder=folder, kind=order["kind"], order=order, step=begun["step"], outcome=outcome, why=why
        )  # fmt: skip


def write_end(folder: Path, outcome: Outcome, why: str) -> None:
    """How a step of a task ended."""
    write_durably(folder / ENDED, json.dumps({"outcome": outcome, "why": why, "time": now()}).encode())


def _why_it_died(status: int) -> str:
    if status == -9:
        return "its process was killed, as the system does where memory is short; take a smaller size"
    return f"its process ended unexpectedly (status {status}); the log has more"


def _plain(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except ValueError:
        return {}
