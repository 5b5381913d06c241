"""The wire protocol ``parley.v1``: its messages, their limits, its close codes. No I/O.

A caller opens a WebSocket with the subprotocol ``parley.v1``. Where the gateway has a token it is
presented as ``Authorization: Bearer …``, or by browsers, which can't send that, as one more
subprotocol (:func:`token_subprotocol`); never in the URL, which ends up in logs. Text messages are
JSON objects with a ``type``. Binary messages are *frames*: exactly 20 ms of mono PCM16,
little-endian, at the call's sample rate, both ways.

==================  ==========================================================  ================
caller sends        fields                                                      when
==================  ==========================================================  ================
``start``           ``sample_rate`` 8000, 16000, 24000 or 48000; optional       first, once
                    ``id`` (no other live call's), ``user`` (object of
                    plain values), ``tags``
                    (object of strings), ``headers``
frame               the caller's microphone, in real time: at most ten          after ``started``
                    seconds ahead of it
``text``            ``text``: a turn typed instead of spoken; at most ten       after ``started``
                    in any ten seconds, 20,000 characters in any sixty;
                    optional ``headers``
``gap``             ``seconds``: the caller's last sound to the first of the    after ``started``
                    answer, as it heard both itself; optional, once for each
                    answer, as soon as it is heard
``end``             the caller hangs up; frames in flight are ignored           after ``started``
==================  ==========================================================  ================

``headers`` (``sentry-trace`` or ``traceparent``, ``baggage``) are the trace that the caller is in.
The conversation becomes a part of it, below the span they name; those of a later message, if they
are of the same trace, become the parent of the turn it asks for. What isn't sound is passed over.
So is a ``gap`` that can't be, whatever its ``seconds`` are: nobody is turned away for one.

==================  ==========================================================
gateway sends       fields
==================  ==========================================================
``started``         ``id``, ``trace_id``, ``sample_rate``; always first
frame               the agent's speech, five at a time and at most 0.14 s
                    ahead of real time: to be played one after another
``audio_started``   before the first frame of a speech
``audio_ended``     ``interrupted``; once the last frame has played
``flush``           barge-in: discard the audio not yet played
``state``           ``agent``, ``user``
``words``           ``speaker`` (``user``, ``agent``), ``text``, ``final``
``tool``            ``name``, ``arguments`` (JSON), ``ok``
``ended``           ``outcome``; always last, then the connection closes
==================  ==========================================================

Every way a connection can close is a :class:`CloseCode`. What breaks the protocol raises
:class:`ProtocolError`, which carries the close code and the reason sent with it.

Their order is :class:`agent.gateway.exchange.Exchange`.
"""

from __future__ import annotations

import base64
import enum
import math
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

import telemetry
from agent.errors import InputError
from agent.session.line import Outcome  # noqa: TC001 (pydantic needs it at run time)
from telemetry.printable import printable

_Text = TypeVar("_Text")

SUBPROTOCOL: Final = "parley.v1"
FRAME_SECONDS: Final = 0.02
AGENT_AHEAD_SECONDS: Final = 0.14
"""Length of the agent's audio that is sent ahead of real time, at most."""
SAMPLE_RATES_HZ: Final = (8000, 16000, 24000, 48000)
MAX_MESSAGE_BYTES: Final = 16 * 1024
"""Size of a caller's longest message. (The largest frame, at 48 kHz, has 1,920 bytes.)"""
MAX_TEXT_CHARACTERS: Final = 4000
"""Length of a typed turn, at most."""
_TOKEN: Final = "parley.token."  # noqa: S105 (what a token is recognised by)
_MAX_VALUE_CHARACTERS: Final = 200
"""Length of a tag's or a user attribute's value, at most: as much as Sentry keeps of one."""
_MAX_REASON_BYTES: Final = 123
"""Length of a close reason: a WebSocket close frame has room for no more (RFC 6455, 5.5)."""


def frame_size(sample_rate: int) -> int:
    """Bytes in one frame: 20 ms of mono PCM16."""
    return sample_rate // 50 * 2


def token_subprotocol(token: str) -> str:
    """The subprotocol that presents ``token``: base64url without padding, since not every
    character may stand in a subprotocol's name."""
    return _TOKEN + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


class CloseCode(enum.IntEnum):
    """Reasons for closing a connection: RFC 6455's codes, and from 4400 on our own."""

    NORMAL = 1000
    """The call is over; ``ended`` was sent."""
    GOING_AWAY = 1001
    """The gateway shuts down; ``ended`` was sent."""
    BROKEN_FRAME = 1002
    """Not WebSocket, on the level below this protocol."""
    UNKNOWN_TYPE = 1003
    """A text message of a type the protocol doesn't have."""
    INVALID = 1007
    """Not JSON, a field that is missing, unknown or not allowed, a frame of the wrong size."""
    TOO_BIG = 1009
    """A message over :data:`MAX_MESSAGE_BYTES`."""
    INTERNAL_ERROR = 1011
    """The gateway or the session failed."""
    TRY_AGAIN_LATER = 1013
    """The gateway holds as many sessions as it may, or as many connections without ``start``."""
    OUT_OF_ORDER = 4400
    """A message the protocol has, but not now: audio before ``started``, a second ``start``."""
    NO_START = 4401
    """No ``start`` within the time for it."""
    TOO_SLOW = 4402
    """The caller doesn't read what it is sent."""
    TOO_FAST = 4403
    """More than a caller may send: audio too far ahead of real time, too many typed turns or
    characters (:mod:`agent.gateway.budget`)."""
    ID_TAKEN = 4404
    """The ``id`` in ``start`` is another call's, which has not ended: two calls never share a
    conversation."""


class GatewayError(InputError):
    """Base of the gateway's errors."""


class TurnedAwayError(GatewayError):
    """A connection is turned away: closed with this ``code`` and ``reason`` (at most 123 bytes)."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        self.code = code
        text = printable(reason, _MAX_REASON_BYTES)  # parts of it are the other side's words
        self.reason = text.encode(errors="replace")[:_MAX_REASON_BYTES].decode(errors="ignore")
        super().__init__(f"{self.reason} (close code {code.value})")


class ProtocolError(TurnedAwayError):
    """The other side broke the protocol."""


# -- messages ------------------------------------------------------------------------------------


def _plain(value: object) -> object:
    """Hold a value of ``user`` to what any trace can carry."""
    match value:
        case str() if len(value) <= _MAX_VALUE_CHARACTERS:
            return value
        case float() if not math.isfinite(value):
            raise ValueError("should be finite")
        case bool() | int() | float() | None:
            return value
        case _:
            what = (
                f"text of at most {_MAX_VALUE_CHARACTERS} characters, a number, a boolean or null"
            )
            raise ValueError(f"should be {what}")


def _sound(headers: object) -> dict[str, str]:
    return telemetry.extract(headers, trusted=True)


_Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
_Value: TypeAlias = Annotated[str, Field(max_length=_MAX_VALUE_CHARACTERS)]
_Plain: TypeAlias = Annotated[object, AfterValidator(_plain)]
_Headers: TypeAlias = Annotated[dict[str, str], BeforeValidator(_sound)]
"""Trace headers that are sound, whatever was sent: a caller with bad ones isn't turned away. It is
for the session to believe what they say about sampling, or not."""


class _FromCaller(BaseModel):
    """A message from a caller: held to the letter."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _FromGateway(BaseModel):
    """A message from the gateway: it may grow fields; older callers ignore them."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Start(_FromCaller):
    """The first message of a call."""

    type: Literal["start"] = "start"
    sample_rate: Literal[8000, 16000, 24000, 48000]
    """Hz, of the frames in both directions."""
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")] | None = None
    user: Annotated[dict[_Name, _Plain], Field(max_length=16)] | None = None
    tags: Annotated[dict[_Name, _Value], Field(max_length=32)] = Field(default_factory=dict)
    headers: _Headers = Field(default_factory=dict)


class Text(_FromCaller):
    """A turn the caller typed."""

    type: Literal["text"] = "text"
    text: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS, pattern=r"\S")]
    headers: _Headers = Field(default_factory=dict)


class Gap(_FromCaller):
    """The time that the caller waited for an answer, by its own ears."""

    type: Literal["gap"] = "gap"
    seconds: object = None
    """Anything: it is for the session to believe it or not."""


class End(_FromCaller):
    """The caller hangs up."""

    type: Literal["end"] = "end"


class Started(_FromGateway):
    """The call is accepted."""

    type: Literal["started"] = "started"
    id: str
    trace_id: str
    sample_rate: int


class State(_FromGateway):
    """The states of the agent and the caller."""

    type: Literal["state"] = "state"
    agent: Literal["initializing", "idle", "listening", "thinking", "speaking"]
    user: Literal["speaking", "listening", "away"]


class Words(_FromGateway):
    """Words heard from the caller, or said by the agent."""

    type: Literal["words"] = "words"
    speaker: Literal["user", "agent"]
    text: str
    final: bool


class Tool(_FromGateway):
    """A tool has run."""

    type: Literal["tool"] = "tool"
    name: str
    arguments: str
    """JSON."""
    ok: bool


class AudioStarted(_FromGateway):
    """The agent's speech begins with the next frame."""

    type: Literal["audio_started"] = "audio_started"


class AudioEnded(_FromGateway):
    """The agent's speech has played, or was cut."""

    type: Literal["audio_ended"] = "audio_ended"
    interrupted: bool


class Flush(_FromGateway):
    """The caller spoke over the agent: discard the audio not yet played."""

    type: Literal["flush"] = "flush"


class Ended(_FromGateway):
    """The call is over."""

    type: Literal["ended"] = "ended"
    outcome: Outcome


_CallerText: TypeAlias = Start | Text | Gap | End
_GatewayText: TypeAlias = Started | State | Words | Tool | AudioStarted | AudioEnded | Flush | Ended
CallerMessage: TypeAlias = _CallerText | bytes
"""Any message from a caller; ``bytes`` is a frame."""
GatewayMessage: TypeAlias = _GatewayText | bytes
"""Any message from the gateway; ``bytes`` is a frame."""

_by_type = Field(discriminator="type")
_caller_text: TypeAdapter[_CallerText] = TypeAdapter(Annotated[_CallerText, _by_type])
_gateway_text: TypeAdapter[_GatewayText] = TypeAdapter(Annotated[_GatewayText, _by_type])


def encode(message: CallerMessage | GatewayMessage) -> str | bytes:
    """A message as it goes over the wire: JSON text, or the frame itself."""
    if isinstance(message, bytes):
        return message
    return message.model_dump_json(by_alias=True, exclude_none=True)


def parse_caller_message(data: str | bytes) -> CallerMessage:
    """Read a caller's message. Raises :class:`ProtocolError`."""
    return _parsed(data, _caller_text, limit=MAX_MESSAGE_BYTES)


def parse_gateway_message(data: str | bytes) -> GatewayMessage:
    """Read a message from the gateway. Raises :class:`ProtocolError`."""
    return _parsed(data, _gateway_text, limit=None)


def _parsed(data: str | bytes, text: TypeAdapter[_Text], *, limit: int | None) -> _Text | bytes:
    # a lone surrogate can't come over a WebSocket; here it is invalid JSON, not another error
    raw = data if isinstance(data, bytes) else data.encode(errors="surrogatepass")
    if limit is not None and len(raw) > limit:
        raise ProtocolError(CloseCode.TOO_BIG, f"message of {len(raw)} bytes: the limit is {limit}")
    if isinstance(data, bytes):
        return data
    try:
        return text.validate_json(raw)
    except ValidationError as error:
        raise _explained(error) from None


def _explained(invalid: ValidationError) -> ProtocolError:
    """The first thing wrong with a message, in one line of text."""
    error = invalid.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "union_tag_invalid":
            tag, expected = error["ctx"]["tag"], error["ctx"]["expected_tags"]
            reason = f"unknown message type {tag[:32]!r}: expected one of {expected}"
            return ProtocolError(CloseCode.UNKNOWN_TYPE, reason)
        case "union_tag_not_found":
            return ProtocolError(CloseCode.INVALID, "message without a 'type'")
        case "json_invalid":
            return ProtocolError(CloseCode.INVALID, f"message is not JSON: {error['msg']}")
        case _:
            what = error["msg"].removeprefix("Value error, ")
            return ProtocolError(CloseCode.INVALID, f"{where or 'message'}: {what}")
