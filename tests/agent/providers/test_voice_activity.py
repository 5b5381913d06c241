"""The session's detector: LiveKit's interface, one pass over the audio for all who listen."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from livekit import local_inference, rtc
from livekit.agents import vad
from livekit.agents.vad import VADEventType

from agent.providers import speech_events, voice_activity
from agent.providers.voice_activity import Stream

from .conftest import frames, silence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .conftest import Speak


class CountedModel:
    """Counts the windows that the real model is given."""

    windows = 0

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, window: NDArray[np.int16]) -> float:
        """The model's answer."""
        CountedModel.windows += 1
        return float(self._model.predict(window))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[CountedModel]:
    """Windows that are looked at from here on."""
    make = local_inference.VAD
    monkeypatch.setattr(local_inference, "VAD", lambda: CountedModel(make()))
    CountedModel.windows = 0
    return CountedModel


async def read(stream: vad.VADStream) -> list[vad.VADEvent]:
    """What a stream says of the ends of speech, once its input has ended."""
    stream.end_input()
    return [event async for event in stream if event.type != VADEventType.INFERENCE_DONE]


def types(events: list[vad.VADEvent]) -> list[VADEventType]:
    """What happened, in order."""
    return [event.type for event in events]


BOTH = [VADEventType.START_OF_SPEECH, VADEventType.END_OF_SPEECH]


@pytest.fixture
async def call(speak: Speak) -> list[rtc.AudioFrame]:
    """A caller who says one sentence, with a second of silence around it."""
    words = await speak("Do you have a table for four on Friday?")
    return frames(silence(1), words, silence(1))


async def test_detector_finds_both_ends_of_speech(call: list[rtc.AudioFrame]) -> None:
    """It reports where speech starts and, a third of a second after it, that it ended."""
    stream = voice_activity.detector().stream()
    for frame in call:
        stream.push_frame(frame)
    start, end = await read(stream)
    assert start.type == VADEventType.START_OF_SPEECH
    assert start.timestamp - start.speech_duration == pytest.approx(1, abs=0.15)
    assert end.type == VADEventType.END_OF_SPEECH
    spoken = sum(frame.duration for frame in call) - 1
    assert end.timestamp - end.silence_duration == pytest.approx(spoken, abs=0.3)


async def test_silence_is_not_spoken_of() -> None:
    """Nobody is told of each window in which nothing is said."""
    stream = voice_activity.detector().stream()
    for frame in frames(silence(2)):
        stream.push_frame(frame)
    stream.end_input()
    assert [event async for event in stream] == []


async def test_two_streams_hear_through_one_pass(
    call: list[rtc.AudioFrame], counted: type[CountedModel]
) -> None:
    """Each window is looked at once, though one stream is a few frames behind the other."""
    detector = voice_activity.detector()
    first, second = detector.stream(), detector.stream()
    for number, frame in enumerate(call):
        first.push_frame(frame)
        if number >= 5:
            second.push_frame(call[number - 5])
    for frame in call[-5:]:
        second.push_frame(frame)
    found = await read(first)
    assert types(found) == BOTH
    assert await read(second) == found
    samples = sum(frame.samples_per_channel for frame in call)
    assert counted.windows == samples // speech_events.WINDOW_SAMPLES


@pytest.mark.parametrize("gap", [10, 100])
async def test_a_stream_that_goes_its_own_way_misses_nothing(
    call: list[rtc.AudioFrame], gap: int
) -> None:
    """Frames of its own, in the middle of a sentence, or a long way behind: both ends are found."""
    detector = voice_activity.detector()
    first, second = detector.stream(), detector.stream()
    middle = len(call) // 2
    for frame in call[:middle]:
        first.push_frame(frame)
    for frame in call[: middle - gap]:
        second.push_frame(frame)
    copies = [rtc.AudioFrame(bytes(f.data), f.sample_rate, 1, len(f.data)) for f in call]
    for frame in copies[middle - gap :]:
        second.push_frame(frame)
    for frame in call[middle:]:
        first.push_frame(frame)
    assert types(await read(second)) == BOTH
    assert types(await read(first)) == BOTH


async def test_a_stream_that_begins_later_begins_anew(call: list[rtc.AudioFrame]) -> None:
    """After a handoff LiveKit listens with a new stream, which knows nothing of before."""
    detector = voice_activity.detector()
    first = detector.stream()
    for frame in call:
        first.push_frame(frame)
    later = detector.stream()
    for frame in call:
        later.push_frame(frame)
    assert types(await read(first)) == BOTH
    assert types(await read(later)) == BOTH


async def test_flushing_forgets_what_was_heard(call: list[rtc.AudioFrame]) -> None:
    """Speech that has begun has not, for this stream; others are not concerned."""
    detector = voice_activity.detector()
    flushed, other = detector.stream(), detector.stream()
    for frame in call:
        flushed.push_frame(frame)
        other.push_frame(frame)
        if frame is call[-60]:
            flushed.flush()
    for frame in frames(silence(1)):
        flushed.push_frame(frame)
    [start] = await read(flushed)
    assert start.type == VADEventType.START_OF_SPEECH
    assert types(await read(other)) == BOTH


async def test_a_closed_stream_takes_nothing() -> None:
    """It says so, as LiveKit's do; closing twice is no error."""
    stream = voice_activity.detector().stream()
    await stream.aclose()
    await stream.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        stream.push_frame(frames(silence(0.02))[0])


async def test_what_nobody_reads_is_bounded(
    call: list[rtc.AudioFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of single windows is left out first; the ends of speech never."""
    monkeypatch.setattr(voice_activity, "_WAITING_EVENTS", 3)
    stream = voice_activity.detector().stream()
    for frame in call:
        stream.push_frame(frame)
    stream.end_input()
    found = [event async for event in stream]
    assert len(found) <= 3 + len(BOTH)
    assert types([event for event in found if event.type != VADEventType.INFERENCE_DONE]) == BOTH


async def test_a_voice_that_goes_on(call: list[rtc.AudioFrame]) -> None:
    """Each second window of it is told; all of those in which it may be about to end."""
    events = speech_events.SpeechEvents()
    stream = voice_activity.detector().stream()
    all_windows = [event for frame in call for event in events.hear(frame)]
    for frame in call:
        stream.push_frame(frame)
    stream.end_input()
    told = [event async for event in stream]

    def voiced(found: list[vad.VADEvent]) -> list[int]:
        return [
            event.samples_index
            for event in found
            if event.type == VADEventType.INFERENCE_DONE
            and event.speaking
            and not event.raw_accumulated_silence
        ]

    assert voiced(told) == voiced(all_windows)[1::2]
    left_out = set(voiced(all_windows)) - set(voiced(told))
    assert [event.samples_index for event in told] == [
        event.samples_index
        for event in all_windows
        if event.samples_index not in left_out or event.type != VADEventType.INFERENCE_DONE
    ]


def test_nothing_of_the_base_is_used() -> None:
    """What LiveKit's base offers is ours: it would need the tasks that ours doesn't start."""
    offered = {name for name, _ in inspect.getmembers(vad.VADStream, inspect.isfunction)}
    public = {name for name in offered if not name.startswith("_") or name.endswith("__")}
    inherited = {name for name in public if name not in vars(Stream)}
    assert inherited - {"__init_subclass__", "__subclasshook__"} == set()
