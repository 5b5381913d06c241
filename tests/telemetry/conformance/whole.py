"""What every case asks in the end: is each trace whole, and does Sentry see what we see?

Cases are written once for both lifecycles; where Sentry's own API differs between them, the
difference is hidden here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

import sentry_sdk
from sentry_sdk import traces as streamed

import telemetry
from telemetry import Span
from telemetry.attributes import OP_CONVERSATION, OP_CONVERSATION_PART
from telemetry.tree import outline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry import Conversation, SpanHandle
    from telemetry.records import SpanRecord
    from telemetry.testing import Captured

Lifecycle = Literal["transaction", "stream"]
LIFECYCLES: Final[tuple[Lifecycle, ...]] = ("transaction", "stream")
WAYS: Final[dict[str, dict[str, Any]]] = {
    "transaction": {"lifecycle": "transaction", "stream_gen_ai_spans": False},
    "beside": {"lifecycle": "transaction", "stream_gen_ai_spans": True},
    "stream": {"lifecycle": "stream"},
}
"""Options for each way in which Sentry gets AI spans."""


# -- Sentry's own view -------------------------------------------------------------------------


def streaming() -> bool:
    """Whether Sentry is in the stream lifecycle."""
    return sentry_sdk.get_client().options.get("trace_lifecycle") == "stream"


@contextmanager
def plain(op: str, name: str) -> Iterator[None]:
    """A span made with nothing but ``sentry_sdk``, as an integration of Sentry's makes it."""
    if streaming():
        with streamed.start_span(name, {"sentry.op": op}):
            yield
    else:
        with sentry_sdk.start_span(op=op, name=name):
            yield


@contextmanager
def foreign_transaction(op: str, name: str) -> Iterator[None]:
    """A transaction that is no conversation's, such as a web service's."""
    if streaming():
        with streamed.start_span(name, {"sentry.op": op}, parent_span=None):
            yield
    else:
        with sentry_sdk.start_transaction(op=op, name=name):
            yield


def sentrys_span_id() -> str | None:
    """The span that Sentry believes is current in this task."""
    span = streamed.get_current_span() if streaming() else sentry_sdk.get_current_span()
    return None if span is None else span.span_id


def assert_current(span: SpanHandle) -> None:
    """In this task, ``span`` is current: for us, for Sentry, and in the headers that go out."""
    assert isinstance(span, Span)
    seen = telemetry.current_span()
    assert seen is span, (seen, span)
    assert telemetry.current_conversation() is span.conversation
    assert sentrys_span_id() == span.id
    if not streaming():
        assert sentry_sdk.get_current_scope().transaction is span.conversation.transaction
    assert telemetry.trace_headers()["sentry-trace"].split("-")[:2] == [
        span.conversation.trace_id,
        span.id,
    ]


def assert_nothing_current() -> None:
    """In this task no conversation is current, for Sentry neither."""
    assert telemetry.current_conversation() is None
    assert telemetry.current_span() is None
    assert sentrys_span_id() is None


# -- what arrived ------------------------------------------------------------------------------


def traces(captured: Captured) -> dict[str, list[SpanRecord]]:
    """All spans that arrived, by trace id, the conversation's root first.

    A trace is one whole, however many transactions it took to deliver it.
    """
    found: dict[str, list[SpanRecord]] = {}
    for event in captured.transactions:
        trace = event["contexts"]["trace"]
        root, *spans = captured.spans(event)
        assert {span["trace_id"] for span in event["spans"]} <= {trace["trace_id"]}
        known = found.setdefault(trace["trace_id"], [])
        if root.op == OP_CONVERSATION:
            known.insert(0, root)
        elif root.op != OP_CONVERSATION_PART:
            known.append(replace(root, parent_span_id=trace.get("parent_span_id")))
        known += spans
    return found


def shape(spans: list[SpanRecord]) -> str:
    """A tree as text, siblings by op and name: the order tasks happened to run in is left out."""
    root = replace(spans[0], parent_span_id=None)
    return outline([replace(span, started_at=0.0) for span in (root, *spans[1:])])


def tree(captured: Captured, conversation: Conversation) -> str:
    """The whole trace of a conversation as text."""
    return shape(traces(captured)[conversation.trace_id])


def trees(captured: Captured) -> list[str]:
    """Every trace that arrived as text, sorted."""
    return sorted(shape(spans) for spans in traces(captured).values())


NOBODY: Final = "nobody"


def call(who: str) -> Conversation:
    """A conversation that is named after its user."""
    return telemetry.conversation(who, user={"id": who})


def reports(captured: Captured) -> list[tuple[str, str, str]]:
    """What each error says, its user, and the conversation whose trace it is in; sorted.

    Of a :func:`call` both are the same, or :data:`NOBODY`.
    """
    names = {trace_id: spans[0].name for trace_id, spans in traces(captured).items()}
    return sorted(
        (
            _said(event),
            (event.get("user") or {}).get("id", NOBODY),
            names.get(event["contexts"]["trace"]["trace_id"], NOBODY),
        )
        for event in captured.errors
    )


def _said(event: dict[str, Any]) -> str:
    for exception in (event.get("exception") or {}).get("values", [])[-1:]:
        return str(exception["value"])
    return str((event.get("logentry") or {}).get("formatted") or event.get("message"))


def assert_faultless(captured: Captured, **expected: Any) -> None:
    """Nothing was orphaned, mixed, lost or left behind, but for what is ``expected``.

    What arrived is exactly what was started, each span once, below a parent of the same trace.
    """
    stats = captured.runtime.stats()
    arrived = traces(captured)
    ids = [span.span_id for spans in arrived.values() for span in spans]
    assert len(ids) == len(set(ids))
    for spans in arrived.values():
        known = {span.span_id for span in spans}
        assert all(span.parent_span_id in known for span in spans[1:])
    never = ("orphan_spans", "late_spans", "dropped_spans", "open_at_finish", "faults")
    assert {name: getattr(stats, name) for name in never} == dict.fromkeys(never, 0) | expected
    assert stats.conversations == len(captured.conversations)
    assert stats.spans == len(ids) - stats.conversations
