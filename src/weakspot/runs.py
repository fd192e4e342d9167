"""A run's folder: what lies in it, who works on it, and what was decided when it began. Knows names, not contents."""

import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weakspot.durable import is_leftover, make_folder, output_errors, remove_leftovers, write_durably
from weakspot.errors import DataError, OutputError, SettingsError, TrainingError, shown

MARK = "run.json"  # what tells a run's folder from any other
LOCK = ".lock"
MODEL = "model.weakspot"
MASKS = {  # of an identity, and what is said where they differ
    "masks_sha256": "masks have changed",
    "ignored_sha256": "the mask of what is ignored has changed",
}
JUDGED = "judged"
STOPPED = 130  # exit status of what was asked to stop and can be gone on with
SNAPSHOT = ".weakspot-snapshot"  # in such a folder: the SHA-256 of its table; tells it from any other


class Run:
    """A folder and the names in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / MODEL  # the detector, once there is one
        self.settings = folder / "settings.toml"  # the resolved ones, as TOML that --settings takes
        self.split = folder / "split.csv"  # which picture trains and which tests
        self.audit = folder / "audit.json"  # what was found wrong with the pictures
        self.history = folder / "history.jsonl"  # every step of every training, a JSON object a line
        self.heat_maps = folder / "heat_maps"  # of a few fixed pictures as training goes on
        self.contact_sheet = folder / "contact_sheet.png"  # defects drawn on good pictures, as the final training does
        self.events = folder / "events"  # for TensorBoard
        self.trainings = folder / "trainings"  # checkpoints and weights of the folds and of the final training
        self.report = folder / "report.html"  # the report's page
        self.judged = folder / JUDGED  # pictures that people judged, where it learns from verdicts

    def state(self) -> dict[str, Any]:
        """What was decided and how far the run came; empty where nothing was yet."""
        try:
            return dict(json.loads((self.folder / MARK).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise OutputError(f"{shown(self.folder / MARK)}: damaged; begin a new run in another folder") from None

    def record(self, **more: Any) -> None:
        """Add to the state, lasting: a resumed run reads it instead of deciding again."""
        state = json.dumps(self.state() | more, indent=1, allow_nan=False, default=str)
        write_durably(self.folder / MARK, state.encode())

    def forget(self) -> None:
        """Remove what was written before any training, so that a run that was refused is in nobody's way."""
        shutil.rmtree(self.events, ignore_errors=True)
        for path in (self.settings, self.split, self.audit, self.history, self.contact_sheet, self.folder / MARK):
            path.unlink(missing_ok=True)


def refuse_taken(folder: Path, resume: bool) -> None:
    """Raise OutputError unless the folder is new or empty, or with `resume` holds a run; asked before any work."""
    if resume:
        if not (folder / MARK).is_file():
            raise OutputError(f"{shown(folder)}: holds no run to go on with; leave --resume out to begin one there")
    elif folder.exists() and (not folder.is_dir() or any(not _is_ours(path) for path in folder.iterdir())):
        what = "holds a run already; go on with it by --resume, or" if (folder / MARK).is_file() else "is not empty;"
        raise OutputError(f"{shown(folder)}: {what} choose another --output")


def _is_ours(path: Path) -> bool:
    """Whether a run that was killed as it began left it."""
    is_snapshot = path.name == JUDGED and (path / SNAPSHOT).is_file() and not path.is_symlink()
    return path.name == LOCK or is_snapshot or is_leftover(path)


@contextmanager
def open_run(folder: Path, resume: bool, identity: dict[str, Any]) -> Iterator[Run]:
    """A new run in an empty or new folder, or with `resume` the one that lies there, for one process at a time.

    identity: what may not differ between a run and its resumption; `data`, and the `snapshot` that lay there. A new one
    that is refused before any training leaves nothing. Raises OutputError where something else lies there, another
    process works on it or took another snapshot meanwhile; SettingsError naming what differs.
    """
    refuse_taken(folder, resume)
    make_folder(folder)
    run = Run(folder)
    with alone(folder, "works on this run"):
        if resume:
            _refuse_other(run.state().get("identity", {}), identity)
        else:
            refuse_taken(folder, resume)  # again, now that nobody else can begin one
            _refuse_other_snapshot(identity)
            run.record(identity=identity, finished=False)
        remove_leftovers(folder)
        try:
            yield run
        except (SettingsError, DataError, TrainingError) as error:
            if not resume and not run.trainings.exists() and error.exit_status != STOPPED:
                run.forget()
            raise


@contextmanager
def alone(folder: Path, works: str, lock: str = LOCK) -> Iterator[None]:
    """Hold the folder's lock. The system lets go of it when the process ends, however it ends.

    works: what its holder does there, for whoever comes second and gets an OutputError; lock: the lock's file there.
    """
    path = folder / lock
    with output_errors(path):
        file = path.open("a+b", buffering=0)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = shown(file.read().decode(errors="replace").strip()) or "another process"
            raise OutputError(f"{shown(folder)}: {holder} {works}; wait for it, or stop it") from None
        with output_errors(path):
            file.truncate(0)
            since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
            file.write(f"process {os.getpid()} on {platform.node()}, since {since} UTC,".encode())
        yield


def snapshot_of(data: Path) -> str | None:
    """Which verdicts lie in a folder, by the SHA-256 of their table; None where none of a snapshot do."""
    try:
        return (data / SNAPSHOT).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _refuse_other_snapshot(identity: dict[str, Any]) -> None:
    taken = identity.get("snapshot")
    if taken is not None and snapshot_of(Path(identity["data"])) != taken:
        raise OutputError(f"{shown(identity['data'])}: another process took the verdicts anew meanwhile; begin again")


def _refuse_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    begun, now = _flat(before), _flat(json.loads(json.dumps(after, default=str)))
    for key, value in now.items():
        if begun.get(key) != value:
            if key in MASKS:
                raise SettingsError(f"--resume: {MASKS[key]} since; put it back, or begin a new run")
            found = f"--resume: {key} is {value!r}, but the run was begun with {begun.get(key)!r}"
            raise SettingsError(f"{found}; give the same, or begin a new run")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
