"""A call: a session and the connection it is held over, from ``start`` to the close frame.

The tasks around the session (reading, writing, playing, keeping time) never cancel it: each asks it
to end, with :meth:`Call.end`, and it has its time to close its conversation. Only a session that
outlives that time is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
from websockets.exceptions import ConnectionClosed

from agent.metrics import CALLS, Limit, reached
from agent.session.line import Outcome, Session

from .budget import TypedTurns
from .protocol import CloseCode, End, Gap, ProtocolError, Started, Text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.stopping import Stops

    from .connection import Connection
    from .exchange import Exchange
    from .line import GatewayLine

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_SECONDS: Final = 2.0
"""Time a caller has to take the messages still unsent, and then to answer the close frame."""
_CLOSED_BELOW: Final = (
    *(CloseCode.BROKEN_FRAME, CloseCode.INVALID, CloseCode.TOO_BIG),
    CloseCode.TOO_FAST,
)
"""Codes that websockets, or our :class:`~agent.gateway.connection.Connection`, closes with before
this protocol sees the message."""
_LIMITS: Final = {CloseCode.TOO_SLOW: Limit.UNREAD, CloseCode.TOO_FAST: Limit.TOO_FAST}
"""Limits that a caller is disconnected for; any other code is for breaking the protocol."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of one connection, in seconds."""

    idle_timeout: float = 60.0
    """Limit of hearing nothing from the caller, neither audio nor text."""
    max_duration: float = 1800.0
    """Limit of the whole call."""
    start_timeout: float = 5.0
    """Limit from connecting to the end of the handshake, and from there to ``start``."""
    unanswered: float = 20.0
    """Time between two pings, and limit of waiting for the answer to one: so a caller whose end is
    gone without a word is noticed within twice that."""
    grace: float = 10.0
    """Limit of a session's closing, once it was asked to end; then it is cancelled."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The reason why a call ends, and the code its connection closes with."""

    outcome: Outcome
    code: CloseCode = CloseCode.NORMAL
    reason: str = ""
    limit: Limit | None = None
    """The limit that was reached, if one was."""


_SHUTDOWN: Final = Ending(Outcome.SHUTDOWN, CloseCode.GOING_AWAY, "the gateway is shutting down")


class Call:
    """A call. :meth:`run` holds it and, whatever happens, closes the session and the connection.

    ``line`` and ``session`` belong together; ``stops`` are set when the process is to stop.
    """

    def __init__(
        self,
        websocket: Connection,
        exchange: Exchange,
        line: GatewayLine,
        session: Session,
        limits: Limits,
        stops: Stops[anyio.Event],
    ) -> None:
        self._websocket = websocket
        self._exchange = exchange
        self._line = line
        self._session = session
        self._limits = limits
        self._stops = stops
        self._ending: Ending | None = None
        self._patience = anyio.CancelScope()
        """The scope around the session; it has a deadline once the session is asked to end."""
        self._tasks = anyio.create_task_group()
        self._written = anyio.Event()
        self._clock = asyncio.get_running_loop().time
        """The clock of anyio's, too: asked for each frame, which loop runs is found out once."""
        self._heard_at = self._clock()
        self._typed = TypedTurns()
        line.on_overflow = self._overflowed

    def end(self, ending: Ending) -> None:
        """Ask the session to end, and give it ``grace`` to do so. The first ending stands; a caller
        who is gone since then needs no farewell."""
        if self._ending is None:
            self._ending = ending
            self._patience.deadline = anyio.current_time() + self._limits.grace
            if ending.limit is not None:
                reached(ending.limit)
            self._session.end(ending.outcome, ending.limit)
        elif ending.outcome is Outcome.HUNG_UP:
            self._session.end(ending.outcome)

    async def run(self) -> None:
        """Hold the call until the connection is closed, and log how it ended."""
        began = anyio.current_time()
        async with self._tasks:
            playout = self._line.playout
            for part in (self._read, self._write, playout.run, self._keep_time, self._stand_by):
                self._tasks.start_soon(self._guarded, part)
            session = self._session
            rate = self._exchange.sample_rate
            self._line.say(Started(id=session.id, trace_id=session.trace_id, sample_rate=rate))
            outcome = await self._converse()
            ending = self._ending = self._ending or Ending(outcome)
            self._line.hang_up(outcome)
            with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS):
                await self._written.wait()
            await self._close(ending)
            self._tasks.cancel_scope.cancel()
        CALLS.labels(outcome.value).inc()
        log.info(
            "gateway: call %s %s after %.1f s (closed %s%s), %d frames dropped: too slow a session",
            session.id,
            outcome.value,
            anyio.current_time() - began,
            self._websocket.close_code,
            f" {ending.reason}" if ending.reason else "",
            self._line.microphone.dropped,
        )

    async def _converse(self) -> Outcome:
        """Run the session, which ends by itself or because :meth:`end` asked it to."""
        try:
            with self._patience:
                return await self._session.run()
        except Exception:  # a session's bug ends this call and no other
            log.exception("gateway: session %s raised", self._session.id)
            self.end(Ending(Outcome.FAILED, CloseCode.INTERNAL_ERROR, "the session failed"))
            return Outcome.FAILED
        if not self._stops.now.is_set():
            reached(Limit.CLOSE)
            log.warning(
                "gateway: session %s didn't end within %g s of being asked to, and was cancelled",
                self._session.id,
                self._limits.grace,
            )
        return Outcome.FAILED if self._ending is None else self._ending.outcome

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run one of the call's tasks; an error in it ends the call as anything else does."""
        try:
            await part()
        except Exception:  # a bug here must not cancel the session unclosed
            log.exception("gateway: call %s failed", self._session.id)
            self.end(Ending(Outcome.FAILED, CloseCode.INTERNAL_ERROR, "the gateway failed"))

    async def _read(self) -> None:
        """Take the caller's messages; once the call is ending, only to get at its close frame."""
        self._websocket.on_audio = self._hear
        try:
            while True:
                data = await self._websocket.receive()
                if self._ending is None:
                    self._take(data)
        except ConnectionClosed as closed:
            self.end(lost(closed))

    def _hear(self, frame: bytes) -> bool:
        """Take audio as it comes in; False leaves whatever is wrong with it to who reads."""
        if self._ending is not None or not self._exchange.may_hear(frame):
            return False
        self._heard_at = self._clock()
        self._line.microphone.push(frame)
        return True

    def _take(self, data: str | bytes) -> None:
        self._heard_at = self._clock()
        try:
            message = self._exchange.from_caller(data)
            if isinstance(message, Text):
                self._typed.count(self._heard_at)
                self._typed.measure(self._heard_at, len(message.text))
        except ProtocolError as error:
            self._refuse(error.code, error.reason)
            return
        match message:
            case bytes():
                self._line.microphone.push(message)
            case Text(text=text, headers=headers):
                self._session.hear(text, headers)
            case Gap(seconds=seconds):
                self._session.caller_gap(seconds)
            case End():
                self.end(Ending(Outcome.HUNG_UP))

    async def _write(self) -> None:
        """Send the queued messages, as fast as the caller reads."""
        try:
            async for messages in self._line.outgoing:
                await self._websocket.send_all(messages)
        except ConnectionClosed:
            pass  # reading notices, too
        finally:
            self._line.outgoing.close()
            self._written.set()

    async def _keep_time(self) -> None:
        """End a call that lasts too long, or whose caller has gone silent."""
        over_at = anyio.current_time() + self._limits.max_duration
        while True:
            idle_at = self._heard_at + self._limits.idle_timeout
            await anyio.sleep_until(min(idle_at, over_at))
            if anyio.current_time() >= over_at:
                return self.end(Ending(Outcome.TIME_LIMIT, limit=Limit.DURATION))
            if anyio.current_time() >= self._heard_at + self._limits.idle_timeout:
                return self.end(Ending(Outcome.IDLE, limit=Limit.IDLE))

    async def _stand_by(self) -> None:
        """End the call when the process is asked to stop, and cut it off when it has to at once."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cut_off)
            await self._stops.goodbye.wait()
            self.end(_SHUTDOWN)

    async def _cut_off(self) -> None:
        await self._stops.now.wait()
        self.end(_SHUTDOWN)
        self._patience.cancel()

    def _overflowed(self) -> None:
        self._refuse(CloseCode.TOO_SLOW, "the caller doesn't read what it is sent")

    def _refuse(self, code: CloseCode, reason: str) -> None:
        """Disconnect now, without waiting for the session to close."""
        if self._ending is None:
            ending = Ending(Outcome.REFUSED, code, reason, _LIMITS.get(code, Limit.PROTOCOL))
            self.end(ending)
            self._tasks.start_soon(self._close, ending)

    async def _close(self, ending: Ending) -> None:
        with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS):
            await self._websocket.close(ending.code, ending.reason)


def lost(closed: ConnectionClosed) -> Ending:
    """The ending of a call whose connection closed before it had ended."""
    sent = closed.sent
    if sent is None or closed.rcvd_then_sent:
        return Ending(Outcome.HUNG_UP)
    if sent.code in _CLOSED_BELOW:
        code = CloseCode(sent.code)
        return Ending(Outcome.REFUSED, code, sent.reason, _LIMITS.get(code, Limit.PROTOCOL))
    if sent.code == CloseCode.INTERNAL_ERROR:  # websockets', for a ping that nobody answers
        return Ending(Outcome.HUNG_UP, CloseCode.INTERNAL_ERROR, sent.reason, Limit.HALF_OPEN)
    return Ending(Outcome.HUNG_UP)
