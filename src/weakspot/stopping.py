"""Who asks a long job to stop, and how it hears of that. Knows no job."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stop(threading.Event):
    """Set by the first signal that asks to stop; `by` is its number."""

    by: int | None = None


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM set what is given, a second one interrupts at once; only in the main thread.

    What whoever started this has it ignore (nohup, a script's &) stays ignored.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.by = number
        stop.set()

    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
