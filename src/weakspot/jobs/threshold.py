"""A model's thresholds: shown, or changed with a reason that stays in the file: by hand, or by limits on errors among
the pictures whose scores it holds."""

from dataclasses import replace
from pathlib import Path

from weakspot.errors import SettingsError, shown
from weakspot.evaluation.metrics import Counts, at_thresholds
from weakspot.evaluation.threshold import choose_thresholds
from weakspot.evaluation.threshold_rules import in_words
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.manifest import Manifest, ThresholdRecord
from weakspot.inspection.model_file import read_model_file, set_thresholds
from weakspot.settings import ThresholdSettings, read_settings

FARTHEST = 1000  # raw score, a logit: far beyond every score that a detector gives


def thresholds_of(
    model: Path,
    bad_from: float | None = None,
    good_below: float | None = None,
    reason: str | None = None,
    max_false_alarms: float | None = None,
    max_escapes: float | None = None,
) -> ThresholdRecord:
    """The thresholds in force and their changes; where a new one or a limit is given, it is set first, with `reason`.

    bad_from, good_below: raw scores; max_false_alarms, max_escapes: shares of the good and of the bad pictures. Raises
    ModelFileError, SettingsError for what cannot be, and OutputError; the file then stays as it was.
    """
    by_hand = _given(bad_from=bad_from, good_below=good_below)
    by_limit = _given(max_false_alarm_rate=max_false_alarms, max_escape_rate=max_escapes)
    if not by_hand and not by_limit:
        if reason is not None:
            raise SettingsError("--reason without a threshold to change; give --bad-from, --good-below or both")
        return read_model_file(model).manifest.thresholds
    if by_hand and by_limit:
        raise SettingsError("thresholds and limits at once; give one kind, since limits choose both thresholds")
    if not (reason and reason.strip()):
        raise SettingsError(
            f"{shown(model)}: a change of thresholds needs its reason, which stays in the file; give --reason TEXT"
        )

    def choose(manifest: Manifest) -> Thresholds:
        return _by_hand(manifest, by_hand, reason) if by_hand else _by_limits(manifest, by_limit, model)

    return set_thresholds(model, choose, reason.strip()).manifest.thresholds


def held_out_counts(manifest: Manifest) -> Counts | None:
    """What the thresholds in force make of the pictures whose out-of-fold scores a model holds; None without any."""
    labels, scores = _held_out(manifest)
    record = manifest.thresholds
    return at_thresholds(labels, scores, record.bad_from, record.good_below) if scores else None


def _given(**values: float | None) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _by_hand(manifest: Manifest, given: dict[str, float], reason: str) -> Thresholds:
    for value in given.values():
        if abs(value) > FARTHEST:
            raise SettingsError(
                f"a threshold of {value:g}; raw scores lie between -{FARTHEST} and {FARTHEST}, most within 10"
            )
    return replace(manifest.thresholds.in_force(), **given, rule="by hand", chosen_on=reason.strip())


def _by_limits(manifest: Manifest, given: dict[str, float], model: Path) -> Thresholds:
    """Chosen anew; a limit that is not given is the training's."""
    labels, scores = _held_out(manifest)
    if not scores:
        none = f"{shown(model)}: holds no out-of-fold scores to choose from"
        raise SettingsError(f"{none}; give --bad-from and --good-below, or train anew, with folds")
    if "max_escape_rate" in given and not any(labels):
        raise SettingsError(
            f"{shown(model)}: no bad picture was trained on, so no limit of escapes can be held; leave it out"
        )
    settings = read_settings(ThresholdSettings, **manifest.settings.get("threshold", {}) | given | {"rule": "limits"})
    chosen = choose_thresholds(labels, scores, settings).thresholds
    return replace(chosen, rule=in_words(settings, any(labels)), region_from=manifest.thresholds.region_from)


def _held_out(manifest: Manifest) -> tuple[list[int], list[float]]:
    """Labels and raw scores of the training pictures, out of fold."""
    good, bad = (manifest.held_out_scores.get(name, []) for name in ("good", "bad"))
    return [0] * len(good) + [1] * len(bad), [*good, *bad]
