"""A conversation by voice: LiveKit's ``AgentSession`` between a line and the providers.

The pipeline (turn detection, interruption, tools, handoff) is LiveKit's. This module gives it
fresh plugins and a conversation, tells the caller what happens, and sees to it that
it ends once, however it does, for a named reason, with everything closed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
from livekit.agents import AgentSession

import telemetry
from agent.metrics import Limit, reached
from telemetry import attributes as names
from telemetry.integrations import livekit as livekit_telemetry

from .backchannel import Backchannel
from .heard import HeardOutput
from .line import Outcome, StateChanged, ToolCalled, Words
from .listeners import listen
from .phrases import manners_of
from .recorded import Record
from .silence import ASK_AGAIN_AFTER_SECONDS, SilenceWatch
from .tools import limit_tools
from .turn_taking import USUAL, TurnTaking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from livekit.agents import (
        Agent,
        AgentStateChangedEvent,
        CloseEvent,
        ConversationItemAddedEvent,
        FunctionToolsExecutedEvent,
        UserInputTranscribedEvent,
        UserStateChangedEvent,
    )

    from agent.providers import Plugins
    from telemetry.integrations.livekit import Prices

    from .line import Line, SessionRequest

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_SECONDS: Final = 5.0
"""Time the pipeline has to close; then the conversation is closed without it."""

FAREWELL_TIMEOUT_SECONDS: Final = 6.0
"""Time a farewell has, from the end being asked for to its last word."""


class VoiceSession:
    """A :class:`~agent.session.line.Session`: one caller, one agent, one conversation.

    Args:
        request: the caller's words about itself.
        line: the transport's side.
        agent: makes the agent; called once, inside the conversation.
        plugins: makes this session's own plugin objects; likewise.
        silence: seconds of mutual silence before the caller is asked again; 0 for never.
        prices: prices of the models, where the conversation is to say what it costs.
        record: whether the call is recorded.
        turns: the way in which the end of the caller's turns is found; the plugins' voice
            activity is made for it.
    """

    def __init__(
        self,
        request: SessionRequest,
        line: Line,
        *,
        agent: Callable[[], Agent],
        plugins: Callable[[], Plugins],
        silence: float = ASK_AGAIN_AFTER_SECONDS,
        prices: Prices | None = None,
        record: Record = Record.OFF,
        turns: TurnTaking = USUAL,
    ) -> None:
        self._line = line
        self._recorder = record.recorder(line)
        self._prices = prices
        self._turns = turns
        self._silence = silence
        self._make_agent = agent
        self._make_plugins = plugins
        self._outcome: Outcome | None = None
        self._over = anyio.Event()
        self._leaving = anyio.CancelScope()
        """The scope around the farewell."""
        self._session: AgentSession[None] | None = None
        """The pipeline; set once it has started."""
        self._typed_early: tuple[str, Mapping[str, str] | None] | None = None
        self.conversation = telemetry.conversation(
            "call",
            id=request.id,
            user=request.user,
            tags=request.tags,
            headers=telemetry.extract(request.headers),  # a stranger doesn't decide what is sampled
        )

    @property
    def id(self) -> str:
        """The conversation's id."""
        return self.conversation.id

    @property
    def trace_id(self) -> str:
        """The id of its trace."""
        return self.conversation.trace_id

    @property
    def pipeline(self) -> AgentSession[None] | None:
        """LiveKit's session, which keeps a history of its own; None until it has started."""
        return self._session

    def end(self, outcome: Outcome, limit: Limit | None = None) -> None:
        """Ask the conversation to end, for this reason, and for the limit that was reached, if one
        was; the first reason stands. A second one cuts the farewell short: the caller has gone, or
        patience has."""
        if self._over.is_set():
            self._leaving.cancel()
        if self._outcome is None:
            self._outcome = outcome
            if limit is not None:
                self.conversation.set({names.CONVERSATION_LIMIT: limit.value})
        self._over.set()

    def hear(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        """Take a turn that the caller typed: it interrupts the agent as speech would."""
        if self._session is None:
            self._typed_early = text, headers  # it is still starting; the last words count
            return
        if self._over.is_set():
            return
        # the reply's tasks inherit the context of whoever asks for it: here the transport's
        with self.conversation.attach():
            try:
                self._session.interrupt()
                speech = self._session.generate_reply(user_input=text)
                livekit_telemetry.asked_from(self.conversation, speech, headers)
            except RuntimeError as error:  # it is closing, or says what can't be interrupted
                log.info("conversation %s could not take what was typed: %s", self.id, error)

    def caller_gap(self, seconds: object) -> None:
        """Record what the caller says that it waited for the answer it begins to hear."""
        livekit_telemetry.caller_gap(self.conversation, seconds)

    async def run(self) -> Outcome:
        """Hold the conversation until it is over; see :meth:`agent.session.line.Session.run`."""
        try:
            await self._converse()
        except Exception as error:
            log.exception("conversation %s failed", self.id)
            self.conversation.fail(error)
            self.end(Outcome.FAILED)
        finally:
            self._settle()
            self.conversation.close()
        return self._settle()

    async def _converse(self) -> None:
        plugins = self._make_plugins()
        audio = HeardOutput(self._line.audio_output)
        session = AgentSession[None](
            vad=plugins.vad,
            stt=plugins.stt,
            llm=plugins.llm,
            tts=plugins.tts,
            turn_handling=self._turns.handling(),
            conn_options=plugins.connect,
            aec_warmup_duration=None,  # the caller's device cancels its echo, or has none
            user_away_timeout=self._silence or None,
            use_tts_aligned_transcript=True,
            # what a caller hangs up in the middle of; recognition takes a fifth of that
            session_close_transcript_timeout=0.5,
        )
        session.input.audio = self._line.audio_input
        session.output.audio = audio
        session.output.transcription = audio.text
        livekit_telemetry.trace(
            session,
            conversation=self.conversation,
            voiced_until=self._line.voiced_until,
            prices=self._prices,
            recorder=self._recorder,
        )
        self._line.on_audible(
            lambda at: livekit_telemetry.audible(self.conversation, at),
        )
        self._listen(session)
        backchannel = Backchannel(session)

        async def prepare(agent: Agent) -> None:
            """Prepare whoever answers: the agent, and those it hands over to."""
            backchannel.attend(agent)
            await limit_tools(agent, prepare)

        watch = SilenceWatch(session, self.conversation, on_idle=self._gone_silent)
        try:
            agent = self._make_agent()
            await prepare(agent)
            await session.start(agent)
            # what a request adds to the one before: the whole history, again and again, would be
            # most of what is stored
            session.options.recording_options["input_delta"] = True
            self._session = session
            if self._typed_early is not None:
                self.hear(*self._typed_early)
            await self._over.wait()
            watch.close()
            await self._take_leave(session)
        finally:
            watch.close()
            await self._close(session, plugins)

    async def _close(self, session: AgentSession[None], plugins: Plugins) -> None:
        """Close the session and what it used; each has its time, whatever the others do."""
        closers = [session.aclose, plugins.aclose]
        if self._recorder is not None:
            closers.append(self._recorder.aclose)
        for close in closers:
            with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS, shield=True) as closing:
                await close()
            if closing.cancelled_caught:
                reached(Limit.CLOSE)
                log.warning("conversation %s did not close in %s s", self.id, CLOSE_TIMEOUT_SECONDS)

    async def _take_leave(self, session: AgentSession[None]) -> None:
        """Say goodbye, if this end has a farewell; nobody can interrupt it."""
        assert self._outcome is not None
        words = manners_of(session.current_agent).farewell(self._outcome)
        if words is None:
            return
        with (
            self._leaving,
            anyio.move_on_after(FAREWELL_TIMEOUT_SECONDS),
            self.conversation.attach(),
        ):
            try:
                session.input.set_audio_enabled(False)
                await session.interrupt(force=True)
                await session.say(words, allow_interruptions=False)
            except RuntimeError as error:  # it is closing by itself
                log.info("conversation %s ends without a farewell: %s", self.id, error)

    def _gone_silent(self) -> None:
        """End the conversation with a caller who doesn't answer."""
        if self._outcome is None:
            reached(Limit.IDLE)
        self.end(Outcome.IDLE, Limit.IDLE)

    def _settle(self) -> Outcome:
        """The outcome, which is set in the trace. None yet: cancelled from outside, with the
        process."""
        outcome = self._outcome = self._outcome or Outcome.SHUTDOWN
        if not self.conversation.ended:
            self.conversation.set({names.CONVERSATION_OUTCOME: outcome.value})
        return outcome

    # -- what the caller is told -------------------------------------------------------------------

    def _listen(self, session: AgentSession[None]) -> None:
        line = self._line

        def state(_: AgentStateChangedEvent | UserStateChangedEvent) -> None:
            line.send(StateChanged(agent=session.agent_state, user=session.user_state))

        def heard(event: UserInputTranscribedEvent) -> None:
            line.send(Words("user", event.transcript, event.is_final))

        def said(event: ConversationItemAddedEvent) -> None:
            text = getattr(event.item, "text_content", None)
            if text and getattr(event.item, "role", None) == "assistant":
                line.send(Words("agent", text, final=True))

        def called(event: FunctionToolsExecutedEvent) -> None:
            for call, output in event.zipped():
                failed = output is not None and output.is_error
                line.send(ToolCalled(call.name, call.arguments, ok=not failed))

        def closed(event: CloseEvent) -> None:
            self.end(Outcome.COMPLETED if event.error is None else Outcome.FAILED)
            self._settle()

        listen(session, "agent_state_changed", state)
        listen(session, "user_state_changed", state)
        listen(session, "user_input_transcribed", heard)
        listen(session, "conversation_item_added", said)
        listen(session, "function_tools_executed", called)
        listen(session, "close", closed)
