"""What finalisers say and fail with is never laid to the call that they happen to run in.

Objects of Ada's call are found by the collector of garbage while Bob's goes on. Where nothing says
whose they are, what they report is nobody's.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import sentry_sdk
from sentry_sdk.integrations.unraisablehook import UnraisablehookIntegration

import telemetry
from telemetry.testing import capture

from .calls import ADAS, collect, fail, forget, forget_a_task_that_fails, in_turn
from .whole import NOBODY, reports

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from telemetry.testing import Captured

    from .whole import Lifecycle

app = logging.getLogger("app")
NOBODYS = [("ada's", NOBODY, NOBODY)]
BOBS = ("bob's", "bob", "bob")


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
        fail()


class _Watched:
    """A reference that isn't forgotten with it tells that it is gone."""

    references: ClassVar[list[weakref.ref[_Watched]]] = []

    def __init__(self) -> None:
        self.references.append(weakref.ref(self, lambda _: app.error("ada's")))


def _generator_outside_of_blocks() -> None:
    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            app.error("ada's")

    async def give_up() -> None:
        numbers = generate()
        forget(numbers)
        await anext(numbers)

    forget(asyncio.create_task(give_up()))


def _future() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(RuntimeError("ada's"))
    forget(future)


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize(
    "leave",
    [
        lambda: forget(_TellsItsLoop()),
        lambda: forget(_Logs()),
        lambda: forget(_Watched()),
        _generator_outside_of_blocks,
        _future,
    ],
    ids=["tells its loop", "logs", "weak reference", "async generator", "future"],
)
def test_what_says_nothing_of_its_call_is_nobodys(
    captured: Captured, leave: Callable[[], None]
) -> None:
    """Not Bob's, in whose call it is collected; and his errors don't have it as a breadcrumb."""

    def collect_and_log() -> None:
        collect()
        asyncio.get_running_loop().call_later(0, app.error, "bob's")

    sentry_sdk.set_tag("app", "a")
    in_turn(leave, collect_and_log)

    (said, *adas), bobs = reports(captured)
    assert said.startswith("ada's")
    assert adas == [NOBODY, NOBODY]
    assert bobs == BOBS
    assert [event["tags"] for event in captured.errors] == [{"app": "a"}] * 2
    assert [event["breadcrumbs"]["values"] for event in captured.errors] == [[], []]
    _Watched.references.clear()


def _generator_with_a_block() -> Generator[int, None, None]:
    with telemetry.span("generate"):
        try:
            yield 1
        finally:
            fail()


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
            forget(_Unlucky())
        else:
            numbers = _generator_with_a_block()
            next(numbers)
            forget(numbers)

    in_turn(leave)

    assert reports(unraisable) == (NOBODYS if what == "object" else ADAS)


def test_a_generator_that_bob_lets_go_of(unraisable: Captured) -> None:
    """In the middle of his call, without the collector: what fails has left a block of Ada's."""
    kept: list[Generator[int, None, None]] = []

    def leave() -> None:
        numbers = _generator_with_a_block()
        next(numbers)
        kept.append(numbers)

    in_turn(leave, kept.clear)

    assert reports(unraisable) == ADAS


@pytest.mark.usefixtures("collector")
def test_collected_by_the_delivery_thread(lifecycle: Lifecycle) -> None:
    """It makes the most garbage, and what it does itself isn't captured; this isn't its own."""

    def collect_there(event: Any, _: Any) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        gc.collect()
        return event

    def leave() -> None:
        forget_a_task_that_fails()
        forget(_Logs())
        forget(_TellsItsLoop())

    with capture(lifecycle=lifecycle, before_send=collect_there) as captured:
        in_turn(leave, lambda: app.error("bob's"))
        captured.runtime.flush()
        whose = [whose for *_, whose in reports(captured)]
    assert sorted(whose) == ["ada", "bob", NOBODY, NOBODY]
