"""The oracle notices where a trace and its session's history differ; that it agrees with what is
so, every other test shows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import pytest
from livekit.agents import Agent, AgentSession, function_tool

from telemetry import attributes as names
from telemetry.testing import agrees

from .call import Call, calling
from .providers import Reply
from .tree import complete, turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.records import SpanRecord
    from telemetry.testing import Captured


class Waiter(Agent):
    """Has a tool, and one that fails."""

    @function_tool
    async def menu(self) -> str:
        """What there is."""
        return "Soup"

    @function_tool
    async def broken(self) -> str:
        """Fails."""
        raise RuntimeError("the kitchen is on fire")


Told: TypeAlias = "tuple[AgentSession[None], list[SpanRecord]]"


@pytest.fixture
async def told(captured: Captured) -> Told:
    """A session with all that is compared, and its trace."""
    call = Call(
        {
            "Menu?": Reply("Wait", {"menu": {}, "broken": {}}),
            "An internal error occurred": "There is soup",
            "Well": "A very long answer",
        }
    )
    async with calling(call, Waiter(instructions="Be brief.")):
        await call.asks("Menu?", answers=2)
        call.speaker.holding, call.speaker.heard = True, "A very"
        call.says("Well")
        await call.speaker.started.wait()
        await call.session.interrupt()
    [spans] = complete(captured)
    return call.session, spans


def changed(spans: Sequence[SpanRecord], which: SpanRecord, **facts: object) -> list[SpanRecord]:
    """The trace with other attributes of one span, named by our constants; None takes one away."""
    attributes = {**which.attributes, **{getattr(names, key): facts[key] for key in facts}}
    other = replace(
        which, attributes={key: value for key, value in attributes.items() if value is not None}
    )
    return [other if span is which else span for span in spans]


async def test_words_that_are_missing(told: Told) -> None:
    """In the trace, or in the history."""
    session, spans = told
    first, second = turns(spans)
    assert agrees(session, changed(spans, first, USER_WORDS=None)).differences == (
        "no turn has what the user said: 'Menu?'",
    )
    assert agrees(session, changed(spans, first, USER_WORDS="Menu? Now")).differences == (
        "the history lacks what the user said in turn 0: 'Now'",
    )
    assert agrees(session, changed(spans, second, AGENT_WORDS="A very long")).differences == (
        "the history lacks what the assistant said in turn 1: 'long'",
    )


async def test_words_in_another_turn(told: Told) -> None:
    """Even if all of them are there."""
    session, spans = told
    first, second = turns(spans)
    moved = changed(spans, first, AGENT_WORDS="Wait")
    moved = changed(moved, second, AGENT_WORDS="There is soup A very")
    assert (
        agrees(session, moved).differences[0] == "'There is soup' answers turn 0, and is in turn 1"
    )
    swapped = changed(spans, first, USER_WORDS="Well")
    swapped = changed(swapped, second, USER_WORDS="Menu?")
    assert not agrees(session, swapped)


async def test_an_interruption_that_is_not_told(told: Told) -> None:
    """Of a speech, or in the sum."""
    session, spans = told
    [cut] = [
        span
        for span in spans
        if span.attributes.get(names.AGENT_WORDS) == "A very" and span.op == names.OP_AGENT_SPEECH
    ]
    assert agrees(session, changed(spans, cut, INTERRUPTED=False)).differences == (
        "in turn 1, 1 messages of the history were cut short, and 0 speeches of the trace",
    )
    assert agrees(session, changed(spans, spans[0], CONVERSATION_INTERRUPTIONS=0)).differences == (
        "the history has 1 messages cut short, the trace 0",
    )


async def test_tools_that_are_not_told(told: Told) -> None:
    """A call that is missing, one too many, one that didn't fail."""
    session, spans = told
    called = [span for span in spans if span.op == names.OP_TOOL]
    tools = {span.attributes[names.GEN_AI_TOOL_NAME]: span for span in called}
    without = [span for span in spans if span is not tools["menu"]]
    assert agrees(session, without).differences == ("the trace lacks a call of menu (menu_call)",)
    assert agrees(session, [*spans, tools["menu"]]).differences == (
        "the history lacks a call of menu (menu_call)",
    )
    well = [replace(span, status="ok") if span is tools["broken"] else span for span in spans]
    assert agrees(session, well).differences == (
        "call broken_call has failed, and its span has not",
    )


async def test_tokens_that_are_not_told(told: Told) -> None:
    """By a request, which the session has counted, its turn and the conversation; or by a turn."""
    session, spans = told
    chat = next(span for span in spans if span.op == names.OP_CHAT)
    [model, conversation, turn] = agrees(
        session, changed(spans, chat, GEN_AI_USAGE_INPUT_TOKENS=8)
    ).differences
    assert (
        model == f"mind-1: {names.GEN_AI_USAGE_INPUT_TOKENS} is 21 by the session, 22 in the trace"
    )
    assert conversation.startswith("call: 21 ")
    assert turn.startswith("turn 0: 14 ")


async def test_a_trace_without_content(told: Told) -> None:
    """Is compared in all but words."""
    session, spans = told
    kept = [
        replace(
            span,
            attributes={
                name: value for name, value in span.attributes.items() if not names.is_content(name)
            },
        )
        for span in spans
    ]
    assert agrees(session, kept)
    assert not agrees(session, changed(kept, kept[0], CONVERSATION_INTERRUPTIONS=2))
    assert str(agrees(session, kept)) == "history and trace agree"
