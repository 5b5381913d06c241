"""A conversation's record as a worker without a flaw would have left it."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from telemetry import attributes as names
from telemetry.records import ConversationRecord, SpanRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CALLER = ("a" * 32, "c" * 16)
"""Trace and span of who calls."""
_ids = itertools.count(1)


def span(
    op: str,
    parent: SpanRecord | None,
    start: float,
    end: float,
    attributes: Mapping[str, Any] | None = None,
) -> SpanRecord:
    return SpanRecord(
        span_id=f"{next(_ids):016x}",
        parent_span_id=parent.span_id if parent else None,
        op=op,
        name=op,
        started_at=start,
        ended_at=end,
        attributes=attributes or {},
    )


def trace(
    id: str,
    caller: tuple[str, str],
    start: float,
    end: float,
    *,
    responses: Sequence[tuple[float | None, float]],
    tools: Sequence[tuple[str, Mapping[str, Any]]] = (),
    cuts: Sequence[float] = (),
) -> ConversationRecord:
    """A conversation in which the caller fell silent (None: typed), and was answered, then.

    ``cuts`` are when the agent was interrupted.
    """
    root = replace(span(names.OP_CONVERSATION, None, start, end), parent_span_id=caller[1])
    greeting = span(names.OP_TURN, root, start, start)
    spans = [root, greeting]
    spans += [span(op, greeting, start, start) for op in (names.OP_TTS, names.OP_AGENT_SPEECH)]
    cut = {names.INTERRUPTED: True}
    spans += [span(names.OP_AGENT_SPEECH, greeting, at, at, cut) for at in cuts]
    for voiced_until, audible_at in responses:
        if voiced_until is None:
            typed = span(names.OP_TURN, root, audible_at, audible_at)
            spans += [typed, span(names.OP_CHAT, typed, audible_at, audible_at)]
            continue
        latency = audible_at - voiced_until
        told = {
            names.RESPONSE_LATENCY: latency,
            names.LATENCY_STAGE + "endpointing": latency / 4,
            names.LATENCY_STAGE + "synthesis": latency * 3 / 4,
        }
        turn = span(names.OP_TURN, root, voiced_until, audible_at, told)
        spans += [
            turn,
            span(names.OP_RESPONSE, turn, voiced_until, audible_at, told),
            span(names.OP_USER_SPEECH, turn, voiced_until, voiced_until),
            span(names.OP_ENDPOINTING, turn, voiced_until, audible_at),
            span(names.OP_STT, turn, voiced_until, audible_at),
            span(names.OP_CHAT, turn, voiced_until, audible_at),
        ]
    for name, arguments in tools:
        call = {
            names.GEN_AI_TOOL_NAME: name,
            names.GEN_AI_TOOL_CALL_ARGUMENTS: json.dumps(dict(arguments)),
        }
        spans.append(span(names.OP_TOOL, spans[-1] if responses else root, start, start, call))
    return ConversationRecord(id, caller[0], "test", start, end, "ok", spans=tuple(spans))
