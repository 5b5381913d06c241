"""The end of a turn is found as the operator wants it."""

from __future__ import annotations

import pytest
from livekit.agents import LanguageCode, inference, llm
from livekit.agents.voice.turn import _StreamingTurnDetector, _TurnDetector

from agent.session.turn_taking import USUAL, SentenceDetector, TurnTaking


def history(*said: tuple[llm.ChatRole, str]) -> llm.ChatContext:
    """A conversation so far."""
    context = llm.ChatContext.empty()
    for role, text in said:
        context.add_message(role=role, content=text)
    return context


async def probability(*said: tuple[llm.ChatRole, str]) -> float:
    """The detector's judgement of the last words."""
    return await SentenceDetector().predict_end_of_turn(history(*said))


async def test_unfinished_sentence_is_no_end_of_turn() -> None:
    """Its probability is on the other side of the threshold from that of a finished one."""
    unlikely = await SentenceDetector().unlikely_threshold(LanguageCode("en"))
    assert unlikely is not None
    assert await probability(("user", "I would like a table for")) < unlikely
    assert await probability(("user", "I would like a table for four.")) > unlikely


async def test_question_that_was_asked_counts() -> None:
    """Two digits are an answer to how many, and the beginning of a telephone number."""
    assert await probability(("assistant", "How many people?"), ("user", "Five")) == 1
    assert await probability(("assistant", "What's your phone number?"), ("user", "Five five")) == 0


async def test_only_the_last_words_are_judged() -> None:
    """An earlier open end, which was answered, says nothing of now."""
    said = await probability(
        ("user", "I'd like a table for"), ("assistant", "For how many?"), ("user", "Four.")
    )
    assert said == 1


async def test_grammar_is_asked_of_english_only() -> None:
    """Of another language, or one that nobody names, it would know nothing."""
    detector = SentenceDetector()
    assert await detector.supports_language(LanguageCode("en-GB"))
    assert not await detector.supports_language(LanguageCode("de"))
    assert not await detector.supports_language(None)


def test_words_that_come_at_once_are_answered_at_once() -> None:
    """Our own recogniser's are there within the pause. Others' come later, and a first clause
    without the rest must not be answered: as long as silence alone is waited for, they are too."""
    ours, others, silence = (
        turns.handling()["endpointing"]["min_delay"]
        for turns in (USUAL.of(our_words=True), USUAL.of(our_words=False), TurnTaking("vad"))
    )
    assert ours < others == silence
    assert USUAL.of(our_words=True).listening.pause < USUAL.of(our_words=False).listening.pause


def test_operators_delays_go_before() -> None:
    """Whatever the detection's own are."""
    given = TurnTaking("words", "dynamic", min_delay=0.7, max_delay=4.0)
    asked = {"mode": "dynamic", "min_delay": 0.7, "max_delay": 4.0}
    for ours in (True, False):
        assert given.of(our_words=ours).handling()["endpointing"] == asked


def test_unfinished_sentence_is_held_back_where_our_words_decide() -> None:
    """No longer than a caller is waited for, and not at all where nobody asks for the words."""
    ours = USUAL.of(our_words=True).listening
    assert 0 < ours.linger < ours.hold < 1.5  # then an interrupted agent goes on
    assert TurnTaking("words", max_delay=0.8).of(our_words=True).listening.hold == 0.8
    for other in (USUAL, TurnTaking("vad").of(our_words=True), TurnTaking("model")):
        assert (other.listening.hold, other.listening.linger) == (0, 0)


def test_the_longest_delay_is_never_shorter_than_the_least() -> None:
    """An operator may name one of the two."""
    assert TurnTaking("words", min_delay=5.0).endpointing_options()["max_delay"] == 5.0


@pytest.mark.parametrize("detection", ["words", "model", "vad"])
def test_livekit_is_given_what_it_takes(detection: str) -> None:
    """A detector of its own protocols, or the name of a mode; and a pause that it takes."""
    turns = TurnTaking(detection)  # type: ignore[arg-type] # the parameter is one of them
    given = turns.handling()["turn_detection"]
    match detection:
        case "words":
            detector: _TurnDetector = SentenceDetector()
            assert type(given) is type(detector)
            assert not isinstance(given, _StreamingTurnDetector)
        case "model":
            assert isinstance(given, inference.TurnDetector)
            assert given.model == "turn-detector-v1-mini"
            assert turns.listening.pause >= 0.25
        case "vad":
            assert given == "vad"
