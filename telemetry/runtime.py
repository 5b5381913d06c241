"""The one runtime of a process: Sentry's configuration, delivery, the counts.

``init`` makes it; until then, and after it is closed, :data:`idle` stands in: everything can be
called, nothing is recorded, and the log says so once.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import queue
import re
import threading
import time
from _thread import RLock  # the real one, also where a profiler has replaced threading's
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from . import context, fork
from .conversation import Conversation, caller
from .delivery import Delivery, QueueTransport
from .encode import rejoining
from .errors import MissingConversation, TelemetryError
from .logs import LogCapture, dated
from .outbox import answer
from .route import OPTIONS
from .stats import Stats, Tally
from .store import TraceStore
from .transport import Sender

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

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
        self._logs: LogCapture | None = None
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
            _active.pop("runtime", None)
            self._closer = None
            self._closed.put(delivered)
        if not delivered:
            logger.warning("telemetry gave up after %.1f s: %s", timeout, self.stats().dropped)
        return delivered

    def _close(self, delivery: Delivery, deadline: float) -> bool:
        self._end_what_is_open()
        atexit.unregister(self.close)
        if self._logs is not None:
            self._logs.remove()
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
            _active.pop("runtime", None)
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


def active() -> Runtime:
    """The runtime of this process, or :data:`idle`."""
    runtime = _active.get("runtime")
    if runtime is None:
        if "idle" not in idle._explained:
            idle._explained.add("idle")
            logger.warning("telemetry.init() has not been called: nothing is recorded")
        return idle
    return runtime


def init(
    *,
    dsn: str | None = None,
    environment: str | None = None,
    release: str | None = None,
    sample_rate: float = 1.0,
    lifecycle: Literal["transaction", "stream"] = "transaction",
    store: str | Path | None = None,
    propagate_to: Sequence[str] | None = None,
    strict: bool = False,
    send_content: bool = False,
    **options: Any,
) -> Runtime:
    """Configure Sentry and start delivery; once per process.

    Args:
        dsn: where Sentry is; None sends nothing.
        environment: Sentry's environment.
        release: Sentry's release.
        sample_rate: share of conversations sent to Sentry, 0 to 1. The store records all of them.
        lifecycle: how Sentry gets the spans: ``"transaction"``, one event when the conversation
            ends, or ``"stream"``, span by span while it runs.
        store: path of the local trace store (SQLite); None keeps nothing locally.
        propagate_to: host names whose requests get trace headers; None means every host.
        strict: raise :class:`MissingConversation` instead of recording an orphan; for tests.
        send_content: send to Sentry what people said and what follows from it (arguments of
            tools, local variables of stack frames). The local store always has it.
        options: further options of ``sentry_sdk.init``, such as ``integrations``, ``http_proxy``
            or ``ca_certs``.

    Raises:
        TelemetryError: it is initialised already, the DSN can't be read, the store can't be used,
            or an option has a value that isn't allowed.
    """
    if lifecycle not in ("transaction", "stream"):
        raise TelemetryError(f"lifecycle must be 'transaction' or 'stream', not {lifecycle!r}")
    if not 0 <= sample_rate <= 1:
        raise TelemetryError(f"sample_rate must be between 0 and 1, not {sample_rate}")
    network = {name: options[name] for name in OPTIONS if name in options}
    sender = Sender(dsn, **network) if dsn else None
    return start(
        Delivery(
            store=TraceStore(store) if store is not None else None,
            sender=sender,
            send_content=send_content,
            streaming=lifecycle == "stream",
        ),
        strict=strict,
        dsn=dsn,
        environment=environment,
        release=release,
        traces_sample_rate=sample_rate,
        trace_propagation_targets=_targets(propagate_to),
        include_local_variables=send_content,
        **options,
    )


def start(delivery: Delivery, *, strict: bool, **options: Any) -> Runtime:
    """Configure Sentry around a delivery; :func:`init` and ``testing.capture`` differ in that."""
    given = options.pop("integrations", None) or []
    if any(isinstance(integration, LoggingIntegration) for integration in given):
        raise TelemetryError(
            "LoggingIntegration can't be among the integrations: it builds events under the locks "
            "that a logging call holds, and can deadlock. Leave it out: telemetry reports what is "
            "logged, with enable_logs=True as structured logs too"
        )
    runtime = Runtime(delivery=delivery, strict=strict)
    if _active.setdefault("runtime", runtime) is not runtime:
        raise TelemetryError("telemetry is initialised already: close its runtime first")
    try:
        sentry_sdk.init(
            transport=QueueTransport(
                delivery, dsn=options.get("dsn"), org_id=options.get("org_id")
            ),
            trace_lifecycle="stream" if delivery.streaming else "static",
            # What is logged comes through LogCapture, on the delivery thread: an event built under
            # a lock that logs would need that lock.
            integrations=[
                LoggingIntegration(level=None, event_level=None, sentry_logs_level=None),
                *given,
            ],
            before_send_log=dated(options.pop("before_send_log", None)),
            stream_gen_ai_spans=False,
            auto_session_tracking=False,
            send_client_reports=False,
            enable_backpressure_handling=False,
            shutdown_timeout=0,
            before_send_transaction=rejoining(options.pop("before_send_transaction", None)),
            **options,
        )
        delivery.start()
    except BaseException:
        _active.pop("runtime", None)
        raise
    runtime._logs = LogCapture.install(delivery)
    atexit.register(runtime.close)
    return runtime


def _targets(hosts: Sequence[str] | None) -> list[str]:
    """Sentry's patterns for requests to these hosts; it searches for them in the whole URL."""
    if hosts is None:
        return [".*"]
    return [rf"^\w+://([^@/]*@)?{re.escape(host)}(:\d+)?([/?#]|$)" for host in hosts]


fork.watch(lambda: _active.get("runtime"))
