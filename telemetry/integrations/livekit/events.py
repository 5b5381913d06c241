"""Listens to a LiveKit session's events, which tell of its turns."""

from __future__ import annotations

import functools
import time
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final

from livekit.agents import ChatMessage, llm

from ... import attributes as names
from ...context.place import current_task
from ...written import Written
from ..harmless import harmless
from . import repeats
from .livekit_span import agent_of
from .tracer import current_livekit_span
from .vocabulary import ORIGIN

if TYPE_CHECKING:
    from livekit.agents import (
        AgentFalseInterruptionEvent,
        AgentSession,
        ConversationItemAddedEvent,
        ErrorEvent,
        FunctionToolsExecutedEvent,
        SpeechCreatedEvent,
        UserInputTranscribedEvent,
        UserStateChangedEvent,
    )
    from livekit.agents.voice import SpeechHandle

    from ...trace.span import Span
    from .recognition import Recognition
    from .record import Record

ON_ENTER = "livekit.on_enter"
_ONE_EVENT: Final = Signature([Parameter("event", Parameter.POSITIONAL_ONLY)])
"""LiveKit asks for a listener's each time that it calls it."""


class EventListener:
    """Listens to a session, until its conversation is closed."""

    def __init__(
        self, record: Record, recognition: Recognition, session: AgentSession[Any]
    ) -> None:
        self.record = record
        self._turns = record.turns
        self._conversation = record.conversation
        self._recognition = recognition
        self._session = session
        self._away: Span | None = None
        for event, listener in (
            ("user_input_transcribed", self._transcribed),
            ("conversation_item_added", self._item_added),
            ("speech_created", self._speech_created),
            ("function_tools_executed", self._tools_executed),
            ("agent_false_interruption", self._falsely_interrupted),
            ("user_state_changed", self._user_changed),
            ("session_usage_updated", self._recognition.used),
            ("error", self._failed),
        ):
            guarded = harmless(listener, signature=_ONE_EVENT)
            session.on(event, guarded)  # type: ignore[arg-type]
            # a session may be traced again: what it does then is another conversation's
            self._conversation.on_close(functools.partial(session.off, event, guarded))  # type: ignore[arg-type]

    def close(self) -> None:
        """The session is over."""
        if self._away is not None:
            self._away.finish()
            self._away = None

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        now, item = time.time(), event.item_id or None
        turn = self._turns.transcribed(current_task(), now, is_final=event.is_final, item=item)
        if turn is not None:
            self._recognition.transcribed(turn, event.transcript, now)
            if item is None:
                self._turns.transcript_over(turn, now)

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if not isinstance(item, ChatMessage) or item.role not in ("user", "assistant"):
            return
        now, text, turn = time.time(), item.text_content, self._turns.of_item(item.id)
        if turn is not None:
            if text:
                self._turns.said(turn, names.USER_WORDS, text)
            self._turns.transcript_over(turn, now)
        elif text and item.role == "user":
            turn = self.record.here()
            if turn is not None:
                turn = self.record.asked_in(turn)
            elif self.record.is_closing:  # LiveKit keeps what was said last
                turn = self._turns.hearing
            turn = turn or self._turns.typed(current_task(), now)
            self.record.span_of(turn, self.record.session_span or self._conversation.root, now)
            self._turns.said(turn, names.USER_WORDS, text)
        elif text and (turn := self.record.here() or self._turns.hearing) is not None:
            self.record.said(turn, text, cut=item.interrupted)

    def _speech_created(self, event: SpeechCreatedEvent) -> None:
        here = self._conversation.current_span()
        speech = event.speech_handle
        self.record.handles[speech.id] = speech
        self._turns.speech_made(
            speech.id,
            self.record.of(here),
            current_task(),
            prompted=event.user_initiated,
            entering=_is_below(here, ON_ENTER),
        )
        speech.add_done_callback(self._speech_done)

    @harmless
    def _speech_done(self, speech: SpeechHandle) -> None:
        self.record.handles.pop(speech.id, None)
        self.record.asked_from.pop(speech.id, None)
        self._turns.speech_over(speech.id, time.time())

    def _tools_executed(self, event: FunctionToolsExecutedEvent) -> None:
        """Record tools that LiveKit made no span of: it couldn't call them."""
        agent_turn = current_livekit_span()
        if agent_turn is None or (turn := self.record.of(agent_turn)) is None:
            return
        recorded, tools = self.record.part_of(turn).tools, _tools(self._session)
        for call, output in event.zipped():
            if call.call_id in recorded:
                continue
            name, id = call.name, call.call_id
            if name not in tools:  # the model made it up, maybe of what it heard
                name, id = Written.made_up(name), Written.made_up(id)
            span = agent_turn.start_span(
                names.OP_TOOL,
                f"execute_tool {name}",
                started_at=call.created_at,
                attributes={
                    names.GEN_AI_OPERATION_NAME: "execute_tool",
                    names.GEN_AI_TOOL_NAME: name,
                    names.GEN_AI_AGENT_NAME: agent_of(agent_turn),
                    names.GEN_AI_TOOL_CALL_ARGUMENTS: call.arguments,
                    names.GEN_AI_TOOL_CALL_RESULT: None if output is None else output.output,
                    names.GEN_AI_TOOL_CALL_ID: id,
                    names.ERROR_TYPE: "tool_error",
                },
            )
            span.origin, span.status = ORIGIN, "internal_error"
            span.finish()

    def _falsely_interrupted(self, _: AgentFalseInterruptionEvent) -> None:
        self._turns.falsely_interrupted()

    def _user_changed(self, event: UserStateChangedEvent) -> None:
        """A caller who says nothing is away, until they are heard again."""
        self.close()
        if event.new_state == "away":
            parent = self.record.session_span or self._conversation.root
            self._away = parent.start_span(names.OP_USER_AWAY, "away")
            self._away.origin = ORIGIN

    def _failed(self, event: ErrorEvent) -> None:
        """A provider gave up: reported, and the conversation marked. Attempts are spans."""
        error = getattr(event.error, "error", event.error)
        if isinstance(error, BaseException) and not getattr(event.error, "recoverable", False):
            self._conversation.capture_exception(error)
            self._conversation.fail(error)
            repeats.reported(error)


def _tools(session: AgentSession[Any]) -> set[str]:
    """The names of the tools that a model may call."""
    given = session.tools, session.current_agent.tools
    return {name for tools in given for name in llm.ToolContext(tools).function_tools}


def _is_below(span: Span | None, op: str) -> bool:
    while span is not None:
        if span.op == op:
            return True
        span = span.parent
    return False
