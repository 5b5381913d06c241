"""Listens to LiveKit's spans, which tell of the turns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ... import attributes as names
from ...context.place import current_task
from ...written import Written
from ..harmless import harmless
from . import vocabulary
from .charges import sum_up
from .livekit_span import Place, speech_of
from .vocabulary import REQUESTS, SESSION, SPEECH, tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AttributeValue

    from ...trace.span import Span
    from .charges import Charges
    from .livekit_span import LiveKitSpan
    from .recognition import Recognition
    from .record import Record
    from .turn import Turn

_COUNTED = {
    names.GEN_AI_USAGE_INPUT_TOKENS: "input_tokens",
    names.GEN_AI_USAGE_OUTPUT_TOKENS: "output_tokens",
    names.TTS_CHARACTERS: "characters",
    names.TTS_AUDIO_SECONDS: "synthesized_seconds",
}


_SPOKEN = {names.TTS_CHARACTERS: "characters", names.TTS_AUDIO_SECONDS: "seconds"}
"""What synthesis is charged for, as :class:`.prices.Prices` calls it."""
_OF_THE_AGENT = (
    names.GEN_AI_REQUEST_MODEL,
    names.GEN_AI_RESPONSE_MODEL,
    names.GEN_AI_PROVIDER_NAME,
)
"""What a speech says of the models that were asked for it."""
_HEEDED = frozenset(
    {
        *_COUNTED,
        *_OF_THE_AGENT,
        SPEECH,
        names.GEN_AI_AGENT_NAME,
        names.GEN_AI_TIME_TO_FIRST_TOKEN,
        names.TTS_TIME_TO_FIRST_BYTE,
        vocabulary.TOOL_CALL,
        vocabulary.EOU_OUTCOME,
    }
)
"""The attributes that say something of a turn."""
_WORK = ("llm_node", "tts_node")
"""Made for a reply ahead of time, they may go on when it has been taken back."""


def _answered_with(span: Span, name: str, value: AttributeValue) -> None:
    """Say on a speech which model has made it: the first that was asked, the last that answered."""
    speech, is_last = speech_of(span), name == names.GEN_AI_RESPONSE_MODEL
    if speech is not None and (is_last or name not in speech.attributes):
        speech.set({name: value})


class SpanListener:
    """Told of each of LiveKit's spans by the tracer: a :class:`~.livekit_span.Listener`."""

    heeded = _HEEDED

    def __init__(
        self,
        record: Record,
        recognition: Recognition,
        charges: Charges,
        voiced_until: Callable[[], float | None],
    ) -> None:
        self.record = record
        self._charges = charges
        self._turns = record.turns
        self._recognition = recognition
        self._voiced_until = harmless(voiced_until)

    @harmless
    def place(
        self, name: str, parent: Span, started_at: float, facts: Mapping[str, Any], *, told: bool
    ) -> Place:
        """Put a ``user_turn`` or ``agent_turn`` under its turn, a wait where speech ended."""
        turn = self.record.of(parent)
        match name:
            case "user_turn" if self.record.is_closing:
                # LiveKit asks for last words, which nobody may have said; a word begins its turn
                return Place(parent, started_at)
            case "user_turn" if (turn := self._turns.caller_begins(started_at)) is not None:
                return Place(self.record.span_of(turn, parent, started_at), started_at)
            case "user_speaking" if turn is None and told:
                # text that is typed holds the caller's turn while it is taken: nobody speaks
                return Place(parent, started_at, op=Written.known(f"livekit.{name}"))
            case "user_speaking" if turn is None:
                # a realtime model hears by itself: it tells of speech, not of turns
                turn = self._turns.caller_speaks(None, started_at)
                return Place(self.record.span_of(turn, parent, started_at), started_at)
            case "agent_turn":
                speech = str(facts.get(SPEECH))
                turn, begins = self._turns.speech_begins(speech, started_at, current_task())
                span = self.record.span_of(turn, parent, started_at)
                if begins:
                    span.parent_id = self.record.asked_from.pop(speech, span.parent_id)
                return Place(span, started_at)
            case "eou_wait" if turn is not None:
                return Place(parent, turn.marks.voiced_until or started_at)
            case _:
                return Place(parent, started_at)

    @harmless
    def started(self, span: LiveKitSpan) -> None:
        """Note what begins."""
        if span.name == SESSION:
            self.record.session_span = span.span
        elif span.name == "session_close":
            self.record.is_closing = True
        if span.name in REQUESTS and span.serves is None:
            self.record.requests.add(span)
        turn = self.record.of(span.span)
        if turn is None:
            return
        if span.serves is not None:
            self.record.part_of(turn).requests.append(span)
        at = span.span.started_at
        if span.name in _WORK:
            self._turns.work_begins(turn)
        match span.name:
            case "user_speaking":
                self._turns.caller_speaks(turn, at)
            case "agent_turn":
                self.record.part_of(turn).speeches[span.span.attributes[SPEECH]] = span.span
            case "llm_node":
                turn.marks.model_asked(at)
            case "realtime_inference":
                self._turns.model_begins(turn, at)
            case "function_tool":
                turn.marks.tool_called(at)
            case "tts_request":
                turn.marks.voice_asked(at)
            case "agent_speaking":
                self._turns.agent_heard(turn, at)
                self.record.part_of(turn).speaking = span.span

    @harmless
    def learned(self, span: LiveKitSpan, name: str, value: AttributeValue) -> None:
        """Note what LiveKit measures."""
        turn = self.record.of(span.span)
        if (counted := _COUNTED.get(name)) is not None and isinstance(value, (int, float)):
            self._turns.used(turn, counted, value)
            sum_up(span.span, counted, value)
            if name in _SPOKEN:
                model = str(span.span.attributes.get(names.GEN_AI_REQUEST_MODEL))
                voice = (span.serves or span).span
                self._charges.speech(voice, turn, names.TTS_COST, model, **{_SPOKEN[name]: value})
        elif name in (names.GEN_AI_REQUEST_MODEL, names.GEN_AI_RESPONSE_MODEL):
            self._turns.served_by(turn, str(value))
        if name in _OF_THE_AGENT and (span.serves or span).span.op == names.OP_CHAT:
            _answered_with(span.span, name, value)
        if name == SPEECH and span.name == "agent_turn":
            self.record.go_on(span, str(value), self._turns.of_speech(str(value)))
        if turn is None:
            return
        match name:
            case names.GEN_AI_AGENT_NAME if span.name == "agent_turn":
                self._turns.answered_by(turn, str(value))
            case names.GEN_AI_TIME_TO_FIRST_TOKEN if span.name == "llm_node":
                if isinstance(value, (int, float)):
                    turn.marks.model_began(span.span.started_at, value)
            case names.TTS_TIME_TO_FIRST_BYTE:
                turn.marks.voice_began(time.time())
            case vocabulary.TOOL_CALL:
                self.record.part_of(turn).tools.add(str(value))
            case vocabulary.EOU_OUTCOME if value == "committed":
                self._turns.caller_decided(turn)

    @harmless
    def spent(self, span: LiveKitSpan, usage: Mapping[str, float]) -> None:
        """Price the tokens of a request."""
        own, node = span.span.attributes, (span.serves or span).span
        about = own if names.GEN_AI_REQUEST_MODEL in own else node.attributes
        self._charges.tokens(node, self.record.of(node), usage, about)

    @harmless
    def asked(self, span: Span) -> None:
        """Count a call of a model that LiveKit knows nothing of."""
        turn = self.record.of(span)
        self._charges.tokens(span, turn, tokens_of(span.attributes), span.attributes)
        for name, counted in _COUNTED.items():
            if isinstance(amount := span.attributes.get(name), (int, float)):
                self._turns.used(turn, counted, amount)
                sum_up(span, counted, amount)
        for name in (names.GEN_AI_REQUEST_MODEL, names.GEN_AI_RESPONSE_MODEL):
            if (model := span.attributes.get(name)) is not None:
                self._turns.served_by(turn, str(model))

    @harmless
    def noted(self, span: LiveKitSpan, event: str) -> None:
        """Note what LiveKit says of a span in passing."""
        turn = self.record.of(span.span)
        if event == "stop_response" and turn is not None:
            self._turns.declined(turn, self.record.unused(turn))

    @harmless
    def ended(self, span: LiveKitSpan, ended_at: float, now: float) -> bool:
        """Note what ends; True when the span is finished here, or later with its turn."""
        if span.name == SESSION:
            span.span.finish(ended_at)
            self.record.close(at=ended_at)
            return True
        self.record.requests.discard(span)
        turn = self.record.of(span.span)
        return turn is not None and self._ended_in(turn, span, ended_at, now)

    def _ended_in(self, turn: Turn, span: LiveKitSpan, ended_at: float, now: float) -> bool:
        if span.name in _WORK:
            span.span.finish(ended_at)
            self._turns.work_over(turn, ended_at)
        match span.name:
            case "user_speaking":
                heard = self._voiced_until()
                # noise can be heard too: detection has the last word on what is speech
                last = ended_at if heard is None else min(heard, ended_at)
                last = max(last, span.span.started_at)
                span.span.finish(last)
                self._turns.caller_silent(turn, last, now, self._recognition.late())
                return True
            case "eou_wait":
                self._turns.wait_over(turn, ended_at)
            case "on_user_turn_completed":
                self._turns.agent_asked(turn, current_task())
                if span.span.status != "ok":  # LiveKit answers nothing then
                    self._turns.declined(turn, self.record.unused(turn))
            case "user_turn":
                span.span.finish(ended_at)
                self._turns.caller_done(turn, ended_at)
                return True
            case "llm_node" | "realtime_inference":
                turn.marks.model_done(span.span.started_at, ended_at)
            case "function_tool":
                turn.marks.tool_done(ended_at)
            case "agent_speaking" if span.span.parent is not None and span.span.parent.is_open:
                self.record.part_of(turn).held.append((span.span, ended_at))
                return True
            case "agent_turn":
                self.record.played(turn, span.span)
                span.span.finish(ended_at)
                self._turns.part_over(turn, ended_at)
                return True
        return False
