"""Silence, and its end: no caller is left in it, whatever the agent.

A caller who says nothing is asked again, and in the end let go; one who waits for a tool is told
so; one whose reply failed, or doesn't come, hears that. The words are the agent's
:class:`~agent.session.phrases.Manners`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from livekit import rtc
from livekit.agents import llm

from agent.metrics import Limit, reached

from .listeners import listen
from .phrases import Manners, manners_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from livekit.agents import (
        AgentSession,
        AgentStateChangedEvent,
        ConversationItemAddedEvent,
        ErrorEvent,
        UserInputTranscribedEvent,
        UserStateChangedEvent,
    )
    from livekit.agents.voice import SpeechHandle
    from livekit.agents.voice.events import ToolExecutionUpdatedEvent

    from telemetry import Conversation

log = logging.getLogger(__name__)

ASK_AGAIN_AFTER_SECONDS: Final = 8.0
"""Mutual silence before a caller is asked again, unless the settings say otherwise."""

_STUCK_SECONDS: Final = 1.0
"""Time in which an agent that "thinks" has begun to say something, or has nothing to say."""

OP_GIVEN_UP: Final = "reply.given_up"
"""The op of a reply that was given up."""

_PERIODS_OWED_TO_A_SOUND: Final = 1
"""Number of silences that an answer to something spoken may take: it may have been noise."""
_PERIODS_OWED_TO_WORDS: Final = 4
"""Number of silences that an answer to words may take. There is a limit, lest nobody ever
speaks."""


class SilenceWatch:
    """The watch over one session's silence, from before it starts until :meth:`close`.

    ``on_idle`` is called when the caller stayed silent however often it was asked.
    """

    def __init__(
        self,
        session: AgentSession[None],
        conversation: Conversation,
        *,
        on_idle: Callable[[], None],
    ) -> None:
        self._session = session
        self._conversation = conversation
        self._on_idle = on_idle
        self._asked = 0
        """Number of times the caller was asked again since it last said something."""
        self._owed = 0
        """Number of silences that are the agent's: the caller has spoken and awaits an answer."""
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        """Timers that ask the caller for patience, by the call of the tool it waits for."""
        self._stuck: asyncio.TimerHandle | None = None
        self._thinks_since = 0.0
        """The time since which the agent has nothing to wait for but its own providers."""
        self._closed = False
        listen(session, "user_state_changed", self._user_state)
        listen(session, "agent_state_changed", self._agent_state)
        listen(session, "user_input_transcribed", self._transcribed)
        listen(session, "conversation_item_added", self._heard)
        listen(session, "tool_execution_updated", self._tool)
        listen(session, "error", self._failed)

    def close(self) -> None:
        """Say nothing more."""
        self._closed = True
        for timer in (*self._waiting.values(), self._stuck):
            if timer is not None:
                timer.cancel()

    @property
    def _manners(self) -> Manners:
        return manners_of(self._session.current_agent)

    def _say(self, words: str, *, done: Callable[[SpeechHandle], None] | None = None) -> None:
        if self._closed:
            return
        try:
            speech = self._session.say(words)
        except RuntimeError as error:  # the session is closing
            log.info("conversation %s: %r not said: %s", self._conversation.id, words, error)
            return
        if done is not None:
            speech.add_done_callback(done)

    # -- silence -----------------------------------------------------------------------------------

    def _user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._owed = max(self._owed, _PERIODS_OWED_TO_A_SOUND)
        if event.new_state != "away" or self._closed:
            return
        if self._owed:
            # recognition or the model is slow: the caller is waiting, not silent
            self._owed -= 1
            self._session.reset_away_timer()
            return
        reprompts = self._manners.reprompts
        if self._asked >= len(reprompts):
            self._on_idle()
            return
        # a timer called: it belongs to whatever last set it, and this answers nobody
        with self._conversation.attach():
            self._say(reprompts[self._asked], done=self._ask_again)
        self._asked += 1

    def _ask_again(self, speech: SpeechHandle) -> None:
        """Count silence anew, from the end of the question; LiveKit starts the clock once."""
        if not speech.interrupted and not self._closed:
            self._session.reset_away_timer()

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        if event.transcript.strip():
            self._owed = _PERIODS_OWED_TO_WORDS

    def _heard(self, event: ConversationItemAddedEvent) -> None:
        if getattr(event.item, "role", None) == "user":
            self._asked = 0

    # -- slow tools --------------------------------------------------------------------------------

    def _tool(self, event: ToolExecutionUpdatedEvent) -> None:
        match event.update.type:
            case "tool_call_started":
                # the timer keeps the tool's context: the words belong to the turn that waits
                self._waiting[event.update.function_call.call_id] = (
                    asyncio.get_running_loop().call_later(
                        self._manners.patience_after, self._tell, self._manners.patience
                    )
                )
            case "tool_call_ended":
                if timer := self._waiting.pop(event.update.call_id, None):
                    timer.cancel()
            case _:
                pass

    def _tell(self, words: str) -> None:
        if self._session.agent_state == "thinking":  # else the tool is talking itself
            self._say(words)

    # -- failures ----------------------------------------------------------------------------------

    def _failed(self, event: ErrorEvent) -> None:
        # Without this the caller hears nothing and waits; LiveKit gives up after three.
        if isinstance(event.error, llm.LLMError) and not event.error.recoverable:
            self._say(self._manners.apology)

    def _agent_state(self, event: AgentStateChangedEvent) -> None:
        """Watch for an agent stuck "thinking", as a failed voice leaves it: silence isn't counted
        then."""
        if event.new_state == "speaking":
            self._owed = 0
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        if event.new_state == "thinking" and not self._closed:
            self._thinks_since = asyncio.get_running_loop().time()
            self._look_again()

    def _look_again(self) -> None:
        self._stuck = asyncio.get_running_loop().call_later(_STUCK_SECONDS, self._unstick)

    def _unstick(self) -> None:
        self._stuck = None
        if self._closed or self._session.agent_state != "thinking":
            return
        now = asyncio.get_running_loop().time()
        if self._waiting:
            self._thinks_since = now  # a tool has a limit of its own
            self._look_again()
            return
        if self._session.current_speech is not None:
            limit = self._manners.reply_limit
            if limit is not None and now - self._thinks_since >= limit:
                self._give_up(limit)
            else:
                self._look_again()
            return
        with self._conversation.attach():
            try:
                # saying nothing, aloud, is the only way to be done with speaking
                self._session.say("", audio=_silence(), add_to_chat_ctx=False)
            except RuntimeError as error:
                log.info("conversation %s stays stuck: %s", self._conversation.id, error)

    def _give_up(self, limit: float) -> None:
        """Cut off a reply whose first word doesn't come, and apologise."""
        reached(Limit.REPLY)
        late = TimeoutError(f"no word of a reply within {limit:g} s")
        log.warning("conversation %s: %s: given up", self._conversation.id, late)
        with self._conversation.attach():
            with self._conversation.span(OP_GIVEN_UP, "reply") as span:
                span.fail(late)
            try:
                self._session.interrupt(force=True)
            except RuntimeError as error:
                log.info("conversation %s stays stuck: %s", self._conversation.id, error)
                return
            self._say(self._manners.apology)


async def _silence() -> AsyncIterator[rtc.AudioFrame]:
    """20 ms of it."""
    yield rtc.AudioFrame(bytes(640), 16_000, 1, 320)
