"""What the verbs say that compare recipes over many trainings."""

from pathlib import Path
from typing import TYPE_CHECKING

from weakspot.errors import shown
from weakspot.terminal.lines import or_dash, print_json, say, table

if TYPE_CHECKING:
    from weakspot.experiments.crossval import Crossval
    from weakspot.experiments.shipped import State


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
    rows = [(word, figures["mean"][name], or_dash(figures["deviation"].get(name))) for name, word in WORDS.items()
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
    rows = [(each.name, or_dash(each.minutes), f"{each.done} of {each.needed}", each.claim) for each in states]
    say(table("Experiments", ("name", "minutes, one core", "records", "claim"), [*rows]))
