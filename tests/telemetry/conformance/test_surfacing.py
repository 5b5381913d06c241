"""Errors that surface late or elsewhere carry the conversation they came from.

A task that nobody waited for, a callback, a finaliser: an event loop or the interpreter reports it
wherever it comes to know. In every case Ada's call has failed, and Bob's is what runs by then.
Where nothing says whose an error is, it is nobody's, and never Bob's.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.unraisablehook import UnraisablehookIntegration

import telemetry
from telemetry.testing import capture

from .whole import NOBODY, assert_faultless, call, reports

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from telemetry.testing import Captured

    from .whole import Lifecycle

app = logging.getLogger("app")
ADAS = [("ada's", "ada", "ada")]
NOBODYS = [("ada's", NOBODY, NOBODY)]
BOBS = ("bob's", "bob", "bob")


def _fail(*_: object) -> None:
    raise RuntimeError("ada's")


async def _fail_later() -> None:
    _fail()


def _forget(thing: object) -> None:
    """Refer to something in a cycle alone: only the collector finds it."""
    cell = [thing]
    cell.append(cell)


async def _ticks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _in_turn(ada: Callable[[], object], bob: Callable[[], object] = gc.collect) -> None:
    """Ada's call in a task, then Bob's in another; by default it is where garbage is collected."""

    async def converse(who: str, does: Callable[[], object]) -> None:
        async with call(who):
            with telemetry.span("turn"):
                await _ticks()
            does()
            await _ticks()

    async def main() -> None:
        await asyncio.create_task(converse("ada", ada))
        await asyncio.create_task(converse("bob", bob))

    asyncio.run(main())


# -- what an event loop reports ------------------------------------------------------------------


def _task() -> None:
    _forget(asyncio.create_task(_fail_later()))


def _gathered() -> None:
    _forget(asyncio.gather(_fail_later(), asyncio.sleep(0)))


def _generator_in_a_block() -> None:
    async def generate() -> AsyncGenerator[int, None]:
        with telemetry.span("generate"):
            try:
                yield 1
            finally:
                _fail()

    async def give_up() -> None:
        numbers = generate()
        _forget(numbers)
        await anext(numbers)

    _forget(asyncio.create_task(give_up()))


def _collect_twice() -> None:
    """A generator that is given up is closed by a task of its own, which fails."""
    loop = asyncio.get_running_loop()
    gc.collect()
    loop.call_soon(loop.call_soon, loop.call_soon, gc.collect)


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("when", ["at once", "in Bob's call", "after all calls"])
def test_a_task_that_nobody_waits_for(captured: Captured, when: str) -> None:
    """Whenever it is collected, and whether or not it was in a span of its own."""

    def fail() -> None:
        task = asyncio.create_task(_fail_later())
        if when != "at once":
            _forget(task)

    _in_turn(fail, gc.collect if when == "in Bob's call" else int)
    gc.collect()

    assert reports(captured) == ADAS
    assert_faultless(captured)


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("fail", [_task, _gathered, _generator_in_a_block])
def test_found_by_the_collector_in_bobs_call(captured: Captured, fail: Callable[[], None]) -> None:
    """A task, what was gathered, an async generator that was given up inside a block."""
    _in_turn(fail, _collect_twice)

    assert reports(captured) == ADAS
    assert captured.runtime.stats().orphan_spans == 0


@pytest.mark.usefixtures("collector")
def test_a_pending_task_that_is_destroyed(captured: Captured) -> None:
    """asyncio says so where it is collected."""

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    _in_turn(lambda: _forget(asyncio.create_task(never())))

    [(said, user, whose)] = reports(captured)
    assert said.startswith("Task was destroyed")
    assert (user, whose) == ("ada", "ada")


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("bound", [True, False])
def test_an_executors_future_that_nobody_waits_for(captured: Captured, bound: bool) -> None:
    """A future knows no context. What is bound is Ada's, what isn't is nobody's."""
    done = threading.Event()

    def fail() -> None:
        done.set()
        _fail()

    def submit() -> None:
        loop = asyncio.get_running_loop()
        _forget(loop.run_in_executor(None, telemetry.bind(fail) if bound else fail))
        assert done.wait(10)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            loop.set_default_executor(pool)
            async with call("ada"):
                submit()
            await asyncio.to_thread(int)  # the one thread is done with the first
            await _ticks()
            async with call("bob"):
                gc.collect()

    asyncio.run(main())

    assert reports(captured) == (ADAS if bound else NOBODYS)


def _log(_: object, context: dict[str, Any]) -> None:
    app.error("the loop: %s", context["message"], exc_info=context.get("exception"))


def _capture(_: object, context: dict[str, Any]) -> None:
    sentry_sdk.capture_exception(context["exception"])


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("handler", [_log, _capture])
def test_an_exception_handler_of_ones_own(
    captured: Captured, handler: Callable[[object, dict[str, Any]], None]
) -> None:
    """It may log to any logger, or ask Sentry, and finds Ada's conversation current no longer."""
    current: list[object] = []

    def handle(loop: object, context: dict[str, Any]) -> None:
        current.append(telemetry.current_conversation())
        handler(loop, context)

    def fail() -> None:
        asyncio.get_running_loop().set_exception_handler(handle)
        _task()

    _in_turn(fail)

    assert reports(captured) == ADAS
    assert current == [None]


def _soon(fail: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(fail)


def _later(fail: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(0.001, fail)


def _from_a_thread(fail: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon_threadsafe(fail)


def _when_done(fail: Callable[[], None]) -> None:
    asyncio.create_task(asyncio.sleep(0)).add_done_callback(lambda _: fail())


def _when_readable(fail: Callable[[], None]) -> None:
    loop, (reader, writer) = asyncio.get_running_loop(), socket.socketpair()

    def read() -> None:
        loop.remove_reader(reader)
        reader.close()
        writer.close()
        fail()

    loop.add_reader(reader, read)
    loop.call_later(0.001, writer.send, b"x")


def _when_signalled(fail: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def handle() -> None:
        loop.remove_signal_handler(signal.SIGUSR1)
        fail()

    loop.add_signal_handler(signal.SIGUSR1, handle)
    loop.call_later(0.001, os.kill, os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize(
    "when", [_soon, _later, _from_a_thread, _when_done, _when_readable, _when_signalled]
)
def test_a_callback_that_fails_while_bob_speaks(
    captured: Captured, when: Callable[[Callable[[], None]], None]
) -> None:
    """It was set up in Ada's call, so its failure is hers."""

    async def main() -> None:
        failed = asyncio.Event()

        def fail() -> None:
            failed.set()
            _fail()

        async def ada() -> None:
            async with call("ada"):
                when(fail)

        await asyncio.create_task(ada())
        async with call("bob"):
            await failed.wait()
            await _ticks()

    asyncio.run(main())

    assert reports(captured) == ADAS


# -- finalisers ----------------------------------------------------------------------------------


class _TellsItsLoop:
    """A client that nobody closed says so in its finaliser, as aiohttp's does."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __del__(self) -> None:
        self._loop.call_exception_handler({"message": "ada's", "client": self})


class _Logs:
    def __del__(self) -> None:
        app.error("ada's")


class _Unlucky:
    def __del__(self) -> None:
        _fail()


def _refer_weakly() -> None:
    logs = _Logs.__del__
    thing = _Named()
    thing.watch = weakref.ref(thing, logs)
    kept.append(thing.watch)
    _forget(thing)


class _Named:
    watch: weakref.ref[_Named]


kept: list[object] = []


def _generator_outside_of_blocks() -> None:
    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            app.error("ada's")

    async def give_up() -> None:
        numbers = generate()
        _forget(numbers)
        await anext(numbers)

    _forget(asyncio.create_task(give_up()))


def _future() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(RuntimeError("ada's"))
    _forget(future)


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize(
    "leave",
    [
        lambda: _forget(_TellsItsLoop()),
        lambda: _forget(_Logs()),
        _refer_weakly,
        _generator_outside_of_blocks,
        _future,
    ],
    ids=["tells its loop", "logs", "weak reference", "async generator", "future"],
)
def test_what_says_nothing_of_its_call_is_nobodys(
    captured: Captured, leave: Callable[[], None]
) -> None:
    """Not Bob's, in whose call it is collected; and his errors don't have it as a breadcrumb."""

    def collect() -> None:
        _collect_twice()
        asyncio.get_running_loop().call_later(0, app.error, "bob's")

    sentry_sdk.set_tag("app", "a")
    _in_turn(leave, collect)

    assert reports(captured) == [*NOBODYS, BOBS]
    assert [event["tags"] for event in captured.errors] == [{"app": "a"}] * 2
    assert [event["breadcrumbs"]["values"] for event in captured.errors] == [[], []]
    kept.clear()


def _generator_with_a_block() -> Generator[int, None, None]:
    with telemetry.span("generate"):
        try:
            yield 1
        finally:
            _fail()


@pytest.fixture
def unraisable(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Captured]:
    """Sentry's integration reports what the interpreter can't raise."""
    monkeypatch.setattr(sys, "unraisablehook", silent := lambda _: None)
    with capture(lifecycle=lifecycle, integrations=[UnraisablehookIntegration()]) as captured:
        if sys.unraisablehook is silent:  # an integration sets its hook once in a process
            UnraisablehookIntegration.setup_once()
        yield captured


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("what", ["generator", "object"])
def test_a_finaliser_that_fails(unraisable: Captured, what: str) -> None:
    """A generator's is Ada's, as it leaves a block of hers; an object's is nobody's."""

    def leave() -> None:
        if what == "object":
            _forget(_Unlucky())
        else:
            numbers = _generator_with_a_block()
            next(numbers)
            _forget(numbers)

    _in_turn(leave)

    assert reports(unraisable) == (NOBODYS if what == "object" else ADAS)


@pytest.mark.usefixtures("collector")
def test_collected_by_the_delivery_thread(lifecycle: Lifecycle) -> None:
    """It makes the most garbage, and what it does itself isn't captured; this isn't its own."""

    def collect(event: Any, _: Any) -> Any:
        gc.collect()
        return event

    def leave() -> None:
        _task()
        _forget(_Logs())

    with capture(lifecycle=lifecycle, before_send=collect) as captured:
        _in_turn(leave, lambda: sentry_sdk.capture_message("bob's", level="error"))
        captured.runtime.flush()
        assert reports(captured) == [*ADAS, *NOBODYS, BOBS]
