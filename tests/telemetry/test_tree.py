"""Conversations as text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry import attributes as names
from telemetry.records import ConversationRecord, SpanRecord
from telemetry.tree import outline, render

if TYPE_CHECKING:
    from collections.abc import Mapping

START = 1_795_000_000.0


def span(
    id: str,
    parent: str | None,
    label: str,
    start: float = 0.0,
    end: float = 1.0,
    status: str = "ok",
    attributes: Mapping[str, object] | None = None,
) -> SpanRecord:
    """A span of this label, ``op name``, from and to so many seconds into the conversation."""
    op, _, name = label.partition(" ")
    return SpanRecord(
        id, parent, op, name, START + start, START + end, status, "test", attributes or {}
    )


def record(*spans: SpanRecord, ended: float | None = 12.5) -> ConversationRecord:
    """A conversation of these spans."""
    return ConversationRecord(
        id="c-1",
        trace_id="ab" * 16,
        name="host",
        started_at=START,
        ended_at=None if ended is None else START + ended,
        status="ok",
        user={"id": "u1"},
        tags={"tenant": "acme"},
        spans=spans,
    )


TURN = {
    names.USER_WORDS: "A table for four,\nplease. \x1b[31m",
    names.AGENT_WORDS: "For what time?",
    names.RESPONSE_LATENCY: 0.64,
    names.CALLER_GAP: 0.702,
    names.LATENCY_STAGE + "llm": 0.25,
    names.LATENCY_STAGE + "endpointing": 0.39,
    names.LATENCY_STAGE + "magic": 0,
}
CHAT = {
    names.GEN_AI_REQUEST_MODEL: "small-1",
    names.GEN_AI_TIME_TO_FIRST_TOKEN: 0.25,
    names.GEN_AI_USAGE_INPUT_TOKENS: 120,
    names.GEN_AI_USAGE_OUTPUT_TOKENS: 9,
}
TOOL = {
    names.GEN_AI_TOOL_NAME: "book",
    names.GEN_AI_TOOL_CALL_ARGUMENTS: '{"people": 4}',
    names.ERROR_TYPE: "ValueError",
}
WHOLE = record(
    span(
        "r",
        "its caller's",
        "conversation host",
        0,
        12.5,
        attributes={names.CONVERSATION_OUTCOME: "completed"},
    ),
    span("t2", "r", "conversation.turn", 3, 8, attributes=TURN),
    span("c", "t2", "gen_ai.chat reply", 4.5, 5, attributes=CHAT),
    span("u", "t2", "user.speech", 3, 4),
    span("x", "c", "gen_ai.execute_tool book", 4.6, 4.7, "internal_error", TOOL),
    span(
        "t1",
        "r",
        "conversation.turn greeting",
        0.2,
        2.3,
        attributes={names.AGENT_WORDS: "Good evening."},
    ),
    span(
        "a",
        "t1",
        "agent.speech agent.speech",
        0.5,
        2.3,
        attributes={names.INTERRUPTED: True, names.PLAYED: 1.8},
    ),
)


def test_a_conversation_as_a_timed_tree() -> None:
    """Times, ops, names, key attributes, words and latency stages, children by start."""
    assert render(WHOLE).splitlines() == [
        "host  c-1  2026-11-18 11:06:40 UTC  12.500 s  ok",
        f"trace {'ab' * 16}  user id=u1  tags tenant=acme",
        "",
        "   start  duration",
        "  +0.000    12.500  conversation host: completed",
        "  +0.200     2.100  ├─ conversation.turn greeting",
        '                    │  │  agent "Good evening."',
        "  +0.500     1.800  │  └─ agent.speech: interrupted after 1.8 s",
        "  +3.000     5.000  └─ conversation.turn",
        '                       │  caller "A table for four, please. \\x1b[31m"',
        '                       │  agent "For what time?"',
        "                       │  answered in 640 ms (702 ms at the caller): endpointing 390, "
        "llm 250, magic 0",
        "  +3.000     1.000     ├─ user.speech",
        "  +4.500     0.500     └─ gen_ai.chat reply: small-1, first token 250 ms, 120 → 9 tokens",
        "  +4.600     0.100        └─ gen_ai.execute_tool book: internal_error, ValueError",
        '                                arguments {"people": 4}',
    ]


def test_without_words() -> None:
    """Content stays out when it isn't wanted; latency isn't content."""
    text = render(WHOLE, words=False)
    for content in ("table", "evening", "people"):
        assert content not in text
    assert "answered in 640 ms" in text


def test_a_narrow_screen() -> None:
    """Lines fit the width: words are wrapped, nothing of them is lost."""
    text = render(WHOLE, width=60)
    assert max(map(len, text.splitlines())) <= 60
    words = " ".join(line.strip(" │") for line in text.splitlines())
    assert 'caller "A table for four, please. \\x1b[31m"' in words
    assert "120 → 9 tokens" not in words


def test_a_running_conversation() -> None:
    """Without an end it says so, and without spans too."""
    text = render(record(ended=None))
    assert "not ended: it is running, or its process died" in text
    assert text.endswith("(no spans)")


def test_an_outline_is_the_shape() -> None:
    """Two conversations of one shape have one outline, in whatever order their spans came."""
    expected = "\n".join(
        (
            "conversation host",
            "├─ conversation.turn greeting",
            "│  └─ agent.speech",
            "└─ conversation.turn",
            "   ├─ user.speech",
            "   └─ gen_ai.chat reply",
            "      └─ gen_ai.execute_tool book",
        )
    )
    root, *rest = WHOLE.spans
    assert outline([root, *rest]) == expected
    assert outline([root, *reversed(rest)]) == expected


def test_missing_parents_are_marked() -> None:
    """A span whose parent isn't there stands, with what is below it, under a line that says so."""
    assert outline(
        [
            span("r", None, "conversation host"),
            span("a", "gone", "llm one", 1),
            span("b", "a", "llm below", 2),
            span("c", "elsewhere", "llm two", 3),
            span("d", "r", "llm fine", 4),
            span("e", None, "llm root", 5),
        ]
    ).splitlines() == [
        "conversation host",
        "└─ llm fine",
        "llm root",
        "! parent not among these spans",
        "├─ llm one",
        "│  └─ llm below",
        "└─ llm two",
    ]


def test_circles_end() -> None:
    """Spans that are their own ancestors are shown, each once."""
    assert outline(
        [
            span("r", None, "conversation host"),
            span("a", "b", "circle a", 1),
            span("b", "a", "circle b", 2),
            span("c", "b", "below c", 3),
            span("s", "s", "self s", 4),
        ]
    ).splitlines() == [
        "conversation host",
        "! each other's parents",
        "├─ circle a",
        "│  └─ circle b",
        "│     └─ below c",
        "└─ self s",
    ]


def test_one_id_twice() -> None:
    """Spans that share an id are both shown, and what is below them once."""
    text = outline(
        [
            span("r", None, "conversation host"),
            span("a", "r", "llm one", 1),
            span("a", "r", "llm two", 2),
            span("b", "a", "llm below", 3),
        ]
    )
    assert text.splitlines() == [
        "conversation host",
        "├─ llm one",
        "│  └─ llm below",
        "└─ llm two",
    ]


def test_a_long_chain() -> None:
    """Depth is limited by memory, not by Python's stack."""
    chain = [span("0", None, "span 0")]
    chain += [span(str(n), str(n - 1), f"span {n}", n) for n in range(1, 1500)]
    assert outline(chain).splitlines()[-1].endswith("└─ span 1499")


def test_a_trace_through_several_processes() -> None:
    """Caller, conversation, service: one tree; a clock that can't be right is remarked on."""
    caller = replace(
        record(span("a", None, "caller booking", -0.1, 9.0)),
        id="caller",
        op="caller",
        name="booking",
    )
    host = record(
        span("b", "a", "conversation host", 0.0, 8.0), span("c", "b", "http.client POST", 1.0, 1.2)
    )
    service = [
        replace(record(span(id, "c", "http.server /book", start, start + 0.1)), op="http.server")
        for id, start in (("d", 0.96), ("e", 1.05), ("f", 1.25))
    ]
    rendered = render(host, others=[*service, caller])
    assert [line[20:] for line in rendered.splitlines()[4:]] == [
        "caller booking",
        "└─ conversation host",
        "   └─ http.client POST",
        "      ├─ http.server /book: clock behind its caller's by 40 ms or more",
        "      ├─ http.server /book",
        "      └─ http.server /book: clock ahead of its caller's by 50 ms or more",
    ]
