"""Synthesis with the real voice."""

from __future__ import annotations

import asyncio
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from livekit.agents import tts
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT

from agent.audio import audible
from agent.desk.agent import GREETING, FrontDesk
from agent.providers.clauses import clauses
from agent.providers.inference import Threads
from agent.providers.piper import TTS, Heard, Voice, from_onset, speakable
from agent.session import Manners
from agent.session.phrases import usual_sentences

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.providers import Models


async def test_first_sentence_is_out_before_the_rest(models: Models) -> None:
    """Audio of the first sentence arrives as soon as it is there: mono PCM16 at 22,050 Hz."""
    text = "Certainly. " + "We have a table for four people on Friday evening. " * 8
    speaker = models.plugins().tts
    async with speaker.synthesize(text) as speech:
        first = await anext(speech)
        assert not speech.done
        rest = [audio async for audio in speech]
    assert (first.frame.sample_rate, first.frame.num_channels) == (22_050, 1)
    assert sum(audio.frame.duration for audio in rest) > 10


async def test_sentences_of_a_reply_come_one_by_one(models: Models) -> None:
    """It works as LiveKit's session uses it: text streams in, audio streams out by sentence."""
    adapter = tts.StreamAdapter(tts=models.plugins().tts)
    async with adapter.stream() as stream:
        for piece in ("We open at ", "five in the evening. ", "We close at eleven", " at night."):
            stream.push_text(piece)
        stream.end_input()
        spoken = [audio async for audio in stream]
    assert 2 < sum(audio.frame.duration for audio in spoken) < 8
    await adapter.aclose()


class Recorded(Threads):
    """Threads that remember how much time each call had, and what came of it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.spares: list[float] = []
        self.results: list[Any] = []

    def submit(self, function: Callable[[], Any], *, spare: float = 0.0) -> Any:
        self.spares.append(spare)
        made = super().submit(function, spare=spare)
        made.add_done_callback(lambda call: self.results.append(call.result()))
        return made


class Said(Voice):
    """A voice that remembers what the model was given, its first run before all."""

    def __init__(self, threads: Threads) -> None:
        self.said: list[str] = []
        super().__init__(threads)

    def _synthesise(self, clause: str) -> bytes:
        self.said.append(clause)
        return super()._synthesise(clause)


async def test_a_reply_begins_at_its_first_sound() -> None:
    """Of the silence that Piper begins with, the caller waits for 10 ms; nothing that can be heard
    is lost, not a soft "h" or "f" either, and within the reply pauses stay as they are."""
    with closing(Recorded()) as threads:
        voice = Voice(threads)
        for text in (
            "How can I help you?",
            "For Friday at seven, I have a table.",
            "She said so.",
            "Half past seven? Then we are open, too.",
            "Perfect.",
            "You said that before, and I heard it.",
        ):
            threads.results.clear()
            async with TTS(voice).synthesize(text) as speech:
                frame = await speech.collect()
            said, made = bytes(frame.data), b"".join(threads.results)
            assert made.endswith(said)
            assert not audible(made[: len(made) - len(said)]).size
            assert audible(said)[0] <= 0.01 * voice.sample_rate


async def test_later_sentences_of_a_reply_are_whole() -> None:
    """The silence between two sentences is a pause, which belongs to how it sounds."""
    with closing(Recorded()) as threads:
        adapter = tts.StreamAdapter(tts=TTS(Voice(threads)))
        async with adapter.stream() as reply:
            reply.push_text("We are open on Sundays until ten. We close on Mondays. ")
            reply.end_input()
            said = b"".join([bytes(audio.frame.data) async for audio in reply])
        first, *rest = threads.results
        begun, end = said.split(b"".join(rest))
        assert begun
        assert first.endswith(begun)
        assert not any(end)  # LiveKit's mark of the end
        await adapter.aclose()


async def test_what_every_call_begins_with_is_synthesised_no_more() -> None:
    """Two sessions have said it: the third says the same, and takes no inference for it, but for
    what is new; only what begins a reply has lost its silence."""
    greeting, other = "Thank you for calling.", "Is that for Ada?"
    with closing(Recorded()) as threads:
        voice = Voice(threads)
        for text in (greeting, f"{greeting} {other}"):
            async with TTS(voice).synthesize(text) as speech:
                await speech.collect()
        _, kept, _ = threads.results
        threads.results.clear()
        async with TTS(voice).synthesize(f"{greeting} {greeting}") as speech:
            said = bytes((await speech.collect()).data)
        assert not threads.results
        assert said == from_onset(kept, voice.sample_rate) + kept
        async with TTS(voice).synthesize("We close at ten, Ada.") as speech:
            await speech.collect()
        assert threads.results


async def test_the_usual_sentences_of_the_desk_are_ready() -> None:
    """Replies that are the same in every call take no inference once they were prepared, from the
    first call on: the caller waits for the rest of the answer's way only."""
    with closing(Recorded()) as threads:
        voice = Voice(threads)
        voice.prepare(usual_sentences(FrontDesk, FrontDesk.script))
        await threads.run(lambda: None, spare=120.0)  # after all of them
        threads.results.clear()
        speaker = TTS(voice)
        for text in (
            GREETING,
            "You are back at the front desk. How can I help you?",
            "Your table is booked. We look forward to seeing you. "
            "Is there anything else I can do for you?",
            *Manners().reprompts,
        ):
            async with speaker.stream() as reply:
                reply.push_text(text)
                reply.end_input()
                said = [audio async for audio in reply]
            assert sum(audio.frame.duration for audio in said) > 0.5
        assert not threads.results


async def test_a_short_sentence_is_out_before_the_next(models: Models) -> None:
    """However short it is: "Certainly." says that the caller was understood."""
    text = "Certainly. On Saturdays we are open."
    async with models.plugins().tts.synthesize(text) as speech:
        first = await anext(speech)
        assert not speech.done
        await speech.collect()
    assert first.frame.duration < 1.2


def test_speech_from_its_onset() -> None:
    """What can't be heard at all stays whole; so does what begins at once."""
    silent, loud = bytes(2000), bytes([0, 64]) * 1000
    assert from_onset(silent + loud, 22_050) == silent[-440:] + loud
    assert from_onset(loud + silent, 22_050) == loud + silent
    assert from_onset(silent, 22_050) == silent
    assert from_onset(b"", 22_050) == b""


async def test_later_sentences_can_wait_while_the_first_is_heard() -> None:
    """In one reply only its first words are urgent; in the next one they are so again, though
    the one before has not been heard to its end."""
    with closing(Recorded()) as threads:
        adapter = tts.StreamAdapter(tts=TTS(Voice(threads)))
        for _ in range(2):
            threads.spares.clear()
            async with adapter.stream() as reply:
                reply.push_text("We are open on Sundays and on Mondays until ten. ")
                reply.push_text("On every other day of the week we close at eleven. ")
                reply.end_input()
                async for _audio in reply:
                    pass
            assert threads.spares[0] == 0
            assert all(spare > 0 for spare in threads.spares[2:]), threads.spares
        await adapter.aclose()


async def test_a_reply_is_begun_before_it_is_written(models: Models) -> None:
    """Its first clause is heard while the model is still at the second; the words come with it, at
    the time in the audio at which they are said."""
    speaker = models.plugins().tts
    assert speaker.capabilities.streaming
    assert speaker.capabilities.aligned_transcript
    async with speaker.stream() as reply:
        for word in ("We are ", "open on ", "Sundays, "):
            reply.push_text(word)
        audio = [await anext(reply)]
        reply.push_text("until ten. On Mondays we close.")
        reply.end_input()
        audio += [each async for each in reply]
    words = [
        (text, text.start_time)
        for each in audio
        for text in each.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])
    ]
    assert [text for text, _ in words] == [
        "We are open on Sundays,",
        " until ten.",
        " On Mondays we close.",
    ]
    times = [at for _, at in words]
    assert times[0] == 0
    assert times == sorted(times)
    assert 0.5 < times[1] < times[2] < sum(each.frame.duration for each in audio)


async def test_a_beginning_goes_on() -> None:
    """Where a reply is cut for a breath the voice doesn't fall; later on nobody waits, and a long
    clause is said in one go."""
    with closing(Threads(1)) as threads:
        heard = Heard(0)
        texts: list[str] = []
        for text, goes_on in (
            ("On Saturdays we are open", True),
            (" from noon until eleven in the evening with music and food.", False),
        ):
            texts += clauses(text, is_awaited=not heard.spare, goes_on=goes_on)
            heard.add(3.0)
        assert texts == [
            "On Saturdays we are open,",
            "from noon until eleven in the evening with music and food.",
        ]
        voice = Said(threads)
        async with TTS(voice).stream() as reply:
            reply.push_text("On Saturdays we are open from noon until eleven, and on Sundays.")
            reply.end_input()
            assert [audio async for audio in reply]
        assert voice.said[1] == "On Saturdays we are open,"
        assert len(voice.said) == 1 + 3


async def test_the_voice_falls_where_a_text_ends() -> None:
    """Without a full stop, too: nothing comes after it, as a stream or as a whole."""
    with closing(Threads(1)) as threads:
        voice = Said(threads)
        for text in ("We are open on Saturdays", "It is at seven. Nobody else has come"):
            async with TTS(voice).stream() as reply:
                reply.push_text(text)
                reply.end_input()
                assert [audio async for audio in reply]
            async with TTS(voice, streams=False).synthesize(text) as whole:
                assert [audio async for audio in whole]
        assert not [clause for clause in voice.said if clause.endswith(",")]


async def test_closing_stops_synthesis() -> None:
    """A closed stream synthesises nothing more; the clause it was at is nobody's to wait for."""
    with closing(Threads(1)) as threads:
        voice = Voice(threads)
        busy, go_on = Event(), Event()

        def occupy() -> bool:
            busy.set()
            return go_on.wait(30)

        async with asyncio.TaskGroup() as tasks:
            occupied = tasks.create_task(threads.run(occupy))
            assert await asyncio.to_thread(busy.wait, 30)
            async with TTS(voice).synthesize("This is never said. " * 50) as speech:
                pass  # it waits for the only thread, which is taken
            assert speech.done
            go_on.set()
        assert occupied.result()
        async with TTS(voice).synthesize("This is.") as speech:  # and the thread is free again
            assert (await speech.collect()).duration > 0.2


async def test_a_long_sentence_is_begun_before_it_is_all_there(models: Models) -> None:
    """The caller waits for the first clause only, not for the seconds that follow it."""
    text = "We are open on Tuesdays, on Wednesdays, on Thursdays and on Fridays, until ten."
    async with models.plugins().tts.synthesize(text) as speech:
        first = await anext(speech)
        assert not speech.done
        rest = [audio async for audio in speech]
    assert first.frame.duration < 2.5
    assert sum(audio.frame.duration for audio in rest) > first.frame.duration


async def test_text_without_sound_is_a_short_silence(models: Models) -> None:
    """A reply of punctuation only is no error."""
    async with models.plugins().tts.synthesize("…") as speech:
        frame = await speech.collect()
    assert not np.frombuffer(frame.data, np.int16).any()
    assert frame.duration < 0.2


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("at 7:30, please", "at 7:30, please"),
        ("from 10:00 to 22:00.", "from 10 o'clock to 22 o'clock."),
        ("at 7:00 pm", "at 7 pm"),
        ("at 9:05", "at 9 oh 5"),
    ],
)
def test_clock_times_are_written_as_said(written: str, said: str) -> None:
    """Times that Piper would read as numbers are put into words."""
    assert speakable(written) == said
