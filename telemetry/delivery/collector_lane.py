"""The lane of a second destination: a collector that gets the spans, as Sentry gets them.

It is given the envelopes that are about to be queued for Sentry. So what people said has been left
out of them, by the one rule, and a conversation that isn't sent there isn't sent here. A thread of
its own sends them, unobserved: a collector that hangs keeps nobody waiting, and what it doesn't
take is dropped and counted by reason. Only memory holds what waits for it, never the store.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from .drops import OTLP_FAILED, OTLP_OVERFLOW, OTLP_SHUTDOWN, events_of
from .messages import Wake
from .unobserved import unobserved

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from sentry_sdk.envelope import Envelope

    from .drops import Drops
    from .lanes import Threads
    from .messages import Message

MOST_SPANS: Final = 10_000
"""Spans that wait or are on their way: about 20 MB; for one envelope alone there is always room."""
AT_ONCE: Final = 512
"""Spans after which no further envelope is given to the connection with them."""
_WITH_SPANS: Final = frozenset({"transaction", "span"})

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """The way to a collector, for one thread."""

    def send(self, envelopes: Sequence[Envelope]) -> int:
        """Send the spans of envelopes; the number of those that the collector hasn't taken."""

    def close(self) -> None:
        """Give up what is on its way, from any thread, and release connections. Idempotent."""


class Collector(Protocol):
    """A destination: :class:`telemetry.integrations.otlp.Collector`, or a test's."""

    def connect(self) -> Connection:
        """A connection for the thread that calls, and for the process that it is in."""


class CollectorLane:
    """Sends copies to a collector.

    Args:
        collector: where they go.
        messages: where delivery is told that some are gone.
        threads: the threads of delivery.
        drops: where spans that it doesn't get are counted.

    Attributes:
        number: that of the envelope that came last.
        done: that of the last one that is gone.
    """

    def __init__(
        self,
        collector: Collector,
        messages: queue.SimpleQueue[Message],
        threads: Threads,
        drops: Drops,
    ) -> None:
        self.number = 0
        self.done = 0
        self._collector = collector
        self._messages = messages
        self._threads = threads
        self._drops = drops
        self._waiting: queue.SimpleQueue[tuple[Envelope, int] | None] = queue.SimpleQueue()
        self._in_hand: deque[int] = deque(maxlen=1)
        """Spans that are on their way; whoever takes the number out of here has to count them."""
        self._given = 0
        self._gone = 0
        """Spans, each number written by one thread."""
        self._over = False
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    # -- called by delivery ------------------------------------------------------------------------

    def copy(self, envelope: Envelope, *, spans: int | None = None) -> None:
        """Send the spans in it, soon; so many, if it is known that there is nothing else in it."""
        if spans is None:
            spans = sum(events_of(item) for item in envelope.items if item.type in _WITH_SPANS)
        if not spans:
            return
        waiting = self._given - self._gone
        if self._over or (waiting and waiting + spans > MOST_SPANS):
            self._drops.add(OTLP_SHUTDOWN if self._over else OTLP_OVERFLOW, spans)
            return
        if self._thread is None:
            self._thread = self._threads.start("collector", self._work)
        self.number += 1
        self._given += spans
        self._waiting.put((envelope, spans))

    def close(self, deadline: float) -> None:
        """Send what waits, until the deadline (monotonic seconds)."""
        if self._thread is None:
            return
        self._waiting.put(None)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive() and self._connection is not None:
            self._connection.close()

    def drop_all(self) -> None:
        """Drop all that isn't gone, and take no more. Two threads may: each is counted once."""
        self._over = True
        with suppress(queue.Empty):
            while True:
                if (waiting := self._waiting.get_nowait()) is not None:
                    self._drops.add(OTLP_SHUTDOWN, waiting[1])
        with suppress(IndexError):
            self._drops.add(OTLP_SHUTDOWN, self._in_hand.popleft())

    # -- the thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        goes_on = True
        with unobserved():
            while goes_on and not self._over:
                envelopes, spans, goes_on = self._take()
                if envelopes:
                    self._in_hand.append(spans)
                    self._settle(len(envelopes), self._send(envelopes, spans))
            if self._connection is not None:
                self._connection.close()

    def _take(self) -> tuple[list[Envelope], int, bool]:
        """Wait for envelopes, and take those that go together; False with the last ones."""
        envelopes: list[Envelope] = []
        spans = 0
        waiting = self._waiting.get()
        with suppress(queue.Empty):
            while waiting is not None:
                envelopes.append(waiting[0])
                spans += waiting[1]
                if spans >= AT_ONCE:
                    return envelopes, spans, True
                waiting = self._waiting.get_nowait()
        return envelopes, spans, waiting is not None

    def _send(self, envelopes: list[Envelope], spans: int) -> int:
        """Send them; the number of spans that were lost."""
        try:
            if self._connection is None:
                self._connection = self._collector.connect()
            return self._connection.send(envelopes)
        except Exception:
            logger.warning("telemetry could not send to the collector", exc_info=True)
            return spans

    def _settle(self, envelopes: int, lost: int) -> None:
        with suppress(IndexError):  # time is up, and all of them have been counted
            self._gone += self._in_hand.popleft()
            self._drops.add(OTLP_FAILED, lost)
        self.done += envelopes
        self._messages.put(Wake())


def lane_to(
    collector: Collector | None,
    messages: queue.SimpleQueue[Message],
    threads: Threads,
    drops: Drops,
) -> CollectorLane | None:
    """A lane to a collector, if there is one."""
    return None if collector is None else CollectorLane(collector, messages, threads, drops)
