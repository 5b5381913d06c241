"""Who is served when by the threads that models run on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

import telemetry
from agent.providers.inference import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry.testing import Captured


@asynccontextmanager
async def occupied(threads: Threads) -> AsyncIterator[None]:
    """One of the threads is taken inside."""
    busy, go_on = Event(), Event()

    def occupy() -> None:
        busy.set()
        go_on.wait(30)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(threads.run(occupy))
        assert await asyncio.to_thread(busy.wait, 30)
        try:
            yield
        finally:
            go_on.set()


async def test_who_is_needed_first_is_served_first() -> None:
    """What can wait waits; of what can't, the first to come is first."""
    served: list[str] = []
    with closing(Threads(1)) as threads:
        async with asyncio.TaskGroup() as tasks, occupied(threads):
            for name, spare in (
                ("later", 60.0),
                ("first", 0.0),
                ("second", 0.0),
                ("soon", 9.0),
            ):
                tasks.create_task(threads.run(partial(served.append, name), spare=spare))
            await asyncio.sleep(0)
    assert served == ["first", "second", "soon", "later"]


async def test_one_thread_is_kept_for_who_is_needed_at_once() -> None:
    """What can wait never takes all threads; it is made all the same, one call after another."""
    served: list[str] = []
    go_on = Event()

    def later() -> None:
        go_on.wait(30)
        served.append("later")

    with closing(Threads(2)) as threads:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(threads.run(later, spare=60.0))
            await asyncio.sleep(0)
            await threads.run(lambda: served.append("at once"))
            go_on.set()
    assert served == ["at once", "later", "later", "later"]


async def test_what_could_wait_is_served_when_it_is_due() -> None:
    """The thread that is kept free makes it then, while another call of its kind still runs."""
    go_on = Event()
    with closing(Threads(2)) as threads:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(threads.run(lambda: go_on.wait(30), spare=60.0))
            await asyncio.sleep(0)
            assert await threads.run(lambda: "in time", spare=0.1) == "in time"
            assert not go_on.is_set()
            go_on.set()


async def test_whoever_is_cancelled_is_not_served() -> None:
    """A call that nobody waits for any more takes no thread's time."""
    served: list[str] = []
    with closing(Threads(1)) as threads:
        async with occupied(threads):
            given_up = asyncio.create_task(threads.run(lambda: served.append("given up")))
            await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
        await threads.run(lambda: served.append("next"))
    assert served == ["next"]


async def test_errors_are_the_callers() -> None:
    """What a call raises is raised where it is waited for, and the thread goes on."""
    with closing(Threads(1)) as threads:
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 / 0)
        assert await threads.run(lambda: 1) == 1


async def test_nobody_waits_for_closed_threads() -> None:
    """Closing cancels what waits, and waits for what is running; later calls fail."""
    threads = Threads(1)
    async with occupied(threads):
        waiting = asyncio.create_task(threads.run(lambda: None))
        await asyncio.sleep(0)
        closing_them = asyncio.create_task(asyncio.to_thread(threads.close))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not closing_them.done()
    await closing_them
    with pytest.raises(RuntimeError):
        await threads.run(lambda: None)


async def test_what_is_served_out_of_turn_is_its_own_conversations(captured: Captured) -> None:
    """Whoever is overtaken, each call runs in its caller's conversation, span and Sentry scope."""
    opened: dict[str, sentry_sdk.Scope] = {}
    served: list[tuple[str, str | None, bool]] = []

    def look(caller: str) -> None:
        conversation = telemetry.current_conversation()
        id = None if conversation is None else conversation.id
        served.append((caller, id, sentry_sdk.get_isolation_scope() is opened[caller]))

    def infer(caller: str) -> None:
        look(caller)
        with telemetry.span("infer", caller):
            sentry_sdk.capture_message(caller)

    async def converse(caller: str, spare: float) -> None:
        async with telemetry.conversation("host", id=caller):
            sentry_sdk.set_tag("caller", caller)
            opened[caller] = sentry_sdk.get_isolation_scope()
            await threads.run(partial(infer, caller), spare=spare)

    with closing(Threads(1)) as threads:
        async with asyncio.TaskGroup() as tasks, occupied(threads):
            for caller, spare in (("later", 60.0), ("soon", 9.0), ("now", 0.0)):
                tasks.create_task(converse(caller, spare))
            await asyncio.sleep(0)
        opened["nobody"] = sentry_sdk.get_isolation_scope()
        await threads.run(partial(look, "nobody"))
    assert served == [
        ("now", "now", True),
        ("soon", "soon", True),
        ("later", "later", True),
        ("nobody", None, True),
    ]
    trees = {event["tags"]["caller"]: captured.tree(event) for event in captured.conversations}
    assert trees == {
        caller: f"conversation host\n└─ infer {caller}" for caller in ("later", "soon", "now")
    }
    errors = [(error["message"], error["tags"]["caller"]) for error in captured.errors]
    assert errors == [("now", "now"), ("soon", "soon"), ("later", "later")]
