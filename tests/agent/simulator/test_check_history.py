"""The trace is held against the history of the agent's session."""

from __future__ import annotations

from dataclasses import replace

from livekit.agents import AgentSession

from agent.simulator.check_history import check_history
from telemetry import attributes as names
from telemetry.records import ConversationRecord
from tests.agent.simulator.traces import span

ROOT = span(names.OP_CONVERSATION, None, 0.0, 9.0, {names.CONVERSATION_INTERRUPTIONS: 1})
TURN = span(names.OP_TURN, ROOT, 1.0, 2.0, {names.TURN_INDEX: 0, names.AGENT_WORDS: "Hello"})


async def test_one_line_for_all_that_differs() -> None:
    """A session that heard and said nothing, and a trace with words and an interruption."""
    told = ConversationRecord("c-1", "a" * 32, "call", 0.0, 9.0, "ok", spans=(ROOT, TURN))
    [line] = check_history(told, AgentSession[None]())
    assert line == (
        "it differs from the session's history: "
        "the history lacks what the assistant said in turn 0: 'Hello'; "
        "the history has 0 messages cut short, the trace 1"
    )


async def test_nothing_where_they_agree() -> None:
    """Neither has anything."""
    root = replace(ROOT, attributes={})
    told = ConversationRecord("c-1", "a" * 32, "call", 0.0, 9.0, "ok", spans=(root,))
    assert list(check_history(told, AgentSession[None]())) == []
