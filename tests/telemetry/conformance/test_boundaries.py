"""Out of the task and back: threads, executors, pools, foreign threads, workers born before."""

from __future__ import annotations

import _thread
import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

import telemetry

from .whole import (
    assert_current,
    assert_faultless,
    assert_nothing_current,
    plain,
    tree,
    trees,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry import Conversation
    from telemetry.testing import Captured

Work = Callable[[], None]
Across = Callable[[Work], Awaitable[None]]

THERE = "conversation host\n└─ outer\n   └─ there\n      └─ db.query plain"


def _there() -> None:
    with telemetry.span("there") as span:
        assert_current(span)
        with plain("db.query", "plain"):
            pass
        assert_current(span)


def _run(work: Work, done: Future[None]) -> None:
    try:
        work()
        done.set_result(None)
    except BaseException as error:  # noqa: BLE001 - handed to the test
        done.set_exception(error)


# -- ways out ------------------------------------------------------------------------------------


async def _to_thread(work: Work) -> None:
    await asyncio.to_thread(work)


async def _executor(work: Work) -> None:
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, work)


async def _own_thread(work: Work) -> None:
    done: Future[None] = Future()
    thread = threading.Thread(target=_run, args=(work, done))
    thread.start()
    await asyncio.wrap_future(done)
    thread.join()


async def _foreign_thread(work: Work) -> None:
    """A thread that `threading` didn't start: nothing of Python's or Sentry's reaches it."""
    done: Future[None] = Future()
    _thread.start_new_thread(_run, (work, done))
    await asyncio.wrap_future(done)


async def _threadsafe(work: Work) -> None:
    """Back on the loop from a foreign thread: the callback runs in that thread's empty context."""
    loop = asyncio.get_running_loop()
    done: Future[None] = Future()
    _thread.start_new_thread(loop.call_soon_threadsafe, (_run, work, done))
    await asyncio.wrap_future(done)


@pytest.mark.parametrize(
    "across", [_to_thread, _executor, _own_thread, _foreign_thread, _threadsafe]
)
@pytest.mark.parametrize("by", ["bind", "attach"])
async def test_carried_across(captured: Captured, across: Across, by: str) -> None:
    """`bind` carries conversation and span over every boundary, `attach` the conversation."""
    async with telemetry.conversation("host") as conversation:

        def attached() -> None:
            with conversation.attach():
                _there()

        with telemetry.span("outer") as outer:
            await across(telemetry.bind(_there) if by == "bind" else attached)
            assert_current(outer)

    expected = THERE
    if by == "attach":  # an attached block begins at the root
        expected = "conversation host\n├─ outer\n└─ there\n   └─ db.query plain"
    assert trees(captured) == [expected]
    assert_faultless(captured)


@pytest.mark.parametrize("across", [_to_thread, _executor, _own_thread])
async def test_what_python_starts_needs_no_bind(captured: Captured, across: Across) -> None:
    """`to_thread` copies the context; threads and executors are Sentry's integration's work."""
    async with telemetry.conversation("host"):
        with telemetry.span("outer"):
            await across(_there)

    assert trees(captured) == [THERE]
    assert_faultless(captured)


@pytest.mark.parametrize("across", [_foreign_thread, _threadsafe])
async def test_foreign_threads_start_with_nothing(captured: Captured, across: Across) -> None:
    """Uncarried, strict mode raises there and the conversation is whole without it."""
    async with telemetry.conversation("host"):
        with pytest.raises(telemetry.MissingConversation):
            await across(_there)

    assert trees(captured) == ["conversation host"]
    assert_faultless(captured)


# -- born before ---------------------------------------------------------------------------------


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """A pool of one thread, as a process keeps it for all of its conversations."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize("bound", [True, False])
async def test_a_pool_of_the_process_serves_each_in_its_own(
    captured: Captured, pool: ThreadPoolExecutor, bound: bool
) -> None:
    """Its thread was born in the first conversation and belongs to none of them."""
    held: list[Conversation] = []
    for number in range(3):
        async with telemetry.conversation(f"host {number}") as conversation:
            work = telemetry.bind(_there) if bound else _there
            await asyncio.wrap_future(pool.submit(work))
        held.append(conversation)
    await asyncio.wrap_future(pool.submit(assert_nothing_current))

    for number, conversation in enumerate(held):
        assert tree(captured, conversation) == (
            f"conversation host {number}\n└─ there\n   └─ db.query plain"
        )
    assert_faultless(captured)


async def _serve(jobs: asyncio.Queue[Work | None]) -> None:
    while (job := await jobs.get()) is not None:
        job()
        assert_nothing_current()
        jobs.task_done()


async def test_a_queue_worker_born_before_serves_many(captured: Captured) -> None:
    """One worker, several conversations open at once: each job lands in its own, in any order."""
    jobs: asyncio.Queue[Work | None] = asyncio.Queue()
    worker = asyncio.create_task(_serve(jobs))
    opened = [telemetry.conversation(f"host {number}") for number in range(3)]

    def by_attach(conversation: Conversation) -> None:
        with conversation.attach():
            _there()

    for conversation in opened:
        with conversation.attach(), telemetry.span("outer"):
            jobs.put_nowait(telemetry.bind(_there))
    for conversation in reversed(opened):
        jobs.put_nowait(partial(by_attach, conversation))
        jobs.put_nowait(conversation.bind(_there))
    await jobs.join()
    jobs.put_nowait(None)
    await worker
    for conversation in opened:
        conversation.close()

    for number, conversation in enumerate(opened):
        assert tree(captured, conversation) == (
            f"conversation host {number}\n"
            "├─ outer\n"
            "│  └─ there\n"
            "│     └─ db.query plain\n"
            "├─ there\n"
            "│  └─ db.query plain\n"
            "└─ there\n"
            "   └─ db.query plain"
        )
    assert_faultless(captured)


async def test_a_worker_born_in_one_conversation_serves_another(captured: Captured) -> None:
    """What is bound goes before what the worker was born with."""
    jobs: asyncio.Queue[Work | None] = asyncio.Queue()

    async def serve() -> None:
        while (job := await jobs.get()) is not None:
            job()
            jobs.task_done()

    async with telemetry.conversation("first"):
        worker = asyncio.create_task(serve())
        async with telemetry.conversation("second"):
            jobs.put_nowait(telemetry.bind(_there))
            jobs.put_nowait(_there)
            await jobs.join()
        jobs.put_nowait(None)
        await worker

    there = "└─ there\n   └─ db.query plain"
    assert trees(captured) == [f"conversation first\n{there}", f"conversation second\n{there}"]
    assert_faultless(captured)


async def test_one_bound_function_runs_many_times_at_once(captured: Captured) -> None:
    """On the loop and in threads together: each run is a child of the span it was bound in."""

    async def fetch() -> None:
        with telemetry.span("fetch") as span:
            await asyncio.sleep(0)
            assert_current(span)

    async with telemetry.conversation("host"):
        with telemetry.span("outer"):
            bound, in_thread = telemetry.bind(fetch), telemetry.bind(_there)
        await asyncio.gather(bound(), bound(), *(asyncio.to_thread(in_thread) for _ in range(3)))

    assert trees(captured) == [
        "conversation host\n└─ outer\n"
        + "   ├─ fetch\n" * 2
        + "   ├─ there\n   │  └─ db.query plain\n" * 2
        + "   └─ there\n      └─ db.query plain"
    ]
    assert_faultless(captured)
