"""What arrives is sorted into the turn it belongs to, and replies are measured from the audio."""

from __future__ import annotations

import time

import anyio
import pytest

from agent.gateway.protocol import AudioEnded, AudioStarted, Ended, Flush, State, Tool, Words
from agent.session.line import Outcome
from agent.simulator.audio import FRAME_BYTES, SILENCE
from agent.simulator.hearing import AgentSpeech, Hearing
from tests.agent.simulator.recordings import silence, tone

AUDIBLE = silence(0.01) + tone(0.01)


def test_first_audible_sample_answers() -> None:
    """A reply is measured to its first audible sample, not to the silence before it, even where
    both come together."""
    hearing = Hearing()
    turn = hearing.begin()
    hearing.voiced(time.time() - 2, time.time() - 1)
    hearing.take(AudioStarted())
    before = time.time()
    hearing.take(SILENCE)
    unheard = turn.measured
    hearing.take(AUDIBLE)
    after = time.time()
    hearing.take(tone(0.02))
    assert unheard is None
    assert turn.audible_at is not None
    assert before + 0.02 + 0.01 <= turn.audible_at <= after + 0.02 + 0.01
    assert turn.measured is not None
    assert turn.measured > 1
    assert (hearing.new_gap(), hearing.new_gap()) == (turn.measured, None)


def test_what_began_before_the_caller_finished_answers_nothing() -> None:
    """The agent that speaks into the caller's turn is measured from the reply it then gives."""
    hearing = Hearing()
    turn = hearing.begin()
    hearing.voiced(time.time(), time.time())
    hearing.take(AudioStarted())
    hearing.take(AUDIBLE)
    hearing.voiced(time.time(), time.time())
    hearing.take(AUDIBLE)
    hearing.take(AudioEnded(interrupted=True))
    hearing.new_gap()
    over_it = (turn.answered, turn.measured)
    hearing.take(AudioStarted())
    hearing.take(AUDIBLE)
    assert over_it == (False, None)
    assert hearing.new_gap() == turn.measured
    assert turn.spoken_into == 1
    assert turn.answered
    assert turn.measured is not None


def test_what_the_line_swallowed_of_the_end_is_known() -> None:
    """Only what is lost after the last sample that got through; nothing, where nothing did."""
    hearing = Hearing()
    turn = hearing.begin()
    hearing.voiced(1.0, 1.2, swallowed=True)
    assert turn.swallowed == 0
    hearing.voiced(1.2, 1.4)
    assert turn.swallowed == 0
    hearing.voiced(1.4, 1.5, swallowed=True)
    assert turn.swallowed == pytest.approx(0.1)


def test_who_takes_a_pause_for_the_end_cuts_off() -> None:
    """Before the last piece the agent may neither think nor speak; after it, it is an answer."""
    for message in (State(agent="thinking", user="listening"), AudioStarted()):
        hearing = Hearing()
        turn = hearing.begin()
        turn.pauses_ms = (600,)
        hearing.voiced(time.time() - 2, time.time() - 1)
        hearing.take(message)
        assert turn.cut_off_after == pytest.approx(2, abs=0.5), "the call may end in the pause"
        hearing.voiced(time.time(), time.time())
        turn.is_said = True
        assert turn.cut_off_after == pytest.approx(2, abs=0.5)
        assert turn.taken_at is not None
        turn.taken_at = time.time()
        assert turn.cut_off_after is None
        turn.taken_at, turn.pauses_ms = turn.voiced_until, ()
        assert turn.cut_off_after is None


def test_what_goes_on_before_the_caller_begins_cuts_nobody_off() -> None:
    """An agent that still thinks, or listens, when the caller begins has taken no turn yet."""
    hearing = Hearing()
    turn = hearing.begin()
    turn.pauses_ms = (600,)
    hearing.take(State(agent="thinking", user="listening"))
    hearing.voiced(time.time(), time.time())
    hearing.take(State(agent="listening", user="speaking"))
    hearing.voiced(time.time(), time.time())
    assert (turn.taken_at, turn.cut_off_after) == (None, None)


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


def test_a_speech_is_heard_as_it_arrives() -> None:
    """What of a speech could be heard, where it was held back and that it was cut is noted."""
    speech = AgentSpeech(began_at=10.0)
    for at in (10.0, 10.02, 11.0, 11.02):
        speech.hear(AUDIBLE, at)
    (first, last), (again, _) = speech.voice.stretches
    assert first == pytest.approx(10.01)
    assert again == pytest.approx(11.01)
    assert last == pytest.approx(10.04, abs=0.001)
    assert speech.holds == [(last, again)]
    assert speech.audible_since(11.1) == again
    assert speech.audible_since(12.0) is None


def test_silence_on_the_line_is_as_good_as_no_line() -> None:
    """A speech held back is known by what is heard, whether or not silent frames still come."""
    silent, sparse = AgentSpeech(began_at=10.0), AgentSpeech(began_at=10.0)
    for at in (10.0, 11.0):
        silent.hear(AUDIBLE, at)
        sparse.hear(AUDIBLE, at)
        for more in range(1, 49):
            silent.hear(SILENCE, at + 0.02 * more)
    assert silent.holds == sparse.holds
    assert len(silent.holds) == 1
    assert silent.audible_since(11.9) is None


def test_what_still_sounds_belongs_to_the_speech() -> None:
    """Audio that comes after its speech was said to be over is a part of that."""
    hearing = Hearing()
    hearing.take(AudioStarted())
    hearing.take(AUDIBLE)
    hearing.take(AudioEnded(interrupted=True))
    said_over = hearing.speeches[0].silent_at
    hearing.take(AUDIBLE)
    assert hearing.speeches[0].silent_at > said_over


async def test_a_speech_held_back_is_not_cut_into_again() -> None:
    """Waiting for something to cut into passes over a speech that the caller silenced."""
    hearing = Hearing()
    hearing.take(AudioStarted())
    hearing.take(AUDIBLE)
    heard = await hearing.audible()
    held = hearing.speeches[0].voice
    held.stretches[:] = [(since - 1, until - 1) for since, until in held.stretches]
    with anyio.move_on_after(0.01) as waiting:
        await hearing.audible()
    assert waiting.cancelled_caught
    hearing.take(AudioEnded(interrupted=True))
    hearing.take(AudioStarted())
    hearing.take(AUDIBLE)
    assert await hearing.audible() >= heard
    assert [speech.cut for speech in hearing.speeches] == [True, False]


def test_audio_that_comes_ahead_is_played_in_its_time() -> None:
    """Frames that come together are heard one after another; what the agent has thrown away before
    it was played isn't heard."""
    hearing = Hearing()
    hearing.ahead_seconds = 0.14
    hearing.take(AudioStarted())
    before = time.time()
    for _ in range(7):
        hearing.take(tone(0.02))
    after = time.time()
    [speech] = hearing.speeches
    [(_, until)] = speech.voice.stretches
    assert before + 0.13 <= until <= after + 0.14
    hearing.take(Flush())
    assert until - speech.silent_at == pytest.approx(0.14, abs=0.05)
    hearing.take(AudioEnded(interrupted=True))
    hearing.take(AudioStarted())
    again = time.time()
    hearing.take(tone(0.02))
    assert hearing.speeches[-1].voice.first == pytest.approx(again, abs=0.05)


def test_of_audio_that_is_late_nothing_is_added_up() -> None:
    """Where nothing comes ahead, as in a room, what was late once delays nothing that follows."""
    hearing = Hearing()
    hearing.take(AudioStarted())
    for _ in range(50):
        hearing.take(tone(0.02))
    [speech] = hearing.speeches
    assert speech.silent_at <= time.time() + 0.04


def test_the_microphone_hears_the_agent_once() -> None:
    """Each frame of the agent's can echo once, and none that was thrown away."""
    hearing = Hearing()
    hearing.take(AudioStarted())
    hearing.take(AUDIBLE)
    assert [hearing.echo(), hearing.echo()] == [AUDIBLE, None]
    hearing.take(AUDIBLE)
    hearing.take(Flush())
    assert hearing.echo() is None


def test_outcome_is_kept() -> None:
    """How the call ended is what the agent says of it."""
    hearing = Hearing()
    assert hearing.outcome is None
    hearing.take(Ended(outcome=Outcome.IDLE))
    assert hearing.outcome is Outcome.IDLE


def test_frames_are_frames() -> None:
    """The audio these tests hear is 20 ms at a time, as the protocol has it."""
    assert len(AUDIBLE) == len(SILENCE) == FRAME_BYTES
