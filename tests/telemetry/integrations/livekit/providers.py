"""Providers that do as they are told: LiveKit's own classes, nothing faked around them."""

from __future__ import annotations

import asyncio
import json
import math
import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Never

from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
    llm,
    stt,
    tts,
    utils,
    vad,
)
from livekit.agents.utils import aio
from livekit.agents.voice import io

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from livekit import rtc

RATE = 16_000
FAST = APIConnectOptions(max_retry=1, retry_interval=0.0, timeout=5.0)


@dataclass(frozen=True)
class Reply:
    """What the model answers: words, tools to call (name to arguments), or an error first."""

    text: str = ""
    tools: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    error: Exception | None = None


class Mind(llm.LLM[Never]):
    """Answers by the last thing in the conversation: words heard, or a tool's result."""

    def __init__(
        self,
        answers: Mapping[str, Reply | str],
        *,
        model: str = "mind-1",
        otherwise: Reply | None = None,
    ) -> None:
        super().__init__()
        self.answers = answers
        self._otherwise = otherwise
        self.requests = 0
        self.gates: dict[str, asyncio.Event] = {}
        """An answer waits for the event of its question, if it has one."""
        self._name = model

    @property
    def model(self) -> str:
        return self._name

    @property
    def provider(self) -> str:
        return "tests"

    def answer(self, chat_ctx: llm.ChatContext) -> tuple[str, Reply]:
        """The question, and what this model says to it."""
        asked = ""
        for item in chat_ctx.items:
            if isinstance(item, llm.FunctionCallOutput):
                asked = item.output
            elif isinstance(item, llm.ChatMessage) and item.role == "user":
                asked = item.text_content or ""
        found = self.answers.get(asked, self._otherwise or f"You said {asked}")
        return asked, found if isinstance(found, Reply) else Reply(found)

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> Thought:
        return Thought(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=FAST)


class Thought(llm.LLMStream):
    """One answer, streamed."""

    async def _run(self) -> None:
        mind = self._llm
        assert isinstance(mind, Mind)
        mind.requests += 1
        asked, reply = mind.answer(self._chat_ctx)
        if (gate := mind.gates.get(asked)) is not None:
            await gate.wait()
        if reply.error is not None:
            raise reply.error
        words = [f"{word} " for word in reply.text.split()]
        deltas = [llm.ChoiceDelta(role="assistant", content=word) for word in words]
        calls = [
            llm.FunctionToolCall(name=name, arguments=json.dumps(given), call_id=f"{name}_call")
            for name, given in reply.tools.items()
        ]
        if calls:
            deltas.append(llm.ChoiceDelta(role="assistant", tool_calls=calls))
        for delta in deltas:
            self._event_ch.send_nowait(llm.ChatChunk(id="request", delta=delta))
            await asyncio.sleep(0)
        usage = llm.CompletionUsage(completion_tokens=5, prompt_tokens=7, total_tokens=12)
        self._event_ch.send_nowait(llm.ChatChunk(id="request", usage=usage))


def tone(seconds: float) -> bytes:
    """A tone that can be heard, as PCM16."""
    return array("h", [int(8_000 * math.sin(n / 5)) for n in range(int(seconds * RATE))]).tobytes()


class Tone(tts.TTS[Never]):
    """Says everything as a tone, 10 ms a character."""

    def __init__(
        self, *, model: str = "tone-1", error: Callable[[], Exception | None] = lambda: None
    ) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1
        )
        self.error = error
        self._name = model

    @property
    def model(self) -> str:
        return self._name

    @property
    def provider(self) -> str:
        return "tests"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> Sound:
        return Sound(tts=self, input_text=text, conn_options=FAST)


class Sound(tts.ChunkedStream):
    """One sentence as a tone."""

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        assert isinstance(self._tts, Tone)
        if (error := self._tts.error()) is not None:
            raise error
        output_emitter.initialize(
            request_id="tone", sample_rate=RATE, num_channels=1, mime_type="audio/pcm"
        )
        output_emitter.push(tone(0.01 * len(self._input_text)))
        output_emitter.flush()


class Streaming(stt.STT[Never]):
    """Recognition of streams alone."""

    def __init__(self, model: str = "ear-1", *, interim_results: bool = False) -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(streaming=True, interim_results=interim_results)
        )
        self._name = model

    @property
    def model(self) -> str:
        return self._name

    @property
    def provider(self) -> str:
        return "tests"

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        raise NotImplementedError


class Ear(Streaming):
    """Hears what :meth:`hear` says it does."""

    def __init__(self, *, model: str = "ear-1") -> None:
        super().__init__(model, interim_results=True)
        self.events = aio.Chan[stt.SpeechEvent]()

    def hear(self, words: str, *, seconds: float = 1.0, preflight: bool = False) -> None:
        """A final transcript (or one ahead of it), and what it cost."""
        kind = (
            stt.SpeechEventType.PREFLIGHT_TRANSCRIPT
            if preflight
            else stt.SpeechEventType.FINAL_TRANSCRIPT
        )
        data = stt.SpeechData(language="en", text=words, confidence=1.0)  # type: ignore[arg-type]  # a plain str will do
        self.events.send_nowait(stt.SpeechEvent(type=kind, alternatives=[data]))
        if not preflight:
            self.events.send_nowait(
                stt.SpeechEvent(
                    type=stt.SpeechEventType.RECOGNITION_USAGE,
                    recognition_usage=stt.RecognitionUsage(audio_duration=seconds),
                )
            )

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> Hearing:
        return Hearing(stt=self, conn_options=FAST)


class Hearing(stt.RecognizeStream):
    """One stream of transcripts."""

    async def _run(self) -> None:
        assert isinstance(self._stt, Ear)
        async for event in self._stt.events:
            self._event_ch.send_nowait(event)


class Activity(vad.VAD):
    """Detects speech when :meth:`starts` and :meth:`stops` say so."""

    def __init__(self) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.1))
        self.events = aio.Chan[vad.VADEvent]()

    def starts(self) -> None:
        """Somebody speaks, since 50 ms ago."""
        self._tell(vad.VADEventType.START_OF_SPEECH, speech=0.05, silence=0.0)
        self._tell(vad.VADEventType.INFERENCE_DONE, speech=0.7, silence=0.0)

    def stops(self) -> None:
        """Nobody speaks any more, since 20 ms ago."""
        self._tell(vad.VADEventType.END_OF_SPEECH, speech=1.0, silence=0.02)

    def _tell(self, kind: vad.VADEventType, *, speech: float, silence: float) -> None:
        self.events.send_nowait(
            vad.VADEvent(
                type=kind,
                samples_index=0,
                timestamp=0.0,
                speech_duration=speech,
                silence_duration=silence,
                raw_accumulated_speech=speech,
                raw_accumulated_silence=silence,
                speaking=kind is not vad.VADEventType.END_OF_SPEECH,
            )
        )

    def stream(self) -> ActivityStream:
        return ActivityStream(self)


class ActivityStream(vad.VADStream):
    """One stream of detections."""

    async def _main_task(self) -> None:
        assert isinstance(self._vad, Activity)
        async for event in self._vad.events:
            self._event_ch.send_nowait(event)


class Microphone(io.AudioInput):
    """A line on which nothing ever comes: speech is told to :class:`Ear` and :class:`Activity`."""

    def __init__(self) -> None:
        super().__init__(label="microphone")

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.Event().wait()
        raise StopAsyncIteration


class Speaker(io.AudioOutput):
    """Plays at once, or holds the audio until it is released or cut."""

    def __init__(self) -> None:
        super().__init__(
            label="speaker",
            capabilities=io.AudioOutputCapabilities(pause=True),
            sample_rate=RATE,
        )
        self.holding = False
        self.started = asyncio.Event()
        """Set while something plays."""
        self.heard: str | None = None
        """What was heard of a speech that is cut."""
        self._pushed = 0.0
        self._flushed = False

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._pushed:
            self.on_playback_started(created_at=time.time())
            self.started.set()
        self._pushed += frame.duration

    def flush(self) -> None:
        super().flush()
        self._flushed = True
        if not self.holding:
            self._finish(self._pushed, interrupted=False)

    def clear_buffer(self) -> None:
        if self._pushed:
            self._finish(self._pushed / 2, interrupted=True)

    def release(self) -> None:
        """Play what was held, to its end."""
        self.holding = False
        if self._flushed and self._pushed:
            self._finish(self._pushed, interrupted=False)

    def _finish(self, played: float, *, interrupted: bool) -> None:
        if self._pushed:
            self._pushed, self._flushed = 0.0, False
            self.started.clear()
            self.on_playback_finished(
                playback_position=played,
                interrupted=interrupted,
                synchronized_transcript=self.heard if interrupted else None,
            )
