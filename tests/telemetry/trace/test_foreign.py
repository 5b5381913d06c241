"""Spans below a Sentry transaction that is no conversation's."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

import telemetry
from telemetry.testing import Captured, capture

from ..conformance.whole import LIFECYCLES, foreign_transaction, sentrys_span_id, trees

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..conformance.whole import Lifecycle


def _work(name: str) -> None:
    with telemetry.span("work", name):
        sentry_sdk.set_tag("worked", name)


def test_in_a_web_services_transaction_a_span_is_its_child(captured: Captured) -> None:
    """There telemetry.span is no orphan but a part of that transaction."""
    with (
        sentry_sdk.start_transaction(op="http.server", name="GET /"),
        telemetry.span("db.query", "select", attributes={"rows": 1}) as span,
    ):
        span.start_span("inner").finish()
        assert span.op == "db.query"

    [event] = captured.transactions
    assert captured.tree(event) == "http.server GET /\n└─ db.query select\n   └─ inner"
    assert captured.runtime.stats().orphan_spans == 0


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
async def test_in_a_web_service_a_generator_parents_nothing_of_its_consumers(
    lifecycle: Lifecycle,
) -> None:
    """What runs in its frame is its child; its consumer, and Sentry's view, are left alone."""

    async def produce() -> AsyncGenerator[int, None]:
        with telemetry.span("produce"):
            for number in range(2):
                with telemetry.span("made", str(number)):
                    await asyncio.sleep(0)
                    _work(f"for {number}")
                yield number

    with capture(lifecycle=lifecycle) as captured, foreign_transaction("http.server", "GET /"):
        outside = sentrys_span_id()
        async with aclosing(produce()) as numbers:
            async for number in numbers:
                assert sentrys_span_id() == outside
                with telemetry.span("body", str(number)):
                    _work(f"by {number}")
        assert sentrys_span_id() == outside
    assert trees(captured) == [
        "http.server GET /\n"
        "├─ body 0\n"
        "│  └─ work by 0\n"
        "├─ body 1\n"
        "│  └─ work by 1\n"
        "└─ produce\n"
        "   ├─ made 0\n"
        "   │  └─ work for 0\n"
        "   └─ made 1\n"
        "      └─ work for 1"
    ]
