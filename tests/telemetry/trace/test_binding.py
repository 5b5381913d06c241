"""Crossing into tasks, threads and callbacks, and what happens where nothing was carried."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

import telemetry

from .foreign_thread import in_foreign_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.testing import Captured


def _work(name: str) -> None:
    with telemetry.span("work", name):
        sentry_sdk.set_tag("worked", name)


def _in_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def _in_executor(function: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(function).result()


@pytest.mark.parametrize("across", [_in_thread, _in_executor, in_foreign_thread])
def test_bind_carries_span_and_scopes(
    captured: Captured, across: Callable[[Callable[[], None]], None]
) -> None:
    """Bound, a function's spans are children of the span it was bound in, and its tags arrive."""
    with telemetry.conversation("host"), telemetry.span("outer"):
        across(telemetry.bind(partial(_work, "there")))

    [event] = captured.transactions
    assert captured.tree(event) == "conversation host\n└─ outer\n   └─ work there"
    assert event["tags"] == {"worked": "there"}


async def test_bind_carries_into_a_worker_born_before(captured: Captured) -> None:
    """One queue worker serves several conversations; each job lands in its own."""
    jobs: asyncio.Queue[Callable[[], None] | None] = asyncio.Queue()

    async def serve() -> None:
        while (job := await jobs.get()) is not None:
            job()
            jobs.task_done()

    worker = asyncio.create_task(serve())
    for number in range(3):
        async with telemetry.conversation("host", id=f"c-{number}") as conversation:
            jobs.put_nowait(telemetry.bind(partial(_work, f"w-{number}")))
            jobs.put_nowait(partial(_attached, conversation, number))
            await jobs.join()
    jobs.put_nowait(None)
    await worker

    assert [captured.tree(event) for event in captured.transactions] == [
        f"conversation host\n├─ work w-{number}\n└─ work a-{number}" for number in range(3)
    ]


def _attached(conversation: telemetry.Conversation, number: int) -> None:
    with conversation.attach():
        _work(f"a-{number}")
    assert telemetry.current_conversation() is None


async def test_a_bound_coroutine_function_can_run_many_times_at_once(captured: Captured) -> None:
    """It stays a coroutine function, and its runs don't see each other."""

    async def fetch(name: str) -> str:
        with telemetry.span("fetch", name):
            await asyncio.sleep(0)
        return name

    async with telemetry.conversation("host"):
        with telemetry.span("outer"):
            bound = telemetry.bind(fetch)
        assert asyncio.iscoroutinefunction(bound)
        assert list(await asyncio.gather(bound("a"), bound("b"))) == ["a", "b"]

    [event] = captured.transactions
    assert captured.tree(event) == "conversation host\n└─ outer\n   ├─ fetch a\n   └─ fetch b"


async def test_a_task_keeps_what_it_was_started_in(captured: Captured) -> None:
    """Its block has ended; the task is still the conversation's, to Sentry too."""
    conversation = telemetry.conversation("host")
    block_ended = asyncio.Event()

    async def work() -> None:
        await block_ended.wait()
        with telemetry.span("inner"):
            pass
        assert telemetry.current_conversation() is conversation
        assert sentry_sdk.get_isolation_scope() is conversation.isolation

    with conversation.attach():
        task = asyncio.create_task(work())
    block_ended.set()
    await task
    conversation.close()

    assert captured.tree(captured.transactions[0]) == "conversation host\n└─ inner"


async def test_threads_of_asyncio_need_no_bind(captured: Captured) -> None:
    """`to_thread` copies the context, and with it what is current."""
    async with telemetry.conversation("host"):
        await asyncio.to_thread(_work, "there")

    assert captured.tree(captured.transactions[0]) == "conversation host\n└─ work there"


def test_a_handle_is_finished_by_another_thread(captured: Captured) -> None:
    """Starting here and finishing there is what handles are for."""
    with telemetry.conversation("host") as conversation:
        handle = conversation.start_span("tts.synthesize")
        in_foreign_thread(handle.finish)

    assert captured.tree(captured.transactions[0]) == "conversation host\n└─ tts.synthesize"
