"""Errors that an event loop reports carry the conversation they came from.

It reports a task that nobody waited for, or a callback, wherever it comes to know. In every case
something of Ada's has failed, and Bob's call is what runs by then.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry

from .calls import ADAS, collect, fail, fail_later, forget, forget_a_task_that_fails, in_turn, ticks
from .whole import NOBODY, assert_faultless, call, reports

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from telemetry.testing import Captured

app = logging.getLogger("app")
NOBODYS = [("ada's", NOBODY, NOBODY)]


def _gathered() -> None:
    forget(asyncio.gather(fail_later(), asyncio.sleep(0)))


def _generator_in_a_block() -> None:
    async def generate() -> AsyncGenerator[int, None]:
        with telemetry.span("generate"):
            try:
                yield 1
            finally:
                fail()

    async def give_up() -> None:
        numbers = generate()
        forget(numbers)
        await anext(numbers)

    forget(asyncio.create_task(give_up()))


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("when", ["at once", "in Bob's call", "after all calls"])
def test_a_task_that_nobody_waits_for(captured: Captured, when: str) -> None:
    """Whenever it is collected."""

    def leave() -> None:
        task = asyncio.create_task(fail_later())
        if when != "at once":
            forget(task)

    in_turn(leave, collect if when == "in Bob's call" else int)
    gc.collect()

    assert reports(captured) == ADAS
    assert_faultless(captured)


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("leave", [forget_a_task_that_fails, _gathered, _generator_in_a_block])
def test_found_by_the_collector_in_bobs_call(captured: Captured, leave: Callable[[], None]) -> None:
    """A task, what was gathered, an async generator that was given up inside a block."""
    in_turn(leave)

    assert reports(captured) == ADAS
    assert captured.runtime.stats().orphan_spans == 0


@pytest.mark.usefixtures("collector")
def test_a_pending_task_that_is_destroyed(captured: Captured) -> None:
    """asyncio says so where it is collected."""

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    in_turn(lambda: forget(asyncio.create_task(never())))

    [(said, user, whose)] = reports(captured)
    assert said.startswith("Task was destroyed")
    assert (user, whose) == ("ada", "ada")


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("bound", [True, False])
def test_an_executors_future_that_nobody_waits_for(captured: Captured, bound: bool) -> None:
    """A future knows no context. What is bound is Ada's, what isn't is nobody's."""
    done = threading.Event()

    def work() -> None:
        done.set()
        fail()

    def submit() -> None:
        loop = asyncio.get_running_loop()
        forget(loop.run_in_executor(None, telemetry.bind(work) if bound else work))
        assert done.wait(10)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            loop.set_default_executor(pool)
            async with call("ada"):
                submit()
            await asyncio.to_thread(int)  # the one thread is done with the first
            await ticks()
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

    def leave() -> None:
        asyncio.get_running_loop().set_exception_handler(handle)
        forget_a_task_that_fails()

    in_turn(leave)

    assert reports(captured) == ADAS
    assert current == [None]


def _soon(call_back: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(call_back)


def _later(call_back: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(0.001, call_back)


def _from_a_thread(call_back: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon_threadsafe(call_back)


def _when_done(call_back: Callable[[], None]) -> None:
    asyncio.create_task(asyncio.sleep(0)).add_done_callback(lambda _: call_back())


def _when_readable(call_back: Callable[[], None]) -> None:
    loop, (reader, writer) = asyncio.get_running_loop(), socket.socketpair()

    def read() -> None:
        loop.remove_reader(reader)
        reader.close()
        writer.close()
        call_back()

    loop.add_reader(reader, read)
    loop.call_later(0.001, writer.send, b"x")


def _when_signalled(call_back: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def handle() -> None:
        loop.remove_signal_handler(signal.SIGUSR1)
        call_back()

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

        def call_back() -> None:
            failed.set()
            fail()

        async def ada() -> None:
            async with call("ada"):
                when(call_back)

        await asyncio.create_task(ada())
        async with call("bob"):
            await failed.wait()
            await ticks()

    asyncio.run(main())

    assert reports(captured) == ADAS
