"""Talking over each other is told from the audio, not from telemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.simulator.interruption import Interruption, both_heard, find_interruption
from agent.simulator.voice import Voice, overlap
from tests.agent.simulator.speeches import speech

if TYPE_CHECKING:
    from agent.simulator.hearing import AgentSpeech


@pytest.mark.parametrize(
    ("said", "since", "until", "found"),
    [
        (speech(10, 12.5, cut=True), 12.0, None, Interruption("stops", 0.5)),
        (speech(10, 15, held=(12.2, 14)), 12.0, None, Interruption("resumes", None)),
        (speech(10, 15), 12.0, None, Interruption("none", None)),
        (speech(10, 15), 16.0, None, None),
        (speech(10, 15), 9.0, None, None),
        (speech(10, 15), None, None, None),
        # held back by the first of two turns, cut by the second
        (speech(10, 15, held=(12.2, 14), cut=True), 12.0, 14.5, Interruption("resumes", None)),
        (speech(10, 15, held=(12.2, 14), cut=True), 14.5, None, Interruption("stops", 0.5)),
        # the cough came while it was held back for another, and then it went on
        (speech(10, 15, held=(12.2, 14)), 13.0, None, Interruption("resumes", None)),
        # only its trailing silence was cut: nothing that could be heard
        (speech(10, 12, cut=True), 12.5, None, None),
    ],
)
def test_what_a_turn_does_to_the_agents_speech(
    said: AgentSpeech, since: float | None, until: float | None, found: Interruption | None
) -> None:
    """It stops, pauses and goes on, or goes on, by the frames that came; each by one turn."""
    assert find_interruption([speech(1, 2), said], since, until) == found


def test_talking_over_is_what_both_could_be_heard_in() -> None:
    """Stretches of voice overlap where both are in one; a breath doesn't end a stretch."""
    voice = Voice()
    for since, until in ((1.0, 1.02), (1.1, 1.12), (2.0, 2.5)):
        voice.add(since, until)
    assert voice.stretches == [(1.0, 1.12), (2.0, 2.5)]
    assert voice.seconds == pytest.approx(0.62)
    assert overlap(voice.stretches, [(1.05, 2.1), (2.4, 3.0)]) == pytest.approx(0.27)
    assert both_heard(voice, [speech(0, 1.05), speech(2.4, 9)]) == pytest.approx(0.15)
