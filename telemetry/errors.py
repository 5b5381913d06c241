"""The errors of telemetry. One base, :class:`TelemetryError`.

::

    TelemetryError
    ├── MissingConversation     in strict mode only: a span that has no conversation
    └── TraceStoreError         telemetry.store: the store's file can't be used
        └── AmbiguousId         telemetry.store: several conversations go by what was asked for

Outside strict mode nothing here is ever raised into a call that only records: only ``init`` and
reading the store raise.
"""

from __future__ import annotations


class TelemetryError(Exception):
    """Base of every error telemetry raises."""


class MissingConversation(TelemetryError):  # noqa: N818 - the contract's name, read as a sentence
    """A span was asked for where no conversation is current.

    Raised in strict mode only (tests use it); otherwise the span is recorded in a transaction of
    its own, counted, and explained in the log once for each place.

    Attributes:
        op: op of the span that was asked for.
        task: name of the task, or None outside a task.
        thread: name of the thread.
        where: ``file:line`` of the call.
        open_conversations: ids of the conversations that were open in the process.
    """

    def __init__(
        self, *, op: str, task: str | None, thread: str, where: str, open_conversations: list[str]
    ) -> None:
        self.op = op
        self.task = task
        self.thread = thread
        self.where = where
        self.open_conversations = open_conversations
        super().__init__(self.explanation)

    @property
    def explanation(self) -> str:
        """One line: the lost span, where it was, and the call that carries a conversation there."""
        place = f"task {self.task!r}, " if self.task else ""
        several = len(self.open_conversations) != 1
        known = (
            f"{len(self.open_conversations)} conversations are open"
            if several
            else f"conversation {self.open_conversations[0]!r} is open elsewhere"
        )
        return (
            f"span {self.op!r} at {self.where} has no conversation ({place}thread "
            f"{self.thread!r}; {known}): start what runs there with telemetry.bind(function), or "
            "wrap it in `with conversation.attach():`"
        )
