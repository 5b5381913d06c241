"""The one runtime of a process: what is open, what is counted, how it ends.

:func:`.configure.init` makes it; until then, and after it is closed, :data:`idle` stands in:
everything can be called, nothing is recorded, and the log says so once.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import queue
import threading
import time
from _thread import RLock  # the real one, also where a profiler has replaced threading's
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import sentry_sdk

from . import context, fork
from .conversation import Conversation, caller
from .errors import MissingConversation, TelemetryError
from .outbox import answer
from .stats import Stats, Tally, faults, refused_headers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from .delivery import Delivery
    from .logs import LogCapture
    from .span import Span

logger = logging.getLogger(__package__)

CLOSE_TIMEOUT = 5.0
"""Seconds that closing takes at most, unless told otherwise."""


class Runtime:
    """Telemetry of this process, from ``init`` until it is closed. A context manager."""

    def __init__(self, *, delivery: Delivery | None, strict: bool) -> None:
        self.tally = Tally()
        self.strict = strict
        self.streaming = delivery is not None and delivery.streaming
        self._delivery = delivery
        self._open: dict[int, Conversation] = {}
        self._alone: dict[int, Conversation] = {}
        """What stands for the orphans that are open."""
        self._ended: WeakValueDictionary[int, Conversation] = WeakValueDictionary()
        """Conversations that are over, while anything may still start a span in them."""
        self._explained: set[str] = set()
        self.logs: LogCapture | None = None
        self._closers = itertools.count()
        self._closer: int | None = None
        self._closed: queue.SimpleQueue[bool] = queue.SimpleQueue()

    # -- what the operator uses --------------------------------------------------------------------

    def stats(self) -> Stats:
        """The counts so far."""
        tally = self.tally
        dropped = {} if self._delivery is None else self._delivery.dropped()
        return Stats(
            conversations=tally.conversations.read(),
            spans=tally.spans.read(),
            orphan_spans=tally.orphan_spans.read(),
            late_spans=tally.late_spans.read(),
            dropped_spans=sum(dropped.values()),
            open_at_finish=tally.open_at_finish.read(),
            refused_headers=refused_headers.read() - tally.refused_headers_before,
            faults=faults.read() - tally.faults_before,
            dropped=dropped,
        )

    def flush(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait until what was recorded before this call is stored and sent; False when time ran
        out. What a running conversation hasn't finished isn't waited for.

        It blocks: on an event loop, run it in a thread.
        """
        return True if self._delivery is None else self._delivery.flush(timeout)

    async def aflush(self, timeout: float = CLOSE_TIMEOUT) -> bool:  # noqa: ASYNC109 - the contract's
        """:meth:`flush`, without blocking the event loop."""
        return await asyncio.to_thread(self.flush, timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """End what is open, deliver, stop; within ``timeout`` seconds, and only once.

        Whoever else closes it waits for that, and gets the same answer. What couldn't be delivered
        in time is counted and logged; the answer is then False.
        """
        if self._delivery is None:
            return True
        if next(self._closers):
            if self._closer == threading.get_ident():
                return False  # called by something that closing it called
            delivered = answer(self._closed, timeout)
            if delivered:
                self._closed.put(delivered)  # for the next one who asks
            return delivered
        self._closer = threading.get_ident()
        delivered = False
        try:
            delivered = self._close(self._delivery, time.monotonic() + timeout)
        finally:
            deactivate()
            self._closer = None
            self._closed.put(delivered)
        if not delivered:
            logger.warning("telemetry gave up after %.1f s: %s", timeout, self.stats().dropped)
        return delivered

    def _close(self, delivery: Delivery, deadline: float) -> bool:
        self._end_what_is_open()
        atexit.unregister(self.close)
        if self.logs is not None:
            self.logs.remove()
        delivered = self.flush(max(0.0, deadline - time.monotonic()))
        client = sentry_sdk.get_client()
        delivered = delivery.stop(max(0.1, deadline - time.monotonic())) and delivered
        client.close(timeout=0)
        sentry_sdk.get_global_scope().set_client(None)
        return delivered

    def _end_what_is_open(self) -> None:
        """Conversations, orphans, and spans that were started after their conversation ended."""
        for conversation in list(self._open.values()):
            conversation.root.status = "aborted"
            conversation.close()
        for alone in list(self._alone.values()):
            self._cancel(alone.root)
        for ended in self._all_ended():
            for span in list(ended._open.values()):
                self._cancel(span)

    def _cancel(self, span: Span) -> None:
        span.status = "cancelled"
        self.tally.open_at_finish.add()
        span.finish()

    async def aclose(self, timeout: float = CLOSE_TIMEOUT) -> bool:  # noqa: ASYNC109 - the contract's
        """:meth:`close`, without blocking the event loop."""
        return await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- what conversations tell it ----------------------------------------------------------------

    def opened(self, conversation: Conversation) -> None:
        """A conversation began: count it, and show it in the store while it runs."""
        if conversation.role == "orphan":
            self._alone[id(conversation)] = conversation
        else:
            self._open[id(conversation)] = conversation
        if conversation.role == "conversation":
            self.tally.conversations.add()
        if self._delivery is not None:
            self._delivery.opened(conversation)

    def hand_over(self, conversation: Conversation) -> None:
        """A running conversation has a batch of finished spans."""
        if self._delivery is not None:
            self._delivery.outbox.hand_over(conversation)

    def late(self, conversation: Conversation, span: Span) -> None:
        """A span finished after its conversation had been delivered."""
        if self._delivery is not None:
            self._delivery.outbox.late(conversation, span)

    def closed(self, conversation: Conversation) -> None:
        """A conversation ended."""
        ended = self._alone if conversation.role == "orphan" else self._open
        ended.pop(id(conversation), None)
        if self._delivery is not None:
            self._ended[id(conversation)] = conversation
            self._delivery.outbox.closed(conversation)

    def captured(
        self, error: BaseException, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
    ) -> None:
        """An error was reported, under these scopes."""
        if self._delivery is not None:
            self._delivery.outbox.captured(error, isolation, scope)

    def orphan(self, op: str, name: str | None, attributes: Mapping[str, Any] | None) -> Span:
        """A span where no conversation is current: recorded on its own, counted, explained."""
        from . import attributes as names

        where = caller(2)
        missing = MissingConversation(
            op=op,
            task=_task_name(),
            thread=threading.current_thread().name,
            where=where,
            open_conversations=self.open_ids(),
        )
        if self.strict:
            raise missing
        self.tally.spans.add()
        self.tally.orphan_spans.add()
        if where not in self._explained:
            self._explained.add(where)
            logger.warning("%s", missing.explanation)
        facts = {
            names.ORPHAN_TASK: missing.task or "",
            names.ORPHAN_THREAD: missing.thread,
            names.ORPHAN_WHERE: where,
            names.ORPHAN_OPEN_CONVERSATIONS: missing.open_conversations,
        }
        alone = Conversation(
            self,
            name or op,
            op=op or names.OP_ORPHAN,
            attributes={**facts, **(attributes or {})},
            role="orphan",
        )
        return alone.root

    # -- when the process forks --------------------------------------------------------------------

    def before_fork(self) -> None:
        """Hold on to nothing that must not be copied."""
        if self._delivery is not None:
            self._delivery.before_fork()

    def after_fork(self) -> None:
        """Go on, in both processes."""
        if self._delivery is not None:
            self._delivery.after_fork()

    def begin_in_child(self) -> None:
        """In a child process: conversations so far, counts and what was waiting are the parent's.

        One that another thread was just closing stays closed: that thread isn't here.
        """
        known = [*self._open.values(), *self._alone.values(), *self._all_ended()]
        for conversation in known:
            conversation.left_to_parent()
        _free(
            sentry_sdk.get_global_scope(),
            sentry_sdk.get_isolation_scope(),
            context.outermost()[0],
            *(conversation.isolation for conversation in known),
        )
        for conversations in (self._open, self._alone, self._ended):
            conversations.clear()
        self.tally = Tally()
        if self._closer is not None:
            deactivate()
            sentry_sdk.get_global_scope().set_client(None)
            self._closed.put(False)
        elif self._delivery is not None:
            self._delivery.start_in_child()

    def _all_ended(self) -> list[Conversation]:
        """Unlike iteration, ``valuerefs`` is safe while other threads close conversations."""
        return [found for ended in self._ended.valuerefs() if (found := ended()) is not None]

    def open_ids(self) -> list[str]:
        """Ids of the conversations that are open in the process."""
        return [conversation.id for conversation in list(self._open.values())]


def _free(*scopes: sentry_sdk.Scope) -> None:
    """Exchange the one lock that scopes have: a thread that isn't in this process may hold it."""
    for scope in scopes:
        scope.flags.lock = RLock()  # type: ignore[assignment]  # used in `with` only


def _task_name() -> str | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return task.get_name() if task is not None else None


idle = Runtime(delivery=None, strict=False)
"""Stands in before ``init`` and after ``close``: conversations work and go nowhere."""

_active: dict[str, Runtime] = {}


def activate(runtime: Runtime) -> None:
    """Make it the runtime of this process.

    Raises:
        TelemetryError: there is one.
    """
    if _active.setdefault("runtime", runtime) is not runtime:
        raise TelemetryError("telemetry is initialised already: close its runtime first")


def deactivate() -> None:
    """The process has no runtime any more."""
    _active.pop("runtime", None)


def active() -> Runtime:
    """The runtime of this process, or :data:`idle`."""
    runtime = _active.get("runtime")
    if runtime is None:
        if "idle" not in idle._explained:
            idle._explained.add("idle")
            logger.warning("telemetry.init() has not been called: nothing is recorded")
        return idle
    return runtime


fork.watch(lambda: _active.get("runtime"))
