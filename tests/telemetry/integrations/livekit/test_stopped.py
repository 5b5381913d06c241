"""Turns that the agent declines, after an answer has been begun ahead of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry import attributes as names

from .agents import Choosy
from .call import Call, calling
from .tree import above, complete, turns

if TYPE_CHECKING:
    from telemetry.testing import Captured


@pytest.mark.parametrize("words", ["Ignore me", "Brr"])
async def test_what_is_asked_after_a_declined_turn(captured: Captured, words: str) -> None:
    """The next turn has its own answer, latency and tokens, and the declined one is over."""
    call, agent = Call(preemptive=True), Choosy()
    async with calling(call, agent) as conversation:
        call.starts_speaking()
        call.ear.hear(words)
        await call.until(lambda: call.mind.requests == 1)
        call.activity.stops()
        await agent.told.wait()
        await call.until(lambda: conversation.get_span_by_op(names.OP_TURN) is None)
        await call.asks("Hello")
    [spans] = complete(captured)
    declined, answered = turns(spans)
    assert names.RESPONSE_LATENCY not in declined.attributes
    assert answered.attributes[names.RESPONSE_LATENCY] > 0
    for turn in (declined, answered):
        assert turn.attributes[names.USAGE + "input_tokens"] == 7
    speech = [span for span in spans if span.op == names.OP_AGENT_SPEECH]
    assert [above(spans, span, names.OP_TURN) for span in speech] == [answered]
    asked = [span for span in spans if span.op == names.OP_INVOKE_AGENT]
    assert [above(spans, span, names.OP_TURN) for span in asked] == [declined, answered]
    assert asked[0].ended_at <= declined.ended_at <= asked[1].started_at


async def test_a_declined_turn_at_the_end_of_a_call(captured: Captured) -> None:
    """What was made for it ends with it, not with the call."""
    call, agent = Call(preemptive=True), Choosy()
    async with calling(call, agent) as conversation:
        call.starts_speaking()
        call.ear.hear("Ignore me")
        await call.until(lambda: call.mind.requests == 1)
        call.activity.stops()
        await agent.told.wait()
        await call.until(lambda: conversation.get_span_by_op(names.OP_TURN) is None)
        await call.session.say("Anybody there?")
    [spans] = complete(captured)
    declined, said = turns(spans)
    assert declined.ended_at <= said.started_at
