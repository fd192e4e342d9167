"""Calls in the workers of a Ray cluster, each made again when its worker dies. Knows nothing of what they compute."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console

from weakspot.errors import SettingsError, StorageError, WeakspotError, amount, quoted
from weakspot.inspection.cluster import LOCAL, started
from weakspot.inspection.processor import usable_cores
from weakspot.jobs.observe import TrainingStopped
from weakspot.progress import Lines
from weakspot.provenance import training_code, versions
from weakspot.stopping import Stop, asked_to_stop

TRIES = 4  # of a call whose worker died
LOOK_EVERY = 0.3  # seconds between two looks at what the workers say
LAST_WORDS = 60.0  # seconds for what runs to write its checkpoint once it is asked to stop


@dataclass(frozen=True)
class Cluster:
    """Where calls are made."""

    address: str  # or LOCAL
    at_a_time: int | None  # calls; None: as many as the cluster has processors for
    threads: int  # of each call


def run_on_ray(
    call: Callable[..., None], calls: Mapping[str, Sequence[Any]], cluster: Cluster, note: Callable[[str], None]
) -> dict[str, str]:
    """Make each call, a function of a module with its arguments and a `Shows` behind them; a name and a reason for
    each that failed, which stops none of the others.

    note: is given each line that a call shows, its name before it. Ctrl-C is handed on to all that run; when they have
    ended, TrainingStopped is raised. Raises SettingsError where no machine has the processors that a call takes,
    StorageError where no cluster answers or it ends the work.
    """
    cores = max(1, usable_cores() // cluster.threads) if cluster.at_a_time is None else cluster.at_a_time
    ray = started(cluster.address, min(cores, len(calls)) * cluster.threads)
    try:
        _refuse_few_processors(ray, cluster)
        with asked_to_stop() as stop:
            return _Work(ray, call, cluster, note).done(calls, stop)
    except ray.exceptions.RayError as error:  # of no call: the cluster itself, or who collects what is said
        reason = quoted(str(error).strip().splitlines()[-1])
        raise StorageError(f"Ray ended the work ({reason}); nothing is lost: the same command goes on") from None
    finally:
        ray.shutdown()


class _Work:
    """The calls that run, and what they have said."""

    def __init__(self, ray: Any, call: Callable[..., None], cluster: Cluster, note: Callable[[str], None]) -> None:
        from ray.util.queue import Queue

        self.ray, self.note, self.at_a_time = ray, note, cluster.at_a_time
        self.said = Queue(actor_options={"num_cpus": 0})
        remote = ray.remote(num_cpus=cluster.threads, max_retries=TRIES - 1)(_made)
        self.begin = partial(remote.remote, self.said, call, _installed())
        self.running: dict[Any, str] = {}

    def done(self, calls: Mapping[str, Sequence[Any]], stop: Stop) -> dict[str, str]:
        """All calls made, in order; reasons of those that failed."""
        waiting, failures = list(calls), dict[str, str]()
        while (waiting or self.running) and not stop.is_set():
            while waiting and len(self.running) < (self.at_a_time or len(calls)):
                name = waiting.pop(0)
                self.running[self.begin(name, calls[name])] = name
            failures |= self._ended(LOOK_EVERY)
        if stop.is_set():
            self._stop()
            raise TrainingStopped("stopped; nothing is lost: the same command goes on")
        return failures

    def _ended(self, seconds: float) -> dict[str, str]:
        """Wait so long for a call to end, and hand on what was said; reasons of those that failed."""
        ended, _ = self.ray.wait(list(self.running), timeout=seconds)
        for line in self.said.get_nowait_batch(self.said.qsize()):
            self.note(line)
        reasons = {self.running.pop(one): self._reason(one) for one in ended}
        return {name: reason for name, reason in reasons.items() if reason}

    def _reason(self, ended: Any) -> str:
        """Why it failed; empty where it did not."""
        try:
            return str(self.ray.get(ended))
        except self.ray.exceptions.RayTaskError as error:
            return f"{type(error.cause).__name__}: {quoted(str(error.cause))}"
        except self.ray.exceptions.RayError as error:
            return f"its worker died {TRIES} times ({quoted(str(error).strip().splitlines()[0])})"

    def _stop(self) -> None:
        for one in self.running:
            self.ray.cancel(one)
        if self.running:
            self.ray.wait(list(self.running), num_returns=len(self.running), timeout=LAST_WORDS)


def _made(said: Any, call: Callable[..., None], installed: dict[str, str], name: str, arguments: Sequence[Any]) -> str:
    """In a worker: the call, and why it failed as the user may read it; empty where it did not."""
    here = _installed()
    if others := sorted(key for key in installed if here.get(key) != installed[key]):
        return f"its worker has another {others[0]} than this machine; install the same there"
    try:
        call(*arguments, Lines(Console(file=_Telling(said, name), highlight=False)))  # type: ignore[arg-type]
    except WeakspotError as error:
        return str(error)
    finally:
        _wait_until_told(said)
    return ""


def _wait_until_told(said: Any) -> None:
    """What was said has arrived then; where nobody collects it any more, the call has been made all the same."""
    from ray.exceptions import RayError

    with suppress(RayError):
        said.qsize()


class _Telling:
    """A file whose lines go to whoever asked for the call, its name before each."""

    def __init__(self, said: Any, name: str) -> None:
        self.said, self.name, self.rest = said, name, ""

    def write(self, text: str) -> int:
        """Hand on the lines that are whole; nobody waits for whether they arrive."""
        *lines, self.rest = (self.rest + text).split("\n")
        for line in filter(None, lines):
            self.said.actor.put_nowait.remote(f"{self.name}: {line}")
        return len(text)

    def flush(self) -> None:
        """Nothing waits but the last line's begin."""


def _installed() -> dict[str, str]:
    """What the bits of a run depend on."""
    return versions() | {"code of weakspot": training_code()}


def _refuse_few_processors(ray: Any, cluster: Cluster) -> None:
    """Raise SettingsError where a call would wait for ever."""
    most = int(max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0))
    if cluster.address != LOCAL and most < cluster.threads:
        found = f"{amount(cluster.threads, 'thread')} a run, and no machine of the cluster has more than"
        raise SettingsError(f"{found} {amount(most, 'processor')}; give fewer --threads")
