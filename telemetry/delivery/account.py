"""Delivery's account of itself: what waits, what was recovered, what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..stats import Delivered
from .refusals import Refusals

if TYPE_CHECKING:
    from ..stats import Counter
    from .drops import Drops
    from .send_queue import SendQueue
    from .store_lane import StoreLane


class Account:
    """Asked by any thread; nothing waits for the answer.

    Args:
        drops: counts of what was dropped.
        queue: the envelopes that wait for Sentry, or None.
        store: writes to the local trace store, or None.
        left_out: counts transactions that weren't chosen to be sent.

    Attributes:
        refusals: what Sentry doesn't take.
    """

    def __init__(
        self, drops: Drops, queue: SendQueue | None, store: StoreLane | None, left_out: Counter
    ) -> None:
        self.refusals = Refusals(drops)
        self._drops = drops
        self._queue = queue
        self._store = store
        self._left_out = left_out

    def delivered(self) -> Delivered:
        """Counts of what waits, and of what was recovered."""
        since = None if self._queue is None else self._queue.waiting_since
        recovered = 0 if self._store is None else self._store.recovered
        return Delivered(self._waiting(), since, recovered, self._left_out.read())

    def troubles(self) -> tuple[str, ...]:
        """What is wrong now, a sentence each."""
        store = [] if self._store is None else self._store.outage.told()
        return (*store, *self.refusals.told(self._waiting), *self._drops.told())

    def _waiting(self) -> int:
        """Envelopes that wait, those of processes that are gone among them."""
        queued = 0 if self._queue is None else self._queue.waiting
        return queued + (0 if self._store is None else self._store.left)
