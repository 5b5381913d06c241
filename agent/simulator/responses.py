"""Response latencies as telemetry tells them, beside those that a caller measured. Pure functions.

Latencies are seconds; times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.simulator.record_tree import by_id, turn_of
from telemetry import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from telemetry.records import ConversationRecord, SpanRecord

MATCHING_SECONDS: Final = 1.0
"""Difference allowed between worker and caller on the time the caller fell silent."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response's latency as telemetry tells it."""

    started_at: float
    """Time of the caller's last voiced sample, as the worker saw it."""
    latency: float
    stages: Mapping[str, float]
    caller_gap: float | None = None
    """The same as the caller told it; None if it didn't, or wasn't believed."""


def responses(record: ConversationRecord) -> list[Response]:
    """The latency of each response, in the order the caller's turns ended."""
    found = [
        Response(
            span.started_at,
            turn.attributes[names.RESPONSE_LATENCY],
            stages_of(turn),
            turn.attributes.get(names.CALLER_GAP),
        )
        for span, turn in response_spans(record)
        if turn is not None and names.RESPONSE_LATENCY in turn.attributes
    ]
    return sorted(found, key=lambda response: response.started_at)


def response_spans(record: ConversationRecord) -> Iterator[tuple[SpanRecord, SpanRecord | None]]:
    """Each response span with the turn it belongs to."""
    spans = by_id(record)
    for span in record.spans:
        if span.op == names.OP_RESPONSE:
            yield span, turn_of(span, spans)


def stages_of(turn: SpanRecord) -> dict[str, float]:
    """The stages that a turn's response latency consists of."""
    return {
        name.removeprefix(names.LATENCY_STAGE): seconds
        for name, seconds in turn.attributes.items()
        if name.startswith(names.LATENCY_STAGE)
    }


def match(told: Sequence[Response], voiced: Sequence[float | None]) -> list[Response | None]:
    """The response to each of the caller's turns: the nearest one not taken, by when it starts."""
    left = list(told)
    matched: list[Response | None] = []
    for at in voiced:
        near = [] if at is None else [r for r in left if abs(r.started_at - at) <= MATCHING_SECONDS]
        nearest = min(near, key=lambda r: abs(r.started_at - (at or 0)), default=None)
        if nearest is not None:
            left.remove(nearest)
        matched.append(nearest)
    return matched


def apart(told: float, measured: float, swallowed: float) -> float:
    """The difference between a response latency that telemetry tells and the one at the caller.

    Of the end of what the caller said the line swallowed so much; nobody can tell how much of that
    the agent still heard, so it may tell anything up to so much more.
    """
    more = told - measured
    return max(-more, more - swallowed, 0.0)
