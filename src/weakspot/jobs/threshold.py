"""A model's thresholds: shown, or changed by hand with a reason that stays in the file."""

from dataclasses import replace
from pathlib import Path

from weakspot.errors import SettingsError, shown
from weakspot.inspection.manifest import ThresholdRecord
from weakspot.inspection.model_file import read_model_file, set_thresholds

FARTHEST = 1000  # raw score, a logit: far beyond every score that a detector gives


def thresholds_of(
    model: Path, bad_from: float | None = None, good_below: float | None = None, reason: str | None = None
) -> ThresholdRecord:
    """The thresholds in force and their changes; where a new one is given, it is set first, and `reason` is needed.

    bad_from, good_below: raw scores. Raises ModelFileError, SettingsError for thresholds that cannot be, and
    OutputError; the file then stays as it was.
    """
    if bad_from is None and good_below is None:
        if reason is not None:
            raise SettingsError("--reason without a threshold to change; give --bad-from, --good-below or both")
        return read_model_file(model).manifest.thresholds
    if not (reason and reason.strip()):
        raise SettingsError(
            f"{shown(model)}: a change of thresholds needs its reason, which stays in the file; give --reason TEXT"
        )
    for value in (bad_from, good_below):
        if value is not None and abs(value) > FARTHEST:
            raise SettingsError(
                f"a threshold of {value:g}; raw scores lie between -{FARTHEST} and {FARTHEST}, most within 10"
            )
    given = {name: value for name, value in (("bad_from", bad_from), ("good_below", good_below)) if value is not None}
    changed = replace(read_model_file(model).thresholds, **given, rule="by hand", chosen_on=reason.strip())
    return set_thresholds(model, changed, reason.strip()).manifest.thresholds
