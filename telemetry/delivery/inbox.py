"""Messages for the delivery thread: of calls, which it works on in order, and of its lanes."""

from __future__ import annotations

import math
import queue
from typing import TYPE_CHECKING

from .given import Forget
from .messages import Answered, Kept, Loaded, Looked, NotKept, Stop, Wake

if TYPE_CHECKING:
    from .dispatch import Dispatch
    from .lanes import SendLanes
    from .messages import Message
    from .outbox import Outbox
    from .refusals import Refusals
    from .send_queue import SendQueue
    from .store_lane import StoreLane


class Inbox:
    """Takes messages. What lanes say is worked on at once, what calls say waits in the outbox.

    Args:
        outbox: where messages come from, and those of calls wait.
        sending: the envelopes that wait for Sentry, or None.
        lanes: those of Sentry, or None.
        store: that of the store, or None.
        dispatch: reads envelopes that waited in the store.
        refusals: is told what came of each envelope.

    Attributes:
        is_stopping: whether the last message has come.
    """

    def __init__(
        self,
        outbox: Outbox,
        sending: SendQueue | None,
        lanes: SendLanes | None,
        *,
        store: StoreLane | None,
        dispatch: Dispatch,
        refusals: Refusals,
    ) -> None:
        self.is_stopping = False
        self._outbox = outbox
        self._queue = sending
        self._lanes = lanes
        self._store = store
        self._dispatch = dispatch
        self._refusals = refusals

    def take(self, wait: float) -> None:
        """Take all that have come; with none, wait so many seconds for one."""
        messages = self._outbox.messages
        try:
            if wait > 0:
                self._take(messages.get(timeout=None if wait == math.inf else wait))
            while True:
                self._take(messages.get_nowait())
        except queue.Empty:
            pass

    def tell_store(self) -> None:
        """Have the store forget what is gone, and ask it for what goes next."""
        if self._queue is None or self._store is None:
            return
        if self._queue.gone:
            self._store.give(Forget(tuple(self._queue.gone)))
            self._queue.gone.clear()
        wanted = self._queue.wants()
        if wanted is not None:
            self._store.load(*wanted)

    def _take(self, message: Message) -> None:
        match message:
            case Wake():
                pass
            case Looked():
                assert self._store is not None
                self._store.has_looked = True
            case Stop():
                self.is_stopping = True
                self._outbox.taken.append(message)
            case Answered() | Kept() | NotKept() | Loaded():
                if self._queue is not None:
                    self._take_of_lane(self._queue, message)
            case _:
                self._outbox.taken.append(message)

    def _take_of_lane(
        self, sending: SendQueue, message: Answered | Kept | NotKept | Loaded
    ) -> None:
        match message:
            case Answered(waiting, sent):
                assert self._lanes is not None
                self._lanes.answered()
                self._refusals.answered(waiting, sent)
                sending.answered(waiting, sent)
            case Kept(keys, in_store):
                sending.kept(keys, in_store)
            case NotKept(events, reason):
                sending.not_kept(events, reason)
            case Loaded(unsent):
                sending.loaded(self._dispatch.loaded(unsent))
