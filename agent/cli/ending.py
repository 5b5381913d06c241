"""The end of a command: what each signal asks for, and a deadline that holds whatever runs.

======  ============================================================================
signal  asks
======  ============================================================================
first   to take no more, and to let what runs end in its own time
second  to end what runs at once; it is delivered all the same
third   to leave. What the trace store has by then stays
======  ============================================================================

Several processes that one keeps are asked by it, on a line of theirs (:mod:`.line`): what is asked
for twice there is one wish, and so is what a signal asks for besides.

The first one sets the deadline. A thread that sleeps, a task that swallows its cancellation, a
resource that takes minutes to close can keep a process for as long as they like, and an
orchestrator kills it then, with all that wasn't delivered. So a thread of our own watches: at the
deadline it delivers what there is, says what still runs, with its stack, and leaves.
"""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import signal
import sys
import threading
import time
import traceback
from contextlib import asynccontextmanager, suppress
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, Final, Self

from agent.stopping import Stopping
from telemetry.printable import indented

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator
    from types import FrameType

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
DELIVERY_SECONDS: Final = 5.0
"""Time at the deadline for what isn't delivered."""
_LAST_SECONDS: Final = 1.0
"""Time that the process has then to end by itself."""
_LATE: Final = 1
"""Exit code of a process that its deadline ended."""
_MOST_SHOWN: Final = 20
"""Number of threads, and of tasks, that are named at the deadline."""
_DEEPEST: Final = 6
"""Number of frames shown of each."""


class Ending:
    """The signals of one command, from its start to the end of its process. A context manager, on
    the main thread.

    Args:
        seconds: time from the first signal to the deadline.
        deliver: delivers, in so many seconds, what isn't yet; called at the deadline.
        leave: ends the process with an exit code, at once.
        tells: say on a terminal that the first signal is heard.
        drains: signals that ask for what the first one does and for nothing more, however often
            they come, besides those that count; one that is ignored stays so.
    """

    def __init__(
        self,
        seconds: float,
        *,
        deliver: Callable[[float], object],
        leave: Callable[[int], object] = os._exit,
        tells: bool = True,
        drains: Collection[signal.Signals] = (),
    ) -> None:
        self._seconds = seconds
        self._deliver = deliver
        self._leave = leave
        self._tells = tells
        self._drains = drains
        self._counted = 0
        """Signals so far, of those that count."""
        self._drain = self._now = False
        """What has been asked for."""
        self._told: tuple[asyncio.AbstractEventLoop, Stopping] | None = None
        self._watched: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """Gets True once something is asked for, or False when it is over without that. A queue
        that may be put into from a signal's handler."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals."""
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()
        for number in {*SIGNALS, *self._drains}:
            if number in self._drains and signal.getsignal(number) is signal.SIG_IGN:
                continue  # as under nohup
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the signals to whoever had them before. But once there was one the deadline holds:
        a thread that still runs would keep the process now, too."""
        if self._drain:
            return
        self._watched.put(False)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[Stopping]:
        """What has been asked for, and will be, as events of the running loop."""
        stopping = Stopping()
        self._told = asyncio.get_running_loop(), stopping
        self._tell(stopping)
        try:
            yield stopping
        finally:
            self._told = None

    def _take(self, number: int, _: FrameType | None) -> None:
        """Take a signal: whatever the main thread was in the middle of, a lock among it."""
        if number in self._drains:
            self.ask(now=False)
            return
        self._counted += 1
        if self._counted == 1 and self._tells and sys.stderr.isatty():
            os.write(2, b"\rstopping; Ctrl-C again to stop at once\n")
        if self._counted > 2:
            self._leave(128 + number)
        self.ask(now=self._counted > 1)

    def ask(self, *, now: bool) -> None:
        """Ask for what the first signal does, or, ``now``, for what the second one does: from any
        thread, and as often as one likes, for the same again changes nothing."""
        if now:
            self._now = True
        if not self._drain:
            self._drain = True
            self._watched.put(True)
        if (told := self._told) is not None:
            loop, stopping = told
            with suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._tell, stopping)

    def _tell(self, stopping: Stopping) -> None:
        if self._drain:
            stopping.drain.set()
        if self._now:
            stopping.now.set()

    # -- the deadline ------------------------------------------------------------------------------

    def _watch(self) -> None:
        if not self._watched.get():
            return
        began = time.monotonic()
        time.sleep(self._seconds)  # a daemon: the end of the process doesn't wait for it
        with suppress(Exception):
            self._deliver(DELIVERY_SECONDS)
        time.sleep(_LAST_SECONDS)
        text = "\n".join(_still_running())
        late = time.monotonic() - began
        os.write(2, f"parley: left, {late:.0f} s after the signal, by:\n{text}\n".encode())
        self._leave(_LATE)


def _still_running() -> Iterator[str]:
    """Threads that keep the process, and tasks, each with where it is."""
    frames = sys._current_frames()
    kept = [one for one in threading.enumerate() if not one.daemon and one.ident in frames]
    for thread in kept[:_MOST_SHOWN]:
        yield f"  thread {indented(thread.name)}"
        yield from _places(traceback.extract_stack(frames[thread.ident or 0]))
    objects = gc.get_objects()
    tasks = [one for one in objects if type(one) is asyncio.Task and not one.done()]
    for task in tasks[:_MOST_SHOWN]:
        yield f"  task {indented(task.get_name())}"
        yield from _places(traceback.StackSummary.extract(_awaits(task.get_coro())))
    # what waits in one of these is in no task's chain
    running = [one for one in objects if type(one) is AsyncGeneratorType and one.ag_running]
    for generator in running[:_MOST_SHOWN]:
        yield f"  within {indented(generator.__qualname__)}"
        if (frame := generator.ag_frame) is not None:
            yield from _places(traceback.StackSummary.extract([(frame, frame.f_lineno)]))
    for kind, found in (("threads", kept), ("tasks", tasks), ("generators", running)):
        if len(found) > _MOST_SHOWN:
            yield f"  and {len(found) - _MOST_SHOWN} more {kind}"


def _awaits(awaited: Any) -> Iterator[tuple[FrameType, int]]:
    """Where a coroutine waits, and what it waits for, and so on."""
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        yield frame, frame.f_lineno
        awaited = awaited.cr_await


def _places(stack: traceback.StackSummary) -> Iterator[str]:
    for place in stack[-_DEEPEST:]:
        yield f"    {place.filename}:{place.lineno} {place.name}"
