"""An exception is reported once in each trace, in however many ways, and is still an exception."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry
from telemetry.testing import capture

from .calls import ADAS, ask_sentry, fail, log_it
from .whole import call, foreign_transaction, reports

if TYPE_CHECKING:
    from telemetry.testing import Captured

    from .whole import Lifecycle


# -- reported once ---------------------------------------------------------------------------------


def _by_our_api(error: BaseException) -> None:
    conversation = telemetry.current_conversation()
    assert conversation is not None
    conversation.capture_exception(error)


WAYS = [_by_our_api, log_it, ask_sentry]


@pytest.mark.parametrize("first", range(len(WAYS)))
def test_reported_in_every_way_it_is_one_error(captured: Captured, first: int) -> None:
    """In each trace: our API, the log and Sentry's, in any order, at once and after delivery."""
    error = RuntimeError("shared")
    for who in ("ada", "bob"):
        with call(who):
            for way in WAYS[first:] + WAYS[:first]:
                way(error)
            captured.runtime.flush()
            for way in WAYS:
                way(error)

    assert reports(captured) == [("shared", "ada", "ada"), ("shared", "bob", "bob")]


def test_logged_and_captured_at_once_it_is_one_error(captured: Captured) -> None:
    """While the delivery thread makes an event of what was logged, the call asks Sentry."""
    for number in range(100):
        with call("ada"):
            error = RuntimeError(str(number))
            log_it(error)
            ask_sentry(error)

    assert len(captured.errors) == 100


async def test_a_task_reports_it_and_whoever_waits_too(captured: Captured) -> None:
    """It has left no block; where it was reported first is where it comes from."""

    async def work() -> None:
        try:
            fail()
        except RuntimeError as error:
            ask_sentry(error)
            raise

    async def ada() -> asyncio.Task[None]:
        async with call("ada"):
            return asyncio.create_task(work())

    task = await asyncio.create_task(ada())
    with pytest.raises(RuntimeError) as raised:
        await task
    log_it(raised.value)

    assert reports(captured) == ADAS


def test_in_a_transaction_that_somebody_began_in_the_call(captured: Captured) -> None:
    """That is another trace; the error is the call's all the same, and is one."""
    with call("ada"):
        error = RuntimeError("ada's")
        with foreign_transaction("task", "task"):
            ask_sentry(error)
        for way in WAYS:
            way(error)
            captured.runtime.flush()

    [event] = captured.errors
    assert event["user"]["id"] == "ada"


@pytest.mark.parametrize("places", ["one task", "tasks", "threads"])
async def test_an_exception_that_is_kept_and_raised_in_every_call(
    captured: Captured, places: str
) -> None:
    """It is each one's own, however many there are."""
    kept = RuntimeError("kept")

    def converse(number: int) -> None:
        try:
            with call(str(number)):
                raise kept
        except RuntimeError as error:
            log_it(error)
            ask_sentry(error)

    async def converse_in_a_task(number: int) -> None:
        converse(number)

    for number in range(20):
        match places:
            case "one task":
                converse(number)
            case "tasks":
                await asyncio.create_task(converse_in_a_task(number))
            case "threads":
                await asyncio.to_thread(converse, number)

    assert reports(captured) == sorted(("kept", str(n), str(n)) for n in range(20))


def test_outside_of_conversations_each_trace_has_its_own(captured: Captured) -> None:
    """As in a web service: the same exception in two requests is two errors."""
    kept = RuntimeError("kept")
    for _ in range(2):
        with sentry_sdk.isolation_scope() as scope:
            scope.set_new_propagation_context()
            ask_sentry(kept)
            log_it(kept)

    assert len(captured.errors) == 2


def test_without_sentrys_deduplication_nothing_is_left_out(lifecycle: Lifecycle) -> None:
    """It is an integration that can be turned off, as all others."""
    with capture(lifecycle=lifecycle, default_integrations=False) as captured:
        error = RuntimeError("twice")
        with call("ada"):
            ask_sentry(error)
            ask_sentry(error)
        assert len(captured.errors) == 2


# -- it is still an exception ----------------------------------------------------------------------


class _Slotted(Exception):  # noqa: N818 - it is the slots that matter
    __slots__ = ()


class _Grouping(Exception):  # noqa: N818
    exceptions = None
    """Not what a group has under this name."""


@pytest.mark.parametrize("kind", [ValueError, KeyError, _Slotted, _Grouping, OSError])
def test_it_can_be_pickled_and_copied(captured: Captured, kind: type[Exception]) -> None:
    """A pickle, a copy and a deep copy are exceptions of their own, which nothing is known of."""
    original = kind("ada's")
    with pytest.raises(kind), call("ada"), telemetry.span("turn"):
        raise original
    log_it(original)
    captured.runtime.flush()
    for again in (
        pickle.loads(pickle.dumps(original)),  # noqa: S301 - our own
        copy.copy(original),
        copy.deepcopy(original),
    ):
        assert (type(again), again.args) == (kind, ("ada's",))
        with call("bob"):
            log_it(again)

    assert [(user, whose) for _, user, whose in reports(captured)] == [
        ("ada", "ada"),
        *[("bob", "bob")] * 3,
    ]


@pytest.mark.parametrize("hint", [None, {}, {"exc_info": None}])
def test_events_without_an_exception(captured: Captured, hint: dict[str, Any] | None) -> None:
    """They are captured as they are."""
    with call("ada"):
        sentry_sdk.capture_event({"message": "ada's", "level": "error"}, hint=hint)

    assert reports(captured) == ADAS
