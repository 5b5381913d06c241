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
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import sentry_sdk

from . import attributes as names
from . import fork
from .context import chain, scopes
from .context.place import current_task
from .delivery.messages import answer
from .delivery.nowhere import Nowhere
from .errors import MissingConversation, TelemetryError
from .trace.orphan import Orphan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from .delivery.logs import LogCapture
    from .delivery.thread import Delivery
    from .stats import Stats
    from .trace.sink import Sink
    from .trace.span import Span
    from .trace.transaction import Transaction

logger = logging.getLogger(__package__)

CLOSE_TIMEOUT = 5.0
"""Seconds that closing takes at most, unless told otherwise."""


class Runtime:
    """Telemetry of this process, from ``init`` until it is closed. A context manager."""

    def __init__(
        self,
        delivery: Delivery | Nowhere,
        *,
        strict: bool,
        close_timeout: float = CLOSE_TIMEOUT,
    ) -> None:
        self.strict = strict
        self.close_timeout = close_timeout
        self.logs: LogCapture | None = None
        self._delivery = delivery
        self._explained: set[str] = set()
        """Places whose orphans the log has explained."""
        self._remarked = False
        self._closers = itertools.count()
        self._closer: int | None = None
        """The thread that closes it."""
        self._closed: queue.SimpleQueue[bool] = queue.SimpleQueue()

    @property
    def sink(self) -> Sink[Transaction]:
        """The place that conversations and their spans are handed over to.

        In a thread of delivery's it is nowhere: whatever a hook recorded there would be delivered,
        and the hook asked about it.
        """
        return _NOWHERE if self._delivery.is_own_thread else self._delivery.outbox

    # -- what the operator uses --------------------------------------------------------------------

    def stats(self) -> Stats:
        """The counts so far."""
        return self._delivery.outbox.tally.stats(
            self._delivery.dropped(), self._delivery.account.delivered()
        )

    def troubles(self) -> tuple[str, ...]:
        """What is wrong with delivery now, a sentence each; none while all is well.

        Sentry that isn't reached, or refuses, a store that can't be written to, and what was
        dropped in the last minutes. They name no host, no path and nothing that anybody sent: a
        health endpoint may show them. Calls go on in spite of all of it.
        """
        return self._delivery.account.troubles()

    def flush(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait until everything recorded before this call is stored and sent; False when time ran
        out. What a running conversation hasn't finished isn't waited for.

        It blocks: on an event loop, run it in a thread.
        """
        return self._delivery.flush(timeout)

    def recover(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait until what killed processes left in the store is closed, and on its way to Sentry.

        It is begun at ``init``, and needs no call; False when time ran out. :attr:`Stats.waiting`
        says how much of it Sentry hasn't got yet. It blocks, as :meth:`flush` does.
        """
        return self._delivery.recover(timeout)

    async def aflush(self, timeout: float = CLOSE_TIMEOUT) -> bool:  # noqa: ASYNC109 - the contract's
        """:meth:`flush`, without blocking the event loop."""
        return await asyncio.to_thread(self.flush, timeout)

    def close(self, timeout: float | None = None) -> bool:
        """End what is open, deliver, stop; within ``timeout`` seconds, and only once.

        The time is that of the option ``shutdown_timeout`` by default, else 5 seconds.

        Whoever else closes it waits for that, and gets the same answer. What couldn't be delivered
        in time is counted and logged; the answer is then False.
        """
        if timeout is None:
            timeout = self.close_timeout
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
            delivered = self._close(time.monotonic() + timeout)
        finally:
            deactivate()
            self._closer = None
            self._closed.put(delivered)
        if not delivered:
            dropped = self.stats().dropped
            logger.warning(
                "telemetry dropped what it could not send in %.1f s: %s", timeout, dropped
            )
        elif waiting := self.stats().waiting:
            logger.warning(
                "telemetry leaves what Sentry hasn't taken in the store (envelopes: %d): the next "
                "process that uses the store sends them",
                waiting,
            )
        return delivered

    def _close(self, deadline: float) -> bool:
        self._delivery.outbox.registry.end_all()
        atexit.unregister(self.close)
        if self.logs is not None:
            self.logs.remove()
        client = self.sink.client
        delivered = self._delivery.stop(max(0.1, deadline - time.monotonic()))
        if client is not None:
            client.close(timeout=0)
            if sentry_sdk.get_global_scope().client is client:
                sentry_sdk.get_global_scope().set_client(None)
        return delivered

    async def aclose(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - the contract's
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

    def remark(self) -> None:
        """Say once in the log that somebody else has taken Sentry over."""
        client = self.sink.client
        if self._remarked or sentry_sdk.get_global_scope().client is client or client is None:
            return
        self._remarked = True
        logger.warning(
            "sentry_sdk.init() was called after telemetry.init(): conversations are delivered as "
            "telemetry.init() said, all else goes to the other client; leave out one of the two"
        )

    # -- spans without a conversation --------------------------------------------------------------

    def orphan(self, op: str, name: str | None, attributes: Mapping[str, Any] | None) -> Span:
        """A span where no conversation is current: recorded on its own, counted, explained."""
        where = caller(2)
        missing = MissingConversation(
            op=op,
            task=_task_name(),
            thread=threading.current_thread().name,
            where=where,
            open_conversations=self._delivery.outbox.registry.open_ids(),
        )
        if self.strict and not self._delivery.is_own_thread:
            raise missing
        if where not in self._explained:
            self._explained.add(where)
            logger.warning("%s", missing.explanation)
        facts = {
            names.ORPHAN_TASK: missing.task or "",
            names.ORPHAN_THREAD: missing.thread,
            names.ORPHAN_WHERE: where,
            names.ORPHAN_OPEN_CONVERSATIONS: missing.open_conversations,
        }
        orphan = Orphan(
            self.sink,
            name or op,
            op=op or names.OP_ORPHAN,
            attributes={**facts, **(attributes or {})},
        )
        return orphan.root

    # -- when the process forks --------------------------------------------------------------------

    def before_fork(self) -> None:
        """Hold on to nothing that must not be copied."""
        self._delivery.before_fork()

    def after_fork(self) -> None:
        """Go on, in both processes."""
        self._delivery.after_fork()

    def begin_in_child(self) -> None:
        """In a child process: begin anew; conversations, counts, what waited are the parent's."""
        parents = self._delivery.outbox.registry
        self._delivery.begin_anew()
        isolations = parents.leave_to_parent(self.sink)
        scopes.free(
            sentry_sdk.get_global_scope(),
            sentry_sdk.get_isolation_scope(),
            chain.outermost()[0],
            *isolations,
        )
        if self._closer is None:
            self._delivery.start()
            return
        self._delivery.stop(0)  # a thread was closing it, which isn't here
        deactivate()
        sentry_sdk.get_global_scope().set_client(None)
        self._closed.put(False)


_NOWHERE = Nowhere()


class _Idle(Runtime):
    """The runtime of a process that has no other: conversations work and go nowhere."""

    def __init__(self) -> None:
        super().__init__(Nowhere(), strict=False)

    def remark(self) -> None:
        """Say once in the log that nothing is recorded."""
        if not self._remarked:
            self._remarked = True
            logger.warning("telemetry.init() has not been called: nothing is recorded")

    def close(self, timeout: float | None = None) -> bool:
        """Nothing to end or deliver."""
        return True


def caller(depth: int) -> str:
    """``file:line`` of the first frame outside telemetry, from ``depth`` frames up."""
    package = __name__.rpartition(".")[0]
    frame = sys._getframe(depth)
    while frame.f_back is not None and _within(frame.f_globals.get("__name__", ""), package):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _task_name() -> str | None:
    task = current_task()
    return task.get_name() if task is not None else None


idle = _Idle()
"""Stands in before ``init`` and after ``close``."""

_active: dict[str, Runtime] = {}


def activate(runtime: Runtime) -> None:
    """Make it the runtime of this process.

    Raises:
        TelemetryError: there is one.
    """
    if _active.setdefault("runtime", runtime) is not runtime:
        raise TelemetryError("telemetry is initialised already: close its runtime first")


def deactivate() -> None:
    """Leave the process without a runtime."""
    _active.pop("runtime", None)


def active() -> Runtime:
    """The runtime of this process, or :data:`idle`."""
    runtime = _active.get("runtime")
    if runtime is None:
        runtime = idle
    runtime.remark()
    return runtime


fork.watch(lambda: _active.get("runtime"))
