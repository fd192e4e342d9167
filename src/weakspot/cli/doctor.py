"""The verb that looks at this machine: doctor."""

from pathlib import Path
from typing import Annotated

import typer

from weakspot.cli import flags
from weakspot.cli.entry import app, examples


@app.command(
    epilog=examples(
        "weakspot doctor", "weakspot doctor part.weakspot  # which runtime is fastest for it", "weakspot doctor --json"
    )
)
def doctor(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help="Model file to time now, on each runtime.", show_default=False),
    ] = None,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
) -> None:
    """Say what is installed, which runtime is the fastest, and how fast this machine is."""
    from weakspot import doctor as examination
    from weakspot import terminal

    terminal.show_doctor(examination.examine(model, threads), as_json)
