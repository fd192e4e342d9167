"""The folder that an inspection of many pictures leaves: two tables, and maps on request. Knows nothing of detectors.

All is made in a folder of its own inside the output folder and moved into place at the end, so that a full disk, a kill
or a mistake leaves an earlier inspection as it was. A second inspection into one folder at a time is refused.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from weakspot import csv_text
from weakspot.durable import make_folder, output_errors, sync_folder
from weakspot.errors import OutputError, shown
from weakspot.inspection.inspection import ROW, Inspection, NotInspected, flat_row
from weakspot.inspection.overlay import heat_map_png, overlay_png
from weakspot.runs import LOCK, alone

JSONL, CSV, OVERLAYS, HEAT_MAPS = "inspections.jsonl", "inspections.csv", "overlays", "heat_maps"
_STAGING = ".weakspot-inspection-"
_ASIDE = "earlier"  # inside the staging folder: the earlier inspection, as long as it is not wholly replaced


def check_output(output: Path, overwrite: bool, own: Path | None = None) -> None:
    """Raise OutputError unless `output` is missing, empty, or an earlier inspection's that may be overwritten.

    own: the staging folder of whoever asks. Another process that inspects into the folder is refused, too, by name.
    """
    with output_errors(output):
        if not os.path.lexists(output):
            return
        _tidy(output, own)
        names = {name for name in os.listdir(output) if not name.startswith(_STAGING)}
    if not names:
        return
    if not names & {JSONL, CSV}:
        raise OutputError(
            f"{shown(output)}: holds other files ({shown(min(names))}, …) and no earlier inspection; "
            "give an empty or a new folder"
        )
    if not overwrite:
        raise OutputError(
            f"{shown(output)}: holds an earlier inspection; replace it with --overwrite, or give another folder"
        )


@contextmanager
def staged(output: Path, overwrite: bool) -> Iterator[Path]:
    """A new folder inside `output`: its content moves there when the block ends well, and vanishes otherwise.

    Raises OutputError as `check_output` does, asked again now that nobody else can begin there.
    """
    make_folder(output)
    with output_errors(output):
        staging = output / f"{_STAGING}{secrets.token_hex(8)}"
        staging.mkdir()
    try:
        with _held(staging):
            check_output(output, overwrite, staging)
            yield staging
            with output_errors(output):
                _publish(staging, output)
                sync_folder(output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, output: Path) -> None:
    """Swap the four names of an inspection: earlier ones out, new ones in; back again when a step fails."""
    aside = staging / _ASIDE
    aside.mkdir()
    names = (OVERLAYS, HEAT_MAPS, JSONL, CSV)
    moves = [(output / name, aside / name) for name in names if os.path.lexists(output / name)]
    moves += [(staging / name, output / name) for name in names if (staging / name).exists()]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            os.rename(source, target)
            done.append((source, target))
        os.rename(aside, staging / "replaced")
    except BaseException:
        for source, target in reversed(done):
            os.rename(target, source)
        raise


def _tidy(output: Path, own: Path | None) -> None:
    """Remove what a killed run has left; where it was killed while it swapped, first put the earlier one back."""
    for leftover in output.glob(f"{_STAGING}*"):
        if leftover == own:
            continue
        with _held(leftover):
            for earlier in sorted(leftover.glob(f"{_ASIDE}/*")):
                if (output / earlier.name).exists():
                    os.rename(output / earlier.name, leftover / f"unfinished-{earlier.name}")
                os.rename(earlier, output / earlier.name)
            shutil.rmtree(leftover, ignore_errors=True)


def _held(staging: Path) -> AbstractContextManager[None]:
    """The staging folder's lock. Raises OutputError, naming the folder it lies in, where a running process holds it."""
    return alone(staging.parent, "inspects into it", f"{staging.name}/{LOCK}")


class Writer:
    """The tables and maps of an inspection, growing in the staging folder.

    Raises OutputError, naming the output folder, where one cannot be written.
    """

    def __init__(self, staging: Path, output: Path, overlays: bool, heat_maps: bool) -> None:
        self._staging, self._output, self._overlays, self._heat_maps = staging, output, overlays, heat_maps
        with output_errors(output):
            for folder in [OVERLAYS] * overlays + [HEAT_MAPS] * heat_maps:
                (staging / folder).mkdir()
            self._files = [open(staging / name, "xb") for name in (JSONL, CSV)]  # noqa: SIM115  # closed on exit
        self._write(b"", csv_text.csv_line(ROW, end="\r\n").encode("utf-8"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with output_errors(self._output):
                for file in self._files:
                    os.fsync(file.fileno())
        for file in self._files:
            with suppress(OSError):  # nothing is left to write, or it has failed already
                file.close()

    def write(self, number: int, entry: Inspection | NotInspected, pixels: Any) -> None:
        """A line, and of a picture that was judged the maps that were asked for.

        number: the line's; it keeps the maps' names apart. pixels: as read, (H, W) or (H, W, 3); None where refused.
        """
        paths: dict[str, str | None] = {}
        if isinstance(entry, Inspection):
            name = f"{number:06}_{_safe(Path(entry.image.path or ''))}.png"
            if self._heat_maps:
                paths["heat_map_path"] = self._map(HEAT_MAPS, name, heat_map_png(entry.heat_map))
            if self._overlays:
                paths["overlay_path"] = self._map(OVERLAYS, name, overlay_png(pixels, entry))
        self._write(*lines_of(entry.as_dict(**paths)))

    def _map(self, folder: str, name: str, png: bytes) -> str:
        with output_errors(self._output), open(self._staging / folder / name, "xb") as file:
            file.write(png)
            file.flush()
            os.fsync(file.fileno())
        return f"{folder}/{name}"

    def _write(self, *lines: bytes) -> None:
        with output_errors(self._output):
            for file, line in zip(self._files, lines):
                file.write(line)
                file.flush()  # so that a full disk shows at the picture that does not fit


def lines_of(published: dict[str, Any]) -> tuple[bytes, bytes]:
    """One picture's line of JSON and row of CSV, from its published form."""
    line = json.dumps(published, ensure_ascii=False, allow_nan=False)  # NaN raises
    row = csv_text.csv_line(flat_row(published).values(), end="\r\n")
    return line.encode("utf-8") + b"\n", row.encode("utf-8")


def _safe(path: Path) -> str:
    """A picture's name as part of a new file's, on any system and of bounded length; it need not be unique."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)[:60]
