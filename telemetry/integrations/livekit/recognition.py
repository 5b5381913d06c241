"""The recognition span that LiveKit lacks, and what recognition was charged for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from livekit.agents import llm, stt, utils

from ... import attributes as names
from .turn import Late
from .vocabulary import ORIGIN

if TYPE_CHECKING:
    from livekit.agents import AgentSession, SessionUsageUpdatedEvent

    from ...trace.span import Span
    from .charges import Charges
    from .record import Record
    from .turn import Turn


class Recognition:
    """The speech recognition of one session."""

    def __init__(self, session: AgentSession[Any], record: Record, charges: Charges) -> None:
        self._session = session
        self._charges = charges
        self._record = record
        self._latest: tuple[Turn, Span] | None = None
        self._charged: dict[str, float] = {}

    def transcribed(self, turn: Turn, words: str, at: float) -> None:
        """A final transcript: its span begins at the last voiced sample before it."""
        part, voiced_until = self._record.part_of(turn), turn.marks.voiced_until
        speaking = turn.speaking_since is not None or voiced_until is None
        started_at = (turn.speaking_since or turn.started_at) if speaking else voiced_until
        heard_by = self._heard_by()
        span = part.span.start_span(
            names.OP_STT,
            "unknown" if heard_by is None else heard_by.model,
            started_at=started_at,
            attributes={
                names.GEN_AI_REQUEST_MODEL: None if heard_by is None else heard_by.model,
                names.GEN_AI_PROVIDER_NAME: None if heard_by is None else heard_by.provider,
                names.USER_WORDS: words,
            },
        )
        span.origin = ORIGIN
        part.held.append((span, at))
        self._latest = turn, span

    def late(self) -> set[Late]:
        """The parts that may still come of words that a realtime model has heard the end of."""
        match self._heard_by():
            case None:
                return set()
            case llm.RealtimeModel():
                return {Late.WORDS}
            case _:
                return {Late.WORDS, Late.FRAME}

    def _heard_by(self) -> stt.STT[Any] | llm.RealtimeModel | None:
        """The maker of the transcripts: the agent's own comes before the session's."""
        try:
            agent = self._session.current_agent
        except RuntimeError:  # none has begun
            return self._session.stt
        model = agent.llm if utils.is_given(agent.llm) else self._session.llm
        if isinstance(model, llm.RealtimeModel) and model.capabilities.user_transcription:
            return model
        return agent.stt if utils.is_given(agent.stt) else self._session.stt

    def used(self, event: SessionUsageUpdatedEvent) -> None:
        """Recognition is charged for after its transcript: credit the latest one."""
        charged: dict[str, float] = {}
        for usage in event.usage.model_usage:
            if usage.type == "stt_usage":
                charged[usage.model] = charged.get(usage.model, 0.0) + usage.audio_duration
        before, self._charged = self._charged, charged
        for model, total in charged.items():
            if (seconds := total - before.get(model, 0.0)) > 0:
                self._add(model, seconds)

    def _add(self, model: str, seconds: float) -> None:
        turn, span = self._latest or (None, None)
        self._record.turns.used(turn, "recognized_seconds", seconds)
        if span is not None:
            known = span.attributes.get(names.STT_AUDIO_SECONDS, 0.0)
            span.set({names.STT_AUDIO_SECONDS: known + seconds})
        where = span or self._record.session_span or self._record.conversation.root
        self._charges.speech(where, turn, names.STT_COST, model, seconds=seconds)
