"""Crossing into tasks, threads and callbacks, and what happens where nothing was carried."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

import telemetry
from telemetry.attributes import ORPHAN_OPEN_CONVERSATIONS, ORPHAN_TASK, ORPHAN_WHERE
from telemetry.testing import Captured, capture

from .conformance.whole import LIFECYCLES, foreign_transaction, sentrys_span_id, trees

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from .conformance.whole import Lifecycle


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


def _in_foreign_thread(function: Callable[[], None]) -> None:
    """A thread that Python's `threading` didn't start: no integration can know of it."""
    import _thread

    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        function()
        done.release()

    _thread.start_new_thread(run, ())
    done.acquire()


@pytest.mark.parametrize("across", [_in_thread, _in_executor, _in_foreign_thread])
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
        _in_foreign_thread(handle.finish)

    assert captured.tree(captured.transactions[0]) == "conversation host\n└─ tts.synthesize"


def test_strict_mode_says_what_lost_the_conversation(captured: Captured) -> None:
    """The error names the place, the open conversations and the call that fixes it."""
    with telemetry.conversation("host", id="c-9"):
        failures: list[telemetry.MissingConversation] = []

        def lost() -> None:
            try:
                telemetry.span("gen_ai.chat")
            except telemetry.MissingConversation as error:
                failures.append(error)

        _in_foreign_thread(lost)

    [error] = failures
    assert error.op == "gen_ai.chat"
    assert error.open_conversations == ["c-9"]
    assert __file__ in error.where
    assert "telemetry.bind" in str(error)
    assert captured.runtime.stats().orphan_spans == 0


def test_an_orphan_is_recorded_counted_and_explained_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Outside strict mode nothing raises: the span arrives alone, with what is known of it."""
    with capture(strict=False) as captured:
        for _ in range(2):
            with telemetry.span("gen_ai.chat", "lonely"), telemetry.span("inner"):
                assert telemetry.current_conversation() is None

        assert [captured.tree(event) for event in captured.transactions] == [
            "gen_ai.chat lonely\n└─ inner"
        ] * 2
        data = captured.transactions[0]["contexts"]["trace"]["data"]
        assert __file__ in data[ORPHAN_WHERE]
        assert data[ORPHAN_TASK] == ""
        assert data[ORPHAN_OPEN_CONVERSATIONS] == []
        stats = captured.runtime.stats()
        assert (stats.orphan_spans, stats.conversations, stats.dropped_spans) == (2, 0, 0)
    assert caplog.text.count("has no conversation") == 1


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
