"""Envelopes on their way to Sentry: one at a time, paced, tried again, bounded, counted.

Of one thread, but for :meth:`SendQueue.drop_all`, which a thread that can't wait any longer calls
while this one sits in a request that has no answer.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .drops import INTERNAL, OVERFLOW, RATE_LIMITED, SHUTDOWN, events_in, events_of
from .sender import Delivered, Dropped, Retry, Sent
from .unobserved import unobserved

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

    from .drops import Drops

logger = logging.getLogger(__name__)

LIMIT = 500
"""Envelopes waiting to be sent."""
EVENTS = 50_000
"""Spans and events in them: about 100 MB."""
BACKOFF_SECONDS = (0.5, 30.0)
"""Before the first and at most before a later attempt, when the server doesn't say."""


class Outlet(Protocol):
    """The end of an envelope's way: :class:`.sender.Sender`, or a test's memory."""

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Sent:
        """Send once and say what came of it."""

    def close(self) -> None:
        """Release connections."""


@dataclass(slots=True, eq=False)
class _Waiting:
    envelope: Envelope
    number: int
    """Its place in the order in which they came."""
    events: int
    """Spans in it, or 1."""
    first: bool
    """A conversation or an error: goes before the rest when there isn't room for all."""
    attempts: int = 0
    not_before: float = 0.0
    """A rate limit holds it back until then (monotonic seconds)."""


class SendQueue:
    """The envelopes that wait for an outlet; without one they go nowhere."""

    def __init__(self, outlet: Outlet | None, drops: Drops) -> None:
        self.outlet = outlet
        self.number = 0
        """Of the envelope that came last."""
        self._drops = drops
        self._waiting: deque[_Waiting] = deque()
        self._sending: deque[_Waiting] = deque(maxlen=1)
        self._events = 0
        self._not_before = 0.0

    def add(self, envelope: Envelope) -> None:
        """Have an envelope sent."""
        if self.outlet is None:
            return
        self.number += 1
        waiting = _Waiting(
            envelope,
            self.number,
            events=events_in(envelope),
            first=any(item.type in ("transaction", "span", "event") for item in envelope),
        )
        while self._is_full(waiting):
            if not self._make_room(waiting):
                self._drops.add(OVERFLOW, waiting.events)
                return
        self._waiting.append(waiting)
        self._events += waiting.events

    @property
    def is_empty(self) -> bool:
        """True if nothing waits."""
        return not self._waiting

    @property
    def is_crowded(self) -> bool:
        """True if more than half of the room is taken."""
        return len(self._waiting) > LIMIT // 2 or self._events > EVENTS // 2

    def due(self) -> float:
        """Seconds until an envelope may be sent, at most 0 for now; infinite without any."""
        earliest = min((waiting.not_before for waiting in list(self._waiting)), default=math.inf)
        return max(self._not_before, earliest) - time.monotonic()

    def oldest(self) -> float:
        """The lowest number that waits; infinite when none does."""
        return min((waiting.number for waiting in list(self._waiting)), default=math.inf)

    def send_one(self) -> None:
        """Send the first envelope that no rate limit holds back, else the first."""
        now = time.monotonic()
        waiting = list(self._waiting)  # another thread may drop them meanwhile
        if waiting:
            self._send(next((one for one in waiting if one.not_before <= now), waiting[0]))

    def send_all(self, deadline: float) -> None:
        """Try each once while there is time; pauses that a server asked for are ignored."""
        for waiting in list(self._waiting):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._send(waiting, timeout=left)

    def drop_all(self) -> None:
        """Drop all that waits. Two threads may: each thing is counted once."""
        for envelopes in (self._sending, self._waiting):
            while envelopes:
                with suppress(IndexError):
                    self._drops.add(SHUTDOWN, envelopes.popleft().events)

    def close(self) -> None:
        """Release connections."""
        if self.outlet is not None:
            self.outlet.close()

    def _is_full(self, newcomer: _Waiting) -> bool:
        """True if there is no room; for one alone there always is."""
        return bool(self._waiting) and (
            len(self._waiting) >= LIMIT or self._events + newcomer.events > EVENTS
        )

    def _make_room(self, newcomer: _Waiting) -> bool:
        if not newcomer.first:
            return False
        for waiting in list(self._waiting):
            if not waiting.first and self._take(waiting):
                self._drops.add(OVERFLOW, waiting.events)
                return True
        return False

    def _take(self, waiting: _Waiting) -> bool:
        """Take one out; False when another thread has dropped it."""
        try:
            self._waiting.remove(waiting)
        except ValueError:
            return False
        self._events -= waiting.events
        return True

    def _send(self, waiting: _Waiting, timeout: float | None = None) -> None:
        assert self.outlet is not None
        if not self._take(waiting):
            return
        self._sending.append(waiting)
        try:
            sent = self.outlet.send(waiting.envelope, timeout=timeout)
        except Exception:
            sent = Dropped(INTERNAL)
            with unobserved():
                logger.warning("telemetry could not send", exc_info=True)
        try:
            self._sending.pop()
        except IndexError:
            return  # it was dropped meanwhile
        match sent:
            case Delivered(left_out):
                if left_out:
                    self._drops.add(RATE_LIMITED, sum(map(events_of, left_out)))
            case Dropped(reason):
                self._drops.add(reason, waiting.events)
            case Retry(after=float() as seconds, reason=reason) if reason == RATE_LIMITED:
                # Others may not be limited: it goes to the back.
                waiting.not_before = time.monotonic() + seconds
                self._waiting.append(waiting)
                self._events += waiting.events
            case Retry(after, _):
                first, longest = BACKOFF_SECONDS
                delay = min(first * 2**waiting.attempts, longest) if after is None else after
                waiting.attempts += 1
                self._not_before = time.monotonic() + delay
                self._waiting.appendleft(waiting)
                self._events += waiting.events
