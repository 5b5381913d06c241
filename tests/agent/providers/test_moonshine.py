"""Recognition with the real model."""

from __future__ import annotations

import re
import time
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest
from jiwer import wer
from livekit import local_inference, rtc
from livekit.agents import APIConnectOptions, APIError
from livekit.agents.stt import SpeechEventType

from agent.audio import audible
from agent.providers import Listening
from agent.providers.inference import Threads
from agent.providers.moonshine import STT, Recognizer

from .conftest import frames, silence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from livekit.agents.stt import RecognizeStream, SpeechEvent

    from agent.providers import Models

    from .conftest import Samples, Speak

SENTENCES = (
    "Do you have a table for four on Friday?",
    "I would like to book a table, please.",
    "What time do you open on Sunday?",
    "Can we have a table for six people tonight?",
)


def word_errors(said: Sequence[str], heard: Sequence[str]) -> float:
    """The share of words heard wrong in all; punctuation and hyphens don't count.

    Piper never says a sentence twice the same way, so a word or two may go wrong; audio that is
    damaged or mixed up has nearly all of them wrong.
    """
    plain = [[re.sub(r"[^a-z ]", "", text.lower()) for text in texts] for texts in (said, heard)]
    reference, hypothesis = plain
    return float(wer(reference, hypothesis))


async def hear(stream: RecognizeStream, *audio: Samples) -> list[SpeechEvent]:
    """What the stream makes of the audio when it is flushed after it."""
    for frame in frames(*audio):
        stream.push_frame(frame)
    stream.end_input()
    return [event async for event in stream]


def transcripts(events: list[SpeechEvent]) -> list[str]:
    finals = [event for event in events if event.type == SpeechEventType.FINAL_TRANSCRIPT]
    return [final.alternatives[0].text for final in finals]


async def test_four_at_once_are_each_heard(models: Models, speak: Speak) -> None:
    """Callers who speak at the same time each get their own words, on shared models."""
    heard: dict[str, str] = {}

    async def call(sentence: str, audio: Samples) -> None:
        async with models.plugins().stt.stream() as stream:
            events = await hear(stream, silence(0.5), audio, silence(0.5))
        heard[sentence] = " ".join(transcripts(events))

    spoken = {sentence: await speak(sentence) for sentence in SENTENCES}
    async with anyio.create_task_group() as tasks:
        for sentence, audio in spoken.items():
            tasks.start_soon(call, sentence, audio)
    assert word_errors(SENTENCES, [heard[sentence] for sentence in SENTENCES]) <= 0.15


async def test_each_flush_ends_an_utterance(models: Models, speak: Speak) -> None:
    """An utterance is recognised when it is flushed; the next is another, with its own usage."""
    stream = models.plugins().stt.stream()
    async with stream:
        for sentence in SENTENCES[:2]:
            for frame in frames(await speak(sentence), silence(0.4)):
                stream.push_frame(frame)
            stream.flush()
        stream.end_input()
        events = [event async for event in stream]
    heard = transcripts(events)
    assert len(heard) == 2
    assert word_errors(SENTENCES[:2], heard) <= 0.34
    usage = [e.recognition_usage for e in events if e.type == SpeechEventType.RECOGNITION_USAGE]
    assert [use is not None and use.audio_duration > 1 for use in usage] == [True, True]


async def test_speech_without_a_pause_is_heard_in_pieces(models: Models, speak: Speak) -> None:
    """Who talks on and on is transcribed half a minute at a time, without any flush."""
    words = await speak("and we would like to have a table for four people on Friday " * 3)
    async with models.plugins().stt.stream() as stream:
        for frame in frames(*[words] * (1 + 31 * 16_000 // len(words))):
            stream.push_frame(frame)
        first = await anext(stream)
    assert first.type == SpeechEventType.FINAL_TRANSCRIPT
    assert first.alternatives[0].text.lower().count("friday") > 5


async def test_silence_is_not_transcribed(models: Models) -> None:
    """A flush with nothing but silence before it says nothing."""
    async with models.plugins().stt.stream() as stream:
        assert await hear(stream, silence(3)) == []


async def test_transcript_knows_when_it_was_spoken(models: Models, speak: Speak) -> None:
    """Its times are those of the arrival of the first and last voiced samples."""
    words = await speak(SENTENCES[0])
    stream = models.plugins().stt.stream()
    async with stream:
        events = await hear(stream, words, silence(1))
        arrived_by = time.time()
    (final,) = (event for event in events if event.type == SpeechEventType.FINAL_TRANSCRIPT)
    assert final.speech_start_time is not None
    assert final.speech_end_time is not None
    spoke = final.speech_end_time - final.speech_start_time
    voiced = audible(words)  # the voice ends in as much silence as it happens to
    assert spoke == pytest.approx((voiced[-1] - voiced[0]) / 16_000, abs=0.3)
    assert final.speech_end_time <= arrived_by - 1  # a second of silence has arrived since
    said = final.alternatives[0]
    assert said.end_time - said.start_time == pytest.approx(spoke)


async def test_other_sample_rates_are_resampled(models: Models, speak: Speak) -> None:
    """Audio at 48 kHz is recognised too, streamed or whole."""
    up = rtc.AudioResampler(16_000, 48_000)
    whole = rtc.combine_audio_frames(frames(await speak(SENTENCES[0]), silence(0.4)))
    resampled = [*up.push(whole), *up.flush()]
    stt = models.plugins().stt
    async with stt.stream() as stream:
        for frame in resampled:
            stream.push_frame(frame)
        stream.end_input()
        (streamed,) = transcripts([event async for event in stream])
    whole_event = await stt.recognize(resampled)
    heard = [streamed, whole_event.alternatives[0].text]
    assert word_errors([SENTENCES[0]] * 2, heard) <= 0.34


async def test_failed_model_is_an_api_error(speak: Speak) -> None:
    """A model that fails raises what LiveKit expects of a provider, and is reported."""
    words = await speak(SENTENCES[0])
    with closing(Threads(1)) as threads:
        recognizer = Recognizer(threads, 1)
        recognizer.close()
        stt = STT(recognizer)
        reported: list[object] = []
        stt.on("error", reported.append)
        async with stt.stream(conn_options=APIConnectOptions(max_retry=0)) as stream:
            with pytest.raises(APIError, match="moonshine could not recognise"):
                await hear(stream, words, silence(0.4))
    assert len(reported) == 1


class Counted:
    """A recognizer that counts what it is asked."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self.asked = 0
        self.answered = anyio.Event()

    async def transcribe(self, samples: Samples) -> str:
        """What the real one says."""
        self.asked += 1
        text = await self._recognizer.transcribe(samples)
        self.answered.set()
        return text


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    """A model of this module's own."""
    with closing(Threads(1)) as threads, closing(Recognizer(threads, 1)) as made:
        yield made
        threads.close()


async def test_recognition_begins_within_the_pause(recognizer: Recognizer, speak: Speak) -> None:
    """When the flush comes, the words are there: nothing is recognised twice."""
    counted = Counted(recognizer)
    async with STT(counted).stream() as stream:  # type: ignore[arg-type] # it asks nothing else
        for frame in frames(silence(0.5), await speak(SENTENCES[0]), silence(0.3)):
            stream.push_frame(frame)
        await counted.answered.wait()
        events = await hear(stream, silence(0.1))
    assert counted.asked == 1
    assert word_errors(SENTENCES[:1], transcripts(events)) <= 0.34


async def test_who_goes_on_after_a_pause_is_heard_as_a_whole(
    recognizer: Recognizer, speak: Speak
) -> None:
    """What was recognised in a pause is forgotten when the sentence goes on."""
    counted = Counted(recognizer)
    async with STT(counted).stream() as stream:  # type: ignore[arg-type] # likewise
        for frame in frames(await speak("I would like to book"), silence(0.25)):
            stream.push_frame(frame)
        await counted.answered.wait()
        events = await hear(stream, await speak("a table for four people."), silence(0.3))
    (heard,) = transcripts(events)
    assert "book" in heard.lower()
    assert "people" in heard.lower()
    assert counted.asked == 2


async def test_unfinished_sentence_is_recognised_with_what_comes(
    recognizer: Recognizer, speak: Speak
) -> None:
    """A flush in the middle of it says nothing; the words come out once, all together."""
    counted = Counted(recognizer)
    stt = STT(counted, Listening(hold=60))  # type: ignore[arg-type] # likewise
    one, other = await speak("I would like to book a table for"), await speak("four on Friday.")
    async with stt.stream() as stream:
        for frame in frames(one, silence(0.9)):
            stream.push_frame(frame)
        stream.flush()
        await counted.answered.wait()
        events = await hear(stream, other, silence(0.3))
    (heard,) = transcripts(events)
    assert "book a table" in heard.lower()
    assert "friday" in heard.lower()


async def test_unfinished_sentence_comes_out_alone_in_the_end(
    recognizer: Recognizer, speak: Speak
) -> None:
    """Where nothing follows it is said after a while, or when it is flushed and the line is
    gone."""
    words = await speak("I would like to book a table for")
    for hold, flushed in ((0.2, False), (60, True)):
        async with STT(recognizer, Listening(hold=hold)).stream() as stream:
            for frame in frames(words, silence(0.5)):
                stream.push_frame(frame)
            if flushed:
                stream.flush()
            event = await anext(stream)
        assert event.type == SpeechEventType.FINAL_TRANSCRIPT
        assert "table" in event.alternatives[0].text


async def test_answer_to_what_may_be_all_can_be_prepared(
    recognizer: Recognizer, speak: Speak
) -> None:
    """Of a sentence that ends with a day its words are there before it is certain that they are
    all."""
    stt = STT(recognizer, Listening(hold=60, linger=60))
    async with stt.stream() as stream:
        for frame in frames(await speak("I would like a table on Friday."), silence(0.5)):
            stream.push_frame(frame)
        stream.flush()
        early, final = await anext(stream), await anext(stream)
    assert early.type == SpeechEventType.PREFLIGHT_TRANSCRIPT
    assert final.type == SpeechEventType.FINAL_TRANSCRIPT
    assert early.alternatives[0].text == final.alternatives[0].text != ""


class Scripted:
    """A recognizer that hears what it is told to; and a detector likewise."""

    def __init__(self, *texts: str) -> None:
        self._texts = iter(texts)
        self.may_answer = anyio.Event()
        self.may_answer.set()

    async def transcribe(self, samples: Samples) -> str:
        """The next text, as soon as it may be told."""
        await self.may_answer.wait()
        return next(self._texts)

    def stream(self, *, hold: float) -> RecognizeStream:
        """A caller's audio, whose words may be held back for so long."""
        listening = Listening(pause=0.16, hold=hold, linger=hold)
        return STT(self, listening).stream()  # type: ignore[arg-type] # it asks nothing else


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Callable[[RecognizeStream, float, int], None]:
    """Has a stream hear windows of a voice of this probability."""
    coming: deque[float] = deque()

    class Detector:
        def predict(self, _: Samples) -> float:
            return coming.popleft()

    monkeypatch.setattr(local_inference, "VAD", Detector)
    sound = np.full(local_inference.VAD_WINDOW_SAMPLES, 3_000, np.int16)

    def push(stream: RecognizeStream, probability: float, count: int) -> None:
        for _ in range(count):
            coming.append(probability)
            stream.push_frame(rtc.AudioFrame(sound.tobytes(), 16_000, 1, len(sound)))

    return push


async def test_flushes_while_audio_comes_end_no_hold(
    windows: Callable[[RecognizeStream, float, int], None],
) -> None:
    """LiveKit flushes whenever it hears an end of speech: a breath is no reason to answer."""
    async with Scripted("A table for", "A table for four.").stream(hold=60) as stream:
        windows(stream, 0.9, 20)
        for _ in range(3):
            windows(stream, 0.0, 7)
            stream.flush()
        windows(stream, 0.9, 20)
        windows(stream, 0.0, 7)
        stream.end_input()
        events = [event async for event in stream]
    assert transcripts(events) == ["A table for four."]


async def test_breath_within_a_hold_loses_nothing(
    windows: Callable[[RecognizeStream, float, int], None],
) -> None:
    """One window like a voice, which ends the hold and begins no utterance: the words come out."""
    said = "On Saturday at seven"
    async with Scripted(said, said).stream(hold=0.2) as stream:
        windows(stream, 0.9, 20)
        windows(stream, 0.0, 7)
        stream.flush()
        windows(stream, 0.4, 1)
        windows(stream, 0.0, 12)
        async for event in stream:
            if event.type == SpeechEventType.FINAL_TRANSCRIPT:
                break
    assert event.alternatives[0].text == said


@pytest.mark.parametrize("ends", ["in_the_middle_of_a_word", "in_a_pause"])
async def test_call_that_ends_within_a_sentence_keeps_its_words(
    windows: Callable[[RecognizeStream, float, int], None], ends: str
) -> None:
    """Nobody waits for what may come, when nothing can."""
    async with Scripted("A table for").stream(hold=60) as stream:
        windows(stream, 0.9, 20)
        if ends == "in_a_pause":
            windows(stream, 0.0, 7)
        stream.end_input()
        events = [event async for event in stream]
    assert transcripts(events) == ["A table for"]


async def test_who_goes_on_while_it_is_recognised_is_heard_as_a_whole(
    windows: Callable[[RecognizeStream, float, int], None],
) -> None:
    """A machine that is late takes no first clause for a sentence."""
    heard = Scripted("A table.", "A table for four.")
    heard.may_answer = anyio.Event()
    async with heard.stream(hold=60) as stream:
        windows(stream, 0.9, 20)
        windows(stream, 0.0, 6)
        stream.flush()
        windows(stream, 0.9, 20)
        windows(stream, 0.0, 6)
        await anyio.wait_all_tasks_blocked()
        heard.may_answer.set()
        stream.end_input()
        events = [event async for event in stream]
    assert transcripts(events) == ["A table for four."]
