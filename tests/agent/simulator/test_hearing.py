"""What arrives is sorted into the turn it belongs to, and replies are measured from the audio."""

from __future__ import annotations

import time

from agent.gateway.protocol import AudioEnded, AudioStarted, Ended, Tool, Words
from agent.session.line import Outcome
from agent.simulator.audio import FRAME_BYTES, SILENCE
from agent.simulator.hearing import Hearing
from tests.agent.simulator.recordings import silence, tone

AUDIBLE = silence(0.01) + tone(0.01)


def test_first_audible_sample_answers() -> None:
    """A reply is measured to its first audible sample, not to the silence before it."""
    hearing = Hearing()
    turn = hearing.begin()
    hearing.voiced(time.time() - 1)
    hearing.take(AudioStarted())
    hearing.take(SILENCE)
    unheard = turn.measured
    before = time.time()
    hearing.take(AUDIBLE)
    after = time.time()
    hearing.take(tone(0.02))
    assert unheard is None
    assert turn.audible_at is not None
    assert before + 0.01 <= turn.audible_at <= after + 0.01
    assert turn.measured is not None
    assert turn.measured > 1


def test_what_began_before_the_caller_finished_answers_nothing() -> None:
    """The agent that speaks into the caller's turn is measured from the reply it then gives."""
    hearing = Hearing()
    turn = hearing.begin()
    hearing.voiced(time.time())
    hearing.take(AudioStarted())
    hearing.take(AUDIBLE)
    hearing.voiced(time.time())
    hearing.take(AUDIBLE)
    hearing.take(AudioEnded(interrupted=True))
    over_it = (turn.answered, turn.measured)
    hearing.take(AudioStarted())
    hearing.take(AUDIBLE)
    assert over_it == (False, None)
    assert turn.answered
    assert turn.measured is not None


def test_words_belong_to_the_turn_in_which_they_were_begun() -> None:
    """Words that were cut off by the caller's next turn are not a reply to that turn."""
    hearing = Hearing()
    first = hearing.begin()
    hearing.take(AudioStarted())
    second = hearing.begin()
    hearing.take(AudioEnded(interrupted=True))
    hearing.take(Words(speaker="agent", text="We are op", final=True))
    hearing.take(Words(speaker="user", text="On Fri", final=False))
    hearing.take(Words(speaker="user", text="On Friday?", final=True))
    hearing.take(Tool(name="hours", arguments="{}", ok=True))
    assert first.reply == ["We are op"]
    assert (second.reply, second.heard) == ([], ["On Friday?"])
    assert [tool.name for tool in second.tools] == ["hours"]


def test_outcome_is_kept() -> None:
    """How the call ended is what the agent says of it."""
    hearing = Hearing()
    assert hearing.outcome is None
    hearing.take(Ended(outcome=Outcome.IDLE))
    assert hearing.outcome is Outcome.IDLE


def test_frames_are_frames() -> None:
    """The audio these tests hear is 20 ms at a time, as the protocol has it."""
    assert len(AUDIBLE) == len(SILENCE) == FRAME_BYTES
