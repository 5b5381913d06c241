"""The state machine of turns, told of a session by hand: no session, no span, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry import attributes as names
from telemetry.integrations.livekit.turn import Late
from telemetry.integrations.livekit.turns import Turns

if TYPE_CHECKING:
    from telemetry.integrations.livekit.latency import Stage
    from telemetry.integrations.livekit.turn import Turn


class Told(Turns):
    """A machine, and what it says of turns that are over."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, float]] = []
        self.stages: dict[int, list[tuple[str, float]]] = {}
        super().__init__(self._ended)

    def _ended(self, turn: Turn, at: float, stages: list[Stage]) -> None:
        self.ended.append((turn.index, at))
        self.stages[turn.index] = [(stage.name, stage.duration) for stage in stages]

    def asked(self, at: float, by: object) -> Turn:
        """The caller speaks for two seconds, and their turn is taken a second later."""
        turn = self.caller_begins(at)
        assert turn is not None
        self.caller_speaks(turn, at)
        self.caller_silent(turn, at + 2, at + 2)
        self.transcribed(by, at + 3, is_final=True)
        self.caller_decided(turn)
        self.wait_over(turn, at + 3)
        self.agent_asked(turn, by)
        self.caller_done(turn, at + 3)
        return turn


def test_a_question_and_its_answer() -> None:
    """The speech that is made by who took the caller's turn is the answer, and ends the turn."""
    turns, task = Told(), object()
    turn = turns.asked(10, task)
    turns.speech_made("s", None, task, prompted=True, entering=False)
    assert turns.speech_begins("s", 13, task) == (turn, False)
    turn.marks.model_asked(13)
    turn.marks.model_began(13, after=1)
    turn.marks.model_done(13, 15)
    turn.marks.voice_asked(15)
    turn.marks.voice_began(16)
    turns.agent_heard(turn, 18)
    turns.part_over(turn, 20)
    assert turns.ended == []  # LiveKit may go on with it
    turns.speech_over("s", 21)
    assert turns.ended == [(0, 20)]
    assert turn.facts[names.RESPONSE_LATENCY] == 6
    assert turns.stages[0] == [
        ("transcription", 1),
        ("llm", 1),
        ("first_sentence", 1),
        ("synthesis", 1),
        ("audio_out", 2),
    ]


def test_what_nobody_asked_for_is_a_turn_of_the_agents() -> None:
    """It begins with its speech, and has no latency."""
    turns = Told()
    turns.speech_made("s", None, object(), prompted=True, entering=False)
    turn, begins = turns.speech_begins("s", 1, object())
    assert begins
    turns.agent_heard(turn, 2)
    turns.speech_over("s", 3)
    assert turns.ended == [(0, 3)]
    assert turn.facts[names.TURN_INITIATOR] == "agent"
    assert names.RESPONSE_LATENCY not in turn.facts


def test_a_question_stays_open_to_a_late_answer() -> None:
    """Until the caller asks the next."""
    turns, task = Told(), object()
    turns.asked(10, task)
    assert turns.ended == []
    turns.caller_begins(20)
    assert turns.ended == [(0, 13)]


@pytest.mark.parametrize("prompted", [True, False])
def test_a_realtime_model_speaks_unprompted(prompted: bool) -> None:
    """To whoever has spoken last; what the application asks it for answers nobody."""
    turns = Told()
    turn = turns.caller_speaks(None, 1)
    turns.caller_silent(turn, 2, 2)
    turns.speech_made("s", None, None, prompted=prompted, entering=False)
    answers, begins = turns.speech_begins("s", 3, object())
    assert (answers is turn) == (not begins) == (not prompted)


def test_a_session_that_closes() -> None:
    """Ends every turn, and says what they come to."""
    turns, task = Told(), object()
    turn = turns.asked(10, task)
    turns.used(turn, "input_tokens", 7)
    turns.used(None, "input_tokens", 1)
    turns.speech_made("s", None, task, prompted=True, entering=False)
    assert turns.close(30) == {
        names.CONVERSATION_TURNS: 1,
        names.CONVERSATION_INTERRUPTIONS: 0,
        names.USAGE + "input_tokens": 8,
    }
    assert turns.ended == [(0, 30)]
    assert turn.facts[names.USAGE + "input_tokens"] == 7


def test_the_next_turn_begins_while_the_agent_is_asked_about_this_one() -> None:
    """The reply is this one's: the task that took it asks for the reply."""
    turns, task = Told(), object()
    turn = turns.caller_begins(10)
    assert turn is not None
    turns.caller_decided(turn)
    assert turns.caller_begins(14) is not turn
    turns.agent_asked(turn, task)
    turns.speech_made("s", None, task, prompted=True, entering=False)
    assert turns.of_speech("s") is turn


def test_a_declined_turn_waits_for_what_is_at_work_and_not_for_livekit() -> None:
    """LiveKit keeps a reply that it made ahead of time, until there is another."""
    turns, task = Told(), object()
    turn = turns.asked(10, task)
    turns.speech_made("s", None, task, prompted=True, entering=False)
    turns.work_begins(turn)
    turns.declined(turn, {"s"})
    turns.part_over(turn, 14)
    assert turns.ended == []
    turns.work_over(turn, 15)
    assert turns.ended == [(0, 15)]


def test_words_that_come_late() -> None:
    """A turn that a model has heard the end of is kept for them until the caller's next is over."""
    turns = Told()
    for number, words in enumerate(("one", None)):
        turn = turns.caller_speaks(None, 10 * number + 1)
        turns.caller_silent(turn, 10 * number + 2, 10 * number + 2, {Late.WORDS})
        turns.speech_made(f"s{number}", None, None, prompted=False, entering=False)
        turns.agent_heard(turn, 10 * number + 3)
        turns.part_over(turn, 10 * number + 4)
        turns.speech_over(f"s{number}", 10 * number + 4)
        assert turns.ended == []
        if words is not None:
            turns.caller_speaks(None, 9)
            assert turns.transcribed(None, 10, is_final=True, item=words) is turn
            assert turns.of_item(words) is turn
            turns.said(turn, names.USER_WORDS, words)
            turns.transcript_over(turn, 10)
            assert turns.ended == [(0, 4)]
            turns.ended.clear()
    assert turns.close(30)[names.CONVERSATION_TURNS] == 2


def test_typed_words_begin_the_turn_of_the_speech_that_answers_them() -> None:
    """LiveKit tells a realtime model them before it makes the speech."""
    turns, task = Told(), object()
    turn = turns.typed(task, 1)
    turns.said(turn, names.USER_WORDS, "Hello")
    turns.speech_made("s", None, object(), prompted=True, entering=False)
    assert turns.speech_begins("s", 2, task) == (turn, False)
    assert turn.facts[names.TURN_INITIATOR] == "user"


def test_a_reply_that_was_made_of_the_next_turns_first_words() -> None:
    """Whose it is shows when its question is part of the history."""
    turns, task, next_task = Told(), object(), object()
    turn = turns.asked(10, task)
    turns.speech_made("s", None, task, prompted=True, entering=False)
    turns.declined(turn, {"s"})
    asked = turns.asked(14, next_task)
    assert turns.answered_in(turn) is asked
    turns.give("s", asked)
    assert turns.of_speech("s") is asked
    turns.said(asked, names.USER_WORDS, "Hello")
    assert turns.answered_in(turn) is turn  # what code asks for in it, then
