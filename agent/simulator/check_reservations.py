"""The check of the reservations book: a conversation left in it what it was to leave.

Callers book side by side, some under the same name. A reservation is a conversation's own when its
id is in the result of one of that conversation's tool calls, as its trace tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.simulator.expect import includes
from telemetry import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from telemetry.records import ConversationRecord


def check_reservations(
    wanted: Sequence[Mapping[str, Any]],
    book: Sequence[Mapping[str, Any]] | None,
    record: ConversationRecord,
) -> Iterator[str]:
    """Failures: one line of text for each wanted reservation that isn't there, or unwanted one.

    Args:
        wanted: some fields of each; none wanted means that there must be none.
        book: all reservations, with the field ``id``; None when there is no book to look in.
        record: the conversation's trace.
    """
    if book is None:
        yield "reservations can't be checked: the agent's book isn't known"
        return
    own = [row for row in book if _is_own(row, record)]
    if not wanted and own:
        yield f"it was to leave no reservation, and left {_listed(own)}"
    for fields in wanted:
        unknown = [name for row in book[:1] for name in fields if name not in row]
        if unknown:
            yield f"reservations have no {unknown[0]!r}: they have {', '.join(book[0])}"
        elif not any(includes(row, fields) for row in own):
            yield f"it left no reservation with {dict(fields)}: it left {_listed(own)}"


def _is_own(row: Mapping[str, Any], record: ConversationRecord) -> bool:
    results = (
        str(span.attributes.get(names.GEN_AI_TOOL_CALL_RESULT, ""))
        for span in record.spans
        if span.op == names.OP_TOOL
    )
    return any(str(row["id"]) in result for result in results)


def _listed(rows: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(str(dict(row)) for row in rows) or "none"
