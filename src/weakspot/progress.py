"""How far a job is, while it runs: a line redrawn on a terminal, plain lines in a log, or nothing. Always on stderr."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 5.0  # seconds between two lines where the terminal cannot redraw one


class Shows:
    """What a job says of itself while it runs; `weakspot.jobs` calls it. This one draws nothing."""

    def start(self, stage: str, iterations: int) -> None:
        """A stage begins, of at most so many iterations."""

    def step(self, values: dict[str, Any]) -> None:
        """One iteration is done; values as in history.jsonl."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""

    def end(self) -> None:
        """The stage is over."""


def to_stderr() -> Console:
    """The console of progress and notes."""
    return Console(stderr=True, highlight=False)


@contextmanager
def progress(quiet: bool, first: str = "") -> Iterator[Shows]:
    """Progress of a training, as the terminal can show it: a line redrawn, lines every few seconds, or nothing.

    first: what is said before anything else.
    """
    console = to_stderr()
    shows = Shows() if quiet else Bar(console) if console.is_terminal else Lines(console)
    try:
        if first:
            shows.note(first)
        yield shows
    finally:
        shows.end()


class Lines(Shows):
    """Plain lines, one every few seconds: for logs and pipes."""

    def __init__(self, console: Console, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.every, self.clock = console, every, clock
        self.stage, self.iterations, self.done = "", 0, 0
        self.began = self.last = clock()
        self.unsaid: dict[str, Any] | None = None

    def start(self, stage: str, iterations: int) -> None:
        """Begin to count."""
        self.stage, self.iterations, self.done = stage, iterations, 0
        self.began = self.last = self.clock()
        self.note(f"{stage}: up to {iterations} iterations")

    def step(self, values: dict[str, Any]) -> None:
        """A line, if the last is long enough ago."""
        self.done, self.unsaid = int(values.get("step", self.done + 1)), values
        if self.clock() - self.last >= self.every:
            self._say(values)

    def note(self, text: str) -> None:
        """The text, as it is."""
        self.console.print(escape(text), soft_wrap=True)

    def end(self) -> None:
        """The last iteration, if it was not said."""
        if self.unsaid is not None:
            self._say(self.unsaid)

    def _say(self, values: dict[str, Any]) -> None:
        self.last, self.unsaid = self.clock(), None
        left = (self.last - self.began) / max(self.done, 1) * max(self.iterations - self.done, 0)
        self.note(
            f"{self.stage} {self.done}/{self.iterations}  {figures(values)}  {clock_time(left)} left of this stage"
        )


class Bar(Shows):
    """One line a stage, redrawn: how far, losses, heat of the bad and of the good image, time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Progress | None = None

    def start(self, stage: str, iterations: int) -> None:
        """A new line."""
        self.end()
        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self.live = Progress(*columns, TimeRemainingColumn(), console=self.console)
        self.live.add_task(escape(stage), total=iterations, figures="")
        self.live.start()

    def step(self, values: dict[str, Any]) -> None:
        """The line anew."""
        if self.live is not None:
            (task,) = self.live.tasks
            self.live.update(task.id, completed=values.get("step", task.completed + 1), figures=figures(values))

    def note(self, text: str) -> None:
        """The text, above the line where there is one."""
        self.console.print(escape(text), soft_wrap=True)

    def end(self) -> None:
        """Leave the line as it stands; a stage may end before its last iteration."""
        if self.live is not None:
            self.live.stop()
            self.live = None


def figures(values: Mapping[str, Any]) -> str:
    """Losses, heats and alpha of one iteration, in short."""
    words = {"running_loss": "loss", "bad_heat": "heat of the bad", "good_heat": "of the good", "alpha": "alpha"}
    values = {"running_loss": values.get("loss"), **values}
    return "  ".join(
        f"{word} {values[key]:.3f}" for key, word in words.items() if isinstance(values.get(key), int | float)
    )


def clock_time(seconds: float) -> str:
    """75 → '1:15', 4000 → '1:06:40'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def counting(what: str, quiet: bool, instead: Callable[..., None] | None = None) -> Iterator[Callable[..., None]]:
    """A function to be called once an image, with how many are done, of how many, and anything else.

    instead: one that is to be called in place of what counts.
    """
    console = to_stderr()
    if quiet or instead or not console.is_terminal:
        yield instead or (lambda *_: None)
        return
    with Progress(
        TextColumn(what),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as live:
        task = live.add_task(what, total=None)
        yield lambda done, total, *_: live.update(task, completed=done, total=total)
