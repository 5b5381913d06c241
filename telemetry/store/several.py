"""Several stores read as one: the agent's, and those of the services it asked.

The part that a service has in a conversation may be in another store: given all of them, a trace
is whole. What is in two of them, as when one is given twice, is there once.
"""

from __future__ import annotations

import functools
import heapq
from typing import TYPE_CHECKING

from ..attributes import OP_CONVERSATION
from .trace_store import AmbiguousId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .recordings import Recording
    from .rows import StoredConversation
    from .stored_errors import StoredError
    from .trace_store import TraceStore


class Stores:
    """Stores, to be read as if they were one."""

    def __init__(self, stores: Sequence[TraceStore]) -> None:
        self.all = tuple(stores)

    def newest(self, limit: int) -> list[StoredConversation]:
        """The newest conversations, without spans. A service's part is listed where its
        conversation isn't."""
        rows = heapq.merge(*map(_rows, self.all), key=lambda row: row.started_at, reverse=True)

        @functools.cache
        def has_conversation(trace_id: str) -> bool:
            """True if the trace holds a conversation: looked up once for all requests in it."""
            return any(each.op == OP_CONVERSATION for each in self._traces(trace_id))

        listed: dict[tuple[object, ...], StoredConversation] = {}
        for row in rows:  # read as far as needed: most of a service's are passed over
            if row.op == OP_CONVERSATION or not has_conversation(row.trace_id):
                listed.setdefault(_identity(row), row)
            if len(listed) == limit:
                break
        return list(listed.values())

    def named(self, wanted: str) -> StoredConversation | None:
        """The conversation that goes by an id, or by the beginning of one; None if none does.

        Raises:
            AmbiguousId: several do.
        """
        matches: list[StoredConversation] = []
        more = False
        for store in self.all:
            try:
                found = store.conversation(wanted)
            except AmbiguousId as several:
                matches += several.matches
                more |= several.more
            else:
                matches += [] if found is None else [found]
        matches = _once(matches)
        matches = [each for each in matches if each.op == OP_CONVERSATION] or matches
        if matches and all(each.trace_id == wanted for each in matches):
            return min(matches, key=lambda each: each.started_at)
        if len(matches) > 1:
            raise AmbiguousId(wanted, tuple(matches), more=more)
        return matches[0] if matches else None

    def trace(self, trace_id: str) -> list[StoredConversation]:
        """Everything of one trace, with spans."""
        return _once(self._traces(trace_id))

    def whole(
        self, found: StoredConversation
    ) -> tuple[StoredConversation, list[StoredConversation]]:
        """The conversation to show, with spans, and the rest of its trace: the one found or, for
        a request, its conversation in any store."""
        trace = self.trace(found.trace_id)
        shown = _shown(trace, found)
        return shown, [each for each in trace if each is not shown]

    def find(
        self, trace_id: str, root_span_id: str | None
    ) -> tuple[StoredConversation, list[StoredConversation]] | None:
        """The one of a trace that has this root, with spans, and the rest of its trace."""
        trace = self.trace(trace_id)
        for shown in trace:
            if shown.root_span_id == root_span_id:
                return shown, [each for each in trace if each is not shown]
        return None

    def errors(self, conversation: StoredConversation) -> list[StoredError]:
        """The errors of a conversation, in order of time."""
        return _by_time(error for store in self.all for error in store.errors(conversation))

    def trace_errors(self, trace_id: str) -> list[StoredError]:
        """The errors of everything in a trace, in order of time."""
        return _by_time(error for store in self.all for error in store.trace_errors(trace_id))

    def runs(self, conversation: StoredConversation) -> bool:
        """True if it has not ended, and its process isn't known to be gone."""
        return any(store.runs(conversation) for store in self.all)

    def recordings(self, conversation: StoredConversation) -> list[Recording]:
        """The audio of a conversation, the earliest first."""
        found = [each for store in self.all for each in store.recordings(conversation)]
        return sorted({each.path: each for each in found}.values(), key=lambda r: r.started_at)

    def errors_by_event(self, wanted: str) -> list[StoredError]:
        """The errors that Sentry knows by an id, or by the beginning of one."""
        return [error for store in self.all for error in store.errors_by_event(wanted)]

    def _traces(self, trace_id: str) -> Iterator[StoredConversation]:
        return (each for store in self.all for each in store.trace(trace_id))


def _rows(store: TraceStore) -> Iterator[StoredConversation]:
    """The contents of a store, the newest first, a few read at a time."""
    before = None
    while rows := store.conversations(before=before):
        yield from rows
        before = rows[-1].started_at


def _shown(trace: Sequence[StoredConversation], found: StoredConversation) -> StoredConversation:
    conversations = [each for each in trace if each.op == OP_CONVERSATION]
    if conversations and found.op != OP_CONVERSATION:
        return conversations[0]
    same = (each for each in trace if _identity(each) == _identity(found))
    return next(same, found)  # it may have been forgotten since


def _by_time(errors: Iterable[StoredError]) -> list[StoredError]:
    """Each error once, in order of time."""
    found = [*errors]  # held, so that each has an id() of its own
    once = {(each.event_id or id(each)): each for each in found}
    return sorted(once.values(), key=lambda each: each.time)


def _once(conversations: Iterable[StoredConversation]) -> list[StoredConversation]:
    """Each conversation once, even if it is in two stores: as the first has it."""
    found: dict[tuple[object, ...], StoredConversation] = {}
    for each in conversations:
        found.setdefault(_identity(each), each)
    return list(found.values())


def _identity(each: StoredConversation) -> tuple[object, ...]:
    if each.root_span_id is not None:
        return each.trace_id, each.root_span_id
    return each.trace_id, each.id, each.started_at
