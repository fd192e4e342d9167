"""Pictures are read by several threads while earlier ones are judged, within a bound of memory. Judges none."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from weakspot.errors import ImageError
from weakspot.inspection.preparation import Prepared
from weakspot.inspection.processor import usable_cores

READERS = 4  # threads at most
ROOM = 256 << 20  # bytes of pixels that may wait
T = TypeVar("T")


def read_ahead(read: Callable[[T], Prepared], items: Iterable[T]) -> Iterator[tuple[T, Prepared | Exception]]:
    """Each item with what was read of it, or why nothing was, in the items' order.

    As many wait as there are cores, READERS at most, and no more than fit into ROOM where all are as large as the
    largest so far; one always may. An error that is none of a picture's ends it.
    """
    readers, largest, rest = min(READERS, usable_cores()), 0, iter(items)
    coming = deque[tuple[T, Future[Prepared]]]()
    with ThreadPoolExecutor(readers, "read") as pool:
        try:
            coming.extend((item, pool.submit(read, item)) for item in islice(rest, 1))
            while coming:
                item, future = coming.popleft()
                outcome = _outcome(future)
                largest = max(largest, outcome.decoded_bytes if isinstance(outcome, Prepared) else 0)
                more = max(1, min(readers, ROOM // max(1, largest))) - len(coming)
                coming.extend((item, pool.submit(read, item)) for item in islice(rest, max(0, more)))
                yield item, outcome
        finally:
            for _, future in coming:
                future.cancel()


def _outcome(future: Future[Prepared]) -> Prepared | Exception:
    try:
        return future.result()
    except (ImageError, MemoryError) as error:
        return error
