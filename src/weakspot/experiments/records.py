"""Records as they lie on disk: read, and refused where they are not what is asked for now. Computes no figures."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from weakspot.errors import DataError, SettingsError, shown
from weakspot.settings import TrainSettings, as_plain

Record = dict[str, Any]
NEEDED = ("run", "recipe", "split", "positives", "seed", "size", "settings", "data_fingerprint", "learned", "metrics")
AGAIN = "move it away, and the run is made again"


def read_record(path: Path) -> Record:
    """A run's record. Raises DataError where it is damaged or of another version."""
    record = loaded(path)
    missing = [key for key in NEEDED if key not in record]
    if missing:
        raise DataError(f"{shown(path)}: a record of another version, without {missing[0]}; {AGAIN}")
    return record


def loaded(path: Path) -> Record:
    """What stands in a JSON file below results/. Raises DataError where that is no object."""
    try:
        record = json.loads(path.read_bytes())
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise DataError(f"{shown(path)}: damaged, no record can be read from it; {AGAIN}")
    return record


def differing(record: Record, asked: TrainSettings) -> dict[str, tuple[Any, Any]]:
    """The settings in which a record is not what is asked for: key → (recorded, asked).

    The threads may differ, and what this version no longer knows. The first records have one seed for all that is
    drawn, and "evaluate" for masks.
    """
    known = {each.name for each in fields(TrainSettings)}
    kept = {key: value for key, value in record["settings"].items() if key in known and value != "evaluate"}
    drawn = {"split_seed": record["seed"], "draw_seed": record["seed"]}
    made, wanted = (as_plain(each) for each in (TrainSettings(**drawn | kept | {"threads": None}), asked))
    return {key: (made[key], wanted[key]) for key in made if made[key] != wanted[key] and key != "threads"}


def refuse_other_settings(path: Path, asked: TrainSettings) -> None:
    """Raise DataError where the record was made with other settings, or by a version that had others."""
    record = read_record(path)
    try:
        others = differing(record, asked)
    except SettingsError as error:
        raise DataError(f"{shown(path)}: a record of another version ({error}); {AGAIN}") from None
    for key, (recorded, wanted) in others.items():
        found = f"made with {key} = {recorded!r}, and now {wanted!r} is asked for"
        raise DataError(f"{shown(path)}: {found}; ask for the same, choose another --output, or {AGAIN}")


def refuse_other_pictures(paths: Sequence[Path], fingerprint: str) -> None:
    """Raise DataError where a record was made of other pictures or labels than those that lie here."""
    for path in paths:
        if (found := read_record(path)["data_fingerprint"]) != fingerprint:
            what = f"made of other pictures or labels (fingerprint {found[:8]}, those here have {fingerprint[:8]})"
            raise DataError(f"{shown(path)}: {what}; put these back, choose another --output, or {AGAIN}")
