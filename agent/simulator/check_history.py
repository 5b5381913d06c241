"""Checks that a conversation's trace says what the history of its session says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telemetry.testing import agrees

if TYPE_CHECKING:
    from collections.abc import Iterator

    from livekit.agents import AgentSession

    from telemetry.records import ConversationRecord


def check_history(record: ConversationRecord, session: AgentSession[Any]) -> Iterator[str]:
    """Check the words, tools, interruptions and tokens of each turn: one line for all that differ.

    LiveKit keeps the history; see :func:`telemetry.testing.agrees`.
    """
    agreement = agrees(session, record.spans)
    if not agreement:
        yield f"it differs from the session's history: {'; '.join(agreement.differences)}"
