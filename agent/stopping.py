"""The end of a process that holds calls: what its operator wishes, and how calls end then."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

log = logging.getLogger(__name__)

_Event = TypeVar("_Event")

DRAIN_SECONDS: Final = 25.0
"""Time from the first wish to the end of the last call, unless told otherwise."""
FAREWELL_SECONDS: Final = 8.0
"""The last part of that, for goodbyes."""
_LOOK_EVERY_SECONDS: Final = 0.1
"""Time between looks at whether calls have ended: they may be another thread's, or process's."""


@dataclass(slots=True)
class Stopping:
    """The operator's wishes."""

    drain: anyio.Event = field(default_factory=anyio.Event)
    """Take no more calls, end when those that run have ended."""
    now: anyio.Event = field(default_factory=anyio.Event)
    """End at once."""


@asynccontextmanager
async def until_started(stopping: Stopping) -> AsyncIterator[Callable[[], None]]:
    """A block that yields a function to call once the process has started.

    It is cancelled when the process is asked to stop before that: there is nothing to drain yet.
    """
    waiting = anyio.CancelScope()

    async def give_up() -> None:
        with waiting:
            await stopping.drain.wait()
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give_up)
        yield waiting.cancel
        waiting.cancel()


@dataclass(frozen=True)  # no slots: with them Python 3.11 can't make a Stops[Something](…)
class Stops(Generic[_Event]):
    """What each call watches; events of its event loop, its process, or its machine."""

    goodbye: _Event
    """Say goodbye, and end."""
    now: _Event
    """End at once."""


async def end_calls(
    stopping: Stopping,
    *,
    held: Callable[[], int],
    goodbye: Callable[[], None],
    cut: Callable[[], None],
    timeout: float,  # noqa: ASYNC109 - it is the operator's, and has two parts
    farewell: float = FAREWELL_SECONDS,
) -> None:
    """Let calls end by themselves, then say goodbye to them, then cut them off.

    Args:
        stopping: the wish to end at once cuts it short.
        held: the number of calls.
        goodbye: has each call said goodbye to, and ended.
        cut: ends each at once.
        timeout: seconds from here until the last one is cut off.
        farewell: the last part of that, half of it at most, for goodbyes.
    """
    farewell = min(farewell, timeout / 2)
    patience = timeout - farewell
    log.info("draining: %d calls, for up to %g s", held(), patience)
    await _wait(stopping, held, patience)
    if held() and not stopping.now.is_set():
        log.warning("%d calls are said goodbye to", held())
        goodbye()
        await _wait(stopping, held, farewell)
    if held():
        log.warning("%d calls are cut off", held())
        cut()


async def _wait(stopping: Stopping, held: Callable[[], int], seconds: float) -> None:
    with anyio.move_on_after(seconds):
        while held() and not stopping.now.is_set():  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(_LOOK_EVERY_SECONDS)
