"""A flawless trace is found flawless; every flaw it could have is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import pytest

from agent.simulator.caller_trace import Origin
from agent.simulator.check_trace import Account, check_trace
from agent.simulator.expect import Expect
from telemetry import attributes as names
from telemetry.records import ConversationRecord, SpanRecord
from tests.agent.simulator.speeches import speech
from tests.agent.simulator.traces import CALLER, span, trace

Change: TypeAlias = Callable[[SpanRecord], SpanRecord | None]

EXPECTED = [Expect(), Expect(tool="book", arguments={"party": 4})]
VOICED = [102.01, 105.0]


@pytest.fixture
def good() -> ConversationRecord:
    """Two turns, answered after 0.4 and 0.6 s; a table was booked."""
    responses = [(102.0, 102.4), (105.0, 105.6)]
    return trace(
        "c", CALLER, 100, 110, responses=responses, tools=[("book", {"party": 4, "name": "S"})]
    )


ORIGIN = Origin(*CALLER, turns=frozenset({"d" * 16}))
ACCOUNT = Account(
    origin=ORIGIN,
    expected=EXPECTED,
    voiced=VOICED,
    measured=[0.39, 0.61],
    swallowed=[0.0, 0.0],
    answered=True,
    speeches=[speech(100.1, 101.0), speech(102.4, 103.4), speech(105.6, 106.6)],
    until=109.0,
)


def flaws(record: ConversationRecord, account: Account = ACCOUNT) -> Sequence[str]:
    return check_trace(record, account).failures


def changed(record: ConversationRecord, op: str, change: Change) -> ConversationRecord:
    """The record with the last span of an op changed, or taken out."""
    last = [span for span in record.spans if span.op == op][-1]
    spans = [change(span) if span is last else span for span in record.spans]
    return replace(record, spans=tuple(span for span in spans if span is not None))


def without(record: ConversationRecord, op: str) -> ConversationRecord:
    return replace(record, spans=tuple(span for span in record.spans if span.op != op))


def test_flawless_trace_holds(good: ConversationRecord) -> None:
    """Nothing is wrong with it, and each turn has the latency telemetry tells of it."""
    verdict = check_trace(good, ACCOUNT)
    assert verdict.failures == ()
    first, second = verdict.responses
    assert first is not None
    assert second is not None
    assert first.latency == pytest.approx(0.4)
    assert second.stages == {
        "endpointing": pytest.approx(0.15),
        "synthesis": pytest.approx(0.45),
    }


@pytest.mark.parametrize(
    ("op", "change", "flaw"),
    [
        (names.OP_CONVERSATION, lambda _: None, "0 spans of op conversation"),
        (
            names.OP_CONVERSATION,
            lambda s: replace(s, parent_span_id="b"),
            "parent is b, not ccc",
        ),
        (names.OP_CONVERSATION, lambda s: replace(s, parent_span_id=None), "parent is None, not c"),
        (names.OP_CHAT, lambda s: replace(s, parent_span_id="d" * 16), "has no parent in the"),
        (names.OP_CHAT, lambda s: replace(s, op=names.OP_CONVERSATION), "2 spans of op conv"),
        (names.OP_CHAT, lambda s: replace(s, parent_span_id="b" * 16), "has no parent in the"),
        (names.OP_CHAT, lambda s: replace(s, parent_span_id=None), "has no parent in the"),
        (names.OP_CHAT, lambda s: replace(s, parent_span_id=s.span_id), "its own ancestor"),
        (names.OP_CHAT, lambda s: replace(s, ended_at=104.9), "ends before it starts"),
        (names.OP_CHAT, lambda s: replace(s, started_at=99.9), "starts 0.100 s before"),
        (names.OP_CHAT, lambda s: replace(s, ended_at=110.2), "ends 0.200 s after"),
        (names.OP_RESPONSE, lambda _: None, "turn 2: no conversation.response starts where"),
        (names.OP_RESPONSE, lambda s: replace(s, ended_at=105.7), "lasts 0.700 s, its turn says"),
        (
            names.OP_TURN,
            lambda s: replace(s, attributes={}),
            f"has no {names.RESPONSE_LATENCY}",
        ),
        (
            names.OP_TURN,
            lambda s: replace(
                s, attributes={**s.attributes, names.LATENCY_STAGE + "endpointing": 0.1}
            ),
            "stages sum to 0.550 s of 0.600 s",
        ),
        (names.OP_TOOL, lambda _: None, 'that is book({"party": 4}) and succeeded'),
        (names.OP_TOOL, lambda s: replace(s, status="internal_error"), "and succeeded"),
    ],
)
def test_flaws_are_found(good: ConversationRecord, op: str, change: Change, flaw: str) -> None:
    """One change to one span of a flawless trace is found, and named."""
    assert any(flaw in found for found in flaws(changed(good, op, change)))


@pytest.mark.parametrize(
    "op",
    [
        names.OP_TURN,
        names.OP_USER_SPEECH,
        names.OP_ENDPOINTING,
        names.OP_STT,
        names.OP_CHAT,
        names.OP_TTS,
        names.OP_AGENT_SPEECH,
    ],
)
def test_missing_ops_are_found(good: ConversationRecord, op: str) -> None:
    """Every op a spoken conversation consists of is missed when it isn't there."""
    assert f"no span of op {op}" in flaws(without(good, op))


def test_typed_conversation_needs_no_ears() -> None:
    """Nothing was said aloud: nothing was recognised, and there is no latency."""
    typed = trace("c", CALLER, 100, 110, responses=[(None, 102.4)])
    account = replace(ACCOUNT, expected=[Expect()], voiced=[None], measured=[None], swallowed=[0.0])
    assert flaws(typed, account) == ()


def test_call_that_was_stopped_misses_nothing(good: ConversationRecord) -> None:
    """A caller told to hang up heard no answer: its trace need only be sound, not whole."""
    stopped = replace(ACCOUNT, stopped=True)
    assert flaws(without(good, names.OP_ENDPOINTING), stopped) == ()
    assert flaws(replace(good, ended_at=None), stopped) == ("the conversation was not closed",)


def test_call_in_which_nothing_was_heard_needs_no_speech() -> None:
    """A caller that hung up before the greeting leaves a trace with nothing in it."""
    root = replace(span(names.OP_CONVERSATION, None, 100, 101), parent_span_id=CALLER[1])
    empty = ConversationRecord("c", CALLER[0], "test", 100, 101, "ok", spans=(root,))
    nothing = Account(
        ORIGIN, [Expect()], [None], [None], [0.0], answered=False, speeches=[], until=100.5
    )
    assert flaws(empty, nothing) == ()


def test_tool_that_was_to_fail(good: ConversationRecord) -> None:
    """A tool expected to fail has failed in the trace, too."""
    failing = replace(ACCOUNT, expected=[Expect(tool="book", tool_ok=False), Expect()])
    assert any("that is book({}) and failed" in flaw for flaw in flaws(good, failing))
    failed = changed(good, names.OP_TOOL, lambda s: replace(s, status="internal_error"))
    assert flaws(failed, failing) == ()


def test_unclosed_and_doubled_are_found(good: ConversationRecord) -> None:
    """A conversation that never ended, and a span that came twice, are flaws."""
    assert "the conversation was not closed" in flaws(replace(good, ended_at=None))
    assert "1 spans are in it twice" in flaws(replace(good, spans=(*good.spans, good.spans[-1])))


def test_late_spans_are_allowed(good: ConversationRecord) -> None:
    """A span started after the conversation had ended arrives late; that is no flaw."""
    late = span("http.client", good.spans[0], 111, 112)
    assert flaws(replace(good, spans=(*good.spans, late))) == ()


def test_tool_expected_twice_is_called_twice(good: ConversationRecord) -> None:
    """One call doesn't meet two expectations."""
    twice = replace(ACCOUNT, expected=[EXPECTED[1], EXPECTED[1]])
    assert len(flaws(good, twice)) == 1


def test_conversation_in_another_trace_is_found(good: ConversationRecord) -> None:
    """It has to be in its caller's trace."""
    assert flaws(replace(good, trace_id="e" * 32)) == (
        f"it is in trace {'e' * 32}, its caller in {'a' * 32}",
    )


def test_turn_may_hang_below_the_callers_own(good: ConversationRecord) -> None:
    """A turn that the caller asked for in one of its own is that one's child."""
    asked = changed(good, names.OP_TURN, lambda s: replace(s, parent_span_id="d" * 16))
    assert flaws(asked) == ()
