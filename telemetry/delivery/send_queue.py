"""The envelopes that wait for Sentry: in order of worth, paced, tried again, bounded, counted.

Where there is a store, most of them wait there: what the store has is forgotten here but for what
goes next, and asked for again when it is its turn. So the next in order may be one that isn't here.

A state machine without threads or sockets. The delivery thread takes envelopes from it, has them
sent and tells it what came of each; only :meth:`SendQueue.drop_all` is for any thread: for one that
can't wait any longer.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..encoding.envelope import bytes_in
from ..store import InStore
from .asking import Asking
from .drops import OVERFLOW, RATE_LIMITED, SHUTDOWN, events_in, events_of
from .sender import Delivered, Dropped, Retry
from .waiting import Waiting, Worth

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sentry_sdk.envelope import Envelope

    from ..store import Unsent
    from .drops import Drops
    from .kinds import Kinds
    from .sender import Sent

BYTES = 100_000_000
"""Of envelopes waiting to be sent: about 150,000 spans."""
EVENTS = 200_000
"""Spans and events in them."""
LIMIT = 5_000
"""Envelopes waiting to be sent: each step looks through all of them."""
IN_HAND = 16
"""Envelopes that stay in memory though the store has them."""
BACKOFF_SECONDS = (0.5, 30.0)
"""Before the first and at most before a later attempt, when the server doesn't say."""


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
        self.gone: list[str] = []
        """Keys of those that the store may forget."""
        self._attempts = 0
        """Since Sentry last answered, of what only the store has."""
        self._is_closing = False
        self._drops = drops
        self._kinds = kinds
        self._at_once = at_once
        self._waiting: dict[Worth, deque[Waiting]] = {worth: deque() for worth in Worth}
        self._under_way: dict[int, Waiting] = {}
        self._events = 0
        self._bytes = 0
        self._not_before = 0.0
        self._over = False
        self._in_store = InStore()
        self._left: dict[str, tuple[int, int]] = {}
        """Those that only the store has, of what came here: number and events, by key."""
        self._asking = Asking()
        self._gone_since: set[str] = set()
        """Keys of those that went since."""
        self._failing = False
        """The last answer was none, or a server's error: one request at a time finds out more."""

    # -- what waits --------------------------------------------------------------------------------

    def add(
        self,
        envelope: Envelope,
        *,
        key: str | None = None,
        packed: Envelope | None = None,
        events: int | None = None,
    ) -> Waiting | None:
        """Have an envelope sent, or drop what is worth less for it, or itself.

        ``key``: of its copy in the store, if it gets one. ``packed``: the same in bytes, kept
        instead. ``events``: spans in it, or 1, if known. None once it is too late for any.
        """
        if self._over:
            return None  # whatever it was made of has been counted
        events = events_in(envelope) if events is None else events
        waiting = Waiting(packed or envelope, self._next(), events, self._worth(envelope), key=key)
        waiting.size = bytes_in(packed) if packed else 0
        while self._is_full(waiting):
            if not self._make_room(waiting):
                self._drop_or_leave(waiting)
                return waiting
        self._count_in(waiting)
        self._put(waiting)
        return waiting

    @property
    def is_empty(self) -> bool:
        """True if nothing waits, here or in the store, or is on its way."""
        return not self._count and not self._only_in_store

    @property
    def waiting(self) -> int:
        """Envelopes that wait or are on their way."""
        return self._count + self._only_in_store

    @property
    def is_sending(self) -> bool:
        """True while an envelope is on its way."""
        return bool(self._under_way)

    @property
    def is_crowded(self) -> bool:
        """True if more than half of the room is taken."""
        waiting = self._count - len(self._under_way)
        return waiting > LIMIT // 2 or self._events > EVENTS // 2 or self._bytes > BYTES // 2

    @property
    def waiting_since(self) -> float | None:
        """The time at which the oldest of them was recorded (Unix seconds)."""
        here = [one.since for one in [*self._all(), *self._under_way.values()]]
        if self._only_in_store and self._in_store.since is not None:
            here.append(self._in_store.since)
        return min(here, default=None)

    @property
    def oldest(self) -> float:
        """The lowest number that isn't gone; infinite when all are."""
        here = [*self._under_way, *(waiting.number for waiting in self._all())]
        return min([*here, *(number for number, _ in list(self._left.values()))], default=math.inf)

    # -- sending -----------------------------------------------------------------------------------

    def due(self) -> float:
        """Seconds until an envelope may be sent, 0 for now; infinite when none may."""
        if len(self._under_way) >= (1 if self._failing else self._at_once):
            return math.inf
        earliest = min((waiting.not_before for waiting in self._all()), default=math.inf)
        earliest = min(earliest, self._ask_at())
        return max(0.0, max(self._not_before, earliest) - time.monotonic())

    @property
    def rests_for(self) -> float:
        """Seconds in which nothing can go, and no answer comes; infinite for ever."""
        return 0.0 if self._under_way or self._asking.is_under_way else self.due()

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
        again, ending = False, self._is_closing
        match sent:
            case Retry(_, why) if waiting.is_kept and (why == RATE_LIMITED or not ending):
                self._leave_for_later(waiting, sent)
                return
            case Delivered(left_out):
                if left_out:
                    self._drops.add(RATE_LIMITED, sum(map(events_of, left_out)))
            case Dropped(reason):
                self._drops.add(reason, waiting.events)
            case Retry(_, why) if why == RATE_LIMITED and ending and waiting.key is None:
                self._drops.add(SHUTDOWN, waiting.events)  # the limit outlasts the process
            case Retry(after=float() as seconds, reason=reason) if reason == RATE_LIMITED:
                # Others may not be limited: it goes to the back.
                waiting.not_before = time.monotonic() + seconds
                self._put(waiting)
                again = True
            case Retry(after, _):
                first, longest = BACKOFF_SECONDS
                if after is None or ending:
                    after = min(first * 2**waiting.attempts, longest)
                waiting.attempts += 1
                self._fail(after)
                self._put(waiting, first=True)
                again = True
        if not again:
            self._attempts = 0
            self._count_out(waiting)
            if waiting.key is not None:
                self.gone.append(waiting.key)
                self._gone_since.add(waiting.key)

    def begin_closing(self) -> None:
        """Forget the pauses that a server asked for: there is no time for them."""
        self._is_closing = True
        self._not_before = 0.0
        self._asking.release()
        for waiting in self._all():
            waiting.not_before = 0.0
            waiting.attempts = 0

    def drop_all(self) -> None:
        """Drop all that isn't gone, and take no more; what the store has isn't lost. Two threads
        may: each is counted once."""
        self._over = True
        for queue in self._waiting.values():
            while queue:
                with suppress(IndexError):
                    self._drop_unkept(queue.popleft())
        while self._under_way:
            with suppress(KeyError):
                self._drop_unkept(self._under_way.popitem()[1])

    def _drop_unkept(self, waiting: Waiting) -> None:
        if not waiting.is_kept:
            self._drops.add(SHUTDOWN, waiting.events)

    # -- what the store has ------------------------------------------------------------------------

    def kept(self, keys: Collection[str], in_store: InStore) -> None:
        """The store has these, and so many in all."""
        self._in_store = in_store
        self._asking.has()
        wanted = {*keys}
        for waiting in [*self._all(), *self._under_way.values()]:
            if waiting.key in wanted:
                waiting.is_kept = True
        self._thin_out()

    def not_kept(self, events: Mapping[str, int] | None, reason: str) -> None:
        """The store doesn't have these, or any more, or anything at all (None).

        What is here waits here; what was only there is gone, and counted under this reason.
        """
        for waiting in [*self._all(), *self._under_way.values()]:
            if events is None or waiting.key in events:
                waiting.is_kept = False
        if events is None:
            events = {key: count for key, (_, count) in self._left.items()}
            self._in_store = InStore()
        elsewhere = events.keys() - {*self._keys_here, *self.gone, *self._gone_since}
        for key in elsewhere:
            self._left.pop(key, None)
            self._drops.add(reason, events[key])

    def wants(self) -> tuple[int, set[str], list[Worth]] | None:
        """The next to ask the store for: a number, besides these keys, of these worths; None for
        nothing."""
        if self._ask_at() > (now := time.monotonic()):
            return None
        self._gone_since.clear()
        most = 1 if self._failing else IN_HAND
        return most, {*self._keys_here, *self.gone}, self._asking.begin(now)

    def _ask_at(self) -> float:
        """The time at which the store may be asked for more (monotonic seconds)."""
        if self._asking.is_under_way or self._over or not self._only_in_store:
            return math.inf
        if len(self._keys_here) > (0 if self._failing else IN_HAND // 2):
            return math.inf
        return max(self._not_before, self._asking.at())

    @property
    def _keys_here(self) -> list[str]:
        here = [*self._all(), *self._under_way.values()]
        return [one.key for one in here if one.key is not None]

    def loaded(self, envelopes: Sequence[tuple[Unsent, Envelope]]) -> None:
        """Take what the store was asked for."""
        if not self._asking.answered(found=bool(envelopes)):  # it has but what is here, too
            told = self._in_store
            self._in_store = InStore(told.count - self._only_in_store, told.since)
        known = {*self._keys_here, *self._gone_since}  # what came, or went, since it was asked
        for unsent, envelope in envelopes:
            if unsent.key in known:
                continue
            number, _ = self._left.pop(unsent.key, (0, 0))
            waiting = Waiting(envelope, number or self._next(), unsent.events, Worth(unsent.worth))
            waiting.key, waiting.is_kept, waiting.since = unsent.key, True, unsent.recorded_at
            waiting.size = len(unsent.envelope)
            self._count_in(waiting)
            self._put(waiting)

    def _next(self) -> int:
        self.number += 1
        return self.number

    @property
    def _only_in_store(self) -> int:
        """Envelopes that the store has and that aren't here, as far as is known."""
        here = sum(one.is_kept for one in [*self._all(), *self._under_way.values()])
        return max(0, self._in_store.count - here - len(self.gone))

    def _thin_out(self) -> None:
        """Forget what the store has, but for what goes next; all of it while nothing goes."""
        room = 1 if self._failing else IN_HAND
        for waiting in self._all()[room:]:
            if waiting.is_kept and self._remove(waiting):
                self._leave(waiting)

    def _leave(self, waiting: Waiting) -> None:
        assert waiting.key is not None
        self._count_out(waiting)
        self._left[waiting.key] = waiting.number, waiting.events
        self._asking.has(waiting.worth)

    def _leave_for_later(self, waiting: Waiting, again: Retry) -> None:
        """Forget an envelope that the store has and that can't be sent now."""
        self._leave(waiting)
        if again.reason == RATE_LIMITED and again.after is not None:
            self._failing = False
            self._asking.hold(waiting.worth, time.monotonic() + again.after)
        else:
            first, longest = BACKOFF_SECONDS
            after = min(first * 2**self._attempts, longest) if again.after is None else again.after
            self._attempts += 1
            self._fail(after)
        self._thin_out()

    def _fail(self, after: float) -> None:
        self._failing = True
        self._not_before = time.monotonic() + after

    def _drop_or_leave(self, waiting: Waiting) -> None:
        """There is no room for it: it is left to the store, if that is to have it, or dropped."""
        if waiting.key is None:
            self._drops.add(OVERFLOW, waiting.events)
        else:
            self._left[waiting.key] = waiting.number, waiting.events

    # -- room --------------------------------------------------------------------------------------

    def _worth(self, envelope: Envelope) -> Worth:
        """The worth of an envelope; asked once for each, as the first of a kind is the first."""
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
        over = self._events + newcomer.events > EVENTS or self._bytes + newcomer.size > BYTES
        return bool(self._count) and (over or self._count >= LIMIT)

    def _count_in(self, waiting: Waiting) -> None:
        self._events += waiting.events
        self._bytes += waiting.size

    def _count_out(self, waiting: Waiting) -> None:
        self._events -= waiting.events
        self._bytes -= waiting.size

    def _make_room(self, newcomer: Waiting) -> bool:
        """Drop the oldest of those that are worth least, if that is less than the newcomer."""
        for worth in reversed(Worth):
            if worth <= newcomer.worth:
                return False
            for waiting in list(self._waiting[worth]):
                if self._remove(waiting):
                    self._count_out(waiting)
                    self._drop_or_leave(waiting)
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
