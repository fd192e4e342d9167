"""Labelled images on disk → what is wrong with them, as an Audit and, on request, as audit.json."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

from weakspot.data.audit import Audit, audit
from weakspot.data.layouts import read_layout
from weakspot.durable import refuse_below, refuse_unwritable, write_durably
from weakspot.settings import ReadSettings


def audit_folder(
    data: Path | str,
    settings: ReadSettings,
    layout: str = "auto",
    output: Path | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audit a folder or table.

    output: a folder for audit.json, which replaces an earlier one; on_image: called with how many images are read, of
    how many. Raises DataError, OutputError.
    """
    if output is not None:
        refuse_below(output, Path(data))
    samples, done = read_layout(Path(data), layout), count(1)
    if output is not None:
        refuse_unwritable(output)  # before the long part
    found = audit(samples, settings, lambda _: on_image(next(done), len(samples)) if on_image else None)
    if output is not None:
        write_durably(output / "audit.json", json.dumps(found.as_dict(), indent=2, allow_nan=False).encode())
    return found
