"""Many pictures in one go: the next ones are read while one is judged. One that cannot be read stops no other."""

import logging
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from weakspot.errors import ImageError, shown
from weakspot.inspection.ahead import read_ahead
from weakspot.inspection.drift import Change, changes
from weakspot.inspection.inspection import ImageInfo, Inspection, NotInspected
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.output import Writer, check_output, staged
from weakspot.inspection.preparation import Prepared
from weakspot.inspection.sources import find_images, refuse_output_below

log = logging.getLogger(__name__)
OnImage = Callable[[int, int, Inspection | NotInspected], None]  # how many are done, of how many, and the newest


@dataclass
class Summary:
    """What came of many pictures. A refused picture is in no decision's count."""

    output: Path
    fail_on_bad: bool = False
    decisions: Counter[str] = field(default_factory=lambda: Counter(good=0, review=0, bad=0))
    refusals: list[NotInspected] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)  # how many pictures each is of, by its beginning
    passed_over: str = ""  # what lay beside the pictures and was not looked at, in words
    changes: tuple[Change, ...] = ()  # in what the pictures together differ from the training's
    seconds: float = 0.0

    def add(self, entry: Inspection | NotInspected) -> None:
        """Count one more picture."""
        if isinstance(entry, NotInspected):
            self.refusals.append(entry)
        else:
            self.decisions[entry.decision] += 1
            self.warnings.update(warning.partition(":")[0] for warning in entry.warnings)

    @property
    def read(self) -> int:
        """How many were judged."""
        return self.decisions.total()

    @property
    def refused(self) -> int:
        """How many were not."""
        return len(self.refusals)

    @property
    def total(self) -> int:
        """How many there were."""
        return self.read + self.refused

    @property
    def exit_status(self) -> int:
        """3 when a bad part was found and that was asked for, else 1 when a picture was refused, else 0."""
        return 3 if self.fail_on_bad and self.decisions["bad"] else 1 if self.refusals else 0


def inspect_folder(
    detector: LoadedDetector,
    paths: Sequence[Path | str],
    output: Path,
    *,
    overlays: bool = False,
    heat_maps: bool = False,
    overwrite: bool = False,
    fail_on_bad: bool = False,
    on_image: OnImage | None = None,
) -> Summary:
    """Inspect files, folders and patterns; write inspections.jsonl and inspections.csv to `output`.

    overlays, heat_maps: write these, too, into folders of that name. All appears whole, at the end. Ctrl-C ends it
    early: what was judged until then is written, and KeyboardInterrupt raised. Raises DataError for a folder or a
    pattern without pictures, and where there are none at all, and OutputError when `output` lies among them, holds
    something else, or an earlier inspection without `overwrite`, or cannot be written; what was there is then still
    there.
    """
    start = perf_counter()
    refuse_output_below(output, paths)
    check_output(output, overwrite)
    sources = find_images(paths)
    if sources.passed_over:
        log.warning("passed over: %s", sources.passed_over)
    summary = Summary(output, fail_on_bad, passed_over=sources.passed_over)
    figures: list[dict[str, float]] = []
    with (
        _ctrl_c() as stop,
        staged(output, overwrite) as staging,
        Writer(staging, output, overlays, heat_maps) as writer,
    ):
        for number, (path, prepared) in enumerate(read_ahead(detector.prepare, sources.images), start=1):
            entry = judged(detector, path, prepared)
            summary.add(entry)
            figures += [prepared.figures] if isinstance(prepared, Prepared) and prepared.figures else []
            writer.write(number, entry, prepared.pixels if isinstance(prepared, Prepared) else None)
            if on_image:
                on_image(number, len(sources.images), entry)
            if stop.is_set():
                break
    if stop.is_set():
        log.warning("stopped after %s of %s images, which are in %s", number, len(sources.images), shown(output))
        raise KeyboardInterrupt
    summary.changes = told_changes(detector, figures)
    summary.seconds = perf_counter() - start
    return summary


def told_changes(
    detector: LoadedDetector, figures: list[dict[str, float]], known: Collection[str] = ()
) -> tuple[Change, ...]:
    """In what many pictures together differ from the training's; said in the log, too, where it is not known yet."""
    usual = detector.manifest.usual if figures else None
    found = () if usual is None else tuple(changes(figures, usual))
    for each in found:
        if each.figure not in known:
            said = f"Kolmogorov-Smirnov distance {each.distance:.2f}, stability index {each.stability_index:.2f}"
            log.warning("%s of %s images differs from the training's (%s)", each.figure, each.pictures, said)
    return found


@contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets instead of ending everything in the middle of a line; a second one does end it."""
    asked = threading.Event()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield asked
        return

    def note(*_: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def judged(detector: LoadedDetector, path: Path | str, prepared: Prepared | Exception) -> Inspection | NotInspected:
    """What is said of a picture that was read, or why nothing is: the error of reading it, or one of judging it."""
    try:
        if isinstance(prepared, Exception):
            raise prepared
        return detector.judge(prepared)
    except ImageError as error:
        reason = str(error)
    except MemoryError:
        reason = f"{shown(path)}: not enough memory to judge it; close other programs, or take --memory small"
    return NotInspected(ImageInfo(str(path)), detector.info, reason)
