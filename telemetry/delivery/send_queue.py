"""The envelopes that wait for Sentry: in order of worth, paced, tried again, bounded, counted.

A state machine without threads or sockets. The delivery thread takes envelopes from it, has them
sent and tells it what came of each; only :meth:`SendQueue.drop_all` is for any thread: for one that
can't wait any longer.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from .drops import OVERFLOW, RATE_LIMITED, SHUTDOWN, events_in, events_of
from .sender import Delivered, Dropped, Retry

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

    from .drops import Drops
    from .kinds import Kinds
    from .sender import Sent

LIMIT = 500
"""Envelopes waiting to be sent."""
EVENTS = 50_000
"""Spans and events in them: about 100 MB."""
BACKOFF_SECONDS = (0.5, 30.0)
"""Before the first and at most before a later attempt, when the server doesn't say."""


class Worth(IntEnum):
    """The order in which envelopes are sent, and in which they stay where there isn't room."""

    CONVERSATION = 0
    ERROR = 1
    """The first error of its kind."""
    OTHER = 2
    """Logs, check-ins and all else."""
    REPEAT = 3
    """An error like one before."""


@dataclass(slots=True, eq=False)
class Waiting:
    """An envelope that waits, or is on its way."""

    envelope: Envelope
    number: int
    """Its place in the order in which they came."""
    events: int
    """Spans in it, or 1."""
    worth: Worth
    attempts: int = 0
    not_before: float = 0.0
    """A rate limit holds it back until then (monotonic seconds)."""


class SendQueue:
    """The envelopes that wait for a server, and those on their way to it.

    Args:
        drops: where what there is no room for is counted.
        kinds: tells the first error of a kind from its repeats.
        at_once: requests that may be under way together.
    """

    def __init__(self, drops: Drops, kinds: Kinds, *, at_once: int = 1) -> None:
        self.number = 0
        """Of the envelope that came last."""
        self._is_closing = False
        self._drops = drops
        self._kinds = kinds
        self._at_once = at_once
        self._waiting: dict[Worth, deque[Waiting]] = {worth: deque() for worth in Worth}
        self._under_way: dict[int, Waiting] = {}
        self._events = 0
        self._not_before = 0.0
        self._over = False
        self._failing = False
        """The last answer was none, or a server's error: one request at a time finds out more."""

    # -- what waits --------------------------------------------------------------------------------

    def add(self, envelope: Envelope) -> None:
        """Have an envelope sent, or drop what is worth less for it, or itself."""
        if self._over:
            return  # whatever it was made of has been counted
        self.number += 1
        waiting = Waiting(envelope, self.number, events_in(envelope), self._worth(envelope))
        while self._is_full(waiting):
            if not self._make_room(waiting):
                self._drops.add(OVERFLOW, waiting.events)
                return
        self._events += waiting.events
        self._put(waiting)

    @property
    def is_empty(self) -> bool:
        """True if nothing waits or is on its way."""
        return not self._count

    @property
    def is_sending(self) -> bool:
        """True while an envelope is on its way."""
        return bool(self._under_way)

    @property
    def is_crowded(self) -> bool:
        """True if more than half of the room is taken."""
        waiting = self._count - len(self._under_way)
        return waiting > LIMIT // 2 or self._events > EVENTS // 2

    @property
    def oldest(self) -> float:
        """The lowest number that isn't gone; infinite when all are."""
        under_way = list(self._under_way)
        return min([*under_way, *(waiting.number for waiting in self._all())], default=math.inf)

    # -- sending -----------------------------------------------------------------------------------

    def due(self) -> float:
        """Seconds until an envelope may be sent, 0 for now; infinite when none may."""
        if len(self._under_way) >= (1 if self._failing else self._at_once):
            return math.inf
        earliest = min((waiting.not_before for waiting in self._all()), default=math.inf)
        return max(0.0, max(self._not_before, earliest) - time.monotonic())

    def take(self) -> Waiting | None:
        """Take the one that goes next: of the greatest worth that no rate limit holds back."""
        now = time.monotonic()
        for waiting in self._all():
            if waiting.not_before <= now and self._remove(waiting):
                self._under_way[waiting.number] = waiting
                return waiting
        return None

    def answered(self, waiting: Waiting, sent: Sent) -> None:
        """Take in what came of an envelope: it is gone, dropped, or waits again."""
        if self._under_way.pop(waiting.number, None) is None:
            return  # it was dropped meanwhile
        self._failing = False
        again = False
        match sent:
            case Delivered(left_out):
                if left_out:
                    self._drops.add(RATE_LIMITED, sum(map(events_of, left_out)))
            case Dropped(reason):
                self._drops.add(reason, waiting.events)
            case Retry(reason=reason) if reason == RATE_LIMITED and self._is_closing:
                self._drops.add(SHUTDOWN, waiting.events)  # the limit outlasts the process
            case Retry(after=float() as seconds, reason=reason) if reason == RATE_LIMITED:
                # Others may not be limited: it goes to the back.
                waiting.not_before = time.monotonic() + seconds
                self._put(waiting)
                again = True
            case Retry(after, _):
                first, longest = BACKOFF_SECONDS
                if after is None or self._is_closing:
                    after = min(first * 2**waiting.attempts, longest)
                waiting.attempts += 1
                self._failing = True
                self._not_before = time.monotonic() + after
                self._put(waiting, first=True)
                again = True
        if not again:
            self._events -= waiting.events

    def begin_closing(self) -> None:
        """Forget the pauses that a server asked for: there is no time for them."""
        self._is_closing = True
        self._not_before = 0.0
        for waiting in self._all():
            waiting.not_before = 0.0
            waiting.attempts = 0

    def drop_all(self) -> None:
        """Drop all that isn't gone, and take no more. Two threads may: each is counted once."""
        self._over = True
        for waiting in self._waiting.values():
            while waiting:
                with suppress(IndexError):
                    self._drops.add(SHUTDOWN, waiting.popleft().events)
        while self._under_way:
            with suppress(KeyError):
                self._drops.add(SHUTDOWN, self._under_way.popitem()[1].events)

    # -- room --------------------------------------------------------------------------------------

    def _worth(self, envelope: Envelope) -> Worth:
        types = {item.type for item in envelope}
        if types & {"transaction", "span"}:
            return Worth.CONVERSATION
        if "event" in types:
            return Worth.ERROR if self._kinds.is_first(envelope) else Worth.REPEAT
        return Worth.OTHER

    @property
    def _count(self) -> int:
        """Envelopes that wait or are on their way."""
        return sum(map(len, self._waiting.values())) + len(self._under_way)

    def _all(self) -> list[Waiting]:
        """All that wait, the first to go first."""
        return [waiting for worth in Worth for waiting in list(self._waiting[worth])]

    def _is_full(self, newcomer: Waiting) -> bool:
        """True if there is no room; for one alone there always is."""
        return bool(self._count) and (
            self._count >= LIMIT or self._events + newcomer.events > EVENTS
        )

    def _make_room(self, newcomer: Waiting) -> bool:
        """Drop the oldest of those that are worth least, if that is less than the newcomer."""
        for worth in reversed(Worth):
            if worth <= newcomer.worth:
                return False
            for waiting in list(self._waiting[worth]):
                if self._remove(waiting):
                    self._events -= waiting.events
                    self._drops.add(OVERFLOW, waiting.events)
                    return True
        return False

    def _put(self, waiting: Waiting, *, first: bool = False) -> None:
        queue = self._waiting[waiting.worth]
        (queue.appendleft if first else queue.append)(waiting)

    def _remove(self, waiting: Waiting) -> bool:
        """Take one out; False when another thread has dropped it."""
        try:
            self._waiting[waiting.worth].remove(waiting)
        except ValueError:
            return False
        return True
