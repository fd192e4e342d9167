"""Commands in processes of their own, several at a time. Knows nothing of what they compute."""

import asyncio
import signal
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from subprocess import DEVNULL

from weakspot.jobs.observe import TrainingStopped

ASKS_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST_LINE = 2**24  # bytes


def run_side_by_side(
    commands: Mapping[str, Sequence[str]], at_a_time: int, on_line: Callable[[str, str], None]
) -> dict[str, str]:
    """Run each command, in order; a name and a reason for each that failed, which stops none of the others.

    on_line: called with a command's name and each line that it writes on stderr. Ctrl-C is handed on to all that run;
    when they have ended, TrainingStopped is raised.
    """
    return asyncio.run(_run_all(commands, at_a_time, on_line))


async def _run_all(
    commands: Mapping[str, Sequence[str]], at_a_time: int, on_line: Callable[[str, str], None]
) -> dict[str, str]:
    places, stopping = asyncio.Semaphore(at_a_time), asyncio.Event()
    running: set[Process] = set()
    failures: dict[str, str] = {}

    def stop() -> None:
        stopping.set()
        for process in running:
            _ask_to_stop(process)

    async def run(name: str, command: Sequence[str]) -> None:
        async with places:
            if stopping.is_set():
                return
            # a session of its own: the terminal's Ctrl-C would reach it beside ours, and two stop it at once
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, start_new_session=True, limit=LONGEST_LINE
            )
            running.add(process)
            if stopping.is_set():  # while it was started; the others have been asked
                _ask_to_stop(process)
            last = await _lines_of(process, lambda line: on_line(name, line))
            status = await process.wait()
            running.remove(process)
            if status:
                failures[name] = last if status > 0 else f"ended by {signal.Signals(-status).name}"

    _on_signals(stop)
    try:
        await asyncio.gather(*(run(name, command) for name, command in commands.items()))
    except BaseException:
        stop()
        raise
    if stopping.is_set():
        raise TrainingStopped("stopped; nothing is lost: the same command goes on")
    return failures


def _ask_to_stop(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()


async def _lines_of(process: Process, on_line: Callable[[str], None]) -> str:
    """Hand on each line that is not empty; the last one, in which a command that fails says why."""
    last = ""
    assert process.stderr is not None
    async for raw in process.stderr:
        line = raw.decode(errors="replace").rstrip()
        if line:
            last = line.removeprefix("weakspot: error: ")
            on_line(line)
    return last


def _on_signals(stop: Callable[[], None]) -> None:
    """Only the main thread hears signals; a second one reaches the commands as a second one.

    What whoever started this has it ignore (nohup, a script's &) stays ignored.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (each for each in ASKS_TO_STOP if signal.getsignal(each) is not signal.SIG_IGN):
            asyncio.get_running_loop().add_signal_handler(number, stop)
