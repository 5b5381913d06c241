"""Messages on the wire: what is taken, what is refused, and what the refusal says."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.gateway import protocol
from agent.gateway.protocol import (
    MAX_MESSAGE_BYTES,
    AudioEnded,
    AudioStarted,
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
    parse_caller_message,
    parse_gateway_message,
    token_subprotocol,
)
from agent.session.line import Outcome
from telemetry.stats import refused_headers

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXT = f"{'a' * 32}-{'b' * 16}-1"
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_types = st.sampled_from(
    ["start", "text", "gap", "end", "started", "state", "words", "ended", "frobnicate"]
)
_fields = st.sampled_from(
    ["sample_rate", "id", "user", "tags", "headers", "text", "seconds", "outcome"]
)
almost_messages = st.builds(
    lambda kind, fields: json.dumps({"type": kind, **fields}),
    _types,
    st.dictionaries(_fields, _json, max_size=4),
)
anything = st.text() | st.binary(max_size=2000) | _json.map(json.dumps) | almost_messages


def refusal(parse: Callable[[str | bytes], object], data: str | bytes) -> str:
    """Why it is refused; empty when it is taken."""
    try:
        parse(data)
    except ProtocolError as error:
        return error.reason
    return ""


@given(anything)
@example('{"type": "start", "sample_rate": 8000, "tags": {"a\\nb": 1}}')
def test_nothing_but_a_protocol_error(data: str | bytes) -> None:
    """Whatever arrives is a message or a ProtocolError whose reason fits a close frame."""
    for parse in (parse_caller_message, parse_gateway_message):
        reason = refusal(parse, data)
        assert len(reason.encode()) <= 123
        assert len(reason.splitlines()) <= 1


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        ("{", CloseCode.INVALID, "message is not JSON"),
        ("[1]", CloseCode.INVALID, "should be an object"),
        ("{}", CloseCode.INVALID, "without a 'type'"),
        ('{"type": "dance"}', CloseCode.UNKNOWN_TYPE, "unknown message type 'dance'"),
        ('{"type": "start"}', CloseCode.INVALID, "start.sample_rate: Field required"),
        (
            '{"type": "start", "sample_rate": 44100}',
            CloseCode.INVALID,
            "8000, 16000, 24000 or 48000",
        ),
        ('{"type": "start", "sample_rate": "16000"}', CloseCode.INVALID, "start.sample_rate"),
        ('{"type": "start", "sample_rate": 8000, "id": "a b"}', CloseCode.INVALID, "start.id"),
        ('{"type": "start", "sample_rate": 8000, "tags": {"a": 1}}', CloseCode.INVALID, "tags.a"),
        ('{"type": "start", "sample_rate": 8000, "user": {"a": []}}', CloseCode.INVALID, "user.a"),
        ('{"type": "start", "sample_rate": 8000, "user": {"a": NaN}}', CloseCode.INVALID, "user.a"),
        ('{"type": "text", "text": " "}', CloseCode.INVALID, "text.text"),
        (
            '{"type": "text", "text": 1}',
            CloseCode.INVALID,
            "text.text: Input should be a valid string",
        ),
        ('{"type": "end", "why": "no"}', CloseCode.INVALID, "end.why"),
        (" " * (MAX_MESSAGE_BYTES + 1), CloseCode.TOO_BIG, "the limit is 16384"),
        ("é" * (MAX_MESSAGE_BYTES // 2 + 1), CloseCode.TOO_BIG, "the limit is 16384"),
    ],
)
def test_what_is_wrong_is_said(data: str, code: CloseCode, reason: str) -> None:
    """A malformed message is refused with a documented code and one line that names the field."""
    with pytest.raises(ProtocolError) as refused:
        parse_caller_message(data)
    assert refused.value.code == code
    assert reason in refused.value.reason


def test_start() -> None:
    """Everything a caller may say about itself arrives."""
    start = Start(
        sample_rate=24000,
        id="c-1",
        user={"id": "u1", "visits": 3, "member": True},
        tags={"tenant": "acme"},
        headers={"sentry-trace": CONTEXT, "baggage": "sentry-release=1"},
    )
    assert parse_caller_message(encode(start)) == start
    assert CONTEXT in str(encode(start))


@pytest.mark.parametrize("type", ["start", "text"])
@pytest.mark.parametrize(
    "bad",
    [
        {"sentry-trace": "0af-b7-1", "cookie": "a"},
        {"sentry-trace": "0" * 32 + "-" + "0" * 16},
        {"sentry-trace": f"{CONTEXT}{'-1' * 1000}"},
        {"sentry-trace": 1},
        CONTEXT,
        [CONTEXT],
        7,
    ],
)
def test_unsound_headers_are_passed_over(type: str, bad: object) -> None:
    """Headers that are malformed or oversized turn nobody away; they are counted."""
    before = refused_headers.read()
    fields = {"sample_rate": 8000} if type == "start" else {"text": "Hello"}
    message = parse_caller_message(json.dumps({"type": type, **fields, "headers": bad}))
    assert isinstance(message, Start | Text)
    assert message.headers == {}
    assert refused_headers.read() > before


@pytest.mark.parametrize("type", ["start", "text"])
def test_no_headers_may_be_null(type: str) -> None:
    """A caller that says it has none has none; there is nothing to count."""
    before = refused_headers.read()
    fields = {"sample_rate": 8000} if type == "start" else {"text": "Hello"}
    message = parse_caller_message(json.dumps({"type": type, **fields, "headers": None}))
    assert isinstance(message, Start | Text)
    assert message.headers == {}
    assert refused_headers.read() == before


def test_a_turn_may_have_a_context() -> None:
    """A typed turn carries the span that asked for it."""
    turn = Text(text="Hello", headers={"sentry-trace": CONTEXT})
    assert parse_caller_message(encode(turn)) == turn


@pytest.mark.parametrize(
    "seconds", ["0.74", "-1", "1e400", "NaN", "null", "true", '"soon"', "[1, {}]", "1" * 1000]
)
def test_any_gap_is_taken(seconds: str) -> None:
    """A gap that can't be turns nobody away: it is for the session to leave it out."""
    message = parse_caller_message(f'{{"type": "gap", "seconds": {seconds}}}')
    assert isinstance(message, Gap)


@pytest.mark.parametrize(
    "message",
    [
        Started(id="c-1", trace_id="0" * 32, sample_rate=16000),
        State(agent="speaking", user="listening"),
        Words(speaker="user", text="für zwei", final=True),
        Tool(name="book", arguments='{"party": 2}', ok=True),
        AudioStarted(),
        AudioEnded(interrupted=True),
        Flush(),
        Ended(outcome=Outcome.HUNG_UP),
        bytes(640),
    ],
)
def test_gateway_messages(message: GatewayMessage) -> None:
    """What the gateway says is what a caller reads."""
    assert parse_gateway_message(encode(message)) == message


def test_growing() -> None:
    """A caller built today reads what a later gateway adds to a message."""
    later = '{"type": "audio_ended", "interrupted": false, "mood": "cheerful"}'
    assert parse_gateway_message(later) == AudioEnded(interrupted=False)


def test_documentation() -> None:
    """The module's documentation has every message of the protocol."""
    for message in (
        Start,
        Text,
        Gap,
        End,
        Started,
        State,
        Words,
        Tool,
        AudioStarted,
        AudioEnded,
        Flush,
    ):
        assert f"``{message.model_fields['type'].default}``" in (protocol.__doc__ or "")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_token_as_a_subprotocol(token: str) -> None:
    """Whatever a token is made of, its subprotocol is a name that HTTP allows, and says it all."""
    name = token_subprotocol(token)
    assert re.fullmatch(r"parley\.token\.[A-Za-z0-9_-]+", name)
    assert base64.urlsafe_b64decode(name.removeprefix("parley.token.") + "==") == token.encode()
