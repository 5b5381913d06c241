"""What happened is told from the audio; a trace that tells otherwise is found out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent.simulator import truth
from agent.simulator.truth import Overlap, both_heard, talked_over
from agent.simulator.verdict import Response
from agent.simulator.voice import Voice, overlap
from telemetry import attributes as names
from tests.agent.simulator.speeches import speech
from tests.agent.simulator.traces import CALLER, span, trace

if TYPE_CHECKING:
    from agent.simulator.hearing import AgentSpeech
    from telemetry.records import ConversationRecord


@pytest.mark.parametrize(
    ("said", "since", "until", "found"),
    [
        (speech(10, 12.5, cut=True), 12.0, None, Overlap("stops", 0.5)),
        (speech(10, 15, held=(12.2, 14)), 12.0, None, Overlap("resumes", None)),
        (speech(10, 15), 12.0, None, Overlap("none", None)),
        (speech(10, 15), 16.0, None, None),
        (speech(10, 15), 9.0, None, None),
        (speech(10, 15), None, None, None),
        # held back by the first of two turns, cut by the second
        (speech(10, 15, held=(12.2, 14), cut=True), 12.0, 14.5, Overlap("resumes", None)),
        (speech(10, 15, held=(12.2, 14), cut=True), 14.5, None, Overlap("stops", 0.5)),
        # the cough came while it was held back for another, and then it went on
        (speech(10, 15, held=(12.2, 14)), 13.0, None, Overlap("resumes", None)),
        # only its trailing silence was cut: nothing that could be heard
        (speech(10, 12, cut=True), 12.5, None, None),
    ],
)
def test_what_a_turn_does_to_the_agents_speech(
    said: AgentSpeech, since: float | None, until: float | None, found: Overlap | None
) -> None:
    """It stops, pauses and goes on, or goes on, by the frames that came; each by one turn."""
    assert talked_over([speech(1, 2), said], since, until) == found


def test_talking_over_is_what_both_could_be_heard_in() -> None:
    """Stretches of voice overlap where both are in one; a breath doesn't end a stretch."""
    voice = Voice()
    for since, until in ((1.0, 1.02), (1.1, 1.12), (2.0, 2.5)):
        voice.add(since, until)
    assert voice.stretches == [(1.0, 1.12), (2.0, 2.5)]
    assert voice.seconds == pytest.approx(0.62)
    assert overlap(voice.stretches, [(1.05, 2.1), (2.4, 3.0)]) == pytest.approx(0.27)
    assert both_heard(voice, [speech(0, 1.05), speech(2.4, 9)]) == pytest.approx(0.15)


def test_latencies_that_differ_are_found() -> None:
    """More than 150 ms between telemetry and the caller is a flaw, in either direction."""
    told = [Response(0, 0.5, {}), Response(5, 0.8, {}), None, Response(9, 1.0, {})]
    found = list(truth.check_latency([0.6, 0.6, 1.0, None], [0.0] * 4, told))
    assert found == [
        "turn 2: it has a response latency of 800 ms, the caller measured 600 ms",
    ]


def test_what_the_line_swallowed_nobody_can_tell() -> None:
    """Telemetry may count from the last sample that surely reached the agent, or any after it."""
    assert truth.apart(0.6, 0.6, 0.0) == 0
    assert truth.apart(0.7, 0.6, 0.2) == 0
    assert truth.apart(0.9, 0.6, 0.2) == pytest.approx(0.1)
    assert truth.apart(0.5, 0.6, 0.2) == pytest.approx(0.1)


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
    assert list(truth.check_interruptions(told, heard, until=112.8)) == []


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
    assert list(truth.check_interruptions(told, [heard], until=115)) == [flaw]


def test_words_nobody_heard_are_found() -> None:
    """A speech that was cut can't have said all of it, at the pace of those heard to the end."""
    sentence = "We are open from Tuesday to Thursday, and on Friday until eleven"
    words = {names.AGENT_WORDS: sentence}
    whole = speech(102, 106, words=sentence)
    cut = speech(108, 109, cut=True, words=sentence)
    told = record((102, 106, words), (108, 109, words))
    assert list(truth.check_words(told, [whole, cut], until=115)) == [
        f"it has the agent say {sentence!r} 8.0 s into the call, of which 1.0 s were heard"
    ]
    honest = record((102, 106, words), (108, 109, {names.AGENT_WORDS: "We are open"}))
    assert list(truth.check_words(honest, [whole, cut], until=115)) == []


def test_words_without_any_sound_are_found() -> None:
    """The trace can't have the agent speak when nothing came."""
    told = record((102, 103, {names.AGENT_WORDS: "Your table is booked, thank you."}))
    assert len(list(truth.check_words(told, [], until=115))) == 1
