"""A trace that tells otherwise than the audio is found out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent.simulator import check_audio
from agent.simulator.responses import Response
from telemetry import attributes as names
from tests.agent.simulator.speeches import speech
from tests.agent.simulator.traces import CALLER, span, trace

if TYPE_CHECKING:
    from agent.simulator.hearing import AgentSpeech
    from telemetry.records import ConversationRecord


def test_latencies_that_differ_are_found() -> None:
    """More than 150 ms between telemetry and the caller is a flaw, in either direction."""
    told = [Response(0, 0.5, {}), Response(5, 0.8, {}), None, Response(9, 1.0, {})]
    found = list(check_audio.check_latency([0.6, 0.6, 1.0, None], [0.0] * 4, told))
    assert found == [
        "turn 2: it has a response latency of 800 ms, the caller measured 600 ms",
    ]


def test_gaps_that_are_not_the_callers_are_found() -> None:
    """What the trace has the caller tell is what it told of that turn, or nothing."""
    told = [Response(at, 0.6, {}, gap) for at, gap in ((0, 0.6), (5, None), (9, 0.7))]
    found = list(check_audio.check_latency([0.6, 0.6, 0.6], [0.0] * 3, told))
    assert found == ["turn 3: it has the caller tell a gap of 700 ms, the caller measured 600 ms"]


def record(*agent_speeches: tuple[float, float, dict[str, Any]]) -> ConversationRecord:
    """A conversation in which the agent spoke in turns of its own, with what is told of them."""
    whole = trace("c", CALLER, 100, 120, responses=[])
    root, *_ = whole.spans
    spans = [root]
    for since, until, told in agent_speeches:
        turn = span(names.OP_TURN, root, since, until, told)
        spans += [turn, span(names.OP_AGENT_SPEECH, turn, since, until, told)]
    return replace(whole, spans=tuple(spans))


CUT = {names.INTERRUPTED: True}


def test_interruptions_agree() -> None:
    """A speech that was cut is interrupted in the trace; the call's own end interrupts nobody."""
    told = record((102, 104, {}), (105, 106.1, CUT), (110, 113, CUT))
    heard = [speech(102, 104), speech(105, 106, cut=True), speech(110, 112.9, cut=True)]
    assert list(check_audio.check_interruptions(told, heard, until=112.8)) == []


@pytest.mark.parametrize(
    ("told", "heard", "flaw"),
    [
        (
            record((105, 106, {})),
            speech(105, 106, cut=True),
            "the agent was cut short 6.0 s into the call, which it doesn't have",
        ),
        (
            record((105, 106, CUT)),
            speech(105, 106),
            "it has the agent interrupted 6.0 s into the call, which wasn't heard",
        ),
    ],
)
def test_interruptions_that_differ_are_found(
    told: ConversationRecord, heard: AgentSpeech, flaw: str
) -> None:
    """An interruption that only the caller heard, or only the trace has, is a flaw."""
    assert list(check_audio.check_interruptions(told, [heard], until=115)) == [flaw]


def test_words_nobody_heard_are_found() -> None:
    """A speech that was cut can't have said all of it, at the pace of those heard to the end."""
    sentence = "We are open from Tuesday to Thursday, and on Friday until eleven"
    words = {names.AGENT_WORDS: sentence}
    whole = speech(102, 106, words=sentence)
    cut = speech(108, 109, cut=True, words=sentence)
    told = record((102, 106, words), (108, 109, words))
    assert list(check_audio.check_words(told, [whole, cut], until=115)) == [
        f"it has the agent say {sentence!r} 8.0 s into the call, of which 1.0 s were heard"
    ]
    honest = record((102, 106, words), (108, 109, {names.AGENT_WORDS: "We are open"}))
    assert list(check_audio.check_words(honest, [whole, cut], until=115)) == []


def test_words_without_any_sound_are_found() -> None:
    """The trace can't have the agent speak when nothing came."""
    told = record((102, 103, {names.AGENT_WORDS: "Your table is booked, thank you."}))
    assert len(list(check_audio.check_words(told, [], until=115))) == 1
