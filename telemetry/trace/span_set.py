"""The spans of one transaction: those that are open, and those that delivery hasn't taken yet.

Any thread may finish a span while the delivery thread takes the finished ones, and the store's
thread takes them for itself; no lock is needed.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from typing import TYPE_CHECKING

from ..frozen import freeze

if TYPE_CHECKING:
    from .span import Span

HAND_OVER = 1_000
"""A running transaction hands its finished spans to delivery in batches of this many."""
STREAM_EVERY_SECONDS = 5.0
"""After so long the stream lifecycle doesn't wait for a batch to fill, as Sentry doesn't."""


class SpanSet:
    """The open and the finished spans of a transaction."""

    def __init__(self, *, streaming: bool, stores: bool = False) -> None:
        self._open: dict[str, Span] = {}
        self._finished: deque[Span] = deque()
        self._unstored: deque[Span] | None = deque() if stores else None
        self._sealed = False
        self._count = itertools.count(1)
        self._handed_over_at = time.time()
        self._hand_over_after = STREAM_EVERY_SECONDS if streaming else math.inf

    def add(self, span: Span) -> None:
        """A span started."""
        self._open[span.id] = span

    def end(self, span: Span, ended_at: float | None) -> bool:
        """End a span (Unix seconds, now by default) and keep it for delivery, unless it is late.

        True when it is time to hand spans over; False also for a span that has ended before.
        """
        if self._open.pop(span.id, None) is None:
            return False
        now = time.time() if ended_at is None else ended_at
        span.ended_at = now if now > span.started_at else span.started_at
        freeze(span.attributes)
        if span.late:
            return True
        if self._unstored is not None:
            self._unstored.append(span)
        self._finished.append(span)
        if self._sealed:
            return True
        if next(self._count) % HAND_OVER and now - self._handed_over_at <= self._hand_over_after:
            return False
        self._handed_over_at = now
        return True

    def end_root(self, root: Span, ended_at: float | None) -> None:
        """End the root (Unix seconds, now by default), which goes with the transaction."""
        self._open.pop(root.id, None)
        freeze(root.attributes)
        root.ended_at = max(time.time() if ended_at is None else ended_at, root.started_at)

    def take(self) -> list[Span]:
        """Take the spans finished since the last call; safe from several threads at once."""
        return _all_of(self._finished)

    def take_unstored(self) -> list[Span]:
        """The same for the store, which has a look of its own; the root isn't among them."""
        return [] if self._unstored is None else _all_of(self._unstored)

    def seal(self) -> list[Span]:
        """Take the last spans; those that finish from now on are delivered as late ones.

        The flag is set before the queue is emptied, and :meth:`end` appends before it looks at
        the flag: whichever comes first, each span is taken exactly once.
        """
        self._sealed = True
        return self.take()

    @property
    def is_sealed(self) -> bool:
        """True once delivery has taken the last spans."""
        return self._sealed

    @property
    def unstored(self) -> int:
        """The number of spans that have finished and wait for the store."""
        return 0 if self._unstored is None else len(self._unstored)

    @property
    def finished(self) -> int:
        """The number of spans that have finished and wait for delivery."""
        return len(self._finished)

    def open(self) -> list[Span]:
        """The spans that are open, in the order in which they started."""
        return list(self._open.values())

    def all(self) -> list[Span]:
        """The spans that delivery hasn't taken: open and finished."""
        return [*self.open(), *self._finished]

    def clear(self) -> None:
        """Forget all spans, as the parent process delivers them."""
        self._sealed = True
        self._open.clear()
        self._finished.clear()
        if self._unstored is not None:
            self._unstored.clear()


def _all_of(spans: deque[Span]) -> list[Span]:
    taken: list[Span] = []
    while True:
        try:
            taken.append(spans.popleft())
        except IndexError:
            return taken
