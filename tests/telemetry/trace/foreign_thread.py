"""A thread that no integration can know of."""

from __future__ import annotations

import _thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def in_foreign_thread(function: Callable[[], None]) -> None:
    """A thread that Python's `threading` didn't start: no integration can know of it."""
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        function()
        done.release()

    _thread.start_new_thread(run, ())
    done.acquire()
