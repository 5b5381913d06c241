"""The order of a call, seen from both sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.exchange import Exchange, Phase
from agent.gateway.protocol import (
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
    Text,
    encode,
)
from agent.session.line import Outcome

from .test_protocol import anything

START = Start(sample_rate=16000)
STARTED = Started(id="c-1", trace_id="0" * 32, sample_rate=16000)
FRAME = bytes(640)
CALLER: list[CallerMessage] = [START, FRAME, Text(text="hello"), Gap(seconds=0.7), End()]
GATEWAY: list[GatewayMessage] = [STARTED, FRAME, Flush(), Ended(outcome=Outcome.COMPLETED)]

from_callers = st.tuples(st.just("caller"), st.sampled_from([encode(m) for m in CALLER]) | anything)
from_gateways = st.tuples(st.just("gateway"), st.sampled_from([encode(m) for m in GATEWAY]))


@given(st.lists(from_callers | from_gateways, max_size=20))
def test_only_forward(steps: list[tuple[str, str | bytes]]) -> None:
    """Whatever is said, in whatever order, a call moves forward and raises only ProtocolError."""
    exchange = Exchange()
    phases = [exchange.phase]
    for who, data in steps:
        try:
            exchange.from_caller(data) if who == "caller" else exchange.from_gateway(data)
        except ProtocolError:
            assert exchange.phase is Phase.BROKEN
        phases.append(exchange.phase)
    assert phases == sorted(phases)


@given(st.lists(from_callers | from_gateways, max_size=20))
def test_audio_that_may_be_heard(steps: list[tuple[str, str | bytes]]) -> None:
    """A frame may be heard exactly when it would be taken in, whatever was said before."""
    exchange = Exchange()
    for who, data in steps:
        may_be_heard = isinstance(data, bytes) and exchange.may_hear(data)
        try:
            exchange.from_caller(data) if who == "caller" else exchange.from_gateway(data)
        except ProtocolError:
            assert who == "gateway" or not may_be_heard
        else:
            assert who == "gateway" or may_be_heard == isinstance(data, bytes)


@given(st.lists(st.sampled_from([*CALLER, *GATEWAY]), max_size=20))
def test_both_sides_agree(messages: list[CallerMessage | GatewayMessage]) -> None:
    """What one side may send, the other takes, and both are then equally far."""
    caller, gateway = Exchange(), Exchange()
    for message in messages:
        try:
            if isinstance(message, Start | Text | Gap | End):
                gateway.from_caller(caller.to_gateway(message))
            else:
                caller.from_gateway(gateway.to_caller(message))
        except ProtocolError:
            continue  # it may not be sent now: nothing went over the wire
        assert caller.phase is gateway.phase
    assert Phase.BROKEN not in (caller.phase, gateway.phase)


def opened() -> Exchange:
    exchange = Exchange()
    exchange.from_caller(encode(START))
    exchange.to_caller(STARTED)
    return exchange


@pytest.mark.parametrize("early", [FRAME, encode(Text(text="hello")), encode(Gap()), encode(End())])
def test_start_comes_first(early: str | bytes) -> None:
    """Nothing is taken before ``start``."""
    with pytest.raises(ProtocolError, match="out of order: the call is new") as refused:
        Exchange().from_caller(early)
    assert refused.value.code == CloseCode.OUT_OF_ORDER


def test_one_start() -> None:
    """A second ``start`` breaks the call, and nothing is taken or sent after it."""
    exchange = opened()
    with pytest.raises(ProtocolError, match="'start' out of order: the call is open"):
        exchange.from_caller(encode(START))
    with pytest.raises(ProtocolError, match="the call is broken"):
        exchange.from_caller(FRAME)
    assert not exchange.gateway_may(Flush())


@pytest.mark.parametrize("size", [0, 638, 642, 1280])
def test_frames_are_exact(size: int) -> None:
    """A frame of another length than 20 ms is refused, with both lengths in the reason."""
    with pytest.raises(ProtocolError, match=f"frame of {size} bytes.*16000 Hz is 640") as refused:
        opened().from_caller(bytes(size))
    assert refused.value.code == CloseCode.INVALID


def test_after_end() -> None:
    """After ``end`` what the caller hears and its microphone's last frames are tolerated, another
    turn is not."""
    exchange = opened()
    exchange.from_caller(encode(End()))
    exchange.from_caller(FRAME)
    exchange.from_caller(encode(Gap(seconds=0.7)))
    exchange.to_caller(Flush())
    with pytest.raises(ProtocolError, match="'text' out of order: the call is ending"):
        exchange.from_caller(encode(Text(text="one more thing")))


def test_crossing() -> None:
    """What was sent before ``ended`` arrived is not the caller's mistake."""
    exchange = opened()
    exchange.to_caller(Ended(outcome=Outcome.COMPLETED))
    for data in (FRAME, encode(Text(text="hello")), encode(Gap()), encode(End())):
        exchange.from_caller(data)
    assert exchange.phase is Phase.ENDED
