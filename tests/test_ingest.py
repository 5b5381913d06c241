"""The test endpoint's verdicts: what must fail does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.ingest import Ingest, assert_accepted

if TYPE_CHECKING:
    from collections.abc import Callable

TRACE = "ab" * 16
ROOT = "cd" * 8


def transaction() -> dict[str, Any]:
    """A transaction with one span."""
    return {
        "type": "transaction",
        "transaction": "host",
        "start_timestamp": 1_795_000_000.0,
        "timestamp": 1_795_000_010.0,
        "contexts": {"trace": {"trace_id": TRACE, "span_id": ROOT, "op": "conversation"}},
        "spans": [
            {
                "span_id": "1" * 16,
                "parent_span_id": ROOT,
                "trace_id": TRACE,
                "op": "gen_ai.chat",
                "start_timestamp": 1_795_000_001.0,
                "timestamp": 1_795_000_002.0,
            }
        ],
    }


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda event: event["contexts"].pop("trace"), "rejects"),
        (lambda event: event["spans"][0].update(timestamp=1.0), "rejects"),
        (lambda event: event["spans"][0].update(status="fabulous"), "changes"),
        (lambda event: event.update(environment="a/b"), "changes"),
        (lambda event: event["spans"][0].update(parent_span_id="2" * 16), "no parent"),
        (lambda event: event["spans"][0].update(trace_id="ef" * 16), "another trace"),
        (lambda event: event["spans"].append(event["spans"][0]), "used twice"),
    ],
    ids=["no trace", "ends early", "status", "environment", "parent", "trace", "id"],
)
def test_what_sentry_would_not_take_whole(
    spoil: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    """What Sentry rejects or changes, and what is no tree, fails the assertion."""
    assert_accepted(transaction())
    event = transaction()
    spoil(event)
    with pytest.raises(AssertionError, match=complaint):
        assert_accepted(event)


def test_a_parent_in_another_part() -> None:
    """A span's parent may be in another transaction, if that is of the same trace."""
    whole, part = transaction(), transaction()
    part["contexts"]["trace"]["span_id"] = "3" * 16
    part["spans"][0] |= {"span_id": "4" * 16, "parent_span_id": "1" * 16}
    assert_accepted(part, whole)
    whole["contexts"]["trace"]["trace_id"] = "ef" * 16
    with pytest.raises(AssertionError, match="no parent"):
        assert_accepted(part, whole)


def test_waiting_in_vain_says_what_came() -> None:
    """Waiting ends, with what had arrived in the message."""
    with Ingest() as ingest, pytest.raises(AssertionError, match="0 transactions"):
        ingest.wait_for(lambda: ingest.transactions, timeout=0.05)
