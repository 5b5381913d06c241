"""Spans as rows: nested, across processes, with what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telemetry import attributes as names
from telemetry.records import ConversationRecord, SpanRecord
from telemetry.store import StoredError
from telemetry.viewer.waterfall import details_of, rows_of

from .spoken import ROOT, START, TRACE, Spans, conversation

if TYPE_CHECKING:
    from collections.abc import Sequence


def service(asked_by: str, at: float) -> ConversationRecord:
    """A service's transaction below a span, by a clock of its own."""
    root = SpanRecord("e" * 16, asked_by, "http.server", "GET /hours", START + at, START + at + 0.1)
    return ConversationRecord(
        "s-1", TRACE, "GET /hours", START + at, START + at + 0.1, "ok", "http.server", spans=(root,)
    )


def rows(*records: ConversationRecord, errors: Sequence[StoredError] = ()) -> list[Any]:
    return rows_of(records, errors, START, START + 10)[0]


def test_rows_are_nested() -> None:
    """Each span once, below its parent, by start; a row knows the number of those below it."""
    record = conversation()
    found = rows(record)
    assert len(found) == len(record.spans)
    assert [found[0][name] for name in ("id", "depth", "below")] == [ROOT, 0, len(found) - 1]
    parents = {span.span_id: span.parent_span_id for span in record.spans}
    for place, row in enumerate(found):
        below = found[place + 1 : place + 1 + row["below"]]
        assert all(each["depth"] > row["depth"] for each in below)
        children = [each["id"] for each in below if each["depth"] == row["depth"] + 1]
        assert children == [each for each in (r["id"] for r in below) if parents[each] == row["id"]]


def test_other_processes_are_where_they_were_asked() -> None:
    """A service's transaction is below the span that asked, and a clock that is wrong is told."""
    spans = Spans()
    spans.add(names.OP_CONVERSATION, 0, 10, None, span_id=ROOT)
    asking = spans.add("http.client", 2, 2.5)
    record = conversation(spans=tuple(spans.made))
    found, processes = rows_of([record, service(asking, 1.0)], (), START, START + 10)
    assert [(row["id"], row["depth"], row["process"]) for row in found] == [
        (ROOT, 0, 0),
        (asking, 1, 0),
        ("e" * 16, 2, 1),
    ]
    assert found[2]["at"] == 1.0, "no time is corrected"
    assert [(each["op"], each["spans"]) for each in processes] == [
        ("conversation", 2),
        ("http.server", 1),
    ]
    assert "clock behind its caller's by 1000 ms" in processes[1]["remark"]
    assert processes[1]["remark"] in found[2]["facts"]


def test_spans_without_a_parent_are_shown() -> None:
    """Under a remark that says so; so are those that are each other's parents."""
    spans = Spans()
    spans.add(names.OP_CONVERSATION, 0, 10, None, span_id=ROOT)
    spans.add("lost", 3, 4, "d" * 16)
    spans.add("one", 5, 6, "c" * 16, span_id="b" * 16)
    spans.add("two", 5, 6, "b" * 16, span_id="c" * 16)
    found = rows(conversation(spans=tuple(spans.made)))
    assert [(row["op"] or row["label"], row["depth"]) for row in found] == [
        (names.OP_CONVERSATION, 0),
        ("parent not among these spans", 0),
        ("lost", 1),
        ("each other's parents", 0),
        ("one", 1),
        ("two", 2),
    ]


def test_failures_and_open_spans() -> None:
    """A row says that its span failed, has errors, or goes on."""
    spans = Spans()
    spans.add(names.OP_CONVERSATION, 0, 0, None, span_id=ROOT, status="open")
    failed = spans.add("gen_ai.chat", 1, 2, status="internal_error")
    spans.add("gen_ai.chat", 2, 3, status="cancelled")
    errors = [StoredError(TRACE, failed, START + 1.5, "ValueError", "no")]
    root, chat, cancelled = rows(conversation(spans=tuple(spans.made)), errors=errors)
    assert (root["open"], root["until"], root["failed"]) == (True, 10.0, False)
    assert (chat["failed"], chat["errors"]) == (True, 1)
    assert not cancelled["failed"]


def test_all_that_is_known_of_a_span() -> None:
    """Attributes as they are, errors with the lines of code they come from."""
    record = conversation()
    tool = next(span for span in record.spans if span.op == names.OP_TOOL)
    frames = [{"filename": "desk.py", "lineno": 7, "function": "book"}, "odd"]
    event = {"exception": {"values": [{"stacktrace": {"frames": frames}}, None]}}
    error = StoredError(TRACE, tool.span_id, START + 4, "NoTable", "none", "1" * 32, event)
    details = details_of([record], [error], START)[tool.span_id]
    assert (details["op"], details["status"]) == (names.OP_TOOL, "internal_error")
    assert details["seconds"] == 0.1
    [found] = details["errors"]
    assert (found["type"], found["frames"]) == ("NoTable", ["desk.py:7 in book"])


def test_an_event_of_any_shape() -> None:
    """Strangers send events: what isn't as Sentry has it is left out."""
    values: list[Any] = [None, [], {"values": 1}, {"values": [{"stacktrace": [1]}]}]
    record = conversation()
    for value in values:
        event = {"exception": value}
        error = StoredError(TRACE, ROOT, START, "E", "", None, event)
        assert details_of([record], [error], START)[ROOT]["errors"][0]["frames"] == []
