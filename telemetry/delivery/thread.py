"""The one thread that makes rows and envelopes of what calls hand over.

Everything slow happens behind a call's back. A call only puts things into the
:class:`~.outbox.Outbox`; this thread encodes them. Its lanes (:mod:`.lanes`) wait for what is
outside: several requests to Sentry at a time, and the store. Neither waits for the other. The
envelopes that wait for Sentry are in a :class:`~.send_queue.SendQueue`. All of these are bounded,
and what overflows is counted by reason.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.scope import use_isolation_scope

from ..errors import TelemetryError
from ..store import Limits
from . import outbox
from .account import Account
from .collector_lane import Collector, lane_to
from .content import NOTHING_ELSE, Policy, Rule
from .dispatch import Dispatch
from .drops import IN_THE_END, SHUTDOWN, Drops
from .flushes import Flushes
from .inbox import Inbox
from .kinds import Kinds
from .lanes import SendLanes, Threads
from .messages import Answered, Flush, Kept, Loaded, Looked, NotKept, Stop, Wake
from .outbox import Outbox
from .processor import Processor, collect
from .recovered import Notes
from .send_queue import SendQueue
from .side_car import SideCar
from .store_lane import StoreLane
from .tail import Tail
from .unobserved import unobserved

if TYPE_CHECKING:
    from sentry_sdk.client import BaseClient
    from sentry_sdk.spotlight import SpotlightClient

    from ..store import TraceStore
    from ..summary import Keep
    from .lanes import Outlet
    from .messages import Message, Recorded

logger = logging.getLogger(__name__)

STORING_SECONDS = 1.0
"""At most of the time to end, for what can't be sent and has to be stored."""
ABANDONED_SECONDS = 0.1
"""For the store to end in, where the delivery thread doesn't."""
STRAGGLERS_SECONDS = 0.02
"""For what the SDK's own threads, which can't be asked, are just handing over at the end."""


class Delivery:
    """Owns the thread and its lanes.

    Args:
        store: the local trace store, or None.
        sender: where envelopes go, or None for nowhere.
        send_content: whether what people said goes to Sentry.
        policy: what else may be sent, where it doesn't.
        streaming: whether Sentry gets spans (the stream lifecycle) instead of transactions.
        at_once: requests to Sentry that may be under way together.
        limits: of what waits for Sentry in the store.
        collector: gets the spans that Sentry gets, besides, or None.
        keep: chooses transactions to be sent when they end; None if Sentry decides when they begin.

    Attributes:
        outbox: where calls put what is to be delivered.
        account: says what waits, and what is wrong.
    """

    def __init__(
        self,
        *,
        store: TraceStore | None,
        sender: Outlet | None,
        send_content: bool = False,
        policy: Policy = NOTHING_ELSE,
        streaming: bool = False,
        at_once: int = 1,
        limits: Limits | None = None,
        collector: Collector | None = None,
        keep: Keep | None = None,
    ) -> None:
        self.streaming = streaming
        self._trace_store = store
        self._outlet = sender
        self._rule = Rule(send_content, policy)
        self.policy = policy
        self._limits = limits or Limits()
        self._keep = keep
        self._at_once = at_once
        self._collector = collector
        self._client: BaseClient | None = None
        self._spotlight: SpotlightClient | None = None
        self._begin()

    def _begin(self) -> None:
        self._drops = Drops()
        self._threads = Threads()
        store, holds = self._trace_store, self._keep is not None
        audio = None if store is None else store.audio_folder
        self.outbox = Outbox(self._drops, streaming=self.streaming, audio_folder=audio, holds=holds)
        self.outbox.client = self._client
        messages = self.outbox.messages
        self._store: StoreLane | None = None
        if store is not None:
            delivers = self._outlet is not None
            self._store = StoreLane(
                store,
                messages,
                self._threads,
                self._drops,
                registry=self.outbox.registry,
                notes=Notes(self._rule, streaming=self.streaming, held=holds),
                sends=lambda transaction: delivers and (holds or transaction.is_sampled),
                can_send=delivers,
                limits=self._limits,
            )
            self.outbox.wake_store = self._store.wake
        self._lanes: SendLanes | None = None
        self._queue: SendQueue | None = None
        if self._outlet is not None:
            self._queue = SendQueue(self._drops, Kinds(), at_once=self._at_once)
            self._lanes = SendLanes(self._outlet, messages, self._threads, at_once=self._at_once)
        self._dispatch = Dispatch(
            store=self._store,
            queue=self._queue,
            drops=self._drops,
            registry=self.outbox.registry,
            rule=self._rule,
            collector=lane_to(self._collector, messages, self._threads, self._drops),
        )
        self._processor = Processor(
            store=self._store,
            dispatch=self._dispatch,
            drops=self._drops,
            registry=self.outbox.registry,
            streaming=self.streaming,
            tail=self._keep and Tail(self._keep, self.outbox.registry, self._drops),
        )
        if self._spotlight is not None:
            self._dispatch.side_car = SideCar(self._spotlight, self._threads)
        self._in_hand: deque[int] = deque(maxlen=1)
        """Spans and events of the message that is being worked on."""
        self._flushes = Flushes(self._queue, self._store, self._dispatch.collector)
        self.account = Account(self._drops, self._queue, self._store, self._processor.left_out)
        self._inbox = Inbox(
            self.outbox,
            self._queue,
            self._lanes,
            store=self._store,
            dispatch=self._dispatch,
            refusals=self.account.refusals,
        )
        self._abandoned = False
        self._thread: threading.Thread | None = None

    # -- called from anywhere ----------------------------------------------------------------------

    def use(self, client: BaseClient) -> None:
        """Take Sentry's client, before :meth:`start`: errors and transactions go through it."""
        self._client = self.outbox.client = client
        if client.spotlight is not None:
            # it would send copies in the call, as things are before what people said is left out
            self._spotlight, client.spotlight = client.spotlight, None
            self._dispatch.side_car = SideCar(self._spotlight, self._threads)

    def start(self) -> None:
        """Start the thread, and that of the store."""
        if self._store is not None:
            self._store.start()
        self._thread = self._threads.start("delivery", self._run)

    def begin_anew(self) -> None:
        """In a forked child, before :meth:`start`: what was waiting, and dropped, is the parent's.

        Nothing of the parent's is used: its threads may have held whatever they were busy with.
        """
        self._begin()

    def before_fork(self) -> None:
        """In a process that is about to fork: its connection to the store must not be copied."""
        if self._trace_store is not None:
            with suppress(TelemetryError):
                self._trace_store.pause()

    def after_fork(self) -> None:
        """In both processes: the store may be written to again."""
        if self._trace_store is not None:
            self._trace_store.resume()

    @property
    def is_own_thread(self) -> bool:
        """True if the caller is a thread of delivery's: what it does is never captured."""
        return self._threads.is_current

    def flush(self, timeout: float) -> bool:
        """Wait until what has been handed over by now is stored and sent, whatever comes later."""
        if self._thread is None or not self._thread.is_alive() or self.is_own_thread:
            return self._queue is None or self._queue.is_empty
        return self.outbox.flush(timeout)

    def stop(self, timeout: float) -> bool:
        """Deliver what can be within ``timeout`` seconds, then end the thread.

        False when something was dropped; it is counted under one of :data:`.drops.IN_THE_END`.
        """
        before = self.dropped()
        if self._thread is not None and self._thread.is_alive():
            if self.outbox.stop(timeout):
                self._thread.join(timeout)
            else:
                # It sits in something that has no end. It is a daemon; nothing waits for it.
                self._abandoned = True
                if self._store is not None:
                    self._store.end(time.monotonic() + ABANDONED_SECONDS)
        self.outbox.shut, self.outbox.takes_envelopes = True, False
        self._drop_all()
        dropped = self.dropped()
        return all(dropped.get(why, 0) == before.get(why, 0) for why in IN_THE_END)

    def send(self, envelope: Envelope) -> None:
        """The SDK has an envelope to send."""
        if threading.current_thread() is self._thread:
            self._dispatch.send(envelope)
        else:
            self.outbox.envelope(envelope)

    def drop(self, reason: str, count: int) -> None:
        """Count what somebody else dropped."""
        self._drops.add(reason, count)

    def dropped(self) -> dict[str, int]:
        """The number of spans and events that were dropped, by reason."""
        return self._drops.read()

    def recover(self, timeout: float) -> bool:
        """Wait until what others left in the store has been taken over, and made into envelopes."""
        deadline = time.monotonic() + timeout
        if self._store is not None:
            self._store.wake()  # its first look is not before a pulse otherwise
        while self._store is not None and self._store.is_recovering:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        scope = sentry_sdk.Scope()
        scope.set_client(self._client)
        with use_isolation_scope(scope):
            while not self._abandoned:
                try:
                    if self._step():
                        return
                except Exception:
                    with unobserved():
                        logger.warning("telemetry failed to deliver", exc_info=True)
        self._drop_all()  # what it was busy with when it was abandoned

    def _step(self) -> bool:
        """Take what has come, send what is due, work on one message; True when it was the last."""
        self._inbox.take(0.0 if self._may_work() else self._due())
        self._send_what_is_due()
        self._inbox.tell_store()
        if self._may_work():
            match self.outbox.taken.popleft():
                case Stop() as stop:
                    self._finish(stop)
                    return True
                case Flush() as flush:
                    collect()
                    self._flushes.begin(flush)
                case message:
                    self._handle(message)  # type: ignore[arg-type]  # lanes' aren't among them
        self._flushes.answer()
        return False

    def _due(self) -> float:
        """Seconds until an envelope may be sent, or a request takes too long; infinite if never."""
        if self._queue is None or self._lanes is None:
            return math.inf
        return min(self._queue.due(), self._lanes.due())

    def _may_work(self) -> bool:
        """True if there is a message to work on, and room for what it becomes.

        A burst waits in the outbox, rather than overflow what is to be sent; and steady traffic
        doesn't keep back what somebody is waiting for.
        """
        if not self.outbox.taken:
            return False
        if self._queue is None or self._inbox.is_stopping:
            return True
        held = self._queue.is_crowded or self._flushes.any
        return not held or self._is_pausing() or len(self.outbox.taken) >= outbox.LIMIT // 10

    def _is_pausing(self) -> bool:
        """True while the server wants nothing: then there is time for other work."""
        assert self._queue is not None
        return not self._queue.is_sending and self._queue.due() > 0

    def _handle(self, message: Recorded) -> None:
        self._in_hand.append(self._processor.weigh(message))
        self._processor.handle(message)
        with suppress(IndexError):  # it was dropped meanwhile
            self._in_hand.popleft()

    def _send_what_is_due(self, deadline: float | None = None) -> None:
        """Give the lanes what they may send now; by the deadline (monotonic seconds), if any."""
        if self._queue is None or self._lanes is None:
            return
        self._lanes.give_up_overdue()
        while self._queue.due() <= 0 and (waiting := self._queue.take()) is not None:
            left = None if deadline is None else max(0.1, deadline - time.monotonic())
            self._lanes.send(waiting, left)

    # -- ending ------------------------------------------------------------------------------------

    def _finish(self, stop: Stop) -> None:
        """Deliver what there is time for, without the pauses that a server asked for."""
        collect()
        if self._queue is not None:
            self._queue.begin_closing()
            if self.streaming or sentry_sdk.get_client().options.get("enable_logs"):
                self._inbox.take(min(STRAGGLERS_SECONDS, stop.deadline - time.monotonic()))
                self._take_last_envelopes()
            until = stop.deadline - self._for_the_store(stop)
            while not self._queue.is_empty and (left := until - time.monotonic()) > 0:
                if self._queue.rests_for > left:
                    break  # a rate limit outlasts the process
                self._send_what_is_due(until)
                self._inbox.tell_store()
                self._inbox.take(min(left, self._due()))
                self._take_last_envelopes()
            self.outbox.takes_envelopes = False
        if self._store is not None:
            self._inbox.tell_store()
            self._store.end(stop.deadline)
            self._inbox.take(0.0)  # what it has isn't lost
        self._dispatch.close(stop.deadline)
        self._drop_all()
        if self._lanes is not None:
            self._lanes.close()
        self._flushes.give_up()
        stop.done.put(True)

    def _for_the_store(self, stop: Stop) -> float:
        """Seconds of the time there is that are the store's: what isn't sent must be in it."""
        if self._store is None:
            return 0.0
        return min(STORING_SECONDS, (stop.deadline - time.monotonic()) / 5)

    def _take_last_envelopes(self) -> None:
        """Take those that the SDK's own threads make of what was logged before the end."""
        for message in list(self.outbox.taken):
            if isinstance(message, Envelope):
                self.outbox.taken.remove(message)
                self._dispatch.send(message)

    def _drop_all(self) -> None:
        """Drop all that is waiting. Two threads may: each thing is counted once."""
        if self._queue is not None:
            self._queue.drop_all()
        if self._store is not None:
            self._store.drop_all()
        self._dispatch.drop_all()
        with suppress(IndexError):
            self._drops.add(SHUTDOWN, self._in_hand.popleft())
        while self.outbox.taken:
            with suppress(IndexError):
                self._drop(self.outbox.taken.popleft())
        while not self.outbox.messages.empty():
            with suppress(queue.Empty):
                self._drop(self.outbox.messages.get_nowait())

    def _drop(self, message: Message) -> None:
        match message:
            case Flush() | Stop():
                message.done.put(False)
            case Answered() | Wake() | Kept() | NotKept() | Loaded() | Looked():
                pass
            case _:
                self._processor.drop(message, SHUTDOWN)
