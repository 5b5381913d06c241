"""A call in a room: from the job to a closed, delivered conversation, whichever way it ends.

The conversation is open before the room is connected to, so that connecting, waiting for the
caller, greeting and farewell are in it. Nothing here cancels a session that can still say goodbye:
each ending asks it to end, and it has its time.
"""

from __future__ import annotations

import functools
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import anyio
from livekit import api, rtc
from livekit.agents import AutoSubscribe
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from livekit.agents.utils import wait_for_participant

import telemetry
from agent.gateway import End, FramePace, Gap, ProtocolError, Text, TypedTurns, parse_caller_message
from agent.metrics import CALLS, Limit, reached
from agent.session import Outcome
from telemetry import attributes as names

from . import chat
from .ffi_events import own_events_only
from .line import CONNECTION, SINGLE_PEER_CONNECTION, TOPIC, RoomLine
from .request import ASK_TIMEOUT_SECONDS, CONVERSATION, TRACE, from_participant, who_calls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from livekit.agents import JobContext

    from agent.session import SessionRequest, VoiceSession
    from agent.stopping import Stops
    from agent.worker import OpenVoiceSession

log = logging.getLogger(__name__)

LAST_WORDS_SECONDS: Final = 1.0
"""Time for messages still unsent when a call is over, and for the reason of a disconnection."""
_LOOK_EVERY_SECONDS: Final = 0.2
"""Time between looks at the wish to stop the process: it may be another process's."""
_DELIBERATE: Final = {"CLIENT_INITIATED", "ROOM_DELETED", "ROOM_CLOSED", "PARTICIPANT_REMOVED"}
"""Reasons of a disconnection that somebody chose: the call is over, nothing failed."""

OP_CONNECT: Final = "room.connect"
OP_WAIT: Final = "room.wait"
JOIN_TO_GREETING: Final = "call.join_to_greeting"
"""Attribute: seconds from the caller's joining to the first audible sample it was sent."""


class Stop(Protocol):
    """A wish to stop the process; set from another thread, or another process."""

    def is_set(self) -> bool:
        """True once it is wished."""

    def set(self) -> None:
        """Wish it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits, in seconds."""

    connect: float = 15.0
    """Limit of connecting to the room."""
    answer: float = 20.0
    """Limit of waiting for a caller in the room."""
    reconnect: float = 15.0
    """Limit of having no connection to the server, in mid-call."""
    idle: float = 60.0
    """Limit of having no audio from the caller."""
    duration: float = 1800.0
    """Limit of the whole call."""
    grace: float = 12.0
    """Limit of a session's closing, goodbye included, once asked to end; then it is cancelled."""


async def hold(
    job: JobContext,
    open_session: OpenVoiceSession,
    *,
    limits: Limits,
    stops: Stops[Stop],
    on_response: Callable[[float], None],
) -> Outcome:
    """Hold the call that the job is for. Returns when its conversation is closed."""
    request = await who_calls(job)
    line = RoomLine(job.room, on_response=on_response)
    session = open_session(request, line)
    with session.conversation.attach():
        return await Call(job, request, line, session, limits, stops).run()


class Call:
    """One call. :meth:`run` holds it and, whatever happens, closes its conversation."""

    def __init__(
        self,
        job: JobContext,
        request: SessionRequest,
        line: RoomLine,
        session: VoiceSession,
        limits: Limits,
        stops: Stops[Stop],
    ) -> None:
        self._job = job
        self._room = job.room
        self._request = request
        self._line = line
        self._session = session
        self._limits = limits
        self._stops = stops
        self._tasks = anyio.create_task_group()
        self._arriving = anyio.CancelScope()
        """The scope around connecting and waiting for the caller: it needs no time to end."""
        self._patience = anyio.CancelScope()
        """The scope around the session; it has a deadline once the session is asked to end."""
        self._ending: tuple[Outcome, str] | None = None
        self._asked_to_end = anyio.Event()
        self._caller: rtc.RemoteParticipant | None = None
        self._pace = FramePace()
        self._typed = TypedTurns()
        self._cut_off_at: float | None = None
        """The time of losing the connection to the server, on the loop's clock; None with one."""

    def end(self, outcome: Outcome, why: str, limit: Limit | None = None) -> None:
        """Ask the session to end, and give it its time to do so; ``limit`` is what was reached, if
        anything was. The first ending stands; a caller who is gone since then needs no farewell."""
        if self._ending is None:
            self._ending = outcome, why
            self._patience.deadline = anyio.current_time() + self._limits.grace
            self._asked_to_end.set()
            self._arriving.cancel()
            if limit is not None:
                reached(limit)
            self._session.end(outcome, limit)
        elif outcome is Outcome.HUNG_UP:
            self._session.end(outcome)

    async def run(self) -> Outcome:
        """Connect, wait for the caller, hold the conversation, leave; and log how it ended."""
        began = anyio.current_time()
        outcome = Outcome.SHUTDOWN
        try:
            async with self._tasks:
                with self._listening():
                    self._tasks.start_soon(self._guarded, self._watch)
                    caller = await self._arrive()
                    if caller is None:
                        outcome = self._close_unheld()
                    else:
                        outcome = await self._converse(caller)
                self._tasks.cancel_scope.cancel()
        finally:
            if not self._session.conversation.ended:  # cancelled, or a bug of ours
                outcome = self._close_unheld()
            CALLS.labels(outcome.value).inc()
            log.info(
                "rooms: call %s in room %s %s after %.1f s: %s",
                self._session.id,
                self._room.name,
                outcome.value,
                anyio.current_time() - began,
                self._ending[1] if self._ending else "the agent ended it",
            )
        return outcome

    # -- before the conversation -------------------------------------------------------------------

    async def _arrive(self) -> rtc.RemoteParticipant | None:
        """Connect and wait for the caller; None when that ended the call."""
        limits = self._limits
        with self._arriving:
            try:
                with telemetry.span(OP_CONNECT, self._room.name), anyio.fail_after(limits.connect):
                    await self._job.connect(
                        auto_subscribe=AutoSubscribe.AUDIO_ONLY,
                        rtc_config=CONNECTION,
                        single_peer_connection=SINGLE_PEER_CONNECTION,
                    )
                own_events_only(self._room)
            except Exception as error:  # noqa: BLE001 - the client's, whatever it is
                what = str(error) or f"no answer within {limits.connect:g} s"
                self._session.conversation.capture_exception(error)
                self._session.conversation.fail(error)
                late = Limit.CONNECT if isinstance(error, TimeoutError) else None
                self.end(Outcome.FAILED, f"the room could not be connected to: {what}", late)
                return None
            await self._introduce()
            with anyio.move_on_after(limits.answer):
                with telemetry.span(OP_WAIT, "caller"):
                    try:
                        self._caller = await wait_for_participant(
                            self._room, kind=DEFAULT_PARTICIPANT_KINDS
                        )
                    except RuntimeError:
                        await self._gone()
                    return self._caller
            nobody = f"no caller in the room within {limits.answer:g} s"
            self.end(Outcome.HUNG_UP, nobody, Limit.NO_CALLER)
        return None

    async def _introduce(self) -> None:
        """Tell who joins, or has joined, which conversation and trace this is."""
        told = {CONVERSATION: self._session.id, TRACE: self._session.trace_id}
        try:
            await self._room.local_participant.set_attributes(told)
        except Exception as error:  # noqa: BLE001 - the call goes on without
            log.warning("rooms: %s: could not name the conversation: %s", self._room.name, error)

    def _close_unheld(self) -> Outcome:
        """Close the conversation of a session that was never run, or didn't get to it."""
        outcome = self._ending[0] if self._ending else Outcome.SHUTDOWN
        conversation = self._session.conversation
        conversation.set({names.CONVERSATION_OUTCOME: outcome.value})
        conversation.close()
        return outcome

    # -- the conversation --------------------------------------------------------------------------

    async def _converse(self, caller: rtc.RemoteParticipant) -> Outcome:
        """Run the session, which ends by itself or because :meth:`end` asked it to; then leave."""
        self._describe(caller)
        self._tasks.start_soon(self._guarded, functools.partial(self._line.run, caller))
        outcome = None
        with self._patience:
            outcome = await self._session.run()
        if outcome is None:
            outcome = self._close_unheld() if self._ending else Outcome.SHUTDOWN
            reached(Limit.CLOSE)
            log.warning("rooms: session %s was cut off", self._session.id)
        if self._room.isconnected():
            told = await self._line.hang_up(outcome, LAST_WORDS_SECONDS)
            here = caller.identity in self._room.remote_participants
            if here and not (told and outcome is Outcome.HUNG_UP):
                await self._dismiss(caller)
        return outcome

    def _describe(self, caller: rtc.RemoteParticipant) -> None:
        """Note who calls, as far as the job didn't say so."""
        conversation, joined = self._session.conversation, caller.joined_at
        conversation.set_tag("livekit.room", self._room.name)
        if self._request.user is None:
            found = from_participant(caller.identity, caller.name, caller.attributes)
            if found.user:
                conversation.set_user(found.user)

        def greeted() -> None:
            if joined is not None and (first := self._line.first_audible_at) is not None:
                conversation.set({JOIN_TO_GREETING: first - joined.timestamp()})

        self._line.on_first_audible = greeted

    async def _dismiss(self, caller: rtc.RemoteParticipant) -> None:
        """End the call for the caller too: a telephone would stay off the hook."""
        who = api.RoomParticipantIdentity(room=self._room.name, identity=caller.identity)
        try:
            with anyio.fail_after(ASK_TIMEOUT_SECONDS):
                await self._job.api.room.remove_participant(who)
        except Exception as error:  # noqa: BLE001 - it is over for us in any case
            if caller.identity in self._room.remote_participants:
                log.info("rooms: %s: the caller stays: %s", self._room.name, error)

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run one of the call's tasks; an error in it ends the call as anything else does."""
        try:
            await part()
        except Exception:  # a bug here must not cancel the session unclosed
            if self._room.isconnected():
                log.exception("rooms: call %s failed", self._session.id)
                self.end(Outcome.FAILED, "the transport failed")
            else:  # whatever it was can't be done any more
                log.info("rooms: call %s has lost its room", self._session.id, exc_info=True)
                await self._gone()

    async def _gone(self) -> None:
        """Wait for the reason why there is no connection: the client says it after the fact."""
        with anyio.move_on_after(LAST_WORDS_SECONDS):
            await self._asked_to_end.wait()
        self.end(Outcome.FAILED, "the connection to LiveKit was lost")

    async def _watch(self) -> None:
        """End a call that takes too long, lost its connection, or that the process cuts short."""
        limits, line = self._limits, self._line
        over_at = anyio.current_time() + limits.duration
        while True:
            await anyio.sleep(_LOOK_EVERY_SECONDS)
            now = anyio.current_time()
            if self._stops.now.is_set():
                self.end(Outcome.SHUTDOWN, "the process ends at once")
                self._patience.cancel()
                return
            if self._stops.goodbye.is_set():
                self.end(Outcome.SHUTDOWN, "the process is asked to stop")
            elif now >= over_at:
                self.end(Outcome.TIME_LIMIT, f"it took {limits.duration:g} s", Limit.DURATION)
            elif self._cut_off_at is not None and now >= self._cut_off_at + limits.reconnect:
                gone = f"no connection to LiveKit for {limits.reconnect:g} s"
                self.end(Outcome.FAILED, gone, Limit.RECONNECT)
            elif self._cut_off_at is None and now >= line.heard_at + limits.idle:
                silent = f"no audio from the caller for {limits.idle:g} s"
                self.end(Outcome.IDLE, silent, Limit.IDLE)

    # -- what the room says ------------------------------------------------------------------------

    @contextmanager
    def _listening(self) -> Iterator[None]:
        room = self._room
        handlers: dict[str, Callable[..., None]] = {
            "disconnected": self._disconnected,
            "reconnecting": self._reconnecting,
            "reconnected": self._reconnected,
            "participant_disconnected": self._left,
            "data_received": self._received,
        }
        for event, handler in handlers.items():
            room.on(event, handler)  # type: ignore[arg-type]  # each of its own
        room.register_text_stream_handler(chat.TOPIC, self._chatted)
        try:
            yield
        finally:
            room.unregister_text_stream_handler(chat.TOPIC)
            for event, handler in handlers.items():
                room.off(event, handler)  # type: ignore[arg-type]  # each of its own

    def _disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        name = rtc.DisconnectReason.Name(reason)
        outcome = Outcome.HUNG_UP if name in _DELIBERATE else Outcome.FAILED
        self.end(outcome, f"LiveKit disconnected the agent: {name}")

    def _reconnecting(self) -> None:
        log.warning("rooms: %s: the connection to LiveKit is lost, reconnecting", self._room.name)
        self._cut_off_at = anyio.current_time()

    def _reconnected(self) -> None:
        log.info("rooms: %s: connected to LiveKit again", self._room.name)
        self._cut_off_at = None
        self._line.heard_at = anyio.current_time()
        if self._caller and self._caller.identity not in self._room.remote_participants:
            self.end(Outcome.HUNG_UP, "the caller was gone when the connection was back")

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        if self._is_caller(participant.identity):
            if self._cut_off_at is not None:  # the client gives up, and says so of each
                self.end(Outcome.FAILED, "the connection to LiveKit was lost")
                return
            reason = participant.disconnect_reason or rtc.DisconnectReason.UNKNOWN_REASON
            self.end(Outcome.HUNG_UP, f"the caller left: {rtc.DisconnectReason.Name(reason)}")

    def _received(self, packet: rtc.DataPacket) -> None:
        sender = packet.participant
        if packet.topic != TOPIC or sender is None or not self._is_caller(sender.identity):
            return
        if not self._afford(self._pace.count):
            return
        try:
            message = parse_caller_message(packet.data.decode(errors="replace"))
        except ProtocolError as error:
            reached(Limit.PROTOCOL)
            log.info("rooms: %s: a message is ignored: %s", self._room.name, error)
            return
        match message:
            case Text(text=text, headers=headers) if self._afford(self._typed.count):
                self._typed_text(text, headers)
            case Gap(seconds=seconds):
                self._session.caller_gap(seconds)
            case End():
                self.end(Outcome.HUNG_UP, "the caller hung up")

    def _chatted(self, reader: rtc.TextStreamReader, identity: str) -> None:
        if self._is_caller(identity) and self._afford(self._typed.count):
            read = functools.partial(chat.read, reader, self._typed_text)
            self._tasks.start_soon(self._guarded, read)
        else:
            reader.close()

    def _typed_text(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        if self._afford(lambda now: self._typed.measure(now, len(text))):
            self._session.hear(text, headers)

    def _afford(self, count: Callable[[float], None]) -> bool:
        """Count something of the caller's; too much of it ends the call."""
        try:
            count(anyio.current_time())
        except ProtocolError as error:
            self.end(Outcome.REFUSED, error.reason, Limit.TOO_FAST)
        return self._ending is None

    def _is_caller(self, identity: str) -> bool:
        return self._caller is not None and identity == self._caller.identity
