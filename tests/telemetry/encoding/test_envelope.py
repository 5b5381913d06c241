"""Envelopes as bytes, and how much goes into one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sentry_sdk.envelope import Envelope, Item, PayloadRef

from telemetry.encoding.envelope import batches, encode


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"spans": []},
        {"items": [1, "zwei", None], "n": 1.5},
        {"spans": [{"span_id": f"{number:016x}"} for number in range(1000)]},
        {"odd": datetime(2026, 11, 21, tzinfo=UTC)},
    ],
    ids=["empty", "no spans", "mixed", "1000 spans", "not JSON"],
)
def test_encoding_in_pieces_is_encoding(content: dict[str, Any]) -> None:
    """Encoded piece by piece, a payload reads back as if it had been encoded at once."""
    item = Item(PayloadRef(json=content), type="transaction")
    attachment = Item(b"\x00\n\xff", type="attachment")
    read = Envelope.deserialize(encode(Envelope(headers={"dsn": "d"}, items=[item, attachment])))
    assert read.headers == {"dsn": "d"}
    assert read.items[0].payload.json == json.loads(json.dumps(content, default=str))
    assert read.items[1].get_bytes() == b"\x00\n\xff"


def test_batches_keep_to_both_limits() -> None:
    """Neither more spans nor more bytes than Sentry takes; order kept, nothing left out."""
    many = [*range(2_500)]
    assert [len(batch) for batch in batches(many, lambda _: 1)] == [1_000, 1_000, 500]
    assert [*batches([1, 2, 3], lambda _: 500_000)] == [[1], [2], [3]]
    assert [*batches([], len)] == []
