"""A count that any thread may raise without a lock."""

from __future__ import annotations

import itertools
import operator
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Counter:
    """Counts calls of :attr:`add`, exactly, from any number of threads.

    A ``repeat`` gives away one of many in one C call, so no increment is lost and nothing waits.
    How many are left it tells without giving any away. No lock: a fork can't copy one that is held.
    """

    __slots__ = ("_left", "add")

    def __init__(self) -> None:
        self._left = itertools.repeat(None, sys.maxsize)
        self.add: Callable[[], None] = self._left.__next__

    def read(self) -> int:
        """How often :attr:`add` was called."""
        return sys.maxsize - operator.length_hint(self._left)
