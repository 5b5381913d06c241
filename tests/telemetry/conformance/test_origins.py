"""An exception knows the conversation it comes from, whoever reports it.

Whoever is the last to see an exception has often left the block of the call: the thread's hook, a
server that logs what its application let through, whoever waits for a task.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry
from tests.ingest import Ingest

from .calls import ADAS, ask_sentry, fail, fail_later, log_it
from .whole import NOBODY, call, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry import Conversation
    from telemetry.testing import Captured

    from .whole import Lifecycle


REPORTS = [log_it, ask_sentry]


# -- outside of its block --------------------------------------------------------------------------


def _in_a_span() -> None:
    with telemetry.span("turn"):
        fail()


def _raised_from_it() -> None:
    try:
        with call("ada"):
            fail()
    except RuntimeError as error:
        raise LookupError("ada's") from error


def _in_a_group() -> None:
    try:
        with call("ada"):
            fail()
    except RuntimeError as error:
        raise ExceptionGroup("ada's", [error]) from None


def _let_through(work: Callable[[], None]) -> BaseException:
    """What is raised out of Ada's call, as whoever called it sees it."""
    with pytest.raises(Exception) as raised:  # noqa: PT011, SIM117 - whatever it is, outside of it
        with call("ada"):
            work()
    return raised.value


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("work", [fail, _in_a_span])
def test_reported_by_whoever_called(
    captured: Captured, work: Callable[[], None], report: Callable[[BaseException], None]
) -> None:
    """A server's log of what its application let through is the call's."""
    report(_let_through(work))

    assert reports(captured) == ADAS


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("work", [_raised_from_it, _in_a_group])
def test_what_surfaces_is_another_exception(
    captured: Captured, work: Callable[[], None], report: Callable[[BaseException], None]
) -> None:
    """One that was raised from it outside of the call, or a group that it is in."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - what it is, is the case
        work()
    report(raised.value)

    assert reports(captured) == ADAS


async def test_a_task_group_fails(captured: Captured) -> None:
    """The part of its exceptions that is handled outside of the call is a group of its own."""

    try:
        async with call("ada"), asyncio.TaskGroup() as tasks:
            tasks.create_task(fail_later())
    except* RuntimeError as group:
        log_it(group)

    [(_, user, whose)] = reports(captured)
    assert (user, whose) == ("ada", "ada")


async def test_a_group_of_two_calls_is_nobodys(captured: Captured) -> None:
    """Ada isn't told what Bob's error says, nor is her user blamed for it."""

    async def converse(who: str) -> None:
        async with call(who):
            await asyncio.sleep(0)
            raise RuntimeError(who)

    errors = await asyncio.gather(converse("ada"), converse("bob"), return_exceptions=True)
    log_it(BaseExceptionGroup("both", [e for e in errors if isinstance(e, BaseException)]))

    [(_, user, whose)] = reports(captured)
    assert (user, whose) == (NOBODY, NOBODY)


def test_an_event_processor_of_bobs_is_not_asked(captured: Captured) -> None:
    """What a scope adds to its own events, such as a request's address, isn't added to Ada's."""

    def add(event: Any, _: Any) -> Any:
        event["extra"]["request"] = "bob's"
        return event

    async def report(error: BaseException) -> None:
        sentry_sdk.capture_exception(error)
        sentry_sdk.capture_message("bob's", level="error")

    async def main() -> None:
        async with call("bob") as bob:
            sentry_sdk.get_isolation_scope().add_event_processor(add)

            async def work() -> None:
                await report(_let_through(fail))

            await asyncio.create_task(work())
            assert telemetry.current_conversation() is bob

    asyncio.run(main())

    assert reports(captured) == [*ADAS, ("bob's", "bob", "bob")]
    assert [event["extra"].get("request") for event in captured.errors] == [None, "bob's"]


# -- threads and the interpreter -------------------------------------------------------------------


def _attach(conversation: Conversation) -> None:
    with conversation.attach():
        fail()


def _bind(conversation: Conversation) -> None:
    conversation.bind(fail)()


def _span(conversation: Conversation) -> None:
    with conversation.span("work"):
        fail()


@pytest.fixture
def silent_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter's own report of a thread that died, without pytest's."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)


@pytest.mark.usefixtures("silent_threads")
@pytest.mark.parametrize("work", [_attach, _bind, _span])
@pytest.mark.parametrize("born", ["before", "in Bob's call"])
def test_a_worker_that_dies_of_adas_job(
    captured: Captured, work: Callable[[Conversation], None], born: str
) -> None:
    """Sentry's integration reports it when the block has been left; Bob only started the thread."""
    asked = threading.Event()

    def serve() -> None:
        assert asked.wait(10)
        work(ada)

    worker = threading.Thread(target=serve)
    if born == "before":
        worker.start()
    with call("bob"):
        if born != "before":
            worker.start()
        ada = call("ada")
        asked.set()
        worker.join()
        ada.close()

    assert reports(captured) == ADAS


def _wrap_it(error: BaseException) -> None:
    wrapped = LookupError("ada's")
    wrapped.__cause__ = error
    log_it(wrapped)


@pytest.mark.parametrize("report", [*REPORTS, _wrap_it])
@pytest.mark.parametrize("worker", ["thread", "task"])
async def test_a_worker_of_bobs_reports_that_adas_job_failed(
    captured: Captured, worker: str, report: Callable[[BaseException], None]
) -> None:
    """Outside of her block, where only what it has inherited from Bob is current."""

    def work(job: Callable[[], None]) -> None:
        try:
            job()
        except RuntimeError as error:
            report(error)

    async def serve() -> None:
        work(await job)

    def serve_in_thread() -> None:
        work(asyncio.run_coroutine_threadsafe(asyncio.wait_for(job, 10), loop).result())

    loop = asyncio.get_running_loop()
    job: asyncio.Future[Callable[[], None]] = loop.create_future()
    ada = call("ada")
    async with call("bob"):
        if worker == "task":
            working = asyncio.create_task(serve())
        else:
            thread = threading.Thread(target=serve_in_thread)
            thread.start()
    job.set_result(ada.bind(fail))
    if worker == "task":
        await working
    else:
        await asyncio.to_thread(thread.join)
    ada.close()

    assert reports(captured) == ADAS


@pytest.mark.usefixtures("silent_threads")
def test_a_timer_that_fails_in_bobs_call(captured: Captured) -> None:
    """It was begun in Ada's."""
    with call("ada"):
        timer = threading.Timer(0.001, fail)
        timer.start()
    with call("bob"):
        timer.join()

    assert reports(captured) == ADAS


def test_a_hook_that_logs_what_has_been_reported(
    captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentry's integration was first, inside of what the thread inherited: one error, Ada's."""
    monkeypatch.setattr(threading, "excepthook", lambda args: log_it(args.exc_value))
    with call("ada"):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    assert reports(captured) == ADAS


_DIES = """
import sys
import telemetry
telemetry.init(dsn=sys.argv[1], lifecycle=sys.argv[2])
with telemetry.conversation("ada", user={"id": "ada"}) as conversation, telemetry.span("turn"):
    print(conversation.trace_id, flush=True)
    raise RuntimeError("ada's")
"""


def test_it_ends_the_process(lifecycle: Lifecycle) -> None:
    """The interpreter's hook reports it when all blocks have been left."""
    with Ingest() as ingest:
        result = subprocess.run(
            [sys.executable, "-c", _DIES, ingest.dsn, lifecycle],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        events = [event for envelope in ingest.envelopes if (event := envelope.get_event())]

    assert "RuntimeError: ada's" in result.stderr
    [event] = events
    assert event["user"] == {"id": "ada"}
    assert event["contexts"]["trace"]["trace_id"] == result.stdout.strip()


# -- whose it is not -------------------------------------------------------------------------------


async def test_what_two_calls_wait_for_is_each_ones_own(captured: Captured) -> None:
    """A future that fails is one exception; each reports it outside of its block."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    both = asyncio.Barrier(2)

    async def wait(who: str) -> None:
        try:
            async with call(who):
                await future
        except RuntimeError as error:
            await both.wait()
            log_it(error)

    waiting = [asyncio.create_task(wait(who)) for who in ("ada", "bob")]
    await asyncio.sleep(0)
    future.set_exception(RuntimeError("shared"))
    await asyncio.gather(*waiting)

    assert reports(captured) == [("shared", "ada", "ada"), ("shared", "bob", "bob")]


async def test_who_reports_it_in_a_call_of_his_own_says_so_himself(captured: Captured) -> None:
    """Bob waits for a task of Ada's; the boss's block is around hers. Both have entered theirs."""

    async def work() -> None:
        with telemetry.span("work"):
            raise RuntimeError("awaited")

    async def ada() -> asyncio.Task[None]:
        async with call("ada"):
            return asyncio.create_task(work())

    task = await asyncio.create_task(ada())
    async with call("bob"):
        with pytest.raises(RuntimeError) as raised:
            await task
        log_it(raised.value)
    with call("boss"):
        with pytest.raises(RuntimeError) as raised, call("ada"):
            raise RuntimeError("nested")
        log_it(raised.value)

    assert reports(captured) == [("awaited", "bob", "bob"), ("nested", "boss", "boss")]


def test_nested_it_is_the_inner_ones(captured: Captured) -> None:
    """Where it has left both."""
    with pytest.raises(RuntimeError) as raised, call("boss"), call("ada"):
        fail()
    log_it(raised.value)

    assert reports(captured) == ADAS
