"""The WebSocket transport: ``parley serve``, many calls on one event loop.

=============  ===================================================================================
module         contents
=============  ===================================================================================
``protocol``   the wire protocol ``parley.v1``: messages, limits, close codes; no I/O
``exchange``   the order of a call's messages, as a state machine; no I/O
``budget``     a caller's share: audio ahead of real time, typed turns; no I/O
``server``     listening: handshake, cap, shutdown, ``/health``
``connection`` a connection: its frames are counted, before it is admitted and after
``seats``      seats for calls, and their ids: of this process, or of several together
``strangers``  connections without a call, in a bounded number; no I/O
``admission``  refuses those who may not come in: host, origin, token; no I/O
``page``       the page to talk from in a browser
``call``       one call: a session and its connection, from ``start`` to the close frame
``line``       the two bounded queues between a call's audio and events and its session
``playout``    the agent's speech, sent in real time
``bell``       what wakes a task for each frame
``client``     a caller's end, for the simulator and for tests
=============  ===================================================================================

Errors::

    GatewayError
    ├── ConnectError           client: nobody there, or the handshake was refused
    ├── Disconnected           client: closed before the call had ended; code and reason
    ├── ListenError            server: the address is taken or not ours
    └── TurnedAwayError        server: the connection is to be closed, with a code and a reason
        └── ProtocolError      the other side broke the protocol
"""

from __future__ import annotations

from .budget import FramePace, TypedTurns
from .client import Call, ConnectError, Disconnected, connect
from .exchange import Exchange, Phase
from .protocol import (
    FRAME_SECONDS,
    MAX_TEXT_CHARACTERS,
    SAMPLE_RATES_HZ,
    SUBPROTOCOL,
    AudioEnded,
    AudioStarted,
    CallerMessage,
    CloseCode,
    End,
    Ended,
    Flush,
    Gap,
    GatewayError,
    GatewayMessage,
    ProtocolError,
    Start,
    Started,
    State,
    Text,
    Tool,
    TurnedAwayError,
    Words,
    encode,
    frame_size,
    parse_caller_message,
    parse_gateway_message,
    token_subprotocol,
)
from .server import ListenError, serve

__all__ = [
    "FRAME_SECONDS",
    "MAX_TEXT_CHARACTERS",
    "SAMPLE_RATES_HZ",
    "SUBPROTOCOL",
    "AudioEnded",
    "AudioStarted",
    "Call",
    "CallerMessage",
    "CloseCode",
    "ConnectError",
    "Disconnected",
    "End",
    "Ended",
    "Exchange",
    "Flush",
    "FramePace",
    "Gap",
    "GatewayError",
    "GatewayMessage",
    "ListenError",
    "Phase",
    "ProtocolError",
    "Start",
    "Started",
    "State",
    "Text",
    "Tool",
    "TurnedAwayError",
    "TypedTurns",
    "Words",
    "connect",
    "encode",
    "frame_size",
    "parse_caller_message",
    "parse_gateway_message",
    "serve",
    "token_subprotocol",
]
