"""The agents of ``tests/agents`` in rooms of a real server, with a thread or a process for each
job: each conversation is whole, and says what its session's history says.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from telemetry import attributes as names
from telemetry.store import TraceStore
from telemetry.testing import agrees
from tests.ingest import Ingest
from tests.system.agents import Kept
from tests.system.guest import Guest
from tests.system.program import Program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from agent.rooms import LiveKit
    from telemetry.store import StoredConversation
    from tests.system.livekit import Server

pytestmark = [pytest.mark.system, pytest.mark.timeout(120, func_only=True), pytest.mark.anyio]

ROOT = Path(__file__).parents[2]
LIVEKIT = "auto.ai.livekit"
"""Origin of spans that are LiveKit's: where one outlives its parent, that is LiveKit's doing."""
CLIENT = "livekit"
"""The logger of LiveKit's native client. As a room is deleted it may say, as errors and in a thread
of its own, that its data channels were closed."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def push_to_talk(guest: Guest, _: LiveKit) -> None:
    for words, answer in (("What is there?", "There is pizza"), ("Goodbye", "See you soon")):
        await guest.presses("pressed")
        await guest.says(words)
        await guest.presses("released")
        await guest.reads(answer)


async def many_agents(guest: Guest, _: LiveKit) -> None:
    await guest.reads("Good evening")
    for words, answer in (
        ("I want to pay", "How do you want to pay?"),
        ("By card", "The terminal is broken, have you got cash?"),
        ("In cash", "Thank you"),
        ("Goodbye", "See you soon"),
    ):
        await guest.says(words)
        await guest.reads(answer)


async def background_task(guest: Guest, _: LiveKit) -> None:
    await guest.says("A pizza please")
    await guest.reads("It is on its way")
    await guest.says("Anything to drink?")
    await guest.reads("Water")
    await guest.reads("Your pizza is served")


async def realtime(guest: Guest, _: LiveKit) -> None:
    await guest.says("What will be?")
    await guest.reads("It is done")
    await guest.says("And then?")
    await guest.reads("Nobody knows")


async def text_only(guest: Guest, _: LiveKit) -> None:
    await guest.types("What is there?")
    await guest.reads("There is pizza, and soup")
    await guest.types("Hello again")
    await guest.reads("You said Hello again")


async def transfer(guest: Guest, livekit: LiveKit) -> None:
    await guest.says("Your manager please")
    async with Guest(livekit, f"{guest.room}-colleague", identity="colleague") as colleague:
        await colleague.reads("A caller wants you, have you got time?")
        await colleague.says("Yes")
        await guest.reads("You are being put through")


AGENTS: dict[str, tuple[Callable[[Guest, LiveKit], Awaitable[None]], int, int]] = {
    "push_to_talk": (push_to_talk, 2, 0),
    "many_agents": (many_agents, 5, 1),
    "background_task": (background_task, 3, 1),
    "realtime": (realtime, 2, 0),
    "text_only": (text_only, 2, 0),
    "transfer": (transfer, 1, 0),
}
"""By name: how they are called, the turns of the call, and the errors that are reported of it."""


@dataclass
class Worker:
    """A worker in a folder of its own, and the Sentry of its processes."""

    program: Program
    folder: Path
    main: Ingest
    jobs: Ingest

    def conversations(self, count: int) -> list[tuple[StoredConversation, Kept]]:
        """Conversations with what was kept of their sessions, once the job is over."""
        deadline = time.monotonic() + 30
        store = TraceStore(self.folder / "traces.db")
        while time.monotonic() < deadline:
            kept = {path.stem: path for path in self.folder.glob("*.kept")}
            found = [store.conversation(trace_id) for trace_id in kept]
            whole = [one for one in found if one is not None and one.ended_at is not None]
            if len(whole) == count:
                return [
                    (one, Kept(*pickle.loads(kept[one.trace_id].read_bytes())))  # noqa: S301 - our own
                    for one in sorted(whole, key=lambda one: one.started_at)
                ]
            time.sleep(0.05)
        raise AssertionError(f"not {count} conversations:\n{self.program.said}")


@contextmanager
def working(livekit: LiveKit, folder: Path, agent: str, executor: str) -> Iterator[Worker]:
    """A worker that takes calls for this agent."""
    with Ingest() as main, Ingest() as jobs:
        environ = {
            **{key: os.environ[key] for key in os.environ if not key.startswith("LIVEKIT_")},
            "PYTHONPATH": str(ROOT),
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_API_KEY": livekit.key,
            "LIVEKIT_API_SECRET": livekit.secret,
            "SENTRY_DSN": main.dsn if executor == "process" else jobs.dsn,
            "JOBS_SENTRY_DSN": jobs.dsn,
        }
        command = [sys.executable, "-m", "tests.system.agents", agent, executor]
        program = Program(command, cwd=folder, env=environ)
        try:
            program.wait_for("registered worker")
            yield Worker(program, folder, main, jobs)
        except BaseException:
            sys.stderr.write(f"{program.said}\n")
            raise
        finally:
            program.process.terminate()
            try:
                program.process.wait(20)
            except subprocess.TimeoutExpired:
                program.process.kill()
                program.process.wait(5)


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("agent", AGENTS)
async def test_a_call_is_whole_and_as_its_history_says(
    server: Server, tmp_path: Path, agent: str, executor: str
) -> None:
    """Nothing is orphaned, late or dropped; each error is reported once, by the job's process."""
    call, turns, errors = AGENTS[agent]
    with working(server.livekit, tmp_path, agent, executor) as worker:
        room = f"{agent}-{executor}"
        guest = Guest(server.livekit, room, agent=agent)
        async with guest:
            await call(guest, server.livekit)
        await guest.delete_room()
        count = 2 if agent == "transfer" else 1
        found = worker.conversations(count)
        for conversation, kept in found:
            known = {span.span_id: span for span in conversation.spans}
            assert conversation.status == "ok"
            assert all(span.parent_span_id in known for span in conversation.spans[1:])
            for span in conversation.spans[1:]:
                outlives = span.ended_at > known[span.parent_span_id or ""].ended_at
                if span.origin == LIVEKIT:
                    assert outlives == span.attributes.get(names.OUTLIVES_PARENT, False), span
            agreement = agrees(kept, conversation.spans)
            assert agreement, f"{agreement}\n{conversation}"
            stats = kept.stats
            lost = stats.orphan_spans, stats.late_spans, stats.dropped_spans, stats.open_at_finish
            assert lost == (0, 0, 0, 0)
            assert stats.conversations == count
        assert stats.spans == sum(len(one.spans) - 1 for one, _ in found)
        called = found[0][0]
        assert sum(span.op == names.OP_TURN for span in called.spans) == turns
        worker.jobs.wait_for(lambda: len(worker.jobs.transactions) >= count)
        reported = [error for error in worker.jobs.errors if error.get("logger") != CLIENT]
        assert {error["contexts"]["trace"]["trace_id"] for error in reported} <= {
            one.trace_id for one, _ in found
        }
        assert len(reported) == errors
    assert worker.program.process.returncode == 0
    assert [item.payload.json for each in worker.main.envelopes for item in each.items] == []
