"""What errors and logs quote of what people said, and what they may go on saying."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import telemetry
from telemetry.attributes import (
    GEN_AI_INPUT_MESSAGES,
    GEN_AI_SYSTEM_INSTRUCTIONS,
    GEN_AI_TOOL_CALL_ARGUMENTS,
    USER_WORDS,
)
from telemetry.delivery import redaction
from telemetry.trace.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.testing import Captured


@pytest.fixture
def captured() -> Iterator[Captured]:
    """A delivery that is to send what errors say: what it sends is searched."""
    with telemetry.testing.capture(send_errors=["ValueError"]) as captured:
        yield captured


def value_of(captured: Captured) -> str:
    """The message of the one error, as it is sent."""
    sent = [envelope.split(b"\n") for envelope in captured.envelopes]
    [error] = [json.loads(lines[2]) for lines in sent if json.loads(lines[1])["type"] == "event"]
    value: str = error["exception"]["values"][0]["value"]
    return value


@pytest.mark.parametrize(
    ("name", "content", "message", "sent"),
    [
        (
            USER_WORDS,
            "a table for Ada Lovelace, please",
            "no table named 'for ada  LOVELACE' at 7",
            "no table named '[Filtered]' at 7",
        ),
        (USER_WORDS, "a table for Ada, please", "no table at 7", "no table at 7"),
        (USER_WORDS, "Ada", "no guest Ada.", "no guest [Filtered]."),
        (USER_WORDS, "ok", "ok, not found", "ok, not found"),
        (
            GEN_AI_TOOL_CALL_ARGUMENTS,
            {"guest": {"name": "Ada"}, "phone": 5550123, "seats": 4},
            "4 seats: Ada (5550123) has none",
            "4 seats: [Filtered]) has none",
        ),
        (
            GEN_AI_TOOL_CALL_ARGUMENTS,
            '{"name": "Ada", "note": "by the window"}',
            "KeyError: 'Ada' wants the window seat",
            "KeyError: '[Filtered]' wants [Filtered] seat",
        ),
        (
            GEN_AI_INPUT_MESSAGES,
            [
                {"role": "system", "content": "Never say no."},
                {"role": "user", "parts": [{"type": "text", "content": "my name is Ada"}]},
            ],
            "user text: say no; name is A",
            "user text: say no; [Filtered] A",
        ),
        (GEN_AI_SYSTEM_INSTRUCTIONS, "Never say no.", "say no", "say no"),
        ("app.note", "Ada Lovelace", "Ada Lovelace", "Ada Lovelace"),
    ],
)
def test_what_is_left_out(
    captured: Captured, name: str, content: Any, message: str, sent: str
) -> None:
    """Two words in a row, or a whole answer; not what the operator wrote, nor lone common words."""
    with (
        telemetry.conversation("host") as conversation,
        telemetry.span("turn", attributes={name: content}),
    ):
        conversation.capture_exception(ValueError(message))

    assert value_of(captured) == sent


def test_only_of_its_own_conversation(captured: Captured) -> None:
    """What one caller said may be in the errors of another's call."""
    with (
        telemetry.conversation("a", attributes={USER_WORDS: "not found"}),
        telemetry.conversation("b") as other,
    ):
        other.capture_exception(ValueError("not found"))

    assert value_of(captured) == "not found"


def test_with_content_nothing_is_left_out() -> None:
    """Who asks for what people say gets it in errors, too."""
    with telemetry.testing.capture(send_content=True) as captured:
        with telemetry.conversation("host", attributes={USER_WORDS: "Ada Lovelace"}) as host:
            host.capture_exception(ValueError("Ada Lovelace"))
        assert value_of(captured) == "Ada Lovelace"


def test_a_conversation_that_is_not_sampled_has_its_errors_searched() -> None:
    """They are sent all the same."""
    with telemetry.testing.capture(sample_rate=0.0, send_errors=["ValueError"]) as captured:
        with telemetry.conversation("host", attributes={USER_WORDS: "Ada Lovelace"}) as host:
            host.capture_exception(ValueError("Ada Lovelace"))
        assert value_of(captured) == "[Filtered]"


def test_odd_content_costs_itself_only(captured: Captured) -> None:
    """A cycle is passed over; the rest is still known."""
    cycle: list[object] = []
    cycle.append(cycle)
    odd = {USER_WORDS: "Ada Lovelace", GEN_AI_TOOL_CALL_ARGUMENTS: cycle}
    with telemetry.conversation("host", attributes=odd) as host:
        host.capture_exception(ValueError("Ada Lovelace"))

    assert value_of(captured) == "[Filtered]"
    assert captured.runtime.stats().dropped == {}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest content of a conversation, and so many conversations that are over."""
    monkeypatch.setattr(redaction, "KEPT", 100)
    monkeypatch.setattr(redaction, "PAST", 2)
    known = redaction.Redaction(Registry())
    conversations = [telemetry.conversation(f"c-{number}") for number in range(3)]
    for conversation in conversations:
        spans = [
            conversation.start_span("turn", attributes={USER_WORDS: f"word{number} spoken"})
            for number in range(100)
        ]
        known.heard(conversation.trace_id, spans)
        known.ended(conversation.trace_id)
        conversation.close()

    def left_out(conversation: telemetry.Conversation, message: str) -> str:
        said = known.said_in(conversation.trace_id)
        return message if said is None else str(said.redacted(message))

    first, _, last = conversations
    assert left_out(last, "word99 spoken") == "[Filtered]"
    assert left_out(last, "word0 spoken") == "word0 spoken"
    assert left_out(first, "word99 spoken") == "word99 spoken"
