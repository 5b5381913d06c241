"""The threads that local models run on: the most urgent call is served first.

Recognition and the first words of a reply are waited for by a caller; the words after them are
not, while the first ones are being heard. In the order they come, one long sentence delays
everybody by its half second. Each call runs in its caller's context, so in its caller's
conversation: the threads belong to nobody.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


@dataclass(order=True, slots=True)
class _Call:
    due: float
    """The time its result is needed, on the monotonic clock."""
    number: int
    """Its number: of those due at the same time, the first that came is served first."""
    function: Callable[[], Any] = field(compare=False)
    result: Future[Any] = field(compare=False)

    def make(self) -> None:
        if not self.result.set_running_or_notify_cancel():
            return
        try:
            self.result.set_result(self.function())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for it
            self.result.set_exception(error)


class Threads:
    """A pool of threads, started when they are needed. Its queue is bounded by the sessions, each
    of which recognises and says one thing at a time.

    A call can't be stopped, so one thread of several is kept free of calls that can wait: whoever
    is needed at once waits for nobody's later words.
    """

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="inference")
        self._waiting: list[_Call] = []
        """A heap."""
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._early = 0
        """Calls that run before they are needed."""
        self._early_at_most = max(1, count - 1)

    async def run(self, function: Callable[[], _T], *, spare: float = 0.0) -> _T:
        """Call this in a thread; ``spare`` is how many seconds nobody misses its result.

        Cancelled, it isn't called any more; if it is running, nobody waits for it. Raises
        ``RuntimeError`` after :meth:`close`.
        """
        return await asyncio.wrap_future(self.submit(function, spare=spare))

    def submit(self, function: Callable[[], _T], *, spare: float = 0.0) -> Future[_T]:
        """Likewise, for whoever waits in another way."""
        result: Future[_T] = Future()
        call = _Call(
            time.monotonic() + spare,
            next(self._numbers),
            partial(copy_context().run, function),
            result,
        )
        with self._changed:
            heapq.heappush(self._waiting, call)
            self._changed.notify()
        # what serves may serve another than this one, and lives on: it takes nothing of this
        # caller's along, which Sentry gives to whatever is submitted and to the thread it starts
        Context().run(self._executor.submit, self._serve)
        return result

    def close(self) -> None:
        """Wait for the calls that run, cancel those that wait for a thread. Idempotent."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            left, self._waiting = self._waiting, []
            self._changed.notify_all()
        for call in left:
            call.result.cancel()
        self._executor.shutdown()

    def _serve(self) -> None:
        """Make calls until there are none. It is asked for with each."""
        while (taken := self._take()) is not None:
            call, is_early = taken
            call.make()
            with self._changed:
                self._early -= is_early
                self._changed.notify()

    def _take(self) -> tuple[_Call, bool] | None:
        """The most urgent call, and whether it could wait; None if there is none. Where too many
        run early, wait until this one is due, or another comes."""
        with self._changed:
            while self._waiting:
                spare = self._waiting[0].due - time.monotonic()
                is_early = spare > 0
                if not is_early or self._early < self._early_at_most:
                    self._early += is_early
                    return heapq.heappop(self._waiting), is_early
                self._changed.wait(spare)
            return None
