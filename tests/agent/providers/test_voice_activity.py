"""The session's detector, and the executor that keeps it on the loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from livekit.agents.vad import VADEventType

from agent.providers import voice_activity
from agent.providers.voice_activity import InlineExecutor

from .conftest import frames, silence

if TYPE_CHECKING:
    from .conftest import Speak


def test_inline_executor_runs_the_call_where_it_is_submitted() -> None:
    """The future is finished, and holds what the call returned or raised."""
    executor = InlineExecutor()
    future = executor.submit(threading.current_thread)
    assert future.done()
    assert future.result() is threading.current_thread()
    assert isinstance(executor.submit(lambda: 1 / 0).exception(), ZeroDivisionError)


async def test_detector_finds_both_ends_of_speech(speak: Speak) -> None:
    """It reports where speech starts and, a third of a second after it, that it ended."""
    words = await speak("Do you have a table for four on Friday?")
    stream = voice_activity.detector().stream()
    for frame in frames(silence(1), words, silence(1)):
        stream.push_frame(frame)
    stream.end_input()
    found = [event async for event in stream if event.type != VADEventType.INFERENCE_DONE]
    await stream.aclose()
    start, end = found
    assert start.type == VADEventType.START_OF_SPEECH
    assert start.timestamp - start.speech_duration == pytest.approx(1, abs=0.15)
    assert end.type == VADEventType.END_OF_SPEECH
    assert end.timestamp - end.silence_duration == pytest.approx(1 + len(words) / 16_000, abs=0.3)
