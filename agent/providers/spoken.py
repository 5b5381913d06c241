"""Speech that need not be synthesised again: what one session after the other says, is kept.

Agents begin as they always do ("Thank you for calling…", "One moment, please."), and a caller waits
for just that. What is kept is said at once, by no thread. All sessions of a process share it.

**What is kept.** Clauses that two sessions have asked for, and those that are known to be said in
many calls (:meth:`Spoken.prepare`), the least used gone first. What is said
in one call only, a name and a number read back, however often, ends with its synthesis: nothing of
it stays but a hash, salted by the process. A caller who calls again is another session, and what
both calls are told may be kept. All of it is in memory only, and never logged.

What is being synthesised is waited for by all who ask for it meanwhile, unless it can wait longer
than they can. Sessions may be on event loops of their own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .inference import Threads

KEPT_BYTES: Final = 16 * 2**20
"""Six minutes of speech, some 250 clauses: many times what an agent says at every call, and little
beside the 100 MB of the model."""
ASKED: Final = 4096
"""Clauses asked for by one session so far that are remembered by their hash: those of some hundred
calls, half a megabyte."""
_IDLE_SECONDS: Final = 60.0
"""Time that a clause which is prepared can wait: what anybody waits for comes first."""


@dataclass(eq=False, slots=True)
class _Making:
    """A clause that is being synthesised."""

    due: float
    """The time by which it was asked for, on the monotonic clock."""
    call: Future[bytes]
    waiting: set[Future[bytes]] = field(default_factory=set)
    is_shared: bool = False
    """True if two sessions have asked for it, or many will."""


class Spoken:
    """The clauses kept: mono PCM16 by their text. Safe to use from any thread."""

    def __init__(
        self, threads: Threads, *, kept_bytes: int = KEPT_BYTES, asked: int = ASKED
    ) -> None:
        self._threads = threads
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._asked: OrderedDict[int, int] = OrderedDict()
        """The session that asked, by the hash of the clause; likewise the latest at the end."""
        self._limits = kept_bytes, asked
        self._bytes = 0
        self._making: dict[str, _Making] = {}
        self._guard = threading.RLock()  # a call that is cancelled is over within `cancel`

    @property
    def kept_bytes(self) -> int:
        """Size of all that is kept."""
        return self._bytes

    def prepare(self, clause: str, make: Callable[[], bytes]) -> None:
        """Have a clause made while the threads are idle, and keep it: many calls will ask for it.

        What a caller waits for comes first. Nothing is said of a call that fails: who asks for the
        clause then, finds out.
        """
        with self._guard:
            if clause in self._kept or clause in self._making:
                return
            call = self._threads.submit(make, spare=_IDLE_SECONDS)
            self._making[clause] = making = _Making(
                time.monotonic() + _IDLE_SECONDS, call, is_shared=True
            )
        call.add_done_callback(partial(self._made, clause, making))

    async def get(
        self, clause: str, make: Callable[[], bytes], *, session: int, spare: float = 0.0
    ) -> bytes:
        """The clause's speech: kept, or made by this call in an inference thread.

        Cancelled, it costs nobody else anything; the call isn't made if nobody else waits for it.
        Raises what the call raises, and ``RuntimeError`` if the threads are closed.

        Args:
            clause: its text.
            make: synthesises it.
            session: the number of the session that asks.
            spare: seconds in which nobody misses it.
        """
        place: Future[bytes] = Future()
        with self._guard:
            if (pcm := self._kept.get(clause)) is not None:
                self._kept.move_to_end(clause)
                return pcm
            making, due = self._making.get(clause), time.monotonic() + spare
            # what can wait may come too late; what runs already comes first
            is_new = making is None or (making.due > due and not _has_begun(making.call))
            if making is None or is_new:
                making = _Making(due, self._threads.submit(make, spare=spare))
                self._making[clause] = making
            making.waiting.add(place)
            making.is_shared |= self._was_asked(hash(clause), session)
        if is_new:
            making.call.add_done_callback(partial(self._made, clause, making))
        try:
            return await asyncio.wrap_future(place)
        finally:
            with self._guard:
                making.waiting.discard(place)
                if not making.waiting:
                    making.call.cancel()

    def _was_asked(self, clause: int, session: int) -> bool:
        """Tell if another session has asked for it before; remember that this one has."""
        if (before := self._asked.get(clause, session)) != session:
            return True
        self._asked[clause] = before
        self._asked.move_to_end(clause)
        if len(self._asked) > self._limits[1]:
            self._asked.popitem(last=False)
        return False

    def _made(self, clause: str, making: _Making, call: Future[bytes]) -> None:
        """Tell all who wait; called in the thread that made it, or by the last who gave up."""
        with self._guard:
            if self._making.get(clause) is making:
                del self._making[clause]
            places, making.waiting = making.waiting, set()
            failed = call.cancelled() or call.exception() is not None
            if making.is_shared and not failed:
                self._keep(clause, call.result())
        for place in places:
            if place.set_running_or_notify_cancel():
                if call.cancelled():  # by none of those who wait
                    place.set_exception(RuntimeError("the inference threads are closed"))
                elif (error := call.exception()) is not None:
                    place.set_exception(error)
                else:
                    place.set_result(call.result())

    def _keep(self, clause: str, pcm: bytes) -> None:
        limit, _ = self._limits
        if not 0 < len(pcm) <= limit:
            return
        self._bytes += len(pcm) - len(self._kept.pop(clause, b""))
        self._kept[clause] = pcm
        self._asked.pop(hash(clause), None)
        while self._bytes > limit:
            _, rarest = self._kept.popitem(last=False)
            self._bytes -= len(rarest)


def _has_begun(call: Future[bytes]) -> bool:
    return call.running() or call.done()
