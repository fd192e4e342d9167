"""How a folder is watched, and which folders that can be. Watches none."""

import os
from dataclasses import dataclass
from pathlib import Path

from weakspot.durable import make_folder, refuse_below
from weakspot.errors import DataError, OutputError, SettingsError, shown
from weakspot.inspection.ledger import refuse_foreign

LONGEST = 604_800.0  # seconds that can be asked for: a week


@dataclass(frozen=True, kw_only=True)
class How:
    """How a folder is watched."""

    every: float  # seconds from one look to the next; a picture is whole once two have found it the same
    patience: float  # seconds that what cannot be read must stay the same before it is reported
    cycle: float | None = None  # seconds from a picture's first look to its result, beyond which it is never good
    once: bool = False  # judge what lies there, then end
    move_to: Path | None = None  # where inspected pictures go; None: they stay
    mark: bool = False  # inspected pictures get a mark behind their names
    deep: bool = False  # folders inside it, too

    def __post_init__(self) -> None:
        for name in ("every", "patience", "cycle"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 <= seconds <= LONGEST:
                raise SettingsError(f"--{name} {seconds:g}: give seconds from 0 to {LONGEST:,.0f}")


def check_places(folder: Path, output: Path, how: How) -> None:
    """Raise DataError, SettingsError or OutputError where results or pictures cannot be put where they should."""
    if not folder.is_dir():
        raise DataError(f"{shown(folder)}: no such folder; give the one that pictures arrive in")
    refuse_below(output, folder)
    refuse_foreign(output)
    if how.move_to and how.mark:
        raise SettingsError("--move-to and --mark: a picture is either moved or marked; give one of them")
    if (how.move_to or how.mark) and not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{shown(folder)}: no right to rename files there; ask for it, or leave them where they are")
    if how.move_to:
        if os.path.realpath(how.move_to) == os.path.realpath(output):
            found = "results and inspected pictures go into two folders"
            raise OutputError(f"{shown(output)}: {found}; give another --move-to")
        _check_target(folder, how.move_to, how.deep)


def _check_target(folder: Path, move_to: Path, deep: bool) -> None:
    if deep or os.path.realpath(move_to) == os.path.realpath(folder):
        refuse_below(move_to, folder)
    make_folder(move_to)
    if os.stat(move_to).st_dev != os.stat(folder).st_dev:
        found = f"lies on another disk than {shown(folder)}, where a picture cannot be moved in one step"
        raise OutputError(f"{shown(move_to)}: {found}; give a folder on the same disk")
