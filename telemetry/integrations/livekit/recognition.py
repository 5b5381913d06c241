"""The recognition span that LiveKit lacks, and what recognition was charged for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ... import attributes as names
from .vocabulary import ORIGIN

if TYPE_CHECKING:
    from livekit.agents import AgentSession, SessionUsageUpdatedEvent, UserInputTranscribedEvent

    from ...trace.span import Span
    from .turn import Turn, Usage


class Recognition:
    """The speech recognition of one session."""

    def __init__(self, session: AgentSession[Any], usage: Usage) -> None:
        self._session = session
        self._usage = usage
        self._latest: tuple[Turn, Span] | None = None
        self._charged = 0.0

    def transcribed(self, turn: Turn, event: UserInputTranscribedEvent) -> None:
        """A final transcript: its span begins at the last voiced sample before it."""
        marks, now = turn.marks, time.time()
        marks.transcript_at = now
        speaking = turn.speaking_since is not None or marks.voiced_until is None
        started_at = (
            (turn.speaking_since or turn.span.started_at) if speaking else marks.voiced_until
        )
        stt = self._session.stt
        span = turn.span.start_span(
            names.OP_STT,
            "unknown" if stt is None else stt.model,
            started_at=started_at,
            attributes={
                names.GEN_AI_REQUEST_MODEL: None if stt is None else stt.model,
                names.GEN_AI_PROVIDER_NAME: None if stt is None else stt.provider,
                names.USER_WORDS: event.transcript,
            },
        )
        span.origin = ORIGIN
        turn.hold(span, now)
        self._latest = turn, span

    def used(self, event: SessionUsageUpdatedEvent) -> None:
        """Recognition is charged for after its transcript: credit the latest one."""
        charged = sum(
            usage.audio_duration for usage in event.usage.model_usage if usage.type == "stt_usage"
        )
        seconds, self._charged = charged - self._charged, charged
        if seconds <= 0:
            return
        self._usage.add("recognized_seconds", seconds)
        if self._latest is not None:
            turn, span = self._latest
            turn.usage.add("recognized_seconds", seconds)
            known = span.attributes.get(names.STT_AUDIO_SECONDS, 0.0)
            span.set({names.STT_AUDIO_SECONDS: known + seconds})
