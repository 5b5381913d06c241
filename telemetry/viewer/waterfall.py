"""Spans of a whole trace as rows of a waterfall, across processes, and all that is known of one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypedDict

from ..store import OPEN
from ..tree import facts_of, forest, label, remarks_of, together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..records import ConversationRecord, SpanRecord
    from ..store import StoredError

FINE: Final = frozenset({"ok", "cancelled", OPEN})
"""Statuses of spans in which nothing failed."""
_MOST_FRAMES: Final = 40


class Row(TypedDict):
    """A span, or a remark that others stand under. Times are seconds from the conversation's
    start."""

    id: str
    """The span's; empty for a remark."""
    depth: int
    below: int
    """The rows that are below it, at any depth: those that follow it."""
    op: str
    label: str
    facts: str
    at: float
    until: float
    open: bool
    failed: bool
    errors: int
    process: int
    """The place of its transaction in the list of processes."""


class Process(TypedDict):
    """A transaction of the trace: what one process has recorded."""

    name: str
    op: str
    id: str
    spans: int
    remark: str


class Problem(TypedDict):
    """An error of a span."""

    at: float
    type: str
    message: str
    event_id: str | None
    span: str | None
    frames: list[str]


class Details(TypedDict):
    """All that is known of a span."""

    id: str
    parent: str | None
    op: str
    name: str
    status: str
    origin: str
    started_at: float
    """Unix seconds."""
    seconds: float | None
    """None while it is open."""
    process: str
    attributes: dict[str, Any]
    errors: list[Problem]


def rows_of(
    records: Sequence[ConversationRecord], errors: Iterable[StoredError], start: float, end: float
) -> tuple[list[Row], list[Process]]:
    """The rows of a waterfall, from the top down, and the processes they are of.

    Args:
        records: the conversation, then the rest of its trace.
        errors: those that were reported in it.
        start: the conversation's start, in Unix seconds.
        end: its end, or the moment up to which it has come: open spans reach to there.
    """
    spans = together(records)
    remarks = remarks_of(spans, records)
    process_of = {s.span_id: n for n, each in enumerate(records) for s in each.spans}
    reported = Counter(error.span_id for error in errors)
    tops, children = forest(spans)
    rows: list[Row] = []
    path: list[int] = []
    stack = [(top, 0) for top in reversed(tops)]
    while stack:
        node, depth = stack.pop()
        del path[depth:]
        for above in path:
            rows[above]["below"] += 1
        path.append(len(rows))
        below = children.get(node, [])
        stack += [(child, depth + 1) for child in reversed(below)]
        if isinstance(node, str):
            first = spans[below[0]].started_at if below else start
            rows.append(_remark(node.removeprefix("! "), depth, first - start))
            continue
        span = spans[node]
        until = max(end, span.started_at) if span.status == OPEN else span.ended_at
        notes = [*facts_of(span), *remarks.get(span.span_id, ())]
        rows.append(
            {
                "id": span.span_id,
                "depth": depth,
                "below": 0,
                "op": span.op,
                "label": label(span).removeprefix(span.op).strip(),
                "facts": ", ".join(notes),
                "at": round(span.started_at - start, 4),
                "until": round(until - start, 4),
                "open": span.status == OPEN,
                "failed": span.status not in FINE,
                "errors": reported[span.span_id],
                "process": process_of[span.span_id],
            }
        )
    return rows, [_process(each, remarks) for each in records]


def _remark(text: str, depth: int, at: float) -> Row:
    return {
        "id": "",
        "depth": depth,
        "below": 0,
        "op": "",
        "label": text,
        "facts": "",
        "at": round(at, 4),
        "until": round(at, 4),
        "open": False,
        "failed": True,
        "errors": 0,
        "process": 0,
    }


def _process(record: ConversationRecord, remarks: Mapping[str, Sequence[str]]) -> Process:
    root = record.spans[0].span_id if record.spans else ""
    return {
        "name": record.name,
        "op": record.op,
        "id": record.id,
        "spans": len(record.spans),
        "remark": ", ".join(remarks.get(root, ())),
    }


def details_of(
    records: Iterable[ConversationRecord], errors: Iterable[StoredError], start: float
) -> dict[str, Details]:
    """All that is known of each span, by its id."""
    found: dict[str, Details] = {}
    for record in records:
        for span in record.spans:
            found[span.span_id] = _details(span, record.name)
    for error in errors:
        if error.span_id in found:
            found[error.span_id]["errors"].append(problem_of(error, start))
    return found


def _details(span: SpanRecord, process: str) -> Details:
    return {
        "id": span.span_id,
        "parent": span.parent_span_id,
        "op": span.op,
        "name": span.name,
        "status": span.status,
        "origin": span.origin,
        "started_at": span.started_at,
        "seconds": None if span.status == OPEN else round(span.duration, 6),
        "process": process,
        "attributes": dict(span.attributes),
        "errors": [],
    }


def problem_of(error: StoredError, start: float) -> Problem:
    """An error as it is shown: what, where in the code."""
    return {
        "at": round(error.time - start, 4),
        "type": error.type,
        "message": error.message,
        "event_id": error.event_id,
        "span": error.span_id,
        "frames": _frames(error.event),
    }


def _frames(event: Mapping[str, Any]) -> list[str]:
    """The lines of code where an error was raised, the innermost last; what isn't as Sentry has it
    is left out."""
    found: list[str] = []
    exceptions = event.get("exception")
    values = exceptions.get("values") if isinstance(exceptions, dict) else None
    for value in values if isinstance(values, list) else []:
        trace = value.get("stacktrace") if isinstance(value, dict) else None
        frames = trace.get("frames") if isinstance(trace, dict) else None
        for frame in frames if isinstance(frames, list) else []:
            if isinstance(frame, dict):
                place = f"{frame.get('filename', '?')}:{frame.get('lineno', '?')}"
                found.append(f"{place} in {frame.get('function', '?')}")
    return found[-_MOST_FRAMES:]
