"""Listens to a LiveKit session's events, which tell of its turns.

Which turn a speech of the agent's belongs to is decided when the speech is made, by what made it:

* the task that has just heard the caller or taken their turn (LiveKit's own answer, also one it
  generates ahead of time): the caller's turn;
* code that runs in a turn (a tool, a node, ``on_user_turn_completed``): that turn;
* a realtime model, unprompted: the caller's turn;
* the ``on_enter`` of an agent that the call was handed to before anything was answered: likewise;
* anything, while the caller waits for an answer that is being made ("One moment, please"):
  likewise;
* anything else spoke unasked: a turn of the agent's own.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ... import attributes as names
from ..harmless import harmless
from . import repeats
from .recognition import Recognition
from .turn import current_task
from .vocabulary import ORIGIN

if TYPE_CHECKING:
    from livekit.agents import (
        AgentFalseInterruptionEvent,
        AgentSession,
        ConversationItemAddedEvent,
        ErrorEvent,
        SpeechCreatedEvent,
        UserInputTranscribedEvent,
        UserStateChangedEvent,
    )
    from livekit.agents.voice import SpeechHandle

    from ...trace.span import Span
    from .turns import Turns

ON_ENTER = "livekit.on_enter"


class EventListener:
    """Listens to a session, until its conversation is closed."""

    def __init__(self, turns: Turns, session: AgentSession[Any]) -> None:
        self.turns = turns
        self._conversation = turns.conversation
        self._recognition = Recognition(session, turns.usage)
        self._away: Span | None = None
        for event, listener in (
            ("user_input_transcribed", self._transcribed),
            ("conversation_item_added", self._item_added),
            ("speech_created", self._speech_created),
            ("agent_false_interruption", self._falsely_interrupted),
            ("user_state_changed", self._user_changed),
            ("session_usage_updated", self._recognition.used),
            ("error", self._failed),
        ):
            guarded = harmless(listener)
            session.on(event, guarded)  # type: ignore[arg-type]
            # a session may be traced again: what it does then is another conversation's
            self._conversation.on_close(functools.partial(session.off, event, guarded))  # type: ignore[arg-type]

    def close(self) -> None:
        """The session is over."""
        if self._away is not None:
            self._away.finish()
            self._away = None

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        turn = self.turns.hearing
        if turn is None:
            return
        turn.decider = current_task()
        if not event.is_final or (turn.is_framed and not turn.caller.is_open):
            return
        self._recognition.transcribed(turn, event)

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        role = getattr(item, "role", None)
        if role not in ("user", "assistant") or not (text := getattr(item, "text_content", None)):
            return
        turn = self.turns.of(self._conversation.current_span()) or self.turns.hearing
        if turn is None:
            return
        if role == "user":
            turn.span.set({names.TURN_INITIATOR: "user"})  # they may have typed it
            turn.said(names.USER_WORDS, text)
            return
        turn.said(names.AGENT_WORDS, text)
        if turn.speaking is not None:  # LiveKit adds what was played when that has ended
            turn.speaking.set({names.AGENT_WORDS: text})

    def _speech_created(self, event: SpeechCreatedEvent) -> None:
        """Decide which turn a speech belongs to; see the module's text."""
        here, hearing = self._conversation.current_span(), self.turns.hearing
        turn = self.turns.of(here)
        if hearing is not None:
            answers = hearing.decider is not None and hearing.decider is current_task()
            unfinished = hearing.awaits_answer or bool(hearing.speeches)
            handed_over = unfinished and _is_below(here, ON_ENTER)
            meanwhile = hearing.awaits_answer and bool(hearing.speeches)
            prompted = event.user_initiated and not (handed_over or meanwhile)
            if answers or (turn is None and not prompted):
                turn = hearing
        if turn is not None:
            self.turns.speech_in(turn, event.speech_handle.id)
        event.speech_handle.add_done_callback(self._speech_done)

    @harmless
    def _speech_done(self, speech: SpeechHandle) -> None:
        self.turns.speech_over(speech.id)

    def _falsely_interrupted(self, _: AgentFalseInterruptionEvent) -> None:
        if (turn := self.turns.speaking()) is not None:
            turn.false_interruptions += 1

    def _user_changed(self, event: UserStateChangedEvent) -> None:
        """A caller who says nothing is away, until they are heard again."""
        self.close()
        if event.new_state == "away":
            parent = self.turns.session_span or self._conversation.root
            self._away = parent.start_span(names.OP_USER_AWAY, "away")
            self._away.origin = ORIGIN

    def _failed(self, event: ErrorEvent) -> None:
        """A provider gave up: reported, and the conversation marked. Attempts are spans."""
        error = getattr(event.error, "error", event.error)
        if isinstance(error, BaseException) and not getattr(event.error, "recoverable", False):
            self._conversation.capture_exception(error)
            self._conversation.fail(error)
            repeats.reported(error)


def _is_below(span: Span | None, op: str) -> bool:
    while span is not None:
        if span.op == op:
            return True
        span = span.parent
    return False
