"""Listens to LiveKit's spans, which tell of the turns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ... import attributes as names
from ..harmless import harmless
from .tasks import current_task
from .vocabulary import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AttributeValue

    from ...trace.span import Span
    from .livekit_span import LiveKitSpan
    from .record import Record
    from .turn import Turn

_COUNTED = {
    names.GEN_AI_USAGE_INPUT_TOKENS: "input_tokens",
    names.GEN_AI_USAGE_OUTPUT_TOKENS: "output_tokens",
    names.TTS_CHARACTERS: "characters",
    names.TTS_AUDIO_SECONDS: "synthesized_seconds",
}


class SpanListener:
    """Told of each of LiveKit's spans by the tracer: a :class:`~.livekit_span.Listener`."""

    def __init__(self, record: Record, voiced_until: Callable[[], float | None]) -> None:
        self.record = record
        self._turns = record.turns
        self._voiced_until = harmless(voiced_until)

    @harmless
    def place(
        self, name: str, parent: Span, started_at: float, facts: Mapping[str, Any]
    ) -> tuple[Span, float]:
        """Put a ``user_turn`` or ``agent_turn`` under its turn, a wait where speech ended."""
        turn: Turn | None
        match name:
            case "user_turn":
                turn = self._turns.caller_begins(started_at)
                return self.record.span_of(turn, parent, started_at), started_at
            case "user_speaking" if self.record.of(parent) is None:
                # a realtime model hears by itself: it tells of speech, not of turns
                turn = self._turns.caller_speaks(None, started_at)
                return self.record.span_of(turn, parent, started_at), started_at
            case "agent_turn":
                return self._place_speech(str(facts.get("lk.speech_id")), parent, started_at)
            case "eou_wait" if (turn := self.record.of(parent)) is not None:
                return parent, turn.marks.voiced_until or started_at
            case _:
                return parent, started_at

    def _place_speech(self, speech: str, parent: Span, started_at: float) -> tuple[Span, float]:
        turn, begins = self._turns.speech_begins(speech, started_at)
        span = self.record.span_of(turn, parent, started_at)
        if begins:
            span.parent_id = self.record.asked_from.pop(speech, span.parent_id)
        return span, started_at

    @harmless
    def started(self, span: LiveKitSpan) -> None:
        """Note what begins."""
        if span.name == SESSION:
            self.record.session_span = span.span
        turn = self.record.of(span.span)
        if turn is None:
            return
        if span.serves is not None:
            self.record.part_of(turn).requests.append(span)
        at = span.span.started_at
        match span.name:
            case "user_speaking":
                self._turns.caller_speaks(turn, at)
            case "llm_node":
                self._turns.model_asked(turn, at)
            case "realtime_inference":
                self._turns.model_asked(turn, at, realtime=True)
            case "function_tool":
                self._turns.tool_called(turn, at)
            case "tts_request":
                self._turns.voice_asked(turn, at)
            case "agent_speaking":
                self._turns.agent_heard(turn, at)
                self.record.part_of(turn).speaking = span.span

    @harmless
    def learned(self, span: LiveKitSpan, name: str, value: AttributeValue) -> None:
        """Note what LiveKit measures."""
        turn = self.record.of(span.span)
        if (counted := _COUNTED.get(name)) is not None and isinstance(value, (int, float)):
            self._turns.used(turn, counted, value)
        elif name in (names.GEN_AI_REQUEST_MODEL, names.GEN_AI_RESPONSE_MODEL):
            self._turns.served_by(turn, str(value))
        if turn is None:
            return
        match name:
            case names.GEN_AI_AGENT_NAME if span.name == "agent_turn":
                self._turns.answered_by(turn, str(value))
            case names.GEN_AI_TIME_TO_FIRST_TOKEN if span.name == "llm_node":
                if isinstance(value, (int, float)):
                    self._turns.model_began(turn, span.span.started_at, value)
            case names.TTS_TIME_TO_FIRST_BYTE:
                self._turns.voice_began(turn, time.time())
            case "lk.eou.outcome" if value == "committed":
                self._turns.caller_decided(turn)

    @harmless
    def noted(self, span: LiveKitSpan, event: str) -> None:
        """Note what LiveKit says of a span in passing."""
        turn = self.record.of(span.span)
        if event == "stop_response" and turn is not None:
            self._turns.declined(turn)

    @harmless
    def ended(self, span: LiveKitSpan, ended_at: float, now: float) -> bool:
        """Note what ends; True when the span is finished here, or later with its turn."""
        if span.name == SESSION:
            span.span.finish(ended_at)
            self.record.close()
            return True
        turn = self.record.of(span.span)
        return turn is not None and self._ended_in(turn, span, ended_at, now)

    def _ended_in(self, turn: Turn, span: LiveKitSpan, ended_at: float, now: float) -> bool:
        match span.name:
            case "user_speaking":
                heard = self._voiced_until()
                # noise can be heard too: detection has the last word on what is speech
                last = ended_at if heard is None else min(heard, ended_at)
                last = max(last, span.span.started_at)
                span.span.finish(last)
                self._turns.caller_silent(turn, last, now)
                return True
            case "eou_wait":
                self._turns.wait_over(turn, ended_at)
            case "on_user_turn_completed":
                self._turns.agent_asked(turn, current_task(), failed=span.span.status != "ok")
            case "user_turn":
                span.span.finish(ended_at)
                self._turns.caller_done(turn, ended_at)
                return True
            case "llm_node" | "realtime_inference":
                self._turns.model_done(turn, span.span.started_at, ended_at)
            case "function_tool":
                self._turns.tool_done(turn, ended_at)
            case "agent_speaking" if span.span.parent is not None and span.span.parent.is_open:
                self.record.part_of(turn).held.append((span.span, ended_at))
                return True
            case "agent_turn":
                self.record.played(turn, span.span)
                span.span.finish(ended_at)
                self._turns.part_over(turn, ended_at)
                return True
        return False
