"""`weakspot watch`: pictures are judged as they arrive in a folder; the next one is read while one is judged.

A picture's result is on disk before the picture is moved, and before the next one's.
"""

import logging
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

from weakspot.durable import make_folder
from weakspot.errors import DataError, ImageError, WeakspotError, shown
from weakspot.inspection.arrivals import Arrival, Arrivals, Version, move_away, reason_of, version_or_none
from weakspot.inspection.at_work import TRIES, AtWork
from weakspot.inspection.drift import FEWEST_TOGETHER
from weakspot.inspection.folder import OnImage, judged, told_changes
from weakspot.inspection.inspection import Decision, Inspection, NotInspected
from weakspot.inspection.ledger import Results
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.preparation import Prepared
from weakspot.jobs.watching import How, check_places
from weakspot.runs import alone
from weakspot.stopping import asked_to_stop

log = logging.getLogger(__name__)
MARK = ".inspected"  # what --mark adds to a name
AT_WORK = ".at_work"  # in the output folder
LOOKING = 0.1  # of the time is what looking at a folder takes at most, however many files it holds
SLOW = 1.0  # seconds of a look from which it is said that the folder holds too many
Outcome = Prepared | ImageError | MemoryError | None  # None: it changed while it was read


@dataclass
class Watched:
    """What came of it. A picture that was not inspected is in no decision's count."""

    output: Path
    once: bool
    decisions: Counter[str] = field(default_factory=lambda: Counter({"good": 0, "review": 0, "bad": 0}))
    refused: int = 0
    late: int = 0
    unseen: int = 0  # folders inside that could not be listed at the last look

    @property
    def total(self) -> int:
        """How many pictures were reported."""
        return self.decisions.total() + self.refused

    @property
    def exit_status(self) -> int:
        """1 where only what lay there was to be judged and not all could be, else 0."""
        return 1 if self.once and (self.refused or self.unseen) else 0


def watch(
    detector: LoadedDetector,
    model: tuple[Path, Version | None],
    folder: Path,
    output: Path,
    how: How,
    on_image: OnImage | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Watched:
    """Judge each picture that arrives in a folder; SIGTERM ends it, and Ctrl-C, which raises KeyboardInterrupt.

    model: the file of the detector and its version before it was read, to tell when it changes; output: a new folder,
    or that of an earlier watch of the same folder, which is gone on with. Raises DataError where there is no such
    folder, OutputError where results or pictures cannot be put where they should.
    """
    check_places(folder, output, how)
    make_folder(output)
    with ExitStack() as stack:
        stop = stack.enter_context(asked_to_stop())
        stack.enter_context(alone(output, "watches into it"))
        if how.move_to is not None:
            stack.enter_context(alone(how.move_to, "moves pictures into it"))
        results = stack.enter_context(Results(output, folder))
        note(f"model {shown(detector.info.name)}, SHA-256 {detector.info.sha256}, until this ends")
        at_work = stack.enter_context(_at_work(output))
        watcher = _Watcher(detector, model, folder, results, at_work, how, Watched(output, how.once), on_image)
        watcher.run(stop)
    if stop.by == signal.SIGINT:
        raise KeyboardInterrupt
    return watcher.watched


@contextmanager
def _at_work(output: Path) -> Iterator[AtWork]:
    """Which pictures are at work; they stay noted where a mistake of ours, which one may have met, ends all."""
    at_work = AtWork(output / AT_WORK)
    try:
        yield at_work
    except BaseException as error:
        at_work.close(well=isinstance(error, (WeakspotError, KeyboardInterrupt)))
        raise
    at_work.close(well=True)


class _Watcher:
    """One watch while it runs."""

    def __init__(
        self,
        detector: LoadedDetector,
        model: tuple[Path, Version | None],
        folder: Path,
        results: Results,
        at_work: AtWork,
        how: How,
        watched: Watched,
        on_image: OnImage | None,
    ) -> None:
        self._detector, self._folder, self._results, self._how = detector, folder, results, how
        self._at_work, self.watched, self._on_image = at_work, watched, on_image
        self._model, self._model_version = model
        self._arrivals = Arrivals(folder, results.done, how.deep, how.patience)
        self._backlog: deque[Arrival] = deque()
        self._coming: tuple[Arrival, Future[Outcome]] | None = None  # read while another is judged: two in memory
        self._next_look = monotonic()
        self._nothing_left = False  # as the last look found, and nothing was done since
        self._gone = self._slow = False  # what was said: the folder cannot be listed, a look takes long
        self._stuck: set[str] = set()  # and why pictures cannot be moved
        self._figures: list[dict[str, float]] = []  # of the pictures since they were last compared
        self._changed: set[str] = set()  # in which of them the last pictures differed from the training's

    def run(self, stop: threading.Event) -> None:
        """Until it is asked to stop, or with `once` until nothing is left."""
        with ThreadPoolExecutor(1, "read") as reader:
            while not stop.is_set():
                if monotonic() >= self._next_look:
                    self._look()
                if self._judge_next(reader):
                    continue
                if self._how.once and self._nothing_left:
                    return
                stop.wait(max(0.0, self._next_look - monotonic()))

    def _look(self) -> None:
        start = monotonic()
        try:
            arrived, still_there = self._arrivals.look()
        except OSError as error:
            if self._how.once:
                raise DataError(f"{shown(self._folder)}: cannot be listed ({reason_of(error)})") from None
            if not self._gone:
                log.warning("%s: cannot be listed (%s); waiting for it", shown(self._folder), reason_of(error))
            self._gone = True
        else:
            if self._gone:
                log.warning("%s: can be listed again", shown(self._folder))
            self._gone = False
            self._backlog.extend(arrived)
            self._stuck &= {self._set_aside(name, self._results.done[name].version) for name in still_there}
            self._nothing_left = not self._arrivals.are_pending
            self.watched.unseen = self._arrivals.unseen
        self._look_at_model()
        self._plan_look(start, monotonic() - start)

    def _plan_look(self, start: float, seconds: float) -> None:
        """The next one, after the one that began at `start` and took so many seconds."""
        self._next_look = start + max(self._how.every, seconds / LOOKING)
        if seconds > SLOW and not self._slow:
            found = f"a look takes {seconds:.1f} s, so there is one every {self._next_look - start:.0f} s"
            log.warning("%s: holds so many files that %s; move them away", shown(self._folder), found)
        self._slow = self._slow or seconds > SLOW

    def _look_at_model(self) -> None:
        version = version_or_none(self._model)
        if version != self._model_version:
            self._model_version = version
            used = f"the one read at the start goes on (SHA-256 {self._detector.info.sha256})"
            log.warning("%s: changed on disk; %s; start again to take the new one", shown(self._model), used)

    def _judge_next(self, reader: ThreadPoolExecutor) -> bool:
        """Report one picture, the one after it being read meanwhile. False where none has arrived."""
        self._coming = self._coming or self._read_next(reader)
        if self._coming is None:
            return False
        arrival, future = self._coming
        outcome = future.result()
        self._coming, self._nothing_left = self._read_next(reader, arrival), False
        if outcome is None:
            self._arrivals.put_back(arrival)
        elif isinstance(outcome, Exception) and not arrival.last:
            self._arrivals.refuse(arrival)
        else:
            self._report(arrival, judged(self._detector, arrival.path, outcome))
            if isinstance(outcome, Prepared) and outcome.figures:
                self._compare(outcome.figures)
        self._at_work.end(arrival)
        return True

    def _compare(self, figures: dict[str, float]) -> None:
        """Say in what the last pictures differ from the training's, when that begins."""
        self._figures.append(figures)
        if len(self._figures) == FEWEST_TOGETHER:
            self._changed = {each.figure for each in told_changes(self._detector, self._figures, self._changed)}
            self._figures = []

    def _read_next(
        self, reader: ThreadPoolExecutor, beside: Arrival | None = None
    ) -> tuple[Arrival, Future[Outcome]] | None:
        """The oldest, being read; none while `beside` is judged and either may have brought a process down."""
        if not self._backlog or (beside and (self._at_work.tries(beside) or self._at_work.tries(self._backlog[0]))):
            return None
        arrival = self._backlog.popleft()
        fault = self._begin(arrival)
        if fault:
            return replace(arrival, last=True), reader.submit(ImageError, fault)
        return arrival, reader.submit(_read, self._detector, arrival)

    def _begin(self, arrival: Arrival) -> str:
        """Note that a picture is at work → why it must not be: it brings this process down; "" where it may be."""
        tries = self._at_work.tries(arrival)
        if tries < TRIES:
            self._at_work.begin(arrival)
        if tries and (
            tries == TRIES or not self._at_work.ends_well_apart(arrival, lambda: _judge(self._detector, arrival))
        ):
            found = "brings the process down that inspects it, or holds it up"
            return f"{shown(arrival.path)}: {found}; take it away, and see what made it"
        return ""

    def _report(self, arrival: Arrival, entry: Inspection | NotInspected) -> None:
        entry = self._with_delay(entry, monotonic() - arrival.since)
        self._results.add(arrival.name, arrival.version, entry)
        self._arrivals.finish(arrival)
        if isinstance(entry, Inspection):
            self.watched.decisions[entry.decision] += 1
            self._set_aside(arrival.name, arrival.version)
        else:
            self.watched.refused += 1
        if self._on_image:
            self._on_image(self.watched.total, self.watched.total, entry)

    def _with_delay(self, entry: Inspection | NotInspected, seconds: float) -> Inspection | NotInspected:
        if self._how.cycle is None or seconds <= self._how.cycle:
            return entry
        self.watched.late += 1
        if isinstance(entry, NotInspected):
            return entry
        late = f"late: {seconds:.2f} s after it was first seen, and a cycle takes {self._how.cycle:g} s"
        decision: Decision = "review" if entry.decision == "good" else entry.decision  # its part has gone on
        return replace(entry, decision=decision, warnings=(*entry.warnings, late))

    def _set_aside(self, name: str, version: Version) -> str | None:
        """Move or mark a picture whose result is on disk, or say why not; one that has taken its name since is left."""
        how, source = self._how, self._folder / name
        if not (how.mark or how.move_to) or version_or_none(source) != version:
            return None
        try:
            move_away(source, how.move_to / name if how.move_to else self._folder / (name + MARK), version)
        except OSError as error:
            reason = reason_of(error)
            if reason not in self._stuck:
                log.warning("%s: cannot be moved (%s); it stays, its result is written", shown(source), reason)
            self._stuck.add(reason)
            return reason
        del self._results.done[name]  # whatever takes its name is another picture
        return None


def _read(detector: LoadedDetector, arrival: Arrival) -> Outcome:
    """The picture, or why it is none; None where it changed meanwhile, so that nothing is said of half a file."""
    try:
        if arrival.path.is_symlink():
            raise ImageError(f"{shown(arrival.path)}: a link, which does not change with its file; put the file there")
        outcome: Outcome = detector.prepare(arrival.path)
    except (ImageError, MemoryError) as error:
        outcome = error
    except OSError as error:  # of a share: it may be read again in a moment
        outcome = ImageError(f"{shown(arrival.path)}: cannot be read ({reason_of(error)})")
    return outcome if version_or_none(arrival.path) == arrival.version else None


def _judge(detector: LoadedDetector, arrival: Arrival) -> None:
    """Read and judge it, and say nothing."""
    outcome = _read(detector, arrival)
    if outcome is not None:
        judged(detector, arrival.path, outcome)
