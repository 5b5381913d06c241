"""The service's side of a trace: its requests and queries, below the tool that asked."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest

import telemetry
from agent.desk import Reservations, ReservationsError
from agent.desk.wire import Booking, Change, Seating
from telemetry import attributes as names
from telemetry.integrations.httpx import HttpxIntegration
from telemetry.store import TraceStore
from telemetry.testing import Captured, capture
from telemetry.tree import outline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal

FRIDAY = dt.date(2026, 11, 27)
BOOKING = Booking(name="Johnson", date=FRIDAY, time=dt.time(19, 30), party=2)


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    """The trace store of the process, agent and service in one."""
    return TraceStore(tmp_path / "traces.db")


@pytest.fixture
def captured(store: TraceStore) -> Iterator[Captured]:
    """Telemetry as ``parley`` sets it up, strict: a query in no transaction is an error."""
    with capture(
        store=store.path, auto_enabling_integrations=False, integrations=[HttpxIntegration()]
    ) as captured:
        yield captured


async def test_a_booking_is_one_tree(
    captured: Captured, store: TraceStore, service: str, reservations: Reservations
) -> None:
    """Twenty callers at once, one client: request, service and queries below each one's tool."""
    taken = 0

    async def book() -> str:
        nonlocal taken
        async with telemetry.conversation("host") as conversation:
            with telemetry.span(names.OP_TOOL, "book_table"):
                try:
                    await reservations.book(BOOKING)
                except ReservationsError:
                    taken += 1  # the house has 24 seats
        return conversation.trace_id

    traces = await asyncio.gather(*(book() for _ in range(20)))
    assert captured.runtime.flush()
    assert taken == 8
    query = "SELECT time, sum(party) FROM reservations WHERE date = ? AND id <> ? GROUP BY time"
    insert = "INSERT INTO reservations (id, name, date, time, party) VALUES (?, ?, ?, ?, ?)"
    trees = []
    for trace_id in traces:
        host, request = store.trace(trace_id)
        trees.append(outline([*host.spans, *request.spans]))
        assert {span.attributes[names.DB_SYSTEM_NAME] for span in request.spans[1:]} == {"sqlite"}
    above = (
        "conversation host\n"
        "└─ gen_ai.execute_tool book_table\n"
        f"   └─ http.client POST {service}/reservations\n"
        "      └─ http.server POST /reservations\n"
        "         ├─ db.query BEGIN IMMEDIATE\n"
        f"         ├─ db.query {query}\n"
    )
    booked = f"         ├─ db.query {insert}\n         └─ db.query COMMIT"
    refused = "         └─ db.query ROLLBACK"
    assert sorted(trees) == sorted([above + booked] * 12 + [above + refused] * 8)
    statuses = [event["contexts"]["trace"]["status"] for event in captured.transactions]
    assert (statuses.count("ok"), statuses.count("already_exists")) == (32, 8)
    stats = captured.runtime.stats()
    assert (stats.conversations, stats.orphan_spans, stats.dropped_spans) == (20, 0, 0)


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
async def test_what_callers_said_is_in_no_query(
    lifecycle: Literal["transaction", "stream"], reservations: Reservations
) -> None:
    """Every kind of request: a caller's name is in nothing that is sent. A reservation's id, which
    says nothing about anybody, is in the URLs asked for, and in nothing of the service's."""
    with capture(
        lifecycle=lifecycle, auto_enabling_integrations=False, integrations=[HttpxIntegration()]
    ) as captured:
        await _ask_everything(captured, reservations)


async def _ask_everything(captured: Captured, reservations: Reservations) -> None:
    async with telemetry.conversation("host"):
        booked = await reservations.book(BOOKING)
        await reservations.under("Johnson")
        await reservations.change(booked.id, Change(party=3))
        await reservations.availability(Seating(date=FRIDAY, time=dt.time(20), party=2))
        await reservations.cancel(booked.id)
        with pytest.raises(ReservationsError):
            await reservations.cancel(booked.id)
    sent = captured.transactions
    assert len(sent) == 7
    assert all("Johnson" not in str(event) for event in sent)
    [host] = [event for event in sent if event["transaction"] == "host"]
    assert f"/reservations/{booked.id}" in str(host)
    requests = [event for event in sent if event is not host]
    assert [event["transaction"] for event in requests] == [
        "POST /reservations",
        "GET /reservations",
        "PATCH /reservations/{id}",
        "GET /availability",
        "DELETE /reservations/{id}",
        "DELETE /reservations/{id}",
    ]
    assert requests[-1]["contexts"]["trace"]["status"] == "not_found"
    for event in requests:
        assert booked.id not in str(event)


async def test_without_telemetry(reservations: Reservations) -> None:
    """The service works where nobody has called ``telemetry.init``."""
    booked = await reservations.book(BOOKING)
    assert await reservations.under("Johnson") == [booked]
