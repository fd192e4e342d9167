"""Which pictures were at work when a process ended without a word, and whether one of them brings a process down.

Nobody can tell afterwards whether a kill was the picture's fault. So a picture that was at work then is tried in a
process of its own, which may come down; one that brings it down is never tried again.
"""

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from weakspot.durable import output_errors
from weakspot.inspection.arrivals import Arrival

# Of a picture at which this process comes down each time, and the other one is not heard of, so that nobody can tell
# whose fault that is: so many that kills by chance never meet one picture so often.
TRIES = 10
LONGEST_TRY = 120.0  # seconds that a process of its own may take
_Key = tuple[str, int, int]  # name, size and time of change


class AtWork:
    """A file that names the pictures at work, and how often each was begun.

    It is written before a picture is read, and not synced: what the system holds outlasts the process, and a power cut
    is no picture's fault. What cannot be read of it counts for nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._well = path, path.with_name(f"{path.name}_well")
        with output_errors(path):
            self._file = open(path, "r+b" if path.exists() else "w+b", buffering=0)  # noqa: SIM115  # as long as it works
            well = self._well.read_bytes().splitlines() if self._well.exists() else []
        try:
            entries = json.loads(self._file.read().partition(b"\n")[0])
            self._begun: dict[_Key, int] = {
                (name, size, time): 1 if _line((name, size, time)) in well else int(tries)
                for name, size, time, tries in entries
            }
        except (ValueError, TypeError):
            self._begun = {}
        self._left = dict(self._begun)

    def tries(self, arrival: Arrival) -> int:
        """How often it was begun by processes that ended without a word."""
        return self._left.get(_key(arrival), 0)

    def begin(self, arrival: Arrival) -> None:
        """It is about to be read."""
        self._begun[_key(arrival)] = self.tries(arrival) + 1
        self._write()

    def end(self, arrival: Arrival) -> None:
        """What came of it is known."""
        self._begun.pop(_key(arrival), None)
        self._left.pop(_key(arrival), None)
        self._write()

    def ends_well_apart(self, arrival: Arrival, work: Callable[[], object]) -> bool:
        """Whether the work on it does so, in a process of its own.

        Where this process is killed meanwhile, that one still tells how it ended, and tries are counted anew.
        """

        def told() -> None:
            work()
            with open(self._well, "ab", buffering=0) as file:
                file.write(_line(_key(arrival)) + b"\n")

        well = ends_well_apart(told)
        with output_errors(self._well):
            self._well.unlink(missing_ok=True)  # from here on it is at work in this process
        return well

    def close(self, well: bool) -> None:
        """well: whether nothing that is still at work may have had to do with the end."""
        if well:
            self._begun.clear()
            self._write()
        self._file.close()

    def _write(self) -> None:
        """In place, in one call; what an earlier, longer line leaves behind this one's end is passed over."""
        line = json.dumps([[*key, tries] for key, tries in self._begun.items()]).encode("ascii") + b"\n"
        with output_errors(self._path):
            os.pwrite(self._file.fileno(), line, 0)


def ends_well_apart(work: Callable[[], object], seconds: float = LONGEST_TRY) -> bool:
    """Do the work in a fork of this process, and say whether that ended by itself, in time and without an error."""
    child, end = os.fork(), monotonic() + seconds
    if not child:
        try:
            _close_files()
            with suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text("1000")  # where memory runs out, this is what ends
            work()
            os._exit(0)
        finally:
            os._exit(1)
    while monotonic() < end:
        if (ended := os.waitpid(child, os.WNOHANG))[0]:
            return ended[1] == 0
        sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _close_files() -> None:
    """All but the standard ones: locks among them, which must be free once the process that took them is killed."""
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # the listing's own is closed already
            if number > 2:
                os.close(number)


def _line(key: _Key) -> bytes:
    return json.dumps(key).encode("ascii")


def _key(arrival: Arrival) -> _Key:
    return (arrival.name, *arrival.version)
