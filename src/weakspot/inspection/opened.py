"""What was opened once and is used again, such as a graph for a shape, by several threads and after a fork."""

import ctypes
import os
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakSet

K = TypeVar("K")
V = TypeVar("V")


class Opened(Generic[K, V]):
    """What `open_one` made of the last few keys; made anew after a fork, which no library's threads survive."""

    def __init__(self, open_one: Callable[[K], V], most: int = 1) -> None:
        self._open_one, self._most = open_one, most
        self._begin()
        _ALL.add(self)

    def get(self, key: K) -> V:
        """What was made of this key, made now where it was not. Raises what `open_one` raises."""
        with self._lock:
            if key not in self.made:
                if len(self.made) == self._most:
                    del self.made[next(iter(self.made))]
                self.made[key] = self._open_one(key)
            return self.made[key]

    def abandon(self) -> None:
        """Forget everything without closing it: in a child process, closing would wait for threads that are not there.

        Its memory is never freed, not even when the child ends.
        """
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.made))
        self._begin()

    def _begin(self) -> None:
        self._lock = Lock()
        self.made: dict[K, V] = {}


_ALL: WeakSet[Opened[Any, Any]] = WeakSet()


def _abandon_all() -> None:
    for opened in list(_ALL):
        opened.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
