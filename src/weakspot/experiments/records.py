"""Records as they lie on disk: read, and refused where they are not what is asked for now. Computes no figures."""

import csv
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any

from weakspot.errors import DataError, SettingsError, shown
from weakspot.settings import TrainSettings, as_plain

Record = dict[str, Any]
NEEDED: dict[str, type | UnionType] = {
    "run": str, "recipe": str, "split": dict, "positives": int, "seed": int, "size": list, "settings": dict,
    "data_fingerprint": str, "seconds": int | float, "learned": dict, "metrics": dict,
}  # fmt: skip
FILES = "weights_from", "ignore"  # settings that name a file; a record has its name alone
TABLE_JSON = "table.json"  # lies beside the records, and is none
AGAIN = "move it away, and the run is made again"


def read_record(path: Path) -> Record:
    """A run's record. Raises DataError where it is damaged or of another version."""
    record = loaded(path)
    missing = [key for key, kind in NEEDED.items() if not isinstance(record.get(key), kind)]
    if missing:
        raise DataError(f"{shown(path)}: a record of another version, without {missing[0]}; {AGAIN}")
    if record["run"] != path.stem:
        found = f"is the record of {shown(record['run'])}, which would count twice"
        raise DataError(f"{shown(path)}: {found}; move it to another folder")
    return record


def records_of(folder: Path) -> list[Record]:
    """An experiment's records, whatever else lies beside them. Raises DataError as `read_record` does."""
    found = {path: loaded(path) for path in sorted(folder.glob("*.json")) if path.name != TABLE_JSON}
    return [read_record(path) for path, content in found.items() if {"metrics", "recipe"} <= content.keys()]


def scores_of(folder: Path, record: Record) -> list[dict[str, str]]:
    """A row for each test picture of a run, as text; without a raw score where it was refused.

    Raises DataError where they are missing or damaged.
    """
    path = folder / f"{record['run']}.scores.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            _ = int(row["label"]), [float(row[name]) for name in ("raw_score", "heat_score") if row["raw_score"]]
    except FileNotFoundError:
        raise DataError(f"{shown(path)}: is missing; put it back, or move the record beside it away, too") from None
    except (KeyError, TypeError, ValueError):
        way_out = "put the right one back, or move it and the record beside it away, and the run is made again"
        raise DataError(f"{shown(path)}: damaged, no scores can be read from it; {way_out}") from None
    return rows


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

    The threads may differ, the folder of a file of weights or of a mask, and what this version no longer knows. The
    first records have one seed for all that is drawn, and "evaluate" for masks.
    """
    known = {each.name for each in fields(TrainSettings)}
    kept = {key: value for key, value in record["settings"].items() if key in known and value != "evaluate"}
    drawn = {"split_seed": record["seed"], "draw_seed": record["seed"]}
    files = {key: path and Path(path).name for key in FILES for path in [getattr(asked, key)]}
    made, wanted = as_plain(TrainSettings(**drawn | kept)), as_plain(asked) | files
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
