"""What a person sees on stdout when a verb is done: a table or a few lines, or with --json the same as data."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from weakspot.errors import amount, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from weakspot.data.audit import Audit
    from weakspot.evaluation.evaluate import Evaluation
    from weakspot.evaluation.metrics import Counts
    from weakspot.experiments.crossval import Crossval
    from weakspot.experiments.shipped import State
    from weakspot.inspection.folder import Summary
    from weakspot.inspection.inspection import Inspection, NotInspected
    from weakspot.inspection.loaded import Verified
    from weakspot.inspection.manifest import ThresholdRecord
    from weakspot.inspection.pieces import Tally
    from weakspot.jobs.export import Exported
    from weakspot.jobs.train import TrainResult
    from weakspot.jobs.verify import Parity
    from weakspot.jobs.watch import Watched
    from weakspot.settings import TrainSettings

MOST_REFUSALS = MOST_WARNINGS = 10  # that are named in the terminal
WIDTH = 160  # of tables where stdout is no terminal and has no width


def print_json(data: object) -> None:
    """Data for programs: one JSON value on stdout. NaN, which is no JSON, raises."""
    print(json.dumps(data, allow_nan=False, indent=2, default=str))


def print_inspection(_done: int, _of: int, inspection: "Inspection | NotInspected") -> None:
    """One image's answer as one JSON line, at once, for whoever reads along."""
    print(json.dumps(inspection.as_dict(), allow_nan=False), flush=True)


def say_inspection(_done: int, _of: int, inspection: "Inspection | NotInspected") -> None:
    """One image's answer as one line for people, at once."""
    if inspection.decision == "not inspected":
        say(f"not inspected: {inspection.reason}")
    else:
        say(f"{inspection.decision:<6} {inspection.defect_score:.4f}  {shown(inspection.image.path)}")


def say(*what: object) -> None:
    """Tables and lines on stdout. Text is shown as it is: names of files are never markup."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    for each in what:
        console.print(escape(each) if isinstance(each, str) else each, soft_wrap=isinstance(each, str))


def table(title: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> Table:
    """A plain table; a column whose cells are all numbers stands to the right."""
    drawn = Table(
        title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(_is_number(row[index]) for row in rows)
        drawn.add_column(escape(column), justify="right" if numbers else "left", header_style="dim", overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(_cell(value)) for value in row))
    return drawn


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or (
        isinstance(value, str) and value.replace(".", "", 1).removeprefix("-").isdigit()
    )


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else shown(value)


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


def _share(interval: tuple[float, float]) -> str:
    from weakspot.evaluation.intervals import between

    return between(interval)


def _interval(evaluation: "Evaluation", key: str) -> str:
    """Of a count it is that of its share, in per cent."""
    if key not in evaluation.intervals:
        return "–"
    low, high = evaluation.intervals[key]
    return _share((low, high)) if key.startswith("false_") else f"{low:.3f} to {high:.3f}"


def show_inspected(summary: "Summary", as_json: bool) -> None:
    """How many images got which decision, which could not be read and why, what was warned of, and where it all lies.

    With --json the images' lines came before.
    """
    if as_json:
        return
    for refusal in summary.refusals[:MOST_REFUSALS]:
        say(f"not inspected: {refusal.reason}")
    if summary.refused > MOST_REFUSALS:
        say(f"not inspected: {summary.refused - MOST_REFUSALS:,} more, which inspections.csv names")
    for warning, count in list(summary.warnings.items())[:MOST_WARNINGS]:
        say(f"warning of {amount(count, 'image')}: {warning}; see inspections.csv")
    say(table("", ("decision", "images"), [*summary.decisions.items(), ("not inspected", summary.refused)]))
    say(
        "",
        f"results  {shown(summary.output / 'inspections.csv')}  ({summary.total:,} images in {summary.seconds:.1f} s)",
    )


def show_tally(tally: "Tally", as_json: bool) -> None:
    """How many images of all pieces got which decision, and where the parts lie."""
    if as_json:
        print_json({"output": tally.output, "decisions": tally.decisions, "pieces": tally.pieces})
        return
    say(table("", ("decision", "images"), [*tally.decisions.items()]))
    now = f"{tally.judged_now} of {amount(tally.pieces, 'piece')} in {tally.seconds:.1f} s"
    say("", f"results  {shown(tally.output).rstrip('/')}/manifest.json  ({tally.total:,} images; judged now: {now})")


def show_watched(watched: "Watched", as_json: bool) -> None:
    """How many images got which decision, and where the results lie. With --json the images' lines came before."""
    if not as_json:
        rows = [*watched.decisions.items(), ("not inspected", watched.refused), ("late", watched.late)]
        say(table("", ("decision", "images"), [*rows]), "", f"results  {shown(watched.output / 'results.csv')}")


def show_thresholds(record: "ThresholdRecord", counts: "Counts | None", as_json: bool) -> None:
    """The thresholds in force, who chose them, what they make of the pictures out of fold, and each earlier one."""
    if as_json:
        print_json({**record.model_dump(mode="json"), "held_out": counts and counts.as_dict()})
        return
    review = f"{record.good_below:.6g}, between them review" if record.good_below < record.bad_from else "it"
    say(f"bad from raw score {record.bad_from:.6g}, good below {review}")
    say(f"chosen by: {record.rule}, on: {record.chosen_on}")
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


def show_verified(verified: "list[Verified]", parity: "Parity | None", as_json: bool) -> None:
    """What each runtime answered to the self-test, whether as when the file was made, and how alike on images."""
    if as_json:
        selftest = [vars(each) for each in verified]
        print_json(selftest if parity is None else {"selftest": selftest, "parity": parity.as_dict()})
        return
    said = [("as when it was made" if each.ok else each.problem or "differs") for each in verified]
    rows = [
        (each.runtime, text, _or_dash(each.raw_score), _or_dash(each.difference))
        for each, text in zip(verified, said, strict=True)
    ]
    say(table("The file is whole", ("runtime", "answer", "raw score", "difference"), [*rows]))
    if parity:
        _show_parity(parity)


def _show_parity(parity: "Parity") -> None:
    columns = ("runtime", "precision", "answer", "raw score", "heat map", "decisions changed")
    rows: list[tuple[object, ...]] = [
        (
            each.runtime, each.precision, "alike" if each.ok else each.problem or "differs",
            f"{each.raw_score:.1e}", f"{each.heat_map:.1e}", len(each.changed),
        )
        for each in parity.runtimes
    ]  # fmt: skip
    say("", table(f"Largest differences from {parity.reference} on {amount(parity.images, 'image')}", columns, rows))
    changed = [name for each in parity.runtimes for name in each.changed]
    for prefix, names in (("decided otherwise", dict.fromkeys(changed)), ("not compared", parity.refused)):
        say(*(f"{prefix}: {name}" for name in list(names)[:MOST_REFUSALS]))
        if len(names) > MOST_REFUSALS:
            say(f"{prefix}: {len(names) - MOST_REFUSALS:,} more; --json names them")


def show_exported(exported: "Exported", as_json: bool) -> None:
    """What was written, how it answers beside the model file, and what was let pass."""
    if as_json:
        print_json(exported.as_dict())
        return
    cost = exported.cost
    off = cost.difference
    said = f"{amount(off.images, 'picture')}: score within {off.score:.1e}, heat within {off.heat_map:.1e}"
    said += f", {amount(off.changed, 'decision')} changed ({off.outside_review} not for review before)"
    if cost.ap_before is not None and cost.ap_after is not None:
        said += f", AP {cost.ap_after:.4f} (the model file: {cost.ap_before:.4f})"
    say(f"{exported.precision} against the model file on {said}")
    say(*(f"allowed: it {fault}" for fault in cost.faults), *(f"written  {shown(path)}" for path in exported.files))


def show_counts(counted: "DataclassInstance", as_json: bool) -> None:
    """What was written where: a line for each count."""
    counts = {name: str(value) if isinstance(value, Path) else value for name, value in vars(counted).items()}
    print_json(counts) if as_json else say(*(f"{name}: {shown(value)}" for name, value in counts.items()))


def _or_dash(value: float | None) -> object:
    return "–" if value is None else value


def show_records(records: "list[Path]", as_json: bool) -> None:
    """Where an experiment's records lie."""
    print_json([str(record) for record in records]) if as_json else say(*(shown(record) for record in records))


def show_crossval(result: "Crossval", as_json: bool) -> None:
    """Each figure's mean and deviation over seeds, promises kept, and where report and scores lie."""
    from weakspot.experiments.crossval_report import WORDS

    figures = result.figures
    if as_json:
        print_json(figures)
        return
    rows = [(word, figures["mean"][name], _or_dash(figures["deviation"].get(name))) for name, word in WORDS.items()
            if name in figures["mean"]]  # fmt: skip
    say(table("Out of fold", ("", "mean", "± over seeds"), [*rows]))
    say(
        "* looked up on the tested images themselves",
        f"promises kept  {figures['promises']['kept']} of {figures['promises']['of']}",
    )
    say("", f"report  {shown(result.report)}", f"scores  {shown(result.scores)}")


def show_experiments(states: "list[State]", as_json: bool) -> None:
    """Each experiment with its minutes, how many of its records there are, and what it is to show."""
    if as_json:
        print_json([vars(state) for state in states])
        return
    rows = [(each.name, _or_dash(each.minutes), f"{each.done} of {each.needed}", each.claim) for each in states]
    say(table("Experiments", ("name", "minutes, one core", "records", "claim"), [*rows]))


def show_doctor(found: dict[str, Any], as_json: bool) -> None:
    """What is installed, what would inspect, and how fast this machine is."""
    if as_json:
        print_json(found)
        return
    machine, runtimes = found["machine"], found["runtimes"]
    packages: list[tuple[object, ...]] = [(name, version or "missing") for name, version in found["packages"].items()]
    for extra, members in found["extras"].items():
        missing = f"missing: pip install 'weakspot[{extra}]'"
        packages += [(f"{name} ({extra})", version or missing) for name, version in members.items()]
    say(table(f"Python {found['python']}", ("package", "version"), packages))
    used = f"inspect uses the fastest, evaluate {runtimes['first'] or 'none'}"
    say("", f"runtimes     {', '.join(runtimes['present']) or 'none'}; {used}")
    say(
        *(f"broken       {name}: installed, but cannot be imported ({why})" for name, why in runtimes["broken"].items())
    )
    say(*(f"measured     {_timing(timing)}" for timing in runtimes["timings"]))
    cores, memory = amount(machine["cores"], "core"), f"{machine['memory_gib']} GiB"
    say(f"machine      {machine['processor']}, {cores} to use, {memory}, {machine['system']}")
    say(f"instructions {', '.join(machine['instructions']) or 'unknown'}")
    say(f"graphics     {machine['gpu'] or 'none that torch can use'}", "")
    say(table("Speed", ("measured", "", "unit"), [_speed(name, value) for name, value in found["speed"].items()]))


def _timing(timing: dict[str, Any]) -> str:
    height, width = timing["size"]
    of = f"{height} × {width}, {amount(timing['threads'], 'thread')}"
    of += f", third kernel {timing['third_kernel']}" if timing["third_kernel"] else ""
    times = [f"{name}, {milliseconds:.3g} ms" for name, milliseconds in timing["milliseconds"].items()]
    return f"at {of}: {'; '.join(times) or 'no runtime answers as the model file says; see weakspot verify'}"


def _speed(name: str, value: float) -> tuple[object, ...]:
    if name == "copy_gb_per_s":
        return "copying memory", value, "GB/s, read and written"
    library, precision, _ = name.split("_")
    return f"matrix product, {library} {precision}", value, "GFLOP/s"
