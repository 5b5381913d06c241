"""An agent that quotes its caller, in rooms: not a word is sent; the operator finds the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent.said import facts_of, found_in, words_of
from tests.ingest import Ingest
from tests.system.callers import Caller, question
from tests.system.worker import working

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.livekit import Server

pytestmark = [pytest.mark.system, pytest.mark.timeout(300, func_only=True), pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_not_a_word_leaves_a_room(server: Server, tmp_path: Path, executor: str) -> None:
    """Whether a call has a thread or a process of its own."""
    with Ingest() as ingest:
        settings = {
            "PARLEY_AGENT": "tests.agent.quoting:QuotingAgent",
            "PARLEY_JOB_EXECUTOR": executor,
            "SENTRY_DSN": ingest.dsn,
        }
        with working(server.livekit, tmp_path, **settings) as worker:
            async with Caller(server.livekit, "room-1") as caller:
                await caller.hear_greeting()
                await caller.ask(question())
                await caller.hang_up()
            record = worker.conversation(caller.id)
            ingest.wait_for(lambda: bool(ingest.errors and ingest.transactions), timeout=30)
        said = words_of(record.spans)
        assert said
        assert found_in(ingest, said) == set()
        errors = {facts_of(error): error for error in ingest.errors}
        error = errors["LookupError", record.trace_id]
        [stored] = worker.store.errors_by_event(error["event_id"])
    assert said[0].split()[0] in stored.message
    assert stored.conversation == record.id
