"""What the verbs say that use a model file."""

import json
from typing import TYPE_CHECKING

from weakspot.errors import amount, shown
from weakspot.terminal.lines import or_dash, print_json, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weakspot.inspection.folder import Summary
    from weakspot.inspection.inspection import Inspection, NotInspected
    from weakspot.inspection.loaded import Verified
    from weakspot.inspection.pieces import Tally
    from weakspot.jobs.export import Exported
    from weakspot.jobs.verify import Parity
    from weakspot.jobs.watch import Watched

MOST_REFUSALS = MOST_WARNINGS = 10  # that are named in the terminal


def print_inspection(_done: int, _of: int, inspection: "Inspection | NotInspected") -> None:
    """One image's answer as one JSON line, at once, for whoever reads along."""
    print(json.dumps(inspection.as_dict(), allow_nan=False), flush=True)


def say_inspection(_done: int, _of: int, inspection: "Inspection | NotInspected") -> None:
    """One image's answer as one line for people, at once."""
    if inspection.decision == "not inspected":
        say(f"not inspected: {inspection.reason}")
    else:
        say(f"{inspection.decision:<6} {inspection.score_text(4)}  {shown(inspection.image.path)}")


def show_inspected(summary: "Summary", as_json: bool) -> None:
    """How many images got which decision, which could not be read and why, what was warned of, and where it all lies.

    With --json the images' lines came before on stdout, and this is on stderr.
    """
    reasons = [refusal.reason for refusal in summary.refusals[:MOST_REFUSALS]]
    _say_faults(reasons, summary.refused, summary.warnings, "inspections.csv", as_json)
    rows = [*summary.decisions.items(), ("not inspected", summary.refused)]
    results = f"results  {shown(summary.output / 'inspections.csv')}"
    say(table("", ("decision", "images"), [*rows]), "", beside_json=as_json)
    say(f"{results}  ({summary.total:,} images in {summary.seconds:.1f} s)", beside_json=as_json)


def show_tally(tally: "Tally", as_json: bool) -> None:
    """How many images of all pieces got which decision, which could not be read and why, and where the parts lie."""
    refused = tally.decisions["not inspected"]
    _say_faults(tally.refusals[:MOST_REFUSALS], refused, tally.warnings, "the parts' tables", as_json)
    if as_json:
        print_json({"output": tally.output, "decisions": tally.decisions, "pieces": tally.pieces})
        return
    say(table("", ("decision", "images"), [*tally.decisions.items()]))
    now = f"{tally.judged_now} of {amount(tally.pieces, 'piece')} in {tally.seconds:.1f} s"
    say("", f"results  {shown(tally.output).rstrip('/')}/manifest.json  ({tally.total:,} images; judged now: {now})")


def _say_faults(reasons: list[str], refused: int, warnings: "Mapping[str, int]", tables: str, as_json: bool) -> None:
    """Which images could not be read, the first by name, and what was warned of. tables: where all stands."""
    say(*(f"not inspected: {reason}" for reason in reasons), beside_json=as_json)
    if refused > len(reasons):
        say(f"not inspected: {refused - len(reasons):,} more; see {tables}", beside_json=as_json)
    for warning, count in list(warnings.items())[:MOST_WARNINGS]:
        say(f"warning of {amount(count, 'image')}: {warning}; see {tables}", beside_json=as_json)


def show_watched(watched: "Watched", as_json: bool) -> None:
    """How many images got which decision, and where the results lie. With --json the images' lines came before."""
    if not as_json:
        rows = [*watched.decisions.items(), ("not inspected", watched.refused), ("late", watched.late)]
        say(table("", ("decision", "images"), [*rows]), "", f"results  {shown(watched.output / 'results.csv')}")


def show_verified(verified: "list[Verified]", parity: "Parity | None", as_json: bool) -> None:
    """What each runtime answered to the self-test, whether as when the file was made, and how alike on images."""
    if as_json:
        selftest = [vars(each) for each in verified]
        print_json(selftest if parity is None else {"selftest": selftest, "parity": parity.as_dict()})
        return
    said = [("as when it was made" if each.ok else each.problem or "differs") for each in verified]
    rows = [
        (each.runtime, text, or_dash(each.raw_score), or_dash(each.difference))
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
    said += f", {amount(off.changed, 'decision')} changed ({off.outside_review} of them to good or bad)"
    if cost.ap_before is not None and cost.ap_after is not None:
        said += f", AP {cost.ap_after:.4f} (the model file: {cost.ap_before:.4f})"
    say(f"{exported.precision} against the model file on {said}")
    if cost.not_measured and exported.precision != "fp32":
        say(cost.not_measured)
    if off.passed_unlike:
        unlike = f"it passes {amount(off.passed_unlike, 'picture')} as good that weakspot holds for review as unlike"
        say(f"{unlike} the training's; check `usual` in the JSON")
    say(f"it takes pictures of {exported.picture[0]}x{exported.picture[1]} pixels")
    say(*(f"allowed: it {fault}" for fault in cost.faults), *(f"written  {shown(path)}" for path in exported.files))
