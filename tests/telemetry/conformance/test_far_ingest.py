"""Sentry far away: a busy process ends, and what there is time for is what is worth most."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

import pytest

import telemetry
from tests.ingest import Ingest

if TYPE_CHECKING:
    from pathlib import Path

CALLS, TURNS, LINES, ERRORS, KINDS = 20, 8, 500, 20, 4
AWAY_SECONDS = 0.1
app = logging.getLogger("app")


async def _call(number: int) -> None:
    async with telemetry.conversation("call", id=f"c-{number}", user={"id": f"u-{number}"}):
        for turn in range(TURNS):
            with telemetry.span("turn", str(turn)):
                for line in range(turn, LINES, TURNS):
                    app.info("line %d of %d", line, number)
                await asyncio.sleep(0)
        for error in range(ERRORS):
            app.error(f"kind {error % KINDS}: %d", error)


async def _calls() -> None:
    await asyncio.gather(*(_call(number) for number in range(CALLS)))


def _arrived(ingest: Ingest) -> Counter[str]:
    """How much of what has arrived."""
    counts = Counter(conversations=len(ingest.transactions), errors=len(ingest.errors))
    counts["spans"] = sum(len(event["spans"]) for event in ingest.transactions)
    for span in ingest.spans:
        counts["conversations" if span["is_segment"] else "spans"] += 1
    for envelope in ingest.envelopes:
        for item in envelope:
            if item.type == "log":
                counts["logs"] += len(json.loads(item.get_bytes())["items"])
    return counts


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
@pytest.mark.parametrize("stores", [False, True], ids=["", "store"])
def test_conversations_and_first_errors_arrive_before_the_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lifecycle: Literal["transaction", "stream"],
    stores: bool,
) -> None:
    """Of twenty calls with 400 errors and 10,000 lines; and nothing is unaccounted for."""
    monkeypatch.setattr(app, "propagate", False)
    caplog.set_level(logging.INFO, app.name)
    store: Any = tmp_path / "traces.db" if stores else None
    with Ingest() as ingest:
        ingest.slow(AWAY_SECONDS)
        given: dict[str, Any] = {"enable_logs": True, "auto_enabling_integrations": False}
        given["send_content"] = True  # the kinds are told apart by what the logs say
        runtime = telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, store=store, **given)
        asyncio.run(_calls())
        runtime.close(10)
        arrived = _arrived(ingest)
        kinds = {event["logentry"]["message"] for event in ingest.errors}
    assert arrived["conversations"] == CALLS
    assert arrived["spans"] == CALLS * TURNS
    assert len(kinds) == KINDS
    made = CALLS * (1 + TURNS + LINES + ERRORS + ERRORS)  # an error is a line, too
    # what is on its way when time is up is counted as dropped, and may arrive all the same
    dropped = sum(runtime.stats().dropped.values())
    assert arrived.total() + dropped + _waiting(store) >= made


def _waiting(store: Path | None) -> int:
    """Events that wait in the store for the next start."""
    if store is None:
        return 0
    with closing(sqlite3.connect(store)) as file:
        (events,) = file.execute("SELECT coalesce(sum(events), 0) FROM unsent").fetchone()
    return int(events)
