"""The end of a conversation: in any order, from any task, with spans open and spans after it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry

from .whole import assert_current, assert_faultless, assert_nothing_current, plain, traces, tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry import Conversation
    from telemetry.testing import Captured


def _in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def _finish(handles: list[telemetry.Span], together: threading.Barrier) -> None:
    together.wait()
    for handle in handles:
        handle.finish()


# -- in any order, from any task -----------------------------------------------------------------


@pytest.mark.parametrize("first", ["outer", "inner"])
def test_two_of_one_task_close_in_either_order(captured: Captured, first: str) -> None:
    """Closing one leaves the other current; neither shows anything of the other."""
    outside = sentry_sdk.get_current_scope(), sentry_sdk.get_isolation_scope()
    outer = telemetry.conversation("outer", user={"id": "o"}, tags={"of": "outer"}).__enter__()
    inner = telemetry.conversation("inner").__enter__()
    assert_current(inner.root)
    leaving, staying = (outer, inner) if first == "outer" else (inner, outer)
    leaving.__exit__(None, None, None)
    assert_current(staying.root)
    with telemetry.span("after"):
        sentry_sdk.set_tag("after", staying.name)
    staying.__exit__(None, None, None)

    assert_nothing_current()
    assert (sentry_sdk.get_current_scope(), sentry_sdk.get_isolation_scope()) == outside
    assert tree(captured, leaving) == f"conversation {leaving.name}"
    assert tree(captured, staying) == f"conversation {staying.name}\n└─ after"
    events = {event["transaction"]: event for event in captured.transactions}
    assert events["outer"]["user"] == {"id": "o"}
    assert events["inner"].get("user") is None
    after = {"after": staying.name}
    assert events["outer"]["tags"] == {"of": "outer", **(after if staying is outer else {})}
    assert events["inner"].get("tags", {}) == (after if staying is inner else {})
    assert_faultless(captured)


def test_blocks_are_left_in_any_order(captured: Captured) -> None:
    """What is left out of turn is passed over; the innermost that is still entered is current."""
    with telemetry.conversation("host") as conversation:
        a, b, c = (telemetry.span(name).__enter__() for name in "abc")
        a.__exit__(None, None, None)
        assert_current(c)
        c.__exit__(None, None, None)
        assert_current(b)
        b.__exit__(None, None, None)
        assert_current(conversation.root)

    assert tree(captured, conversation) == "conversation host\n└─ a\n   └─ b\n      └─ c"
    assert_faultless(captured)


async def test_closed_by_another_task_than_its_opener(captured: Captured) -> None:
    """It is over everywhere at once: in its opener, in its tasks, for Sentry too."""
    go = asyncio.Event()

    async def other() -> None:
        assert_current(said)
        await go.wait()
        assert_nothing_current()

    conversation = telemetry.conversation("host").__enter__()
    with telemetry.span("said") as said:
        waiting = asyncio.create_task(other())
        await asyncio.sleep(0)
        await asyncio.to_thread(conversation.close)
        assert_nothing_current()
        go.set()
        await waiting
    assert_nothing_current()
    conversation.__exit__(None, None, None)

    assert tree(captured, conversation) == "conversation host\n└─ said"
    assert_faultless(captured, open_at_finish=1)


async def test_opened_in_a_task_that_is_gone(captured: Captured) -> None:
    """A conversation needs no task to live in: another attaches, a third closes."""

    async def start() -> Conversation:
        return telemetry.conversation("host").__enter__()

    conversation = await asyncio.create_task(start())
    assert_nothing_current()
    with conversation.attach(), telemetry.span("work") as work:
        assert_current(work)
    await asyncio.to_thread(conversation.close)

    assert tree(captured, conversation) == "conversation host\n└─ work"
    assert_faultless(captured)


def test_closed_from_many_threads_at_once(captured: Captured) -> None:
    """It ends once."""
    conversation = telemetry.conversation("host")
    together = threading.Barrier(8)

    def close() -> None:
        together.wait()
        conversation.close()

    threads = [threading.Thread(target=close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert tree(captured, conversation) == "conversation host"
    assert_faultless(captured)


# -- spans that are open at the end --------------------------------------------------------------


async def test_barge_in_leaves_spans_open(captured: Captured) -> None:
    """The reply is dropped where it stands: what it left open arrives, with a status, counted."""
    speaking = asyncio.Event()

    async def reply() -> None:
        conversation.start_span("tts.synthesize", "left open")
        with telemetry.span("agent.speech"):
            speaking.set()
            await asyncio.Event().wait()

    async with telemetry.conversation("host") as conversation:
        with telemetry.span("conversation.turn", "interrupted"):
            talking = asyncio.create_task(reply())
            await speaking.wait()
            talking.cancel()
            await asyncio.wait([talking])
        with telemetry.span("conversation.turn", "next") as turn:
            assert_current(turn)

    assert tree(captured, conversation) == (
        "conversation host\n"
        "├─ conversation.turn interrupted\n"
        "│  ├─ agent.speech\n"
        "│  └─ tts.synthesize left open\n"
        "└─ conversation.turn next"
    )
    statuses = {span.op: span.status for span in traces(captured)[conversation.trace_id]}
    assert statuses["agent.speech"] == statuses["tts.synthesize"] == "cancelled"
    assert_faultless(captured, open_at_finish=1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_handle_is_finished_by_another_thread(captured: Captured, when: str) -> None:
    """Before the end or after it, once or twice: it arrives once."""
    with telemetry.conversation("host") as conversation:
        handle = conversation.start_span("tts.synthesize")
        if when == "before":
            _in_thread(handle.finish)
    _in_thread(handle.finish)
    handle.finish()

    assert tree(captured, conversation) == "conversation host\n└─ tts.synthesize"
    assert_faultless(captured, open_at_finish=int(when == "after"))


def test_spans_that_finish_while_it_closes_arrive_once(captured: Captured) -> None:
    """Threads finish their spans in the very moment that delivery takes the last ones."""
    conversations = [telemetry.conversation(f"host {number}") for number in range(40)]
    for conversation in conversations:
        handles = [conversation.start_span("work", str(number)) for number in range(20)]
        together = threading.Barrier(2)
        thread = threading.Thread(target=_finish, args=(handles, together))
        thread.start()
        together.wait()
        conversation.close()
        thread.join()

    left = captured.runtime.stats().open_at_finish
    assert all(len(spans) == 21 for spans in traces(captured).values())
    assert_faultless(captured, open_at_finish=left)


class _Meanwhile(float):
    """A time that does something when it is first compared."""

    meanwhile: Callable[[], object]

    def __gt__(self, other: float) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return float(self) > other

    __lt__ = __gt__


def test_a_span_that_finishes_in_the_moment_of_delivery(captured: Captured) -> None:
    """Half finished when the conversation ends and is delivered, it arrives all the same."""
    delivered: list[bool] = []

    def deliver() -> None:
        conversation.close()
        delivered.append(captured.runtime.flush())

    conversation = telemetry.conversation("host")
    now = _Meanwhile(time.time())
    now.meanwhile = deliver
    conversation.start_span("work").finish(now)

    assert delivered == [True]
    assert tree(captured, conversation) == "conversation host\n└─ work"
    assert_faultless(captured)


# -- spans after the end -------------------------------------------------------------------------


async def test_a_task_that_outlives_its_conversation(captured: Captured) -> None:
    """Its spans still arrive in that trace, under what was current in it, and count as late."""
    go = asyncio.Event()

    async def clean_up() -> None:
        await go.wait()
        assert_nothing_current()
        with telemetry.span("late", "block") as block:
            with telemetry.span("late", "inner"):
                pass
            with plain("http.client", "plain"):
                pass
            block.start_span("late", "handle").finish()
        assert_nothing_current()
        await asyncio.to_thread(telemetry.bind(in_thread))

    def in_thread() -> None:
        with telemetry.span("late", "in a thread"):
            pass

    async with telemetry.conversation("host") as conversation:
        with telemetry.span("turn"):
            task = asyncio.create_task(clean_up())
            await asyncio.sleep(0)
    go.set()
    await task

    assert tree(captured, conversation) == (
        "conversation host\n"
        "└─ turn\n"
        "   ├─ late block\n"
        "   │  ├─ http.client plain\n"
        "   │  ├─ late handle\n"
        "   │  └─ late inner\n"
        "   └─ late in a thread"
    )
    assert_faultless(captured, late_spans=5)


def test_handles_attach_and_bind_after_the_end(captured: Captured) -> None:
    """Whatever still holds the conversation may go on recording in it."""
    with telemetry.conversation("host") as conversation, telemetry.span("work") as work:
        bound = telemetry.bind(lambda: telemetry.span("late", "bound").finish())
    work.start_span("late", "child").finish()
    conversation.start_span("late", "handle").finish()
    with conversation.attach(), telemetry.span("late", "attached"):
        pass
    bound()
    assert_nothing_current()

    assert tree(captured, conversation) == (
        "conversation host\n"
        "├─ late attached\n"
        "├─ late handle\n"
        "└─ work\n"
        "   ├─ late bound\n"
        "   └─ late child"
    )
    assert_faultless(captured, late_spans=4)


async def test_after_the_end_the_nearest_one_still_open_is_current(captured: Captured) -> None:
    """A task of an ended conversation records in the one around it, where there is one."""
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        assert_current(outer.root)
        with telemetry.span("work"):
            pass

    async with telemetry.conversation("outer") as outer:
        async with telemetry.conversation("inner") as inner:
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
        go.set()
        await task

    assert tree(captured, outer) == "conversation outer\n└─ work"
    assert tree(captured, inner) == "conversation inner"
    assert_faultless(captured)


def test_what_late_code_says_is_not_said_by_the_conversation(captured: Captured) -> None:
    """A tag set after the end changes no event, also while the conversation waits for delivery."""
    gate = threading.Event()

    def hold(event: Any, _: Any) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        assert gate.wait(10)
        return event

    with telemetry.conversation("before") as before:
        before.isolation.add_event_processor(hold)
    conversation = telemetry.conversation("host", tags={"early": "set"})
    conversation.close()
    with conversation.attach():
        sentry_sdk.set_tag("late", "set")
    gate.set()

    (event,) = (e for e in captured.conversations if e["transaction"] == "host")
    assert event["tags"].get("early") == "set"
    assert "late" not in event["tags"]
