"""A block that an async generator is suspended in stays entered while its consumer runs."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest

import telemetry

from .whole import assert_current, assert_faultless, assert_nothing_current, plain, trees

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from telemetry.testing import Captured


async def _produce(name: str = "produce") -> AsyncGenerator[int, None]:
    with telemetry.span(name):
        for number in range(2):
            with telemetry.span("made", str(number)):
                await asyncio.sleep(0)
            yield number


async def test_it_parents_nothing_of_its_consumers(captured: Captured) -> None:
    """What runs in its frame is its child; its consumer, and Sentry's view, are left alone."""
    async with telemetry.conversation("host"), aclosing(_produce()) as numbers:
        with telemetry.span("consume") as consume:
            async for number in numbers:
                assert_current(consume)
                with telemetry.span("body", str(number)) as body:
                    assert_current(body)
                with plain("http.client", str(number)):
                    pass
            assert_current(consume)

    assert trees(captured) == [
        "conversation host\n"
        "└─ consume\n"
        "   ├─ body 0\n"
        "   ├─ body 1\n"
        "   ├─ http.client 0\n"
        "   ├─ http.client 1\n"
        "   └─ produce\n"
        "      ├─ made 0\n"
        "      └─ made 1"
    ]
    assert_faultless(captured)


async def test_one_generator_feeds_another(captured: Captured) -> None:
    """In a pipeline each is a child of the one that pulls it."""

    async def transform() -> AsyncIterator[int]:
        with telemetry.span("transform"):
            async for number in _produce():
                with telemetry.span("each", str(number)):
                    pass
                yield number

    async with telemetry.conversation("host") as conversation:
        async for _ in transform():
            assert_current(conversation.root)

    assert trees(captured) == [
        "conversation host\n"
        "└─ transform\n"
        "   ├─ each 0\n"
        "   ├─ each 1\n"
        "   └─ produce\n"
        "      ├─ made 0\n"
        "      └─ made 1"
    ]
    assert_faultless(captured)


async def test_two_generators_pulled_in_turns(captured: Captured) -> None:
    """Their blocks overlap without nesting into each other."""
    async with telemetry.conversation("host") as conversation:
        a, b = _produce("a"), _produce("b")
        for generator in (a, b, b, a):
            await anext(generator)
            assert_current(conversation.root)
        await a.aclose()
        await b.aclose()

    made = "├─ made 0\n{0}  └─ made 1"
    assert trees(captured) == [
        f"conversation host\n├─ a\n│  {made.format('│')}\n└─ b\n   {made.format(' ')}"
    ]
    assert_faultless(captured)


async def test_closed_by_another_task(captured: Captured) -> None:
    """Nobody's current span changes, and the block's span still ends."""
    async with telemetry.conversation("host") as conversation:
        numbers = _produce()
        await anext(numbers)

        async def close() -> None:
            with telemetry.span("elsewhere") as elsewhere:
                await numbers.aclose()
                assert_current(elsewhere)

        await asyncio.create_task(close())
        assert_current(conversation.root)

    assert trees(captured) == ["conversation host\n├─ elsewhere\n└─ produce\n   └─ made 0"]
    assert_faultless(captured)


async def test_pulled_by_several_tasks(captured: Captured) -> None:
    """Whoever pulls it, what runs in its frame is its child."""
    async with telemetry.conversation("host"):
        numbers = _produce()

        async def pull(name: str) -> None:
            with telemetry.span("pull", name) as pulling:
                await anext(numbers)
                assert_current(pulling)

        await asyncio.create_task(pull("first"))
        await asyncio.create_task(pull("second"))
        await numbers.aclose()

    assert trees(captured) == [
        "conversation host\n"
        "├─ pull first\n"
        "│  └─ produce\n"
        "│     ├─ made 0\n"
        "│     └─ made 1\n"
        "└─ pull second"
    ]
    assert_faultless(captured)


@pytest.mark.usefixtures("settled")
async def test_left_to_the_garbage_collector(captured: Captured) -> None:
    """A loop left half way: the event loop closes the generator in a task of its own."""
    async with telemetry.conversation("host") as conversation:
        async for _ in _produce():
            break
        gc.collect()
        while telemetry.get_span_by_op("produce"):  # noqa: ASYNC110 - no event says it is over
            await asyncio.sleep(0)
        assert_current(conversation.root)

    assert trees(captured) == ["conversation host\n└─ produce\n   └─ made 0"]
    assert_faultless(captured)


async def test_still_suspended_when_the_conversation_ends(captured: Captured) -> None:
    """Its span is closed with the conversation; closing it later harms nobody."""
    async with telemetry.conversation("host"):
        numbers = _produce()
        await anext(numbers)
    assert_nothing_current()
    async with telemetry.conversation("next") as conversation:
        await numbers.aclose()
        assert_current(conversation.root)

    assert trees(captured) == ["conversation host\n└─ produce\n   └─ made 0", "conversation next"]
    assert_faultless(captured, open_at_finish=1)


async def test_a_context_manager_made_of_one_is_a_block(captured: Captured) -> None:
    """`@asynccontextmanager` is a generator whose block is meant to hold for its caller's."""

    @asynccontextmanager
    async def timed(name: str) -> AsyncIterator[None]:
        with telemetry.span("timed", name) as span:
            assert_current(span)
            yield

    async with telemetry.conversation("host"), timed("a"), AsyncExitStack() as stack:
        await stack.enter_async_context(timed("b"))
        with telemetry.span("inside") as inside:
            assert_current(inside)

    assert trees(captured) == ["conversation host\n└─ timed a\n   └─ timed b\n      └─ inside"]
    assert_faultless(captured)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_inside_a_generator_such_a_block_is_the_generators(
    captured: Captured, kind: str
) -> None:
    """It is suspended with it."""

    @contextmanager
    def timed() -> Iterator[None]:
        with telemetry.span("timed"):
            yield

    @asynccontextmanager
    async def timed_too() -> AsyncIterator[None]:
        with timed():
            yield

    async def produce() -> AsyncGenerator[int, None]:
        async with AsyncExitStack() as stack:
            if kind == "sync":
                stack.enter_context(timed())
            else:
                await stack.enter_async_context(timed_too())
            for number in range(2):
                with telemetry.span("made", str(number)):
                    pass
                yield number

    async with telemetry.conversation("host") as conversation, aclosing(produce()) as numbers:
        async for _ in numbers:
            assert_current(conversation.root)

    assert trees(captured) == ["conversation host\n└─ timed\n   ├─ made 0\n   └─ made 1"]
    assert_faultless(captured)


async def test_a_consumers_block_may_end_while_it_is_suspended(captured: Captured) -> None:
    """What the consumer entered around a pull is left as if no generator were there."""
    async with telemetry.conversation("host") as conversation:
        with telemetry.span("consume"):
            numbers = _produce()
            await anext(numbers)
        assert_current(conversation.root)
        with telemetry.span("other"):
            await anext(numbers)
        await numbers.aclose()

    assert trees(captured) == [
        "conversation host\n├─ consume\n│  └─ produce\n│     ├─ made 0\n│     └─ made 1\n└─ other"
    ]
    assert_faultless(captured)
