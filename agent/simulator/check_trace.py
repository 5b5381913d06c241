"""Checks that a conversation's trace is complete and true. Pure functions over its record.

A trace must show the project's own list of span ops (``telemetry.attributes``), and tell what the
caller, who was there, knows of the call: :mod:`.check_audio` holds the two together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.simulator import check_audio
from agent.simulator.record_tree import ancestors, by_id, root_of
from agent.simulator.responses import match, response_spans, responses, stages_of
from telemetry import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.simulator.caller_trace import Origin
    from agent.simulator.expect import Expect
    from agent.simulator.hearing import AgentSpeech
    from agent.simulator.responses import Response
    from telemetry.records import ConversationRecord, SpanRecord

WHEN_HEARD: Final = (names.OP_TURN, names.OP_TTS, names.OP_AGENT_SPEECH)
"""Ops of a conversation in which the agent was heard."""
WHEN_ANSWERED: Final = (names.OP_CHAT,)
"""Ops of a conversation in which a turn of the caller's was answered, typed or spoken."""
WHEN_SPOKEN: Final = (names.OP_USER_SPEECH, names.OP_ENDPOINTING, names.OP_STT)
"""Ops of a conversation in which something said aloud was answered."""

SAME_TIME_SECONDS: Final = 0.001
"""Difference allowed between times that are the same."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The failures of a trace (none, when it holds), and the latencies in it."""

    failures: tuple[str, ...]
    responses: tuple[Response | None, ...]
    """One for each turn of the caller; None where the trace has none."""


@dataclass(frozen=True, slots=True)
class Account:
    """The caller's account of a call, which its trace has to agree with."""

    origin: Origin
    """The place in the trace where the conversation has to be."""
    expected: Sequence[Expect]
    """The expectations of the caller's turns: their tools must be in the trace."""
    voiced: Sequence[float | None]
    """The Unix time of each turn's last voiced sample, if it was said aloud and answered."""
    measured: Sequence[float | None]
    """Each turn's response latency in seconds, if it has one."""
    swallowed: Sequence[float]
    """Seconds of each turn's end that the line swallowed."""
    answered: bool
    """True when any turn, typed or spoken, was answered."""
    speeches: Sequence[AgentSpeech]
    """The speeches heard from the agent."""
    until: float
    """The Unix time at which the call's end began: the caller hung up, or the agent did."""
    stopped: bool = False
    """True when the caller was told to hang up: a missing part is no flaw of the trace then."""


def check_trace(record: ConversationRecord, account: Account) -> Verdict:
    """Judge a trace by the caller's account of the call."""
    matched = match(responses(record), account.voiced)
    failures = [
        *check_tree(record, account.origin),
        *check_times(record),
        *check_latency(record),
        *check_audio.check_latency(account.measured, account.swallowed, matched),
    ]
    if not account.stopped:
        failures += [
            *check_ops(record, account),
            *check_tools(record, account.expected),
            *check_audio.check_interruptions(record, account.speeches, until=account.until),
            *check_audio.check_words(record, account.speeches, until=account.until),
            *(
                f"turn {turn}: no {names.OP_RESPONSE} starts where the caller fell silent"
                for turn, (at, response) in enumerate(zip(account.voiced, matched, strict=True), 1)
                if at is not None and response is None
            ),
        ]
    return Verdict(failures=tuple(failures), responses=tuple(matched))


def check_tree(record: ConversationRecord, origin: Origin | None = None) -> Iterator[str]:
    """Check for one root, of op ``conversation``, and every other span's parent in the trace.

    With an ``origin`` the root is below its caller, and a turn may be below one of the caller's.
    """
    above = None if origin is None else origin.span_id
    asked = frozenset[str]() if origin is None else origin.turns
    if origin is not None and record.trace_id != origin.trace_id:
        yield f"it is in trace {record.trace_id}, its caller in {origin.trace_id}"
    roots = [span for span in record.spans if span.op == names.OP_CONVERSATION]
    if len(roots) != 1:
        yield f"{len(roots)} spans of op {names.OP_CONVERSATION}, not one"
    spans = by_id(record)
    if len(spans) != len(record.spans):
        yield f"{len(record.spans) - len(spans)} spans are in it twice"
    for span in record.spans:
        if span.op == names.OP_CONVERSATION:
            if span.parent_span_id != above:
                yield f"the root's parent is {span.parent_span_id}, not {above or 'nobody'}"
        elif span.op == names.OP_TURN and span.parent_span_id in asked:
            continue
        elif span.parent_span_id not in spans:
            yield f"{_name(span)} has no parent in the trace"
        elif _loops(span, spans):
            yield f"{_name(span)} is its own ancestor"


def check_times(record: ConversationRecord) -> Iterator[str]:
    """Check that the conversation is closed, its spans ended after they started, inside the root.

    A span that started after the conversation had ended is late, which is allowed.
    """
    if record.ended_at is None:
        yield "the conversation was not closed"
    root = root_of(record)
    for span in record.spans:
        if span.ended_at < span.started_at:
            yield f"{_name(span)} ends before it starts"
        if root is None or span.started_at > root.ended_at:
            continue
        if span.started_at < root.started_at - SAME_TIME_SECONDS:
            early = root.started_at - span.started_at
            yield f"{_name(span)} starts {early:.3f} s before the conversation"
        if span.ended_at > root.ended_at + SAME_TIME_SECONDS:
            over = span.ended_at - root.ended_at
            yield f"{_name(span)} ends {over:.3f} s after the conversation"


def check_ops(record: ConversationRecord, account: Account) -> Iterator[str]:
    """Check for every op that a conversation of this kind consists of."""
    heard = any(speech.voice.first is not None for speech in account.speeches)
    spoken = any(at is not None for at in account.voiced)
    present = {span.op for span in record.spans}
    for op in (
        *(WHEN_HEARD if heard else ()),
        *(WHEN_ANSWERED if account.answered else ()),
        *(WHEN_SPOKEN if spoken else ()),
    ):
        if op not in present:
            yield f"no span of op {op}"


def check_tools(record: ConversationRecord, expected: Sequence[Expect]) -> Iterator[str]:
    """Check for every expected tool call: once for each time it is expected, ended as expected."""
    calls = [span for span in record.spans if span.op == names.OP_TOOL]
    for expect in expected:
        if expect.tool is None:
            continue
        for call in calls:
            if expect.called(*_tool_call(call)) and (call.status == "ok") is expect.tool_ok:
                calls.remove(call)
                break
        else:
            wanted = f"{expect.tool}({json.dumps(dict(expect.arguments))})"
            how = "succeeded" if expect.tool_ok else "failed"
            yield f"no span of op {names.OP_TOOL} that is {wanted} and {how}"


def check_latency(record: ConversationRecord) -> Iterator[str]:
    """Check that a response lasts as long as its turn says, and as its stages take together."""
    for span, turn in response_spans(record):
        if turn is None:
            yield f"{_name(span)} is not part of a turn"
            continue
        latency = turn.attributes.get(names.RESPONSE_LATENCY)
        if latency is None:
            yield f"{_name(turn)} has no {names.RESPONSE_LATENCY}"
            continue
        if abs(span.duration - latency) > SAME_TIME_SECONDS:
            yield f"{_name(span)} lasts {span.duration:.3f} s, its turn says {latency:.3f} s"
        total = sum(stages_of(turn).values())
        if abs(total - latency) > SAME_TIME_SECONDS:
            yield f"{_name(turn)}: stages sum to {total:.3f} s of {latency:.3f} s"


def _loops(span: SpanRecord, spans: Mapping[str, SpanRecord]) -> bool:
    return any(above.span_id == span.span_id for above in ancestors(span, spans))


def _tool_call(span: SpanRecord) -> tuple[str, str]:
    name = span.attributes.get(names.GEN_AI_TOOL_NAME, "")
    return name, span.attributes.get(names.GEN_AI_TOOL_CALL_ARGUMENTS, "")


def _name(span: SpanRecord) -> str:
    return f"{span.op} {span.span_id}"
