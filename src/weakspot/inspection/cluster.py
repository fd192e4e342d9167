"""Very many pictures in pieces, in this process or on a Ray cluster. No death of a process loses or doubles any."""

import json
import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from weakspot.durable import make_folder, refuse_below, temporary_folder
from weakspot.errors import SettingsError, StorageError, WeakspotError, amount, quoted, shown
from weakspot.inspection import pieces, storage
from weakspot.inspection.cutting import cut
from weakspot.inspection.inspection import now
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.pieces import Done, Piece, Plan, Tally
from weakspot.inspection.piecework import do_piece
from weakspot.inspection.processor import usable_cores
from weakspot.runs import alone

OnPiece = Callable[[int, int, Done], None]  # how many are done, of how many, and the newest
LOCAL = "local"  # a cluster of this machine, started for the inspection and ended with it
LISTENS = 5  # seconds in which a cluster must take a connection
TRIES = 4  # of a piece whose worker died; then the inspection ends, and names no picture bad or good


@dataclass(frozen=True, kw_only=True)
class How:
    """How very many pictures are inspected."""

    ray: str | None = None  # LOCAL, or a cluster's address; None: in this process
    workers: int | None = None  # of Ray; None: as many as its processors allow
    images_a_piece: int = 1000
    runtime: str = "auto"
    precision: str = "auto"
    memory: str = "fast"
    threads: int | None = None  # of each worker
    fail_on_bad: bool = False


def inspect_many(model: Path, inputs: Sequence[str], output: str, how: How, on_piece: OnPiece | None = None) -> Tally:
    """Judge all that the inputs name; Parquet, a file a piece, and a manifest go to `output`, on a disk or in storage.

    What was begun there with the same model and inputs is gone on with: its list of pictures, runtime and precision
    hold. Raises DataError where there are none, OutputError where something else lies there, StorageError where
    storage fails; the same call goes on then.
    """
    start = perf_counter()
    inputs, output = [storage.absolute(given) for given in inputs], storage.absolute(output)
    for given in inputs:
        if not storage.is_remote(output) and not storage.is_remote(given):
            refuse_below(Path(output), Path(given))
    stored = pieces.stored_plan(output)
    runtime, precision = (stored.runtime, stored.precision) if stored else (how.runtime, how.precision)
    detector = _load(model, runtime, precision, how)
    plan = stored or _new_plan(detector, inputs, how.images_a_piece)
    with _alone(output):
        if stored:
            pieces.refuse_other(output, plan, detector.info, inputs)
        else:
            plan = pieces.begin(output, plan)
        pieces.keep_model(output, model.read_bytes())
        done = pieces.done_pieces(output, plan)
        missing = [piece for piece in plan.pieces if piece.number not in done]
        before = len(done)
        by_ray = how.ray and missing
        for each in _by_ray(output, plan, missing, how) if by_ray else _here(detector, output, plan, missing):
            done[each.piece] = each
            if on_piece:
                on_piece(len(done), len(plan.pieces), each)
        decisions = pieces.finish(output, plan, done)
    tally = Tally(output, decisions, len(plan.pieces), len(done) - before, perf_counter() - start, how.fail_on_bad)
    for piece in plan.pieces:
        tally.warnings.update(done[piece.number].warnings)
        tally.refusals += done[piece.number].refusals
    return tally


def _alone(output: str) -> AbstractContextManager[None]:
    """On a disk one process at a time; what storage holds is kept apart by its plan."""
    if storage.is_remote(output):
        return nullcontext()
    make_folder(Path(output))
    return alone(Path(output), "inspects into it")


def _new_plan(detector: LoadedDetector, inputs: Sequence[str], images_a_piece: int) -> Plan:
    """All pictures in pieces; which runtime is the fastest here then holds for every worker."""
    return Plan(
        model=detector.info, inputs=list(inputs), runtime=detector.runtime.name,
        precision=detector.runtime.precision, time=now(), pieces=cut(inputs, images_a_piece),
    )  # fmt: skip


def _load(model: Path, runtime: str, precision: str, how: How) -> LoadedDetector:
    return LoadedDetector.load(model, runtime, how.threads, precision, how.memory)  # type: ignore[arg-type]


def _here(detector: LoadedDetector, output: str, plan: Plan, missing: list[Piece]) -> Iterator[Done]:
    return (do_piece(detector, output, plan, piece) for piece in missing)


class _Worker:
    """An actor: holds the model, which it has from the output's place, and judges pieces."""

    def __init__(self, output: str, plan: Plan, how: How) -> None:
        with temporary_folder() as folder:
            (folder / "model").write_bytes(storage.read(storage.joined(output, pieces.MODEL)))
            self._detector = _load(folder / "model", plan.runtime, plan.precision, how)
        pieces.refuse_other(output, plan, self._detector.info, plan.inputs)
        self._output, self._plan = output, plan

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """A piece as JSON → what came of it as JSON, or why it could not be judged now."""
        try:
            done = do_piece(self._detector, self._output, self._plan, Piece(**json.loads(row["piece"])))
        except WeakspotError as error:
            return {"error": str(error), "done": ""}
        return {"error": "", "done": json.dumps(asdict(done))}


def _by_ray(output: str, plan: Plan, missing: list[Piece], how: How) -> Iterator[Done]:
    """Ray restarts workers that die and gives their pieces to others; it writes nothing itself."""
    ray, threads = _started(how), how.threads or 1  # more workers of one thread do more than fewer of several
    try:
        _refuse_more_threads(ray.nodes(), threads)
        workers = min(how.workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads), len(missing))
        specs = [{"piece": json.dumps(asdict(piece))} for piece in missing]
        work = ray.data.from_items(specs, override_num_blocks=len(specs))  # a block is what is tried again
        with warnings.catch_warnings(action="ignore"):  # of how the number of tries is given
            results = work.map(
                _Worker, fn_constructor_args=(output, replace(plan, pieces=[]), replace(how, threads=threads)),
                compute=ray.data.ActorPoolStrategy(size=workers), num_cpus=threads, max_task_retries=TRIES,
            )  # fmt: skip
        for row in results.iter_rows():
            if row["error"]:
                raise StorageError(row["error"])
            yield Done(**json.loads(row["done"]))
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise StorageError(f"Ray ended the work ({quoted(reason)}); {storage.GO_ON}") from None
    finally:
        ray.shutdown()


def _refuse_more_threads(machines: list[dict[str, Any]], threads: int) -> None:
    """Raise SettingsError where no machine has so many processors: Ray would wait for one for ever."""
    most = max((int(each["Resources"].get("CPU", 0)) for each in machines if each["Alive"]), default=0)
    if threads > most:
        found = f"no machine of the cluster lends a worker more than {amount(most, 'processor')}"
        raise SettingsError(f"--threads {threads}: {found}; give {max(1, most)} or fewer, or another cluster")


def started(address: str, processors: int) -> Any:
    """Ray, connected, without its dashboard and its reports of use. processors: of a cluster that LOCAL starts.

    Raises StorageError where none answers.
    """
    _refuse_silent(address)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    local: dict[str, Any] = {"include_dashboard": False, "num_cpus": processors, "_node_ip_address": "127.0.0.1"}
    more = local if address == LOCAL else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **more)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StorageError(f"--ray {shown(address)}: no cluster answers ({quoted(reason)})") from None
    return ray


def _refuse_silent(address: str) -> None:
    """Raise StorageError where nothing listens at HOST:PORT: Ray would write its own log about it for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LISTENS).close()
    except (OSError, OverflowError) as error:
        raise StorageError(f"--ray {shown(address)}: no cluster answers ({quoted(error)})") from None


def _started(how: How) -> Any:
    """Ray, connected, without the progress of its data either."""
    assert how.ray is not None
    ray = started(how.ray, _processors(how))
    import ray.data  # noqa: F811

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _processors(how: How) -> int:
    return (how.workers or usable_cores()) * (how.threads or 1)
