"""A count that any thread may raise without a lock."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Counter:
    """Counts calls of :attr:`add`, exactly, from any number of threads.

    ``itertools.count`` advances in one C call, so no increment is lost and nothing waits. Reading
    advances it too; readings are counted, under a lock that only readers take.
    """

    __slots__ = ("_lock", "_readings", "add")

    def __init__(self) -> None:
        self.add: Callable[[], int] = itertools.count().__next__
        self._readings = 0
        self._lock = threading.Lock()

    def read(self) -> int:
        """How often :attr:`add` was called."""
        with self._lock:
            value = self.add() - self._readings
            self._readings += 1
            return value
