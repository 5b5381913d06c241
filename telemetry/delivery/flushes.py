"""Those who wait until what was handed over before has been delivered."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .collector_lane import CollectorLane
    from .messages import Flush
    from .send_queue import SendQueue
    from .store_lane import StoreLane


class Flushes:
    """The flushes that nobody has answered. Of one thread: delivery's.

    Args:
        queue: the envelopes that wait for Sentry, or None.
        store: writes to the local trace store, or None.
        collector: sends copies to a collector, or None.
    """

    def __init__(
        self, queue: SendQueue | None, store: StoreLane | None, collector: CollectorLane | None
    ) -> None:
        self._collector = collector
        self._queue = queue
        self._store = store
        self._waiting: list[Flush] = []
        self._copying: list[Flush] = []
        """Those that wait for the collector alone."""

    @property
    def any(self) -> bool:
        """True if somebody waits for Sentry or the store: a collector holds nothing up."""
        return bool(self._waiting)

    def begin(self, flush: Flush) -> None:
        """Note what a flush waits for: all that was handed over before it."""
        if self._queue is not None:
            flush.number = self._queue.number
        if self._store is not None:
            flush.writes = self._store.ask()
        if self._collector is not None:
            flush.copies = self._collector.number
        self._waiting.append(flush)

    def answer(self) -> None:
        """Tell those whose envelopes and writes are done; forget those that wait no longer."""
        if self._copying:
            self._answer_copying()
        if not self._waiting:
            return
        oldest = math.inf if self._queue is None else self._queue.oldest
        written = math.inf if self._store is None else self._store.done
        tried = math.inf if self._store is None else self._store.tried
        now = time.monotonic()
        waiting: list[Flush] = []
        for flush in self._waiting:
            if flush.number < oldest and flush.writes <= written:
                self._copying.append(flush)
            elif flush.number < oldest and flush.writes <= tried:
                flush.done.put(False)  # the store is in trouble: it may take long
            elif flush.deadline > now:
                waiting.append(flush)
        self._waiting = waiting
        self._answer_copying()

    def _answer_copying(self) -> None:
        copied = math.inf if self._collector is None else self._collector.done
        now = time.monotonic()
        for flush in self._copying:
            if flush.copies <= copied:
                flush.done.put(True)
        self._copying = [
            flush for flush in self._copying if flush.copies > copied and flush.deadline > now
        ]

    def give_up(self) -> None:
        """Tell all that it isn't."""
        for flush in (*self._waiting, *self._copying):
            flush.done.put(False)
