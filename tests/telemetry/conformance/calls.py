"""Ada's call and then Bob's, and what Ada's leaves behind for whatever runs later."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Final

import sentry_sdk

import telemetry

from .whole import call

if TYPE_CHECKING:
    from collections.abc import Callable


app = logging.getLogger("app")
ADAS: Final = [("ada's", "ada", "ada")]
"""The report of what goes wrong there, see :func:`.whole.reports`."""


def log_it(error: BaseException) -> None:
    """Report it by a log."""
    app.error("failed", exc_info=error)


def ask_sentry(error: BaseException) -> None:
    """Report it by Sentry's API."""
    sentry_sdk.capture_exception(error)


def fail() -> None:
    """What goes wrong in Ada's call."""
    raise RuntimeError("ada's")


async def fail_later() -> None:
    """The same, in a task."""
    fail()


def forget(thing: object) -> None:
    """Refer to something in a cycle alone: only the collector finds it."""
    cell = [thing]
    cell.append(cell)


def forget_a_task_that_fails() -> None:
    """Nobody waits for it."""
    forget(asyncio.create_task(fail_later()))


def collect() -> None:
    """Collect what is forgotten, and what that brings about: a generator that is found is closed
    by a task of its own.
    """
    gc.collect()
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: loop.call_soon(lambda: loop.call_soon(lambda: gc.collect())))


async def ticks() -> None:
    """A few turns of the loop."""
    for _ in range(5):
        await asyncio.sleep(0)


def in_turn(ada: Callable[[], object], bob: Callable[[], object] = collect) -> None:
    """Do one thing in Ada's call and another in Bob's, which begins when hers is over."""

    async def converse(who: str, does: Callable[[], object]) -> None:
        async with call(who):
            with telemetry.span("turn"):
                await ticks()
            does()
            await ticks()

    async def main() -> None:
        await asyncio.create_task(converse("ada", ada))
        await asyncio.create_task(converse("bob", bob))

    asyncio.run(main())
