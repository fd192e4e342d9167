"""A log that no flood fills: of each kind a few lines a minute, the others counted, and no word that a client sent."""

import logging
from dataclasses import dataclass
from time import monotonic
from traceback import format_tb

EACH = 10  # lines of one kind in a minute, one by one; then the 100th, the 1,000th, …
MINUTE = 60.0


@dataclass
class _Seen:
    """One kind: since when it is counted anew, how many came since, and how many were not told since the last line."""

    since: float
    count: int = 0
    untold: int = 0


class Seldom(logging.Filter):
    """Lets a few records of a kind through: of `record.kind` where that was given, else of one text."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is told; then with how many were not told before it."""
        kind, now = str(getattr(record, "kind", record.msg)), monotonic()
        seen = self._seen.setdefault(kind, _Seen(now))
        if now - seen.since >= MINUTE:
            seen.since, seen.count = now, 0
        seen.count += 1
        if seen.count > EACH and str(seen.count).rstrip("0") != "1":
            seen.untold += 1
            return False
        if isinstance(record.exc_info, tuple):
            record.msg, record.exc_info = f"{record.msg}\n{_frames(record.exc_info[1])}", None
        if seen.untold:
            record.msg, seen.untold = f"{record.msg} ({seen.untold:,} more of this kind since the last one)", 0
        return True


SELDOM = Seldom()


def _frames(error: BaseException | None) -> str:
    """Where an error was raised, and its causes; without their messages, which may hold what a client sent."""
    told = []
    while error is not None:
        told.append("".join(format_tb(error.__traceback__)).replace("%", "%%") + type(error).__name__)
        error = error.__cause__ or error.__context__
    return "\nfrom\n".join(told)
