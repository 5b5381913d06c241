"""Every way a call in a room ends: a clear line in the log, a closed and delivered conversation."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from livekit import api

from agent.session import Outcome
from telemetry import attributes as names
from tests.system import livekit
from tests.system.callers import Caller
from tests.system.worker import Worker, working

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.store import StoredConversation
    from tests.system.livekit import Server

pytestmark = [pytest.mark.system, pytest.mark.timeout(180, func_only=True), pytest.mark.anyio]


def outcome_of(worker: Worker, conversation: str) -> str:
    """How a conversation ended, by its one transaction."""
    return outcome(worker.conversation(conversation))


def outcome(record: StoredConversation) -> str:
    """How a conversation ended, by its record."""
    (root,) = [span for span in record.spans if span.op == names.OP_CONVERSATION]
    return str(root.attributes[names.CONVERSATION_OUTCOME])


def farewell(record: StoredConversation) -> bool:
    """Whether the agent spoke once more after its greeting."""
    return [span.op for span in record.spans].count(names.OP_AGENT_SPEECH) == 2


async def test_a_room_that_is_deleted(server: Server, tmp_path: Path) -> None:
    """A room deleted in mid-call ends the call: hung up, delivered."""
    with working(server.livekit, tmp_path) as worker:
        async with Caller(server.livekit, "deleted", room="to-be-deleted") as caller:
            await caller.hear_greeting()
            async with admin(server) as server_api:
                await server_api.room.delete_room(api.DeleteRoomRequest(room="to-be-deleted"))
            await caller.over()
        assert outcome_of(worker, "deleted") == Outcome.HUNG_UP
        worker.wait_for("ROOM_DELETED")


async def test_a_caller_who_is_gone_before_the_greeting(server: Server, tmp_path: Path) -> None:
    """A room without a caller is left, and its conversation closed."""
    with working(server.livekit, tmp_path) as worker:
        metadata = '{"id": "gone"}'
        async with admin(server) as server_api:
            await server_api.room.create_room(
                api.CreateRoomRequest(name="empty", metadata=metadata, empty_timeout=3)
            )
        assert outcome_of(worker, "gone") == Outcome.HUNG_UP
        worker.wait_for("call gone in room empty hung_up")


async def test_a_caller_who_vanishes(server: Server, tmp_path: Path) -> None:
    """A caller who leaves without a word has hung up."""
    with working(server.livekit, tmp_path) as worker:
        async with Caller(server.livekit, "vanished") as caller:
            await caller.hear_greeting()
        assert outcome_of(worker, "vanished") == Outcome.HUNG_UP
        worker.wait_for("the caller left: CLIENT_INITIATED")


@pytest.mark.usefixtures("server")  # built before this test's own time starts
async def test_a_server_that_restarts(tmp_path: Path) -> None:
    """A server that crashes and comes back: the call ends, named so, and new ones are taken."""
    log = tmp_path / "server.log"
    with livekit.running(log) as server, working(server.livekit, tmp_path) as worker:
        async with Caller(server.livekit, "cut") as caller:
            await caller.hear_greeting()
            server.stop(kill=True)
            await asyncio.to_thread(worker.wait_for, "the connection to LiveKit is lost")
            server.start()
        record = await asyncio.to_thread(worker.conversation, "cut", timeout=60)
        assert outcome(record) in {Outcome.HUNG_UP, Outcome.FAILED}
        worker.wait_for("call cut in room call-cut")
        await asyncio.to_thread(worker.wait_for_count, "registered", 2)
        async with Caller(server.livekit, "next") as caller:
            await caller.hear_greeting()
            await caller.hang_up()
        assert outcome_of(worker, "next") == Outcome.HUNG_UP


async def test_a_network_that_is_cut(tmp_path: Path) -> None:
    """A server that doesn't come back: the call ends after its limit, the worker says why."""
    log = tmp_path / "server.log"
    with livekit.running(log) as server, working(server.livekit, tmp_path) as worker:
        async with Caller(server.livekit, "lost", room="call-lost") as caller:
            await caller.hear_greeting()
            server.stop(kill=True)
        record = await asyncio.to_thread(worker.conversation, "lost", timeout=60)
        assert outcome(record) == Outcome.FAILED
        worker.wait_for("call lost in room call-lost failed")


def test_a_wrong_key(server: Server, tmp_path: Path) -> None:
    """A key the server doesn't know: one line, exit code 2, at once."""
    wrong = server.livekit.__class__(server.livekit.url, "nobody", "x" * 32)
    worker = Worker(wrong, tmp_path, name="wrong", settings={})
    assert worker.exit_code(timeout=30) == 2
    assert worker.log[-1].startswith(f"parley: {wrong.url} doesn't accept LIVEKIT_API_KEY='nobody'")


def test_an_unreachable_server(tmp_path: Path) -> None:
    """No server there: it says so, again and again, until it is told to stop."""
    nowhere = livekit.Server([], tmp_path / "none").livekit
    worker = Worker(nowhere, tmp_path, name="unreachable", settings={})
    worker.wait_for(f"no LiveKit server at {nowhere.url} yet")
    worker.signal(signal.SIGTERM)
    assert worker.exit_code(timeout=20) == 0


async def test_sigterm_with_five_calls(server: Server, tmp_path: Path) -> None:
    """SIGTERM: calls are said goodbye to within the deadline, all of them are delivered."""
    deadline = 14.0
    settings = {"PARLEY_DRAIN_TIMEOUT": f"{deadline:g}", "PARLEY_SILENCE_TIMEOUT": "0"}
    with working(server.livekit, tmp_path, **settings) as worker:
        ids = [f"term-{n}" for n in range(5)]
        await drained(server, worker, ids, [signal.SIGTERM], deadline)
        for id in ids:
            record = worker.conversation(id)
            assert outcome(record) == Outcome.SHUTDOWN
            assert farewell(record), f"{id} was not said goodbye to:\n{worker.said}"


async def test_a_second_signal(server: Server, tmp_path: Path) -> None:
    """A second signal ends at once, and loses no trace."""
    with working(server.livekit, tmp_path, PARLEY_DRAIN_TIMEOUT="600") as worker:
        ids = [f"twice-{n}" for n in range(3)]
        await drained(server, worker, ids, [signal.SIGTERM, signal.SIGTERM], 20.0)
        for id in ids:
            assert outcome_of(worker, id) == Outcome.SHUTDOWN


async def test_calls_end_by_themselves_while_it_drains(server: Server, tmp_path: Path) -> None:
    """While it drains, a call goes on to its own end; a new one isn't taken."""
    with working(server.livekit, tmp_path, PARLEY_DRAIN_TIMEOUT="60") as worker:
        async with Caller(server.livekit, "goes-on") as caller:
            await caller.hear_greeting()
            worker.signal(signal.SIGTERM)
            worker.wait_for("draining: 1 calls")
            await caller.hang_up()
        assert await asyncio.to_thread(lambda: worker.exit_code(timeout=30)) == 0
        assert outcome_of(worker, "goes-on") == Outcome.HUNG_UP


async def drained(
    server: Server, worker: Worker, ids: list[str], signals: list[signal.Signals], limit: float
) -> None:
    """Hold calls, signal the worker, and see it end with 0 within the limit."""
    greeted = [anyio.Event() for _ in ids]
    callers = [Caller(server.livekit, id) for id in ids]

    async def call(caller: Caller, here: anyio.Event) -> None:
        async with caller:
            await caller.hear_greeting()
            here.set()
            await caller.over()

    async with anyio.create_task_group() as tasks:
        for caller, here in zip(callers, greeted, strict=True):
            tasks.start_soon(call, caller, here)
        for here in greeted:
            await here.wait()
        began = time.monotonic()
        for number in signals:
            worker.signal(number)
            await asyncio.to_thread(worker.wait_for, "draining")
        code = await asyncio.to_thread(lambda: worker.exit_code(timeout=limit + 15))
        took = time.monotonic() - began
    assert code == 0, worker.said
    assert took < limit, worker.said
    assert all(caller.is_over for caller in callers)


def admin(server: Server) -> api.LiveKitAPI:
    """The server's API."""
    there = server.livekit
    return api.LiveKitAPI(there.url, there.key, there.secret)
