"""A message with a trace context of its own: the turn it asks for hangs below exactly that span."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry.attributes import OP_TURN
from telemetry.integrations import livekit as livekit_telemetry

from .call import Call, calling

if TYPE_CHECKING:
    from telemetry.testing import Captured

pytestmark = pytest.mark.anyio


async def _type(context: dict[str, str] | None = None) -> str:
    """A caller that types, with this context or its own span's; that span's id."""
    call = Call({"Hello": "Hi."})
    with telemetry.transaction("caller", "test") as caller:
        async with calling(call, headers=caller.trace_headers()) as conversation:
            with caller.start_span("caller.turn") as turn:
                own = telemetry.trace_headers()
            with conversation.attach():
                speech = call.session.generate_reply(user_input="Hello")
            livekit_telemetry.asked_from(conversation, speech, context or own)
            await speech
    return turn.id


def _parent_of_turn(captured: Captured) -> str:
    """The parent of the only turn."""
    (event,) = captured.conversations
    (turn,) = [span for span in captured.spans(event) if span.op == OP_TURN]
    assert turn.parent_span_id is not None
    return turn.parent_span_id


async def test_turn_hangs_below_the_span_that_asked(captured: Captured) -> None:
    """A span of the same trace that asks for a turn is that turn's parent."""
    assert await _type() == _parent_of_turn(captured)


@pytest.mark.parametrize(
    "context",
    [
        {"sentry-trace": f"{'c' * 32}-{'d' * 16}-1"},
        {"sentry-trace": "nonsense"},
    ],
)
async def test_no_span_of_another_trace_is_a_parent(
    captured: Captured, context: dict[str, str]
) -> None:
    """A forged or foreign context is passed over and counted; the turn stays where it was."""
    await _type(context)
    assert captured.runtime.stats().refused_headers == 1
    parent = _parent_of_turn(captured)
    (event,) = captured.conversations
    assert parent in {span.span_id for span in captured.spans(event)}
    assert parent != "d" * 16
