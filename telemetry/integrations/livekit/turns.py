"""Turns: which of LiveKit's spans answer which words, and how long the answer took.

A turn (``conversation.turn``) begins when the caller starts to speak, or the agent does unasked,
and ends when the agent's reply has played or was cut. LiveKit has no such span: its ``user_turn``
and ``agent_turn`` stand side by side. Here both become children of their turn.

Which turn a speech of the agent's belongs to is decided when the speech is made, by what made it:

* the task that has just heard the caller or taken their turn (LiveKit's own answer, also one it
  generates ahead of time): the caller's turn;
* code that runs in a turn (a tool, a node, ``on_user_turn_completed``): that turn;
* a realtime model, unprompted: the caller's turn;
* the ``on_enter`` of an agent that the call was handed to before anything was answered: likewise;
* anything else spoke unasked: a turn of the agent's own.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from typing import TYPE_CHECKING, Any

from ... import attributes as names
from . import repeats
from .latency import Step, percentiles
from .recognition import Recognition
from .turn import Caller, Turn, Usage
from .vocabulary import ORIGIN

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from livekit.agents import (
        AgentFalseInterruptionEvent,
        AgentSession,
        ConversationItemAddedEvent,
        ErrorEvent,
        SpeechCreatedEvent,
        UserInputTranscribedEvent,
    )
    from livekit.agents.voice import SpeechHandle
    from opentelemetry.util.types import AttributeValue

    from ...conversation import Conversation
    from ...span import Span
    from .livekit_span import LiveKitSpan

ON_ENTER = "livekit.on_enter"

_COUNTED = {
    names.GEN_AI_USAGE_INPUT_TOKENS: "input_tokens",
    names.GEN_AI_USAGE_OUTPUT_TOKENS: "output_tokens",
    names.TTS_CHARACTERS: "characters",
    names.TTS_AUDIO_SECONDS: "synthesized_seconds",
}


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
        self._spoken_in: dict[str, Turn] = {}
        self._hearing: Turn | None = None
        self._session_span: Span | None = None
        self._count = 0
        self._interruptions = 0
        self._latencies: list[float] = []
        self._usage = Usage()
        self._recognition = Recognition(session, self._usage)
        for event, listener in (
            ("user_input_transcribed", self._transcribed),
            ("conversation_item_added", self._item_added),
            ("speech_created", self._speech_created),
            ("agent_false_interruption", self._falsely_interrupted),
            ("session_usage_updated", self._recognition.used),
            ("error", self._failed),
        ):
            session.on(event, listener)  # type: ignore[arg-type]  # each of its own
            # a session may be traced again: what it does then is another conversation's
            conversation.on_close(functools.partial(session.off, event, listener))  # type: ignore[arg-type]

    # -- what the tracer says ----------------------------------------------------------------------

    def place(
        self, name: str, parent: Span, started_at: float | None, facts: Mapping[str, Any]
    ) -> tuple[Span, float | None]:
        """Put a ``user_turn`` or ``agent_turn`` under its turn, a wait where speech ended."""
        match name:
            case "user_turn":
                return self._begin(Caller.SPEAKING, parent, started_at).span, started_at
            case "user_speaking" if self._turn_of(parent) is None:
                # a realtime model hears by itself: it tells of speech, not of turns
                turn = self._hearing
                if turn is None or not turn.caller.is_open:
                    turn = self._begin(Caller.SPEAKING, parent, started_at)
                    turn.is_framed = False
                return turn.span, started_at
            case "agent_turn":
                speech = str(facts.get("lk.speech_id"))
                turn = self._spoken_in.get(speech)
                if turn is None:
                    turn = self._begin(Caller.SILENT, parent, started_at)
                    turn.speeches.add(speech)
                    self._spoken_in[speech] = turn
                return turn.span, started_at
            case "eou_wait" if (turn := self._turn_of(parent)) is not None:
                return parent, turn.marks.voiced_until or started_at
            case _:
                return parent, started_at

    def started(self, span: LiveKitSpan) -> None:
        """Note what begins."""
        if span.name == "agent_session":
            self._session_span = span.span
        turn = self._turn_of(span.span)
        if turn is None:
            return
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
                self._heard_elsewhere(turn, now)
                if not turn.heard:
                    marks.first_frame_at = now
                    if turn.is_realtime:  # its model's first sound, not its first word
                        marks.steps[-1].first_token_at = now

    def learned(self, span: LiveKitSpan, name: str, value: AttributeValue) -> None:
        """Note what LiveKit measures."""
        turn = self._turn_of(span.span)
        if (counted := _COUNTED.get(name)) is not None and isinstance(value, (int, float)):
            for usage in (self._usage, *([] if turn is None else [turn.usage])):
                usage.add(counted, value)
        elif name in (names.GEN_AI_REQUEST_MODEL, names.GEN_AI_RESPONSE_MODEL):
            for usage in (self._usage, *([] if turn is None else [turn.usage])):
                usage.served_by(str(value))
        if turn is None:
            return
        match name:
            case names.GEN_AI_TIME_TO_FIRST_TOKEN if span.name == "llm_node":
                if (step := turn.step(span.span.started_at)) and isinstance(value, (int, float)):
                    step.first_token_at = step.started_at + value
            case names.TTS_TIME_TO_FIRST_BYTE if turn.marks.first_byte_at is None:
                turn.marks.first_byte_at = time.time()
            case "lk.eou.outcome" if value == "committed":
                turn.caller = Caller.DECIDED

    def noted(self, span: LiveKitSpan, event: str) -> None:
        """Note what LiveKit says of a span in passing."""
        turn = self._turn_of(span.span)
        if event == "stop_response" and turn is not None:
            turn.caller = Caller.DECLINED

    def ended(self, span: LiveKitSpan, ended_at: float | None) -> bool:
        """Note what ends; True when the span is finished here, or later with its turn."""
        turn = self._turn_of(span.span)
        now = time.time() if ended_at is None else ended_at
        if span.name == "agent_session":
            span.span.finish(ended_at)
            self.close()
            return True
        if turn is None:
            return False
        match span.name:
            case "user_speaking":
                self._silent(turn, span, now)
                return True
            case "eou_wait" if turn.caller is Caller.DECIDED:
                turn.marks.decided_at = now
            case "on_user_turn_completed":
                turn.decider = _current_task()
                if span.span.status != "ok":
                    turn.caller = Caller.DECLINED  # LiveKit answers nothing then
            case "user_turn":
                span.span.finish(ended_at)
                match turn.caller:
                    case Caller.SPEAKING:
                        turn.caller = Caller.DROPPED
                    case Caller.DECIDED:
                        turn.caller = Caller.ASKED
                self._part_over(turn, now)
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
                self._agent_done(turn, span, now)
                span.span.finish(ended_at)
                self._part_over(turn, now)
                return True
        return False

    # -- what the session and the worker say -------------------------------------------------------

    def audible(self, at: float) -> None:
        """The first audible sample of agent speech left at this time."""
        for turn in reversed(self._turns.values()):
            if turn.speeches and turn.marks.audible_at is None:
                turn.marks.audible_at = at
                return

    @property
    def is_running(self) -> bool:
        """Whether the session has started and not closed."""
        return self._session_span is not None and self._session_span.is_open

    def close(self, error: BaseException | None = None) -> None:
        """The session is over: end what is open, sum up, close the conversation."""
        for turn in list(self._turns.values()):
            self._end(turn)
        if error is not None and self._session_span is not None:
            self._session_span.fail(error)
            self._session_span.finish()  # LiveKit doesn't end it when it can't start
        self._conversation.set(
            {
                names.CONVERSATION_TURNS: self._count,
                names.CONVERSATION_INTERRUPTIONS: self._interruptions,
                **percentiles(self._latencies),
                **self._usage.attributes(),
            }
        )
        self._conversation.close(error)

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        turn = self._hearing
        if turn is None:
            return
        turn.decider = _current_task()
        if not event.is_final or (turn.is_framed and not turn.caller.is_open):
            return
        self._recognition.transcribed(turn, event)

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        role = getattr(item, "role", None)
        if role not in ("user", "assistant") or not (text := getattr(item, "text_content", None)):
            return
        turn = self._turn_of(self._conversation.current_span()) or self._hearing
        if turn is None:
            return
        if role == "user":
            turn.span.set({names.TURN_INITIATOR: "user"})  # they may have typed it
        turn.said(names.USER_WORDS if role == "user" else names.AGENT_WORDS, text)

    def _speech_created(self, event: SpeechCreatedEvent) -> None:
        """Decide which turn a speech belongs to; see the module's text."""
        here, hearing = self._conversation.current_span(), self._hearing
        turn = self._turn_of(here)
        if hearing is not None:
            answers = hearing.decider is not None and hearing.decider is _current_task()
            unfinished = hearing.awaits_answer or bool(hearing.speeches)
            handed_over = unfinished and _is_below(here, ON_ENTER)
            if answers or (turn is None and (not event.user_initiated or handed_over)):
                turn = hearing
        if turn is not None:
            turn.speeches.add(event.speech_handle.id)
            self._spoken_in[event.speech_handle.id] = turn
        event.speech_handle.add_done_callback(self._speech_done)

    def _speech_done(self, speech: SpeechHandle) -> None:
        turn = self._spoken_in.pop(speech.id, None)
        if turn is not None:
            turn.speeches.discard(speech.id)
            self._part_over(turn, turn.over_at or time.time())

    def _falsely_interrupted(self, _: AgentFalseInterruptionEvent) -> None:
        for turn in reversed(self._turns.values()):
            if turn.speeches and turn.heard:
                turn.false_interruptions += 1
                return

    def _failed(self, event: ErrorEvent) -> None:
        """A provider gave up: reported, and the conversation marked. Attempts are spans."""
        error = getattr(event.error, "error", event.error)
        if isinstance(error, BaseException) and not getattr(event.error, "recoverable", False):
            self._conversation.capture_exception(error)
            self._conversation.fail(error)
            repeats.reported(error)

    # -- turns -------------------------------------------------------------------------------------

    def _begin(self, caller: Caller, parent: Span, started_at: float | None) -> Turn:
        if (before := self._hearing) is not None and not before.is_open:
            self._end(before)  # it waited for an answer; none will come now
        initiator = "agent" if caller is Caller.SILENT else "user"
        span = parent.start_span(
            names.OP_TURN,
            f"turn {self._count}",
            started_at=started_at,
            attributes={names.TURN_INDEX: self._count, names.TURN_INITIATOR: initiator},
        )
        span.origin = ORIGIN
        turn = self._turns[span.id] = Turn(span, self._count, caller)
        self._count += 1
        if caller is Caller.SPEAKING:
            self._hearing = turn
        return turn

    def _silent(self, turn: Turn, span: LiveKitSpan, now: float) -> None:
        """The caller stopped speaking."""
        try:
            heard = self._voiced_until()
        except Exception:
            logger.exception("voiced_until")
            heard = None
        # noise can be heard too: detection has the last word on what is speech
        last = now if heard is None else max(min(heard, now), span.span.started_at)
        turn.marks.voiced_until = last
        turn.marks.speech_ended = time.time()
        turn.speaking_since = None
        span.span.finish(last)
        if turn.caller is Caller.SPEAKING and not turn.is_framed:
            turn.caller = Caller.ASKED
            self._part_over(turn, last)

    def _heard_elsewhere(self, turn: Turn, now: float) -> None:
        """The agent starts to speak in one turn: what that is to another one of the caller's."""
        other = self._hearing
        if other is None or other is turn:
            return
        if other.speaking_since is not None:
            other.span.set({names.INTERRUPTED_BY: "agent"})
            turn.span.set({names.INTERRUPTS: other.index})
        elif other.awaits_answer and not other.is_open:
            # asked within a tool of an older turn, which goes on now
            other.marks.first_frame_at = now
            self._part_over(other, now)

    def _agent_done(self, turn: Turn, span: LiveKitSpan, now: float) -> None:
        """A speech is over: say how it went where it was heard, and who cut it short."""
        agent_turn = span.span
        how: dict[str, Any] = {
            key: agent_turn.attributes[key]
            for key in (names.INTERRUPTED, names.PLAYED)
            if key in agent_turn.attributes
        }
        if how.get(names.INTERRUPTED):
            source = agent_turn.attributes.get("lk.interruption.source", "programmatic")
            by_user = source != "programmatic"
            how[names.INTERRUPTED_BY] = "user" if by_user else "application"
        if not turn.release(agent_turn, how):
            return
        turn.span.set(how)
        if how.get(names.INTERRUPTED):
            self._interruptions += 1
            other = self._hearing
            if by_user and other is not None and other is not turn:
                other.span.set({names.INTERRUPTS: turn.index})

    def _part_over(self, turn: Turn, now: float) -> None:
        """End the turn if that was its last part; a question stays open to a late answer."""
        turn.over_at = max(now, turn.over_at or now)
        if not turn.is_open and not (turn.awaits_answer and turn is self._hearing):
            self._end(turn)

    def _end(self, turn: Turn) -> None:
        if self._turns.pop(turn.span.id, None) is None:
            return
        if self._hearing is turn:
            self._hearing = None
        ended_at = time.time() if turn.is_open or turn.over_at is None else turn.over_at
        latency = turn.end(ended_at)
        if latency is not None:
            self._latencies.append(latency)

    def _turn_of(self, span: Span | None) -> Turn | None:
        while span is not None:
            if (turn := self._turns.get(span.id)) is not None:
                return turn
            span = span.parent
        return None


def _is_below(span: Span | None, op: str) -> bool:
    while span is not None:
        if span.op == op:
            return True
        span = span.parent
    return False


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
