"""The thread of the store: the only one that writes to the file.

It waits for nobody, and nobody waits for it. :data:`PULSES_SECONDS` apart it takes what has ended
in every open transaction, and notes what is open; together with what delivery gave it meanwhile
that is one transaction of SQLite's. A write that fails is tried again, with all that has come since
(:mod:`.outage`).
"""

from __future__ import annotations

import queue
import time
from collections import deque
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from ..store import Lease, Observer, TraceStoreError, forgetting, lost, recordings, unsent
from .drops import EXPIRED, OVERFLOW, STORE
from .given import Given, Put
from .messages import Kept, LeftBehind, Loaded, Looked, NotKept, Wake, answer
from .outage import Outage
from .pulse import Done, Pulse
from .unobserved import unobserved

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection

    from ..store import InStore, Limits, TraceStore, Unsent
    from ..trace.registry import Registry
    from ..trace.transaction import Transaction
    from .drops import Drops
    from .given import Change
    from .lanes import Threads
    from .messages import Message
    from .recovered import Notes

PULSES_SECONDS: Final = 0.5
"""Between two looks at the open transactions: what is killed loses no span older than a second."""
RESTS_SECONDS: Final = 0.1
"""Between two looks where nobody waits: each goes through all that is open."""
FORGET_SECONDS: Final = 60.0
"""Between two looks for what is old."""
LOOK_ROUND_SECONDS: Final = 20.0
"""Between two looks for processes that are gone."""


class _Look(Enum):
    """A look that is wanted: because there is something new, somebody waits, or it all ends."""

    SOON = auto()
    NOW = auto()
    LAST = auto()


class StoreLane:
    """Writes to the store.

    Args:
        store: the local trace store.
        messages: where delivery is told what came of it.
        threads: the threads of delivery.
        drops: where what can't be written is counted.
        registry: the transactions of the process.
        notes: says how they are to be sent by whoever finds them.
        sends: whether a transaction is to be sent at all.
        can_send: whether this process can send anything.
        limits: of what waits for Sentry.
    """

    def __init__(
        self,
        store: TraceStore,
        messages: queue.SimpleQueue[Message],
        threads: Threads,
        drops: Drops,
        *,
        registry: Registry,
        notes: Notes,
        sends: Callable[[Transaction], bool],
        can_send: bool,
        limits: Limits,
    ) -> None:
        self.store = store
        self.in_store: InStore = unsent.InStore()
        """The envelopes of this process that wait there."""
        self.left = 0
        """Conversations of processes that are gone which are still to be sent."""
        self.recovered = 0
        """Conversations that were found open, and closed as aborted."""
        self.has_looked = False
        """Delivery knows what others left: it is told of that, and then that this was all."""
        self.outage = Outage(store.path)
        self._messages = messages
        self._threads = threads
        self._drops = drops
        self._can_send = can_send
        self._limits = limits
        self._pulse = Pulse(registry, notes, sends, store.audio_folder)
        self._lease = Lease()
        self._observer = Observer()
        self._looked_round_at = float("-inf")
        self._forget_at = 0.0
        self._is_feeding = False
        """A conversation that was left is with delivery."""
        self._given = Given()
        self._rows = 0
        """Spans and errors that aren't stored, of those that have been taken."""
        self._loads: deque[tuple[int, frozenset[str], frozenset[int]]] = deque()
        self._asked_for: deque[tuple[int, frozenset[str], frozenset[int]]] = deque()
        self._asked = 0
        self._done = 0
        self._tried = 0
        self._is_set_aside = False
        """The last attempt met a damaged file, which isn't there any more."""
        self._is_hopeless = False
        """Trying again is of no use: nothing waits for that."""
        self._wanted: queue.SimpleQueue[_Look] = queue.SimpleQueue()
        self._is_woken = False
        """One that is to come soon is among them."""
        self._looked_at = float("-inf")
        self._ended: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._over = False
        self._thread: threading.Thread | None = None

    # -- called by delivery ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._threads.start("store", self._work)

    def give(self, change: Change) -> None:
        """Have something written, soon."""
        keys: dict[str, int] = {}
        if isinstance(change, Put):
            keys = {one.key: one.events for one in change.unsent}
        is_taken = not self._over and self._given.add(change, besides=self._rows)
        if not is_taken:
            self._drops.add(STORE, change.rows)
        if keys and not (is_taken and change.unsent):  # type: ignore[union-attr]  # it is a Put
            self._messages.put(NotKept(keys, OVERFLOW))
        if self._given.is_filling or (isinstance(change, Put) and change.left is not None):
            self.wake()  # whatever else is given has time until the next pulse

    def wake(self) -> None:
        """Have a look at the open transactions soon; from any thread, without waiting."""
        if not self._is_woken:
            self._is_woken = True
            self._wanted.put(_Look.SOON)

    def load(self, most: int, besides: Collection[str], worths: Collection[int]) -> None:
        """Ask for envelopes, which come as :class:`.messages.Loaded`."""
        self._loads.append((most, frozenset(besides), frozenset(worths)))
        self._wanted.put(_Look.NOW)

    def ask(self) -> int:
        """Have all that has come by now written; :attr:`done` reaches this number then."""
        self._asked += 1
        self._wanted.put(_Look.NOW)
        return self._asked

    @property
    def done(self) -> int:
        """The last number of :meth:`ask` that is done."""
        return self._done

    @property
    def tried(self) -> int:
        """The last number for which an attempt was made, successful or not."""
        return self._tried

    @property
    def is_recovering(self) -> bool:
        """True until what others left has been looked for, and made into envelopes."""
        return self.left > 0 or not self.has_looked

    def end(self, deadline: float) -> bool:
        """Write what there is, until the deadline (monotonic seconds); the rest is dropped.

        False when something was.
        """
        if self._thread is None or not self._thread.is_alive():
            return not self.drop_all()
        self._wanted.put(_Look.LAST)
        if answer(self._ended, deadline - time.monotonic()):
            return True
        dropped = self.drop_all()
        with unobserved():
            self.outage.gave_up(dropped)
        return False

    def drop_all(self) -> int:
        """Drop all that isn't written, and take no more; returns the spans and errors in it."""
        if self._over:
            return 0
        self._over = True
        dropped = self._pulse.rows + self._given.rows
        self._drops.add(STORE, dropped)
        return dropped

    # -- the thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        ending = False
        while not self._over:
            ending = ending or not self._next()
            asked = self._asked
            if self._step(ending=ending, asked=asked > self._tried):
                if asked > self._done:
                    self._done = self._tried = asked
                    self._messages.put(Wake())
                if ending and not self._pulse.rows:
                    self._give_up_lease()
                    self._over = True
            elif asked > self._tried and not self._is_set_aside:
                self._tried = asked
                self._messages.put(Wake())
            if ending and not self._over:
                time.sleep(0.02)  # the store is in trouble; until whoever ends it gives up
        self.store.close()
        self._ended.put(True)

    def _next(self) -> bool:
        """Wait until a look is wanted, or for the next pulse; False if it is to be the last."""
        wanted: set[_Look] = set()
        left = PULSES_SECONDS
        with suppress(queue.Empty):
            while True:
                wanted.add(
                    self._wanted.get(timeout=left) if left > 0 else self._wanted.get_nowait()
                )
                at_once = wanted != {_Look.SOON}
                left = 0.0 if at_once else self._looked_at + RESTS_SECONDS - time.monotonic()
        self._is_woken = False  # before the look: what comes from now on it may not see
        self._looked_at = time.monotonic()
        return _Look.LAST not in wanted

    def _step(self, *, ending: bool, asked: bool) -> bool:
        """Take what there is, and write it; True unless the store is in trouble.

        ``asked``: somebody waits for an attempt, if not for its success.
        """
        while self._loads:  # first: what was given before one of these is written before its answer
            self._asked_for.append(self._loads.popleft())
        for change in self._given.take():
            self._pulse.take(change)
        self._pulse.look()
        self._rows = self._pulse.rows
        try:
            if not self.outage.may_try(at_once=ending or asked):
                self._shed()
                return self._is_hopeless
            self._look_round()
            while (plan := self._pulse.plan()) is not None:
                self._write(plan)
                if plan.is_all:
                    break
            if self._lease.is_due(busy=self._pulse.is_busy):
                self._write(Done(is_all=True))
            self._answer_loads()
            self._forget_old()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the store's alone
            with unobserved():
                self._failed(error)
            self._shed()
            return self._is_hopeless
        self._rows = self._pulse.rows
        self._is_hopeless = False
        if self.outage.since is not None:
            with unobserved():
                self.outage.over()
        return True

    def _write(self, done: Done) -> None:
        """One transaction, of all that has come or as much as others can wait for."""
        with self.store.writing() as cursor:
            process = self._lease.renew(cursor)
            self._pulse.write(cursor, process, done)
            forgotten = []
            if done.puts:
                forgotten = unsent.bound(
                    cursor,
                    process,
                    most_bytes=self._limits.unsent_bytes,
                    oldest_seconds=self._limits.unsent_seconds,
                )
            in_store = self.in_store
            if done.puts or done.forgotten:
                in_store = unsent.waiting(cursor, process)
            if done.sent_left:
                self._is_feeding = False
                self.left = lost.owed_by(cursor, process)
        self._pulse.written(done)
        if self.store.is_new:
            self._begin_anew()
        if done.puts or in_store != self.in_store:
            self.in_store = in_store
            self._messages.put(Kept(tuple(one.key for one in done.puts), in_store))
        for reason, is_old in ((EXPIRED, True), (OVERFLOW, False)):
            if gone := [one for one in forgotten if one.is_old is is_old]:
                self._messages.put(NotKept({one.key: one.events for one in gone}, reason))
        if done.sent_left:
            self._feed()

    def _answer_loads(self) -> None:
        while self._asked_for:
            most, besides, worths = self._asked_for[0]
            found: list[Unsent] = []
            key = self._lease.key
            if key is not None:
                with self.store.reading() as cursor:
                    if cursor is not None:
                        found = unsent.load(cursor, key, most=most, besides=besides, worths=worths)
            self._asked_for.popleft()  # not before: it is asked but once
            self._messages.put(Loaded(found))

    def _forget_old(self) -> None:
        """Now and then, a few of the conversations and recordings that are past the limits."""
        if self._lease.key is None or time.monotonic() < self._forget_at:
            return
        with self.store.writing() as cursor:
            more = forgetting.forget(cursor, self._limits)
            folder = self.store.audio_folder
            more = recordings.forget(cursor, folder, self._limits) or more
            problem = recordings.sweep(cursor, folder, orphans=True)
        with unobserved():
            self.outage.deletes(folder, problem)
        self._forget_at = time.monotonic() + (0.0 if more else FORGET_SECONDS)

    # -- what others left --------------------------------------------------------------------------

    def _look_round(self) -> None:
        """Now and then, take over what processes left that are gone."""
        if time.monotonic() - self._looked_round_at < LOOK_ROUND_SECONDS:
            return
        self._looked_round_at = time.monotonic()
        if not self.store.has_left(self._observer, self._lease.key, sends=self._can_send):
            self._messages.put(Looked())
            return
        with self.store.writing() as cursor:
            process = self._lease.renew(cursor)
            gone = self._observer.gone(cursor, process)  # again: another may have been quicker
            self.recovered += lost.take_over(cursor, gone, process if self._can_send else None)
            self.left = lost.owed_by(cursor, process)
            in_store = unsent.waiting(cursor, process)
        if in_store != self.in_store:
            self.in_store = in_store
            self._messages.put(Kept((), in_store))
        self._messages.put(Looked())
        self._feed()

    def _feed(self) -> None:
        """Give delivery the next conversation that was left, one at a time."""
        key = self._lease.key
        if self._is_feeding or not self.left or key is None:
            return
        with self.store.reading() as cursor:
            left = None if cursor is None else lost.next_left(cursor, key)
        if left is None:
            self.left = 0
            return
        self._is_feeding = True
        self._messages.put(LeftBehind(left))

    # -- in trouble --------------------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        """Note it; a file that is damaged is set aside, and the next write makes a new one."""
        aside = self.store.set_aside() if getattr(error, "is_corrupt", False) else None
        self.outage.failed(error, aside=aside, sends=self._can_send)
        self._is_set_aside = aside is not None
        if self._is_set_aside:
            self.wake()  # the next attempt makes a new one
        self._is_hopeless = bool(getattr(error, "is_lasting", False))

    def _begin_anew(self) -> None:
        """The file is another one: what is known of running conversations goes there."""
        with unobserved():
            self.outage.is_new()
        self._pulse.forget_what_is_stored()
        self._messages.put(NotKept(None, STORE))

    def _shed(self) -> None:
        """Drop what there is no room for, of what can't be written: copies of envelopes first."""
        keys, rows = self._pulse.shed(everything=self._is_hopeless)
        if keys:
            self._messages.put(NotKept(keys, OVERFLOW))
        if rows:
            self._drops.add(STORE, rows)
            self.outage.lost += rows

    def _give_up_lease(self) -> None:
        if self._lease.key is not None:
            try:
                with self.store.writing() as cursor:
                    self._lease.end(cursor)
            except TraceStoreError:
                pass  # the process ends: that is seen
