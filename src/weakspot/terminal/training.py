"""What the verbs say that make a detector and measure it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weakspot.errors import shown
from weakspot.terminal.lines import print_json, say, table

if TYPE_CHECKING:
    from weakspot.data.audit import Audit
    from weakspot.evaluation.evaluate import Evaluation
    from weakspot.evaluation.intervals import Proportion
    from weakspot.evaluation.metrics import Counts
    from weakspot.inspection.manifest import ThresholdRecord
    from weakspot.jobs.comparison import Comparison
    from weakspot.jobs.train import TrainResult
    from weakspot.settings import TrainSettings


def differing(settings: "TrainSettings") -> str:
    """The settings that are not the defaults, in one line."""
    from weakspot.settings import TrainSettings, as_plain

    own, defaults = _flat(as_plain(settings)), _flat(as_plain(TrainSettings()))
    different = [f"{key} = {shown(value)}" for key, value in own.items() if value != defaults[key]]
    return f"settings: {', '.join(different) or 'the defaults'}; all of them stand in settings.toml"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def show_audit(found: "Audit", as_json: bool) -> None:
    """What there is, what is wrong with it, what tells the label, and what appears twice."""
    from weakspot.data.audit_tables import audit_tables

    if as_json:
        print_json(found.as_dict())
        return
    for each in audit_tables(found):
        say(table(each.title, each.columns, [*each.rows]), "")


def show_training(result: "TrainResult", as_json: bool) -> None:
    """What a training made, where it lies, and what to type next."""
    paths = {
        "model": str(result.model),
        "report": str(result.report) if result.report else None,
        "run": str(result.run),
    }
    if as_json:
        print_json({**paths, "summary": result.summary})
        return
    say(result.summary, "", *(f"{name:<7} {shown(path)}" for name, path in paths.items() if path))
    say("", f"next:   weakspot inspect {shown(shlex.quote(str(result.model)))} NEW_IMAGES -o out/")


def show_evaluation(evaluation: "Evaluation", output: Path, as_json: bool) -> None:
    """How often it would be wrong, with counts, intervals and what they prove; rankings; where the report lies."""
    from weakspot.evaluation import words
    from weakspot.evaluation.page import LOCALIZATION, RANKING

    if as_json:
        print_json(evaluation.metrics)
        return
    rates = [
        (rate.name, f"{rate.k} of {rate.n}", _share(rate.interval), rate.sentence) for rate in words.rates(evaluation)
    ]
    metrics = evaluation.metrics
    figures = [
        (name, metrics[key], _interval(evaluation, key)) for key, name, _ in (*RANKING, *LOCALIZATION) if key in metrics
    ]
    say(words.standing(evaluation).text, words.headline(evaluation), "")
    say(table("At the model's thresholds", ("", "count", "95 % interval", "what that shows"), rates), "")  # type: ignore[arg-type]
    say(table("Ranking, whatever the thresholds", ("", "", "95 % interval"), figures), "")  # type: ignore[arg-type]
    say(*(f"not measured: {what}: {why}" for what, why in evaluation.not_measured.items()))
    say(*(f"not inspected: {refused.reason}" for refused in evaluation.refused))
    say(f"report  {shown(output / 'report.html')}")


def show_comparison(found: "Comparison", as_json: bool) -> None:
    """What each of two models makes of the same pictures, where they differ, and how little that may prove."""
    if as_json:
        print_json(found.as_dict())
        return
    sides = [
        (f"{shown(side.model.name)} {side.model.sha256[:12]}", side.right, side.wrong, side.review, side.not_inspected,
         _rate(side.escapes), _rate(side.false_alarms))
        for side in found.sides
    ]  # fmt: skip
    of_parts = [f"{name} of {found.counted}s, 95 % interval" for name in ("escapes", "false alarms")]
    columns = ("model", "right", "wrong", "for review", "not inspected", *of_parts)
    say(table("On the same pictures", columns, [*sides]), *found.sentences)
    if found.differing:
        rows = [(pair.id, ("good", "bad")[pair.label], *pair.decisions) for pair in found.differing]
        say("", table("Where they differ", ("picture", "in truth", "first", "second"), [*rows]))


def _rate(rate: "Proportion") -> str:
    return f"{rate.k} of {rate.n}, {_share(rate.interval)}" if rate.n else "–"


def _share(interval: tuple[float, float]) -> str:
    from weakspot.evaluation.intervals import between

    return between(interval)


def _interval(evaluation: "Evaluation", key: str) -> str:
    """Of a count it is that of its share, in per cent."""
    if key not in evaluation.intervals:
        return "–"
    low, high = evaluation.intervals[key]
    return _share((low, high)) if key.startswith("false_") else f"{low:.3f} to {high:.3f}"


def show_thresholds(record: "ThresholdRecord", counts: "Counts | None", as_json: bool) -> None:
    """The thresholds in force, who chose them, what they make of the pictures out of fold, and each earlier one."""
    if as_json:
        print_json({**record.model_dump(mode="json"), "held_out": counts and counts.as_dict()})
        return
    review = f"{record.good_below:.6g}, between them review" if record.good_below < record.bad_from else "it"
    say(f"bad from raw score {record.bad_from:.6g}, good below {review}")
    by_hand = record.rule == "by hand"
    say(f"set by hand, because: {record.chosen_on}" if by_hand else f"chosen by: {record.rule}, on: {record.chosen_on}")
    if counts:
        rows = [("bad", counts.bad, counts.escapes, counts.bad_in_review, counts.caught)] * bool(counts.bad)
        rows.append(("good", counts.good, counts.passed, counts.good_in_review, counts.false_alarms))
        called = ("called good", "for review", "called bad")
        say("", "Of the training pictures, each judged by a detector that had not seen it, they make:")
        say(table("", ("in truth", "all", *called), [*rows]))
    earlier = [
        (change.time, change.bad_from, change.good_below, change.rule, change.reason) for change in record.changes
    ]
    if earlier:
        say("", table("Replaced", ("when", "bad from", "good below", "chosen by", "replaced because"), [*earlier]))
