"""A realtime model that does as it is told: hears and speaks by itself, no STT, no TTS."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import Any, Literal

from livekit import rtc
from livekit.agents import NOT_GIVEN, AgentSession, NotGivenOr, llm, stt
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.metrics.base import Metadata
from livekit.agents.utils import aio

from .providers import RATE, tone


def spoken_to(oracle: Oracle, ear: stt.STT[Any] | None = None) -> AgentSession[None]:
    """A session whose model hears and speaks by itself; an ear may listen beside it."""
    return AgentSession[None](
        llm=oracle,
        stt=NOT_GIVEN if ear is None else ear,
        vad=None,
        aec_warmup_duration=None,
        user_away_timeout=None,
        session_close_transcript_timeout=0.0,
    )


class Oracle(llm.RealtimeModel):
    """Its one session is told what the caller says and what it answers."""

    def __init__(self, *, transcribes: bool = True) -> None:
        super().__init__(
            capabilities=llm.RealtimeCapabilities(
                message_truncation=False,
                turn_detection=True,
                user_transcription=transcribes,
                auto_tool_reply_generation=False,
                audio_output=True,
                manual_function_calls=False,
            )
        )
        self.hears = Trance(self)

    @property
    def model(self) -> str:
        return "oracle-1"

    @property
    def provider(self) -> str:
        return "tests"

    def session(self, *, turn_detection_disabled: bool = False) -> Trance:
        self.hears.context = contextvars.copy_context()  # its own task would have it
        return self.hears

    async def aclose(self) -> None:
        """Nothing to release."""


class Trance(llm.RealtimeSession[Any]):
    """The session."""

    def __init__(self, model: Oracle) -> None:
        super().__init__(model)
        self._chat_ctx = llm.ChatContext.empty()
        self._responses = 0
        self.context = contextvars.copy_context()

    def emit(self, event: Any, *args: Any) -> None:
        """Tell LiveKit, in the session's own context."""
        self.context.run(super().emit, event, *args)

    def starts_speaking(self) -> None:
        """Speech is detected."""
        self.emit("input_speech_started", llm.InputSpeechStartedEvent())

    def stops_speaking(self, words: str) -> None:
        """It ends, and is understood."""
        self.falls_silent()
        self.understands(words)

    def falls_silent(self) -> None:
        """It ends."""
        transcribes = self.realtime_model.capabilities.user_transcription
        self.emit(
            "input_speech_stopped",
            llm.InputSpeechStoppedEvent(user_transcription_enabled=transcribes),
        )

    def understands(self, words: str, *, is_final: bool = True) -> None:
        """What was said; a model may not know before it has answered."""
        self.emit(
            "input_audio_transcription_completed",
            llm.InputTranscriptionCompleted(
                item_id=f"item_{words}", transcript=words, is_final=is_final
            ),
        )

    def answers(
        self, words: str, *, tool: str | None = None, prompted: bool = False
    ) -> llm.GenerationCreatedEvent:
        """A response, complete at once, and what it cost."""
        self._responses += 1
        response = f"response_{self._responses}"
        messages, calls = aio.Chan[llm.MessageGeneration](), aio.Chan[llm.FunctionCall]()
        text, audio = aio.Chan[str](), aio.Chan[rtc.AudioFrame]()
        modalities: asyncio.Future[list[Literal["text", "audio"]]] = asyncio.Future()
        modalities.set_result(["text", "audio"])
        if words:
            pcm = tone(0.2)
            text.send_nowait(words)
            audio.send_nowait(rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2))
            messages.send_nowait(llm.MessageGeneration(response, text, audio, modalities))
        if tool is not None:
            calls.send_nowait(llm.FunctionCall(call_id=f"{tool}_call", name=tool, arguments="{}"))
        for channel in (text, audio, messages, calls):
            channel.close()
        created = llm.GenerationCreatedEvent(
            message_stream=messages,
            function_stream=calls,
            user_initiated=prompted,
            response_id=response,
        )
        if not prompted:
            self.emit("generation_created", created)
        return created

    def charges(self) -> None:
        """The usage of the latest response."""
        self.emit(
            "metrics_collected",
            RealtimeModelMetrics(
                timestamp=time.time(),
                label="oracle",
                request_id=f"response_{self._responses}",
                duration=0.1,
                ttft=0.01,
                cancelled=False,
                input_tokens=30,
                output_tokens=20,
                total_tokens=50,
                tokens_per_second=1.0,
                input_token_details=RealtimeModelMetrics.InputTokenDetails(),
                output_token_details=RealtimeModelMetrics.OutputTokenDetails(),
                metadata=Metadata(model_name="oracle-1", model_provider="tests"),
            ),
        )

    @property
    def chat_ctx(self) -> llm.ChatContext:
        return self._chat_ctx

    @property
    def tools(self) -> llm.ToolContext:
        return llm.ToolContext.empty()

    async def update_instructions(self, instructions: str) -> None:
        """Taken for granted."""

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext, **_: Any) -> None:
        self._chat_ctx = chat_ctx

    async def update_tools(self, tools: list[llm.Tool]) -> None:
        """Taken for granted."""

    def update_options(self, *, tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN) -> None:
        """Taken for granted."""

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        """Not listened to."""

    def push_video(self, frame: rtc.VideoFrame) -> None:
        """Not looked at."""

    def generate_reply(self, **_: Any) -> asyncio.Future[llm.GenerationCreatedEvent]:
        """What follows a tool, or is asked for."""
        reply: asyncio.Future[llm.GenerationCreatedEvent] = asyncio.Future()
        reply.set_result(self.answers("It is done", prompted=True))
        return reply

    def commit_audio(self) -> None:
        """Nothing is buffered."""

    def clear_audio(self) -> None:
        """Nothing is buffered."""

    def interrupt(self) -> None:
        """Nothing is being generated."""

    def truncate(self, **_: Any) -> None:
        """Nothing is kept."""

    async def aclose(self) -> None:
        """Nothing to release."""
