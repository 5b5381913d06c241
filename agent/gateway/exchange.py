"""The order of a call's messages as a state machine, the same on both sides. No I/O.

::

    NEW ── start ──▶ STARTING ── started ──▶ OPEN ── end ──▶ ENDING ── ended ──▶ ENDED
                                               └───────────── ended ───────────────▲

Each side passes what it receives and what it sends through an :class:`Exchange`.
"""

from __future__ import annotations

import enum
import logging
from typing import Final

from .protocol import (
    AudioEnded,
    AudioStarted,
    CallerMessage,
    CloseCode,
    End,
    Ended,
    Flush,
    Gap,
    GatewayMessage,
    ProtocolError,
    Start,
    Started,
    State,
    Text,
    Tool,
    Words,
    encode,
    frame_size,
    parse_caller_message,
    parse_gateway_message,
)

log = logging.getLogger(__name__)


class Phase(enum.IntEnum):
    """The stages of a call. It only moves forward."""

    NEW = 0
    """Connected; ``start`` is awaited."""
    STARTING = 1
    """``start`` was sent; ``started`` is awaited."""
    OPEN = 2
    """Both talk."""
    ENDING = 3
    """The caller said ``end``; the gateway may still finish what it has to say."""
    ENDED = 4
    """``ended`` was sent."""
    BROKEN = 5
    """A side broke the protocol; the connection is closed."""


_CALLER_MAY: Final[dict[Phase, tuple[type, ...]]] = {
    Phase.NEW: (Start,),
    Phase.STARTING: (),
    Phase.OPEN: (bytes, Text, Gap, End),
    Phase.ENDING: (bytes, Gap),  # its microphone's last frames, and what it still hears
    Phase.ENDED: (bytes, Text, Gap, End),  # they crossed ``ended`` on the way
    Phase.BROKEN: (),
}
_GATEWAY_MAY_ONCE_OPEN: Final = (State, Words, Tool, AudioStarted, AudioEnded, Flush, Ended, bytes)
_GATEWAY_MAY: Final[dict[Phase, tuple[type, ...]]] = {
    Phase.NEW: (),
    Phase.STARTING: (Started,),
    Phase.OPEN: _GATEWAY_MAY_ONCE_OPEN,
    Phase.ENDING: _GATEWAY_MAY_ONCE_OPEN,
    Phase.ENDED: (),
    Phase.BROKEN: (),
}


class Exchange:
    """One call's order of messages, as either side sees it.

    The gateway uses :meth:`from_caller` and :meth:`to_caller`, a caller :meth:`to_gateway` and
    :meth:`from_gateway`. All raise :class:`ProtocolError`, and nothing else, for a message that is
    malformed or out of order; from then on the call is broken.
    """

    def __init__(self) -> None:
        self._phase = Phase.NEW
        self._sample_rate = 0
        self._frame_size = 0

    @property
    def phase(self) -> Phase:
        """The stage the call has come to."""
        return self._phase

    @property
    def sample_rate(self) -> int:
        """Sample rate (Hz) of the frames in both directions; 0 before ``start``."""
        return self._sample_rate

    def gateway_may(self, message: GatewayMessage) -> bool:
        """True when the gateway may send such a message now."""
        return isinstance(message, _GATEWAY_MAY[self._phase])

    def may_hear(self, frame: bytes) -> bool:
        """True when the caller may send such a frame now."""
        return bytes in _CALLER_MAY[self._phase] and len(frame) == self._frame_size

    def from_caller(self, data: str | bytes) -> CallerMessage:
        """Take in data that the gateway received: the caller's message."""
        try:
            message = parse_caller_message(data)
            self._caller_says(message)
        except ProtocolError:
            self._advance(Phase.BROKEN)
            raise
        return message

    def to_gateway(self, message: CallerMessage) -> str | bytes:
        """The data a caller is to send for a message."""
        self._caller_says(message)
        return encode(message)

    def from_gateway(self, data: str | bytes) -> GatewayMessage:
        """Take in data that a caller received: the gateway's message."""
        try:
            message = parse_gateway_message(data)
            self._gateway_says(message)
        except ProtocolError:
            self._advance(Phase.BROKEN)
            raise
        return message

    def to_caller(self, message: GatewayMessage) -> str | bytes:
        """The data the gateway is to send for a message."""
        self._gateway_says(message)
        return encode(message)

    def _caller_says(self, message: CallerMessage) -> None:
        self._check(message, _CALLER_MAY[self._phase])
        match message:
            case Start():
                self._sample_rate = message.sample_rate
                self._frame_size = frame_size(message.sample_rate)
                self._advance(Phase.STARTING)
            case End():
                self._advance(Phase.ENDING)

    def _gateway_says(self, message: GatewayMessage) -> None:
        self._check(message, _GATEWAY_MAY[self._phase])
        match message:
            case Started():
                self._advance(Phase.OPEN)
            case Ended():
                self._advance(Phase.ENDED)

    def _check(self, message: CallerMessage | GatewayMessage, allowed: tuple[type, ...]) -> None:
        if not isinstance(message, allowed):
            what = "audio" if isinstance(message, bytes) else repr(message.type)
            reason = f"{what} out of order: the call is {self._phase.name.lower()}"
            raise ProtocolError(CloseCode.OUT_OF_ORDER, reason)
        if isinstance(message, bytes) and len(message) != self._frame_size:
            rate, size = self._sample_rate, self._frame_size
            reason = f"frame of {len(message)} bytes: 20 ms of mono PCM16 at {rate} Hz is {size}"
            raise ProtocolError(CloseCode.INVALID, reason)

    def _advance(self, phase: Phase) -> None:
        """The one place where the phase changes."""
        if phase > self._phase:
            log.debug("call: %s → %s", self._phase.name, phase.name)
            self._phase = phase
