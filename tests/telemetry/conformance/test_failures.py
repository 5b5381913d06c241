"""What goes wrong in a turn is in its trace: cancellation anywhere, exception groups, errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import telemetry

from .whole import (
    assert_current,
    assert_faultless,
    assert_nothing_current,
    plain,
    shape,
    traces,
    tree,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telemetry.testing import Captured

AWAITS = 11
"""More than a turn has, and so many steps of the loop that the last case isn't cancelled."""


class _Log:
    """What a turn has begun, as the tree must show it: lines of an outline, and their status."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.over: set[str] = set()


async def _turn(log: _Log) -> None:
    """A turn with siblings, a generator, a thread, plain Sentry and a handle."""

    async def produce() -> AsyncGenerator[str, None]:
        with telemetry.span("gen_ai.chat"):
            log.begun.append("gen_ai.chat")
            for word in ("a", "b"):
                await asyncio.sleep(0)
                yield word
            log.over.add("gen_ai.chat")

    async def transcribe() -> None:
        with telemetry.span("stt.recognize"):
            log.begun.append("stt.recognize")
            await asyncio.sleep(0)
            with plain("http.client", "plain"):
                log.begun.append("http.client")
                await asyncio.sleep(0)
                log.over.add("http.client")
            log.over.add("stt.recognize")

    with telemetry.span("conversation.turn"):
        log.begun.append("conversation.turn")
        await asyncio.gather(transcribe(), transcribe())
        words = produce()
        try:
            async for _ in words:
                with telemetry.span("tts.synthesize"):
                    log.begun.append("tts.synthesize")
                    await asyncio.sleep(0)
                    log.over.add("tts.synthesize")
        finally:
            await words.aclose()
        log.over.add("conversation.turn")


@pytest.mark.parametrize("awaits", range(1, AWAITS))
async def test_cancelled_at_every_await(captured: Captured, awaits: int) -> None:
    """Wherever it strikes: every span begun arrives in its place, and outside nothing changes."""
    log = _Log()
    async with telemetry.conversation("host") as conversation:
        task = asyncio.create_task(_turn(log))
        for _ in range(awaits):
            await asyncio.sleep(0)
        assert task.cancel() is (awaits < AWAITS - 1)
        await asyncio.wait([task])
        assert_current(conversation.root)
    assert_nothing_current()

    spans = traces(captured)[conversation.trace_id]
    assert sorted(span.op for span in spans[1:]) == sorted(log.begun)
    parents = {
        "conversation.turn": "conversation",
        "stt.recognize": "conversation.turn",
        "http.client": "stt.recognize",
        "gen_ai.chat": "conversation.turn",
        "tts.synthesize": "conversation.turn",
    }
    ops = {span.span_id: span.op for span in spans}
    for span in spans[1:]:
        assert ops[span.parent_span_id or ""] == parents[span.op]
        assert span.status in ({"ok", "cancelled"} if span.op in log.over else {"cancelled"})
    assert_faultless(captured)


async def test_cancelling_the_conversation_itself(captured: Captured) -> None:
    """It ends, says so, and takes everything in it along."""

    async def hold() -> None:
        async with telemetry.conversation("host"), asyncio.TaskGroup() as tasks:
            for name in ("a", "b"):
                tasks.create_task(wait(name))

    async def wait(name: str) -> None:
        with telemetry.span("wait", name):
            waiting.release()
            await asyncio.Event().wait()

    waiting = asyncio.Semaphore(0)
    task = asyncio.create_task(hold())
    await waiting.acquire()
    await waiting.acquire()
    task.cancel()
    await asyncio.wait([task])

    [spans] = traces(captured).values()
    assert shape(spans) == "conversation host\n├─ wait a\n└─ wait b"
    assert {span.status for span in spans} == {"cancelled"}
    assert_faultless(captured)


async def test_an_exception_group(captured: Captured) -> None:
    """The stage that failed failed, its siblings were cancelled, the turn failed with a group."""

    async def fail() -> None:
        with telemetry.span("stage", "failing"):
            await asyncio.sleep(0)
            raise LookupError

    async def wait() -> None:
        with telemetry.span("stage", "waiting"):
            await asyncio.Event().wait()

    async def turn() -> None:
        with telemetry.span("conversation.turn"):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(wait())
                tasks.create_task(fail())

    async with telemetry.conversation("host") as conversation:
        with pytest.raises(ExceptionGroup):
            await turn()
        assert_current(conversation.root)

    assert tree(captured, conversation) == (
        "conversation host\n└─ conversation.turn\n   ├─ stage failing\n   └─ stage waiting"
    )
    spans = {span.name: span for span in traces(captured)[conversation.trace_id]}
    assert [
        (spans[name].status == "ok", spans[name].attributes.get("error.type"))
        for name in ("host", "conversation.turn", "failing", "waiting")
    ] == [
        (True, None),
        (False, "ExceptionGroup"),
        (False, "LookupError"),
        (False, "CancelledError"),
    ]
    assert_faultless(captured)


async def test_a_timeout(captured: Captured) -> None:
    """A block that ran out of time says so, whether around the deadline or inside it."""

    async def wait() -> None:
        with telemetry.span("around"):
            async with asyncio.timeout(0):
                with telemetry.span("inside"):
                    await asyncio.Event().wait()

    async with telemetry.conversation("host") as conversation:
        with pytest.raises(TimeoutError):
            await wait()
        assert_current(conversation.root)

    assert tree(captured, conversation) == "conversation host\n└─ around\n   └─ inside"
    spans = {span.op: span for span in traces(captured)[conversation.trace_id]}
    assert spans["around"].attributes["error.type"] == "TimeoutError"
    assert spans["inside"].attributes["error.type"] == "CancelledError"
    assert_faultless(captured)
