"""A task outlives its call: its errors are the call's, and what it says is said by no other."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
import sentry_sdk
from sentry_sdk.integrations.asyncio import enable_asyncio_integration

import telemetry
from telemetry.testing import capture

from .whole import call, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.testing import Captured

app = logging.getLogger("app")


def _log(said: str) -> None:
    app.error("%s", said)


def _capture(said: str) -> None:
    sentry_sdk.capture_exception(RuntimeError(said))


def _say(said: str) -> None:
    sentry_sdk.capture_message(said, level="error")


def _log_in_a_span(said: str) -> None:
    with telemetry.span("late"):
        app.error("%s", said)


def _outlive(work: Callable[[], None], *, then: Callable[[], object] = int) -> None:
    """Ada's call leaves a task over, which does its work while Bob's call goes on."""

    async def late(go: asyncio.Event) -> None:
        await go.wait()
        work()

    async def ada(go: asyncio.Event) -> asyncio.Task[None]:
        async with call("ada"):
            with telemetry.span("turn"):
                task = asyncio.create_task(late(go))
                await asyncio.sleep(0)
        return task

    async def main() -> None:
        go = asyncio.Event()
        task = await asyncio.create_task(ada(go))
        async with call("bob"):
            go.set()
            await task
        async with telemetry.conversation("next"):
            then()

    asyncio.run(main())


@pytest.mark.parametrize("report", [_log, _capture, _say, _log_in_a_span])
def test_its_errors_are_the_calls(captured: Captured, report: Callable[[str], None]) -> None:
    """Before its first late span, after it, and after a nested one."""

    def work() -> None:
        report("at once")
        with telemetry.span("late"):
            report("in a span")
            with telemetry.span("deeper"):
                pass
        report("after it")

    _outlive(work)

    assert reports(captured) == [
        ("after it", "ada", "ada"),
        ("at once", "ada", "ada"),
        ("in a span", "ada", "ada"),
    ]
    assert captured.runtime.stats().orphan_spans == 0


@pytest.mark.parametrize("report", [_log, _capture, _say])
def test_spans_that_sentry_makes_of_tasks_hide_nothing(
    captured: Captured, report: Callable[[str], None]
) -> None:
    """Made where no transaction is, Sentry never sends them: the call goes before them."""

    async def late(go: asyncio.Event) -> None:
        await go.wait()
        report("late")
        report("later")
        with telemetry.span("late"):
            pass

    async def ada() -> None:
        go = asyncio.Event()
        async with call("ada"):
            task = asyncio.create_task(late(go))
            await asyncio.sleep(0)
        go.set()
        await task

    async def main() -> None:
        enable_asyncio_integration()
        await asyncio.create_task(ada())

    asyncio.run(main())
    assert reports(captured) == [("late", "ada", "ada"), ("later", "ada", "ada")]
    assert captured.runtime.stats().orphan_spans == 0


def test_a_span_in_one_that_sentry_never_sends_is_counted() -> None:
    """Below a span that Sentry makes of a task, in no transaction, it would be lost."""

    async def work() -> None:
        with telemetry.span("work"):
            pass

    async def main() -> None:
        enable_asyncio_integration()
        await asyncio.create_task(work())

    with capture(strict=False) as captured:
        asyncio.run(main())
        assert captured.runtime.stats().orphan_spans == 1
        assert [event["transaction"] for event in captured.transactions] == ["work"]


def test_what_it_says_is_said_by_no_other(captured: Captured) -> None:
    """Its user, tags and breadcrumbs don't go to the whole process, from which calls are forked."""

    def say(number: int) -> None:
        sentry_sdk.set_user({"id": "ada"})
        sentry_sdk.set_tag("said", number)
        app.info("said %d", number)

    def work() -> None:
        say(1)
        with telemetry.span("late"):
            say(2)
        say(3)

    sentry_sdk.set_tag("app", "a")
    _outlive(work, then=lambda: _log("next"))

    [event] = captured.errors
    assert (event.get("user"), event["tags"]) == (None, {"app": "a"})
    assert event["breadcrumbs"]["values"] == []
    next_one = next(e for e in captured.conversations if e["transaction"] == "next")
    assert (next_one.get("user"), next_one["tags"]) == (None, {"app": "a"})


def test_who_opened_it_goes_on_in_the_process(captured: Captured) -> None:
    """Closed by somebody else, it is over for its opener, who then speaks for everybody again."""
    conversation = telemetry.conversation("host").__enter__()
    conversation.close()
    assert telemetry.current_conversation() is None
    sentry_sdk.set_tag("app", "a")
    with telemetry.conversation("next"):
        pass
    conversation.__exit__(None, None, None)

    next_one = next(e for e in captured.conversations if e["transaction"] == "next")
    assert next_one["tags"] == {"app": "a"}
