"""Listens to LiveKit's spans, which tell of the turns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ... import attributes as names
from ..harmless import harmless
from .latency import Step
from .turn import Caller, Turn, Usage, current_task
from .vocabulary import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.util.types import AttributeValue

    from ...trace.span import Span
    from .livekit_span import LiveKitSpan
    from .turns import Turns

_COUNTED = {
    names.GEN_AI_USAGE_INPUT_TOKENS: "input_tokens",
    names.GEN_AI_USAGE_OUTPUT_TOKENS: "output_tokens",
    names.TTS_CHARACTERS: "characters",
    names.TTS_AUDIO_SECONDS: "synthesized_seconds",
}


class SpanListener:
    """Told of each of LiveKit's spans by the tracer: a :class:`~.livekit_span.Listener`."""

    def __init__(self, turns: Turns, voiced_until: Callable[[], float | None]) -> None:
        self.turns = turns
        self._voiced_until = harmless(voiced_until)

    @harmless
    def place(
        self, name: str, parent: Span, started_at: float | None, facts: Mapping[str, Any]
    ) -> tuple[Span, float | None]:
        """Put a ``user_turn`` or ``agent_turn`` under its turn, a wait where speech ended."""
        match name:
            case "user_turn":
                return self.turns.begin(Caller.SPEAKING, parent, started_at).span, started_at
            case "user_speaking" if self.turns.of(parent) is None:
                # a realtime model hears by itself: it tells of speech, not of turns
                turn = self.turns.hearing
                if turn is None or not turn.caller.is_open:
                    turn = self.turns.begin(Caller.SPEAKING, parent, started_at)
                    turn.is_framed = False
                return turn.span, started_at
            case "agent_turn":
                speech = str(facts.get("lk.speech_id"))
                turn = self.turns.of_speech(speech)
                if turn is None:
                    turn = self.turns.begin(Caller.SILENT, parent, started_at)
                    turn.span.parent_id = self.turns.asked_from.pop(speech, turn.span.parent_id)
                    self.turns.speech_in(turn, speech)
                return turn.span, started_at
            case "eou_wait" if (turn := self.turns.of(parent)) is not None:
                return parent, turn.marks.voiced_until or started_at
            case _:
                return parent, started_at

    @harmless
    def started(self, span: LiveKitSpan) -> None:
        """Note what begins."""
        if span.name == SESSION:
            self.turns.session_span = span.span
        turn = self.turns.of(span.span)
        if turn is None:
            return
        if span.serves is not None:
            turn.requests.append(span)
        marks, now = turn.marks, span.span.started_at
        match span.name:
            case "user_speaking":
                turn.speaking_since = now
            case "llm_node":
                marks.steps.append(Step(now))
            case "realtime_inference":
                marks.decided_at = marks.decided_at or now
                marks.steps.append(Step(now))
                turn.is_realtime = True
            case "function_tool" if marks.steps and marks.steps[-1].tools_at is None:
                marks.steps[-1].tools_at = now
            case "tts_request" if marks.synthesis_at is None:
                marks.synthesis_at = now
            case "agent_speaking":
                self.turns.heard_elsewhere(turn, now)
                turn.speaking = span.span
                if not turn.heard:
                    marks.first_frame_at = now
                    if turn.is_realtime:  # its model's first sound, not its first word
                        marks.steps[-1].first_token_at = now
                if turn.answered_at is None and not marks.is_working:
                    turn.answered_at = now

    @harmless
    def learned(self, span: LiveKitSpan, name: str, value: AttributeValue) -> None:
        """Note what LiveKit measures."""
        turn = self.turns.of(span.span)
        if (counted := _COUNTED.get(name)) is not None and isinstance(value, (int, float)):
            for usage in self._usages(turn):
                usage.add(counted, value)
        elif name in (names.GEN_AI_REQUEST_MODEL, names.GEN_AI_RESPONSE_MODEL):
            for usage in self._usages(turn):
                usage.served_by(str(value))
        if turn is None:
            return
        match name:
            case names.GEN_AI_AGENT_NAME if span.name == "agent_turn":
                turn.span.set({name: value})
            case names.GEN_AI_TIME_TO_FIRST_TOKEN if span.name == "llm_node":
                if (step := turn.step(span.span.started_at)) and isinstance(value, (int, float)):
                    step.first_token_at = step.started_at + value
            case names.TTS_TIME_TO_FIRST_BYTE if turn.marks.first_byte_at is None:
                turn.marks.first_byte_at = time.time()
            case "lk.eou.outcome" if value == "committed":
                turn.caller = Caller.DECIDED

    @harmless
    def noted(self, span: LiveKitSpan, event: str) -> None:
        """Note what LiveKit says of a span in passing."""
        turn = self.turns.of(span.span)
        if event == "stop_response" and turn is not None:
            turn.caller = Caller.DECLINED

    @harmless
    def ended(self, span: LiveKitSpan, ended_at: float | None) -> bool:
        """Note what ends; True when the span is finished here, or later with its turn."""
        if span.name == SESSION:
            span.span.finish(ended_at)
            self.turns.close()
            return True
        turn = self.turns.of(span.span)
        now = time.time() if ended_at is None else ended_at
        if turn is None:
            return False
        match span.name:
            case "user_speaking":
                self._silent(turn, span, now)
                return True
            case "eou_wait" if turn.caller is Caller.DECIDED:
                turn.marks.decided_at = now
            case "on_user_turn_completed":
                turn.decider = current_task()
                if span.span.status != "ok":
                    turn.caller = Caller.DECLINED  # LiveKit answers nothing then
            case "user_turn":
                span.span.finish(ended_at)
                match turn.caller:
                    case Caller.SPEAKING:
                        turn.caller = Caller.DROPPED
                    case Caller.DECIDED:
                        turn.caller = Caller.ASKED
                self.turns.part_over(turn, now)
                return True
            case "llm_node" | "realtime_inference":
                if step := turn.step(span.span.started_at):
                    step.ended_at = now
            case "function_tool" if turn.marks.steps:
                turn.marks.steps[-1].tools_ended_at = now
            case "agent_speaking" if span.span.parent is not None and span.span.parent.is_open:
                turn.hold(span.span, now)
                return True
            case "agent_turn":
                self.turns.spoken(turn, span.span)
                span.span.finish(ended_at)
                self.turns.part_over(turn, now)
                return True
        return False

    def _silent(self, turn: Turn, span: LiveKitSpan, now: float) -> None:
        """The caller stopped speaking."""
        heard = self._voiced_until()
        # noise can be heard too: detection has the last word on what is speech
        last = now if heard is None else max(min(heard, now), span.span.started_at)
        turn.marks.voiced_until = last
        turn.marks.speech_ended = time.time()
        turn.speaking_since = None
        span.span.finish(last)
        if turn.caller is Caller.SPEAKING and not turn.is_framed:
            turn.caller = Caller.ASKED
            self.turns.part_over(turn, last)

    def _usages(self, turn: Turn | None) -> Iterable[Usage]:
        return (self.turns.usage,) if turn is None else (self.turns.usage, turn.usage)
