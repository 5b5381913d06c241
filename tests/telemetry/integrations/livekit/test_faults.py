"""Telemetry's own faults: broken from within, it must not hurt the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

import pytest
from livekit.agents import Agent

from telemetry.integrations import harmless
from telemetry.integrations.livekit import (
    events,
    latency,
    livekit_span,
    recognition,
    record,
    spans,
    turn,
    turns,
)

from .call import Call, calling

if TYPE_CHECKING:
    from telemetry.testing import Captured

BREAKABLE = [
    (turns.Turns, "_begin"),
    (turns.Turns, "_end"),
    (turns.Turns, "speech_made"),
    (turns.Turns, "agent_played"),
    (turns.Turns, "part_over"),
    (latency, "Step"),
    (record.Record, "of"),
    (record.Record, "span_of"),
    (record.Record, "part_of"),
    (record.Record, "played"),
    (turn.Turn, "sum_up"),
    (turn.Turn, "said"),
    (turn.Usage, "attributes"),
    (recognition.Recognition, "transcribed"),
    (recognition.Recognition, "used"),
    (events, "current_task"),
    (spans, "current_task"),
    (livekit_span.LiveKitSpan, "_count"),
    (livekit_span.LiveKitSpan, "_tts_metrics"),
]
"""What the callbacks that LiveKit calls are made of."""


@pytest.mark.parametrize(("place", "name"), BREAKABLE, ids=[name for _, name in BREAKABLE])
async def test_a_fault_of_ours_is_not_the_calls(
    captured: Captured,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: object,
    name: str,
) -> None:
    """The caller is answered, the session closes, the conversation is delivered; it is counted,
    and logged once a place.
    """

    def broken(*_: object, **__: object) -> Never:
        raise TypeError(f"{name} is broken")  # the kind that LiveKit passes on to its own code

    monkeypatch.setattr(harmless, "_told", set())
    monkeypatch.setattr(place, name, broken)
    call = Call({"Hello": "Good evening"})
    async with calling(call) as conversation:
        await call.asks("Hello")
        await call.asks("Hello")
    assert [who for who, _ in call.items].count("assistant") == 2
    assert conversation.ended
    assert len(captured.conversations) == 1
    assert captured.runtime.stats().faults > 0
    told = [record.args for record in caplog.records if record.name == harmless.__package__]
    assert len(told) == len(set(told)) > 0


async def test_audio_that_cannot_say_when(captured: Captured) -> None:
    """A ``voiced_until`` that fails leaves latency to speech detection."""

    def broken() -> float:
        raise OSError("the line is gone")

    call = Call()
    async with calling(call, Agent(instructions="Be brief."), voiced_until=broken):
        await call.asks("Hello")
    [conversation] = captured.conversations
    assert "conversation.response" in {span["op"] for span in conversation["spans"]}
