"""Spans of the stream lifecycle as items."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

import telemetry
from telemetry.encoding.streamed_spans import envelopes
from telemetry.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator

SPANS = 20


@pytest.mark.usefixtures("settled")
def test_a_span_lives_as_objects_only_while_it_is_encoded() -> None:
    """A batch of them would have garbage collected, which stops every loop of the process."""
    alive: list[int] = []
    conversation: telemetry.Conversation

    def is_one(thing: object) -> bool:
        # an object that is asked what it is an instance of may import things, and run programs
        return type(thing) is dict and thing.get("trace_id") == conversation.trace_id

    def make(span: dict[str, Any]) -> dict[str, Any]:
        alive.append(sum(map(is_one, gc.get_objects())))
        return span

    with capture(lifecycle="stream"), telemetry.conversation("host") as conversation:
        spans = [conversation.start_span("work") for _ in range(SPANS)]
        made: Iterator[Any] = envelopes(conversation, spans, content=False, make=make)
        [envelope] = list(made)
        for span in spans:
            span.finish()
    assert len(alive) == SPANS
    assert max(alive) - min(alive) <= 2
    [item] = envelope.items
    assert item.headers["item_count"] == SPANS
    assert item.payload.bytes is not None
