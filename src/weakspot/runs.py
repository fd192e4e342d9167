"""A run's folder: what lies in it, and where. Knows names, not contents."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weakspot.durable import make_folder, write_durably
from weakspot.errors import OutputError, SettingsError, shown

_MARK = "run.json"  # what tells a run's folder from any other


@dataclass(frozen=True)
class Run:
    """A folder and the names in it."""

    folder: Path

    @property
    def model(self) -> Path:
        """The detector, once there is one."""
        return self.folder / "model.weakspot"

    @property
    def settings(self) -> Path:
        """The resolved settings, as TOML that `--settings` takes."""
        return self.folder / "settings.toml"

    @property
    def split(self) -> Path:
        """Which picture trains and which tests."""
        return self.folder / "split.csv"

    @property
    def audit(self) -> Path:
        """What was found wrong with the pictures."""
        return self.folder / "audit.json"

    @property
    def history(self) -> Path:
        """Every step of every training, a JSON object a line."""
        return self.folder / "history.jsonl"

    @property
    def heat_maps(self) -> Path:
        """Heat maps of a few fixed pictures as training goes on."""
        return self.folder / "heat_maps"

    @property
    def events(self) -> Path:
        """For TensorBoard."""
        return self.folder / "events"

    @property
    def trainings(self) -> Path:
        """Checkpoints and weights of the folds and of the final training."""
        return self.folder / "trainings"

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.folder / "report.html"

    def write_state(self, state: dict[str, Any]) -> None:
        """What the run is and how far it came; the folder's mark."""
        write_durably(self.folder / _MARK, json.dumps(state, indent=1, allow_nan=False, default=str).encode())

    def state(self) -> dict[str, Any]:
        """What `write_state` wrote last; empty where it was never called."""
        try:
            return dict(json.loads((self.folder / _MARK).read_text()))
        except FileNotFoundError:
            return {}


def refuse_taken(folder: Path, resume: bool) -> None:
    """Raises OutputError unless the folder is new or empty, or with `resume` holds a run: asked before anything takes
    time."""
    if resume:
        if not (folder / _MARK).is_file():
            raise OutputError(f"{shown(folder)}: holds no run to go on with; leave --resume out to begin one there")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "holds a run already; go on with it by --resume" if (folder / _MARK).is_file() else "is not empty"
        raise OutputError(f"{shown(folder)}: {what}, or choose another --output")


def open_run(folder: Path, resume: bool, identity: dict[str, Any]) -> Run:
    """A new run in an empty or new folder, or with `resume` the one that lies there.

    identity: what may not differ between a run and its resumption. Raises OutputError where something lies there,
    SettingsError naming what differs.
    """
    refuse_taken(folder, resume)
    run = Run(folder)
    if resume:
        _refuse_other(run.state().get("identity", {}), identity)
        return run
    make_folder(folder)
    run.write_state({"identity": identity, "finished": False})
    return run


def to_toml(values: dict[str, Any], prefix: str = "") -> str:
    """Nested plain values as TOML: keys of this level first, then a table for each dictionary; None is left out, as
    TOML has none."""
    lines = [
        f"{key} = {_toml_value(value)}"
        for key, value in values.items()
        if value is not None and not isinstance(value, dict)
    ]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", f"[{prefix}{key}]", to_toml(value, f"{prefix}{key}.")]
    text = "\n".join(lines)
    assert prefix or tomllib.loads(text) is not None
    return text


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml_value(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=True)


def _refuse_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    plain = json.loads(json.dumps(after, default=str))
    differing = [key for key in plain if before.get(key) != plain[key]]
    if differing:
        key = differing[0]
        raise SettingsError(
            f"--resume: {key} is {plain[key]!r}, but the run was begun with {before.get(key)!r}; give the same, or begin a new run"
        )
