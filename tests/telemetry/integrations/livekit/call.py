"""A call with an agent: a traced session, and a caller who speaks when told to."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from livekit.agents import Agent, AgentSession, TurnHandlingOptions

from telemetry.integrations import livekit as livekit_telemetry

from .providers import Activity, Ear, Microphone, Mind, Speaker, Tone
from .tree import sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from livekit.agents import ConversationItemAddedEvent, UserInputTranscribedEvent, llm, tts

    from telemetry import Conversation

    from .providers import Reply


class Call:
    """A session whose caller's speech, and what is heard of it, are told to it."""

    def __init__(
        self,
        answers: Mapping[str, Reply | str] | None = None,
        *,
        model: llm.LLM[Any] | llm.RealtimeModel | None = None,
        voice: tts.TTS[Any] | None = None,
        preemptive: bool = False,
        false_interruption: float | None = None,
        away: float | None = None,
        **options: Any,
    ) -> None:
        self.mind = Mind(answers or {})
        self.ear, self.activity = Ear(), Activity()
        self.microphone, self.speaker = Microphone(), Speaker()
        self.silent_at = 0.0
        """The time at which the caller had said something (Unix seconds)."""
        self.session = AgentSession[None](
            vad=self.activity,
            stt=self.ear,
            llm=model or self.mind,
            tts=voice or Tone(),
            turn_handling=TurnHandlingOptions(
                turn_detection="vad",
                endpointing={"mode": "fixed", "min_delay": 0.02, "max_delay": 0.5},
                interruption={
                    "mode": "vad",
                    "min_duration": 0.1,
                    "false_interruption_timeout": false_interruption,
                    "resume_false_interruption": false_interruption is not None,
                },
                preemptive_generation={"enabled": preemptive, "preemptive_tts": preemptive},
            ),
            aec_warmup_duration=None,
            user_away_timeout=away,
            session_close_transcript_timeout=0.0,
            **options,
        )
        self.items: list[tuple[str, str]] = []
        self.transcripts: list[str] = []
        self._changed = asyncio.Event()
        self.listen()

    def listen(self) -> None:
        """Put the caller at the other end of the session."""
        self.session.input.audio = self.microphone
        self.session.output.audio = self.speaker
        self.session.on("conversation_item_added", self._added)
        self.session.on("user_input_transcribed", self._transcribed)
        for event in ("agent_state_changed", "user_input_transcribed", "close", "error"):
            self.session.on(event, lambda _: self._changed.set())

    def starts_speaking(self) -> None:
        """Speech is detected."""
        self.activity.starts()

    def says(self, words: str) -> None:
        """The caller says something and is silent."""
        self.starts_speaking()
        self.ear.hear(words)
        self.activity.stops()
        self.silent_at = time.time()

    async def asks(self, words: str, *, answers: int = 1) -> None:
        """The caller says something; the agent's answers to it have been played."""
        said = self.said("assistant")
        self.says(words)
        await self.until(lambda: self.said("assistant") >= said + answers and self.is_listening)

    def said(self, role: str) -> int:
        """How many items of the conversation are theirs."""
        return sum(who == role for who, _ in self.items)

    def has_heard(self, words: str) -> bool:
        """Whether a final transcript of these words has been there."""
        return words in self.transcripts

    @property
    def is_listening(self) -> bool:
        """Whether the agent has nothing to say."""
        return self.session.agent_state == "listening" and self.session.current_speech is None

    async def until(self, holds: Any) -> None:
        """Wait for something to become true; looked at whenever anything has happened."""
        async with asyncio.timeout(10):
            while not holds():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.01):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        if event.is_final:
            self.transcripts.append(event.transcript)

    def _added(self, event: ConversationItemAddedEvent) -> None:
        role = getattr(event.item, "role", event.item.type)
        self.items.append((role, getattr(event.item, "text_content", None) or ""))
        self._changed.set()


@asynccontextmanager
async def calling(
    call: Call, agent: Agent | None = None, **options: Any
) -> AsyncIterator[Conversation]:
    """A call that has been accepted, in a task as a worker would have it, and then hung up."""
    conversation = livekit_telemetry.trace(call.session, name="call", **options)
    sessions[conversation.trace_id] = call.session
    await call.session.start(agent or Agent(instructions="Be brief."))
    try:
        yield conversation
    finally:
        await call.session.aclose()
