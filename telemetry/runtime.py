"""The one runtime of a process: Sentry's configuration, delivery, the counts.

``init`` makes it; until then, and after it is closed, :data:`idle` stands in: everything can be
called, nothing is recorded, and the log says so once.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from .conversation import Conversation, caller
from .counter import Counter
from .delivery import Delivery, QueueTransport
from .encode import rejoining
from .errors import MissingConversation, TelemetryError
from .logs import LogCapture, dated
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


class Tally:
    """The running counts behind :class:`Stats`. They change in the call, not at delivery."""

    def __init__(self) -> None:
        self.conversations = Counter()
        self.spans = Counter()
        self.orphan_spans = Counter()
        self.late_spans = Counter()
        self.open_at_finish = Counter()


@dataclass(frozen=True, slots=True)
class Stats:
    """What telemetry has seen since ``init``. Zero orphans and zero drops is the promise."""

    conversations: int
    """Conversations opened."""
    spans: int
    """Spans started, the conversations' own root spans aside."""
    orphan_spans: int
    """Spans started where no conversation was current."""
    late_spans: int
    """Spans started after their conversation had ended."""
    dropped_spans: int
    """Spans that will not arrive: the sum over ``dropped``."""
    open_at_finish: int
    """Spans that were still open when their conversation ended."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """What was given up, by reason: spans of lost conversations, errors, envelopes."""


class Runtime:
    """Telemetry of this process, from ``init`` until it is closed. A context manager."""

    def __init__(self, *, delivery: Delivery | None, strict: bool) -> None:
        self.tally = Tally()
        self.strict = strict
        self.streaming = delivery is not None and delivery.streaming
        self._delivery = delivery
        self._open: dict[int, Conversation] = {}
        self._explained: set[str] = set()
        self._logs: LogCapture | None = None

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
        """Wait until what has been recorded is stored and sent; False when time ran out.

        It blocks: on an event loop, run it in a thread.
        """
        return True if self._delivery is None else self._delivery.flush(timeout)

    async def aflush(self, timeout: float = CLOSE_TIMEOUT) -> bool:  # noqa: ASYNC109 - the contract's
        """:meth:`flush`, without blocking the event loop."""
        return await asyncio.to_thread(self.flush, timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """End open conversations, deliver, stop; within ``timeout`` seconds, and only once.

        What couldn't be delivered in time is counted and logged; the result is then False.
        """
        if _active.get("runtime") is not self:
            return True
        deadline = time.monotonic() + timeout
        for conversation in list(self._open.values()):
            conversation.root.status = "aborted"
            conversation.close()
        _active.pop("runtime", None)
        atexit.unregister(self.close)
        if self._logs is not None:
            self._logs.remove()
        delivered = self.flush(max(0.0, deadline - time.monotonic()))
        client = sentry_sdk.get_client()
        if self._delivery is not None:
            delivered = self._delivery.stop(max(0.1, deadline - time.monotonic())) and delivered
        client.close(timeout=0)
        sentry_sdk.get_global_scope().set_client(None)
        if not delivered:
            logger.warning("telemetry gave up after %.1f s: %s", timeout, self.stats().dropped)
        return delivered

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
            return
        self._open[id(conversation)] = conversation
        if conversation.role == "conversation":
            self.tally.conversations.add()
        if self._delivery is not None:
            self._delivery.opened(conversation)

    def hand_over(self, conversation: Conversation) -> None:
        """A running conversation has a batch of finished spans."""
        if self._delivery is not None:
            self._delivery.hand_over(conversation)

    def late(self, conversation: Conversation, span: Span) -> None:
        """A span finished after its conversation had been delivered."""
        if self._delivery is not None:
            self._delivery.late(conversation, span)

    def closed(self, conversation: Conversation) -> None:
        """A conversation ended."""
        self._open.pop(id(conversation), None)
        if self._delivery is not None:
            self._delivery.closed(conversation)

    def captured(
        self, error: BaseException, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
    ) -> None:
        """An error was reported, under these scopes."""
        if self._delivery is not None:
            self._delivery.captured(error, isolation, scope)

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

    def open_ids(self) -> list[str]:
        """Ids of the conversations that are open in the process."""
        return [conversation.id for conversation in list(self._open.values())]


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
        options: further options of ``sentry_sdk.init``, such as ``integrations``.

    Raises:
        TelemetryError: it is initialised already, the DSN can't be read, the store can't be used,
            or an option has a value that isn't allowed.
    """
    if lifecycle not in ("transaction", "stream"):
        raise TelemetryError(f"lifecycle must be 'transaction' or 'stream', not {lifecycle!r}")
    if not 0 <= sample_rate <= 1:
        raise TelemetryError(f"sample_rate must be between 0 and 1, not {sample_rate}")
    sender = Sender(dsn) if dsn else None
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
    if _active.get("runtime") is not None:
        raise TelemetryError("telemetry is initialised already: close its runtime first")
    given = options.pop("integrations", None) or []
    sentry_sdk.init(
        transport=QueueTransport(delivery, dsn=options.get("dsn")),
        trace_lifecycle="stream" if delivery.streaming else "static",
        # What is logged comes through LogCapture, on the delivery thread: an event built under a
        # lock that logs would need that lock.
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
    runtime = Runtime(delivery=delivery, strict=strict)
    runtime._logs = LogCapture.install(delivery)
    _active["runtime"] = runtime
    delivery.start()
    atexit.register(runtime.close)
    return runtime


def _targets(hosts: Sequence[str] | None) -> list[str]:
    """Sentry's patterns for requests to these hosts; it searches for them in the whole URL."""
    if hosts is None:
        return [".*"]
    return [rf"^\w+://([^@/]*@)?{re.escape(host)}(:\d+)?([/?#]|$)" for host in hosts]


def _before_fork() -> None:
    if (runtime := _active.get("runtime")) is not None and runtime._delivery is not None:
        runtime._delivery.before_fork()


def _after_fork() -> None:
    if (runtime := _active.get("runtime")) is not None and runtime._delivery is not None:
        runtime._delivery.after_fork()


def _after_fork_in_child() -> None:
    """In a child process: its parent's conversations and delivery thread are not its own."""
    _after_fork()
    if (runtime := _active.get("runtime")) is not None and runtime._delivery is not None:
        for conversation in runtime._open.values():
            conversation.left_to_parent()
        runtime._open.clear()
        runtime._delivery.restart_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
