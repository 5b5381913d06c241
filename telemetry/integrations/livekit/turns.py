"""Turns: which of LiveKit's spans answer which words, and how long the answer took.

A turn (``conversation.turn``) begins when the caller starts to speak, or the agent does unasked,
and ends when the agent's reply has played or was cut. LiveKit has no such span: its ``user_turn``
and ``agent_turn`` stand side by side. Here both become children of their turn.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from ... import attributes as names
from .latency import Marks, Stage, Step, tile

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit.agents import (
        AgentSession,
        ConversationItemAddedEvent,
        ErrorEvent,
        UserInputTranscribedEvent,
    )
    from opentelemetry.util.types import AttributeValue

    from ...conversation import Conversation
    from ...span import Span
    from .tracer import LiveKitSpan

Initiator = Literal["user", "agent"]


class Turn:
    """One turn and what has been seen of it."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.marks = Marks()
        self.speaking_since: float | None = None
        self.user_turn_open = False
        self.committed = False
        self.agent_turn: LiveKitSpan | None = None
        self.answered = False
        self.speeches: list[tuple[LiveKitSpan, float | None]] = []
        self.words: dict[str, list[str]] = {}

    def said(self, name: str, text: str) -> None:
        """Add words of the caller's or the agent's."""
        self.words.setdefault(name, []).append(text)
        self.span.attributes[name] = " ".join(self.words[name])


class Turns:
    """The turns of one conversation; listens to its LiveKit spans and to its session."""

    def __init__(
        self,
        conversation: Conversation,
        session: AgentSession[Any],
        voiced_until: Callable[[], float | None],
    ) -> None:
        self._conversation = conversation
        self._session = session
        self._voiced_until = voiced_until
        self._turns: dict[str, Turn] = {}
        self._count = 0
        self._interruptions = 0
        self._latencies: list[float] = []
        self._hearing: Turn | None = None
        self._session_span: LiveKitSpan | None = None
        session.on("user_input_transcribed", self._transcribed)
        session.on("conversation_item_added", self._item_added)
        session.on("error", self._failed)

    # -- what the tracer says ----------------------------------------------------------------------

    def place(self, name: str, parent: Span, started_at: float | None) -> tuple[Span, float | None]:
        """Put a ``user_turn`` or ``agent_turn`` under its turn, a wait where speech ended."""
        match name:
            case "user_turn":
                turn = self._hearing = self._begin("user", parent, started_at)
                turn.user_turn_open = True
                return turn.span, started_at
            case "agent_turn":
                return self._answering(parent).span, started_at
            case "eou_wait" if self._hearing is not None:
                return parent, self._hearing.marks.voiced_until or started_at
            case _:
                return parent, started_at

    def started(self, span: LiveKitSpan) -> None:
        """Note what begins."""
        turn = self._turn_of(span.span)
        match span.name:
            case "agent_session":
                self._session_span = span
            case "agent_turn" if turn is not None:
                turn.agent_turn = span
            case "user_speaking" if turn is not None:
                turn.speaking_since = span.span.started_at
            case "llm_node" if turn is not None:
                turn.marks.steps.append(Step(span.span.started_at))
            case "tts_request" if turn is not None and turn.marks.synthesis_at is None:
                turn.marks.synthesis_at = span.span.started_at
            case "agent_speaking" if turn is not None and turn.marks.first_frame_at is None:
                turn.marks.first_frame_at = span.span.started_at

    def learned(self, span: LiveKitSpan, name: str, value: AttributeValue) -> None:
        """Note what LiveKit measures."""
        turn = self._turn_of(span.span)
        if turn is None:
            return
        match name:
            case "lk.response.ttft" if turn.marks.steps:
                step = self._step_of(turn, span)
                step.first_token_at = step.started_at + _number(value)
            case "lk.response.ttfb" if turn.marks.first_byte_at is None:
                turn.marks.first_byte_at = time.time()
            case "lk.eou.outcome" if value == "committed":
                turn.committed = True
            case "lk.interrupted" if value and span.name == "agent_turn":
                self._interruptions += 1

    def ended(self, span: LiveKitSpan, ended_at: float | None) -> bool:
        """Note what ends; agent speech is finished with its turn, when it is known how it went."""
        turn = self._turn_of(span.span)
        now = time.time() if ended_at is None else ended_at
        match span.name:
            case "agent_session":
                span.span.finish(ended_at)
                self.close()
                return True
            case "user_speaking" if turn is not None:
                heard = self._voiced_until()
                # noise can be heard too: detection has the last word on what is speech
                last = now if heard is None else max(min(heard, now), span.span.started_at)
                turn.marks.voiced_until = last
                turn.marks.speech_ended = time.time()
                turn.speaking_since = None
                span.span.finish(last)
                return True
            case "eou_wait" if turn is not None and turn.committed:
                turn.marks.decided_at = now
            case "user_turn" if turn is not None:
                turn.user_turn_open = False
                if not turn.committed:
                    self._end(turn, now)
            case "llm_node" if turn is not None and turn.marks.steps:
                self._step_of(turn, span).ended_at = now
            case "function_tool" if turn is not None and turn.marks.steps:
                turn.marks.steps[-1].tools_ended_at = now
            case "agent_speaking" if turn is not None and turn.agent_turn is not None:
                turn.speeches.append((span, now))
                return True
            case "agent_turn" if turn is not None:
                span.span.finish(ended_at)
                self._end(turn, now)
                return True
        return False

    # -- what the session and the worker say -------------------------------------------------------

    def audible(self, at: float) -> None:
        """The first audible sample of agent speech left at this time."""
        for turn in reversed(self._turns.values()):
            if turn.agent_turn is not None and turn.marks.audible_at is None:
                turn.marks.audible_at = at
                return

    def close(self) -> None:
        """The session is over: end what is open, sum up, close the conversation."""
        for turn in list(self._turns.values()):
            self._end(turn, time.time())
        self._conversation.set(
            {
                names.CONVERSATION_TURNS: self._count,
                names.CONVERSATION_INTERRUPTIONS: self._interruptions,
                **_percentiles(self._latencies),
            }
        )
        self._conversation.close()

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        """The recognition span LiveKit lacks, from the last voiced sample to the transcript."""
        turn = self._hearing
        if not event.is_final or turn is None or not turn.user_turn_open:
            return
        marks, now = turn.marks, time.time()
        marks.transcript_at = now
        speaking = turn.speaking_since is not None or marks.voiced_until is None
        started_at = (
            (turn.speaking_since or turn.span.started_at) if speaking else marks.voiced_until
        )
        stt = self._session.stt
        recognition = turn.span.start_span(
            names.OP_STT,
            "unknown" if stt is None else stt.model,
            started_at=started_at,
            attributes={
                names.GEN_AI_REQUEST_MODEL: None if stt is None else stt.model,
                names.GEN_AI_PROVIDER_NAME: None if stt is None else stt.provider,
                names.USER_WORDS: event.transcript,
            },
        )
        recognition.origin = "auto.ai.livekit"
        recognition.finish(now)

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        role = getattr(item, "role", None)
        if role not in ("user", "assistant") or not (text := getattr(item, "text_content", None)):
            return
        here = self._conversation.current_span()
        turn = self._turn_of(here) or self._hearing
        if turn is not None:
            turn.said(names.USER_WORDS if role == "user" else names.AGENT_WORDS, text)

    def _failed(self, event: ErrorEvent) -> None:
        """A provider failed: reported, and the conversation marked if it can't recover."""
        error = getattr(event.error, "error", event.error)
        if isinstance(error, BaseException):
            self._conversation.capture_exception(error)
            if not getattr(event.error, "recoverable", False):
                self._conversation.fail(error)

    # -- turns -------------------------------------------------------------------------------------

    def _begin(self, initiator: Initiator, parent: Span, started_at: float | None) -> Turn:
        span = parent.start_span(
            names.OP_TURN,
            f"turn {self._count}",
            started_at=started_at,
            attributes={names.TURN_INDEX: self._count, names.TURN_INITIATOR: initiator},
        )
        span.origin = "auto.ai.livekit"
        self._count += 1
        turn = self._turns[span.id] = Turn(span)
        return turn

    def _answering(self, parent: Span) -> Turn:
        """The turn that a new ``agent_turn`` answers, or a new one that the agent initiates."""
        turn = self._hearing
        if turn is None or turn.answered:
            turn = self._begin("agent", parent, None)
        turn.answered = True
        return turn

    def _end(self, turn: Turn, ended_at: float) -> None:
        if self._turns.pop(turn.span.id, None) is None:
            return
        if self._hearing is turn:
            self._hearing = None
        agent_turn = {} if turn.agent_turn is None else turn.agent_turn.span.attributes
        how: dict[str, Any] = {
            key: agent_turn[key] for key in (names.INTERRUPTED, names.PLAYED) if key in agent_turn
        }
        for speech, speech_ended_at in turn.speeches:
            speech.span.set(how)
            speech.span.finish(speech_ended_at)
        turn.span.set(how)
        self._respond(turn, tile(turn.marks))
        turn.span.finish(ended_at)

    def _respond(self, turn: Turn, stages: list[Stage]) -> None:
        """Record the response and its stages, as spans and as attributes of the turn."""
        if not stages:
            return
        started_at, ended_at = stages[0].started_at, stages[-1].ended_at
        latency: dict[str, float] = {names.RESPONSE_LATENCY: ended_at - started_at}
        for stage in stages:
            key = names.LATENCY_STAGE + stage.name
            latency[key] = latency.get(key, 0.0) + stage.duration
        self._latencies.append(ended_at - started_at)
        turn.span.set(latency)
        response = turn.span.start_span(
            names.OP_RESPONSE, "response", started_at=started_at, attributes=latency
        )
        for stage in stages:
            response.start_span(
                f"{names.OP_RESPONSE}.{stage.name}", stage.name, started_at=stage.started_at
            ).finish(stage.ended_at)
        response.finish(ended_at)

    def _turn_of(self, span: Span | None) -> Turn | None:
        while span is not None:
            if (turn := self._turns.get(span.id)) is not None:
                return turn
            span = span.parent
        return None

    @staticmethod
    def _step_of(turn: Turn, span: LiveKitSpan) -> Step:
        for step in turn.marks.steps:
            if step.started_at == span.span.started_at:
                return step
        return turn.marks.steps[-1]


def _number(value: AttributeValue) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _percentiles(latencies: list[float]) -> dict[str, float]:
    """Nearest-rank p50 and p95 of the response latencies, in seconds."""
    if not latencies:
        return {}
    ordered = sorted(latencies)
    return {
        names.RESPONSE_LATENCY_P50: ordered[(len(ordered) - 1) // 2],
        names.RESPONSE_LATENCY_P95: ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
    }
