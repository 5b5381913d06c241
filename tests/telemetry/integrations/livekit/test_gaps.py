"""The gap at the caller's ear: beside telemetry's own figure where it can be, counted where not."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest

import telemetry
from telemetry import attributes as names
from telemetry.integrations import livekit as livekit_telemetry
from telemetry.integrations.livekit import Marks, gaps
from telemetry.store import TraceStore
from telemetry.testing import capture

from .call import Call, calling
from .test_machine import Told
from .tree import complete, only, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from telemetry import Conversation
    from telemetry.integrations.livekit.turn import Turn
    from telemetry.testing import Captured

    Lifecycle = Literal["transaction", "stream"]

ODD: list[Any] = [
    *(-1.0, -0.001, math.nan, math.inf, -math.inf, 10**400),
    *(None, True, "5.5", b"5.5", [5.5], {"seconds": 5.5}),
]
"""Figures that no answer can have."""


def answered(turns: Told, asked_at: float) -> Turn:
    """The caller speaks for two seconds, and hears the agent five seconds later."""
    task = object()
    turn = turns.asked(asked_at, task)
    speech = f"speech of {asked_at}"
    turns.speech_made(speech, None, task, prompted=True, entering=False)
    turns.speech_begins(speech, asked_at + 3, task)
    turns.agent_heard(turn, asked_at + 6.5)
    turns.agent_audible(asked_at + 7)
    return turn


@pytest.mark.parametrize("gap", [5.0, 5, 5.3, 5.9, 4.85, 6.1])
def test_a_figure_that_can_be(gap: float) -> None:
    """It lies between the sending of the answer and its being told, give or take what two ends
    differ in."""
    turns = Told()
    turn = answered(turns, 10)
    assert gaps.note(turns, gap, 18)
    assert turn.facts[names.CALLER_GAP] == gap


@pytest.mark.parametrize("gap", [*ODD, 0, 0.0, 4.7, 6.3, 1e9])
def test_a_figure_that_can_not_be(gap: object) -> None:
    """Heard before it was sent, or told before it was heard; or no number at all. A sound one that
    comes then is still taken."""
    turns = Told()
    turn = answered(turns, 10)
    assert not gaps.note(turns, gap, 18)
    assert names.CALLER_GAP not in turn.facts
    assert gaps.note(turns, 5.5, 18)


def test_no_more_than_a_time() -> None:
    """Of its digits those that a time has are kept."""
    turns = Told()
    turn = answered(turns, 10)
    assert gaps.note(turns, 5.5550123456789, 18)
    assert turn.facts[names.CALLER_GAP] == 5.555


def test_told_once() -> None:
    """What was told of an answer stands."""
    turns = Told()
    turn = answered(turns, 10)
    assert gaps.note(turns, 5.5, 18)
    assert not gaps.note(turns, 5.6, 18)
    assert turn.facts[names.CALLER_GAP] == 5.5


def test_it_is_of_the_newest_answer() -> None:
    """Not of one before, nor of a turn that waits for its answer, nor of what nobody asked for."""
    turns = Told()
    first, second = answered(turns, 10), answered(turns, 30)
    turns.speech_made("unasked", None, object(), prompted=True, entering=False)
    unasked, _ = turns.speech_begins("unasked", 38, object())
    turns.agent_heard(unasked, 38)
    waiting = turns.caller_begins(39)
    assert waiting is not None
    assert gaps.note(turns, 5.5, 40)
    told = [names.CALLER_GAP in turn.facts for turn in (first, second, unasked, waiting)]
    assert told == [False, True, False, False]


def test_nothing_was_answered() -> None:
    """Before the first answer, and when its turn is over, there is nothing to be heard."""
    turns = Told()
    assert not gaps.note(turns, 5.5, 18)
    turns.asked(10, object())
    assert not gaps.note(turns, 5.5, 18)
    turns.close(20)
    assert not gaps.note(turns, 5.5, 18)


@pytest.mark.parametrize(
    ("marks", "limits"),
    [
        (Marks(voiced_until=10, first_frame_at=11), (0.8, 2.2)),
        (Marks(voiced_until=10, first_frame_at=11, audible_at=11.5), (1.3, 2.2)),
        (Marks(voiced_until=10, audible_at=10.1), (0.0, 2.2)),
        (Marks(voiced_until=10, audible_at=13), (2.8, 3.2)),  # it is on its way
        (Marks(voiced_until=10, first_frame_at=9), None),
        (Marks(voiced_until=10), None),
        (Marks(first_frame_at=11), None),
    ],
)
def test_bounds(marks: Marks, limits: tuple[float, float] | None) -> None:
    """From what is known at 12: an answer is heard after it was sent, and told after that."""
    expected = limits if limits is None else pytest.approx(limits)
    assert gaps.bounds(marks, 12) == expected


# -- in a session --------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def speaking(call: Call) -> AsyncIterator[Conversation]:
    """A call whose agent is heard answering, inside the block."""
    async with calling(call) as conversation:
        call.speaker.holding = True
        call.says("Hello")
        await call.until(lambda: call.session.agent_state == "speaking")
        yield conversation
        call.speaker.release()
        await call.until(lambda: call.is_listening)


def waited(call: Call) -> float:
    """The seconds since the caller was silent, as a client would tell them."""
    return round(time.time() - call.silent_at, 3)


async def test_it_stands_on_the_response(captured: Captured) -> None:
    """On the response's span and its turn, beside telemetry's own latency, in both lifecycles."""
    call = Call({"Hello": "Good evening"})
    async with speaking(call) as conversation:
        gap = waited(call)
        livekit_telemetry.caller_gap(conversation, gap)
    [spans] = complete(captured)
    [turn] = turns(spans)
    response = only(spans, names.OP_RESPONSE)
    assert response.parent_span_id == turn.span_id
    for span in (response, turn):
        assert span.attributes[names.CALLER_GAP] == gap
        assert span.attributes[names.RESPONSE_LATENCY] > 0
    assert captured.runtime.stats().refused_gaps == 0


async def test_what_can_not_be_costs_nothing(captured: Captured) -> None:
    """Whatever a client tells, whenever: counted, left out, and the call goes on."""
    call = Call({"Hello": "Good evening"})
    with telemetry.conversation("nobody's session") as other:
        livekit_telemetry.caller_gap(other, 0.1)
    async with speaking(call) as conversation:
        for gap in [*ODD, 60.0]:
            livekit_telemetry.caller_gap(conversation, gap)
        await call.until(lambda: call.session.agent_state == "speaking")
        call.speaker.release()
        await call.until(lambda: call.is_listening)
        livekit_telemetry.caller_gap(conversation, 0.1)  # too late
        await call.session.run(user_input="Typed")
        livekit_telemetry.caller_gap(conversation, 0.1)
    livekit_telemetry.caller_gap(conversation, 0.1)
    stats = captured.runtime.stats()
    assert stats.refused_gaps == 1 + len(ODD) + 1 + 3
    assert stats.faults == 0
    event = captured.conversations[-1]
    assert not any(names.CALLER_GAP in span.attributes for span in captured.spans(event))


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
async def test_it_is_a_number_and_is_sent(tmp_path: Path, lifecycle: Lifecycle) -> None:
    """Sentry gets it, as the store does. Words in its place are in neither."""
    words = "thguoht"[::-1]
    with capture(store=tmp_path / "traces.db", lifecycle=lifecycle) as captured:
        call = Call({"Hello": "Good evening"})
        async with speaking(call) as conversation:
            gap = waited(call)
            livekit_telemetry.caller_gap(conversation, words)
            livekit_telemetry.caller_gap(conversation, gap)
        sent = b"".join(captured.envelopes)
    key = f'"{names.CALLER_GAP}":'.encode()
    number = repr(gap).encode()  # with its turn
    assert sent.count(key + number) + sent.count(key + b'{"value":' + number) == 2
    assert words.encode() not in sent
    with contextlib.closing(TraceStore(tmp_path / "traces.db")) as store:
        stored = store.conversation(conversation.id)
    assert stored is not None
    assert only(stored.spans, names.OP_RESPONSE).attributes[names.CALLER_GAP] == gap
    assert words not in str(stored)
