"""Tasks of one conversation, conversations side by side, callbacks and event emitters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import telemetry

from .whole import assert_current, assert_faultless, plain, tree, trees

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry import Conversation
    from telemetry.testing import Captured

TURN = """\
conversation host
└─ conversation.turn {n}
   ├─ stage llm-{n}
   │  └─ http.client llm-{n}
   │     └─ inner llm-{n}
   ├─ stage stt-{n}
   │  └─ http.client stt-{n}
   │     └─ inner stt-{n}
   └─ stage tts-{n}
      └─ http.client tts-{n}
         └─ inner tts-{n}"""


async def _stage(name: str) -> None:
    """Ours around Sentry's around ours; other tasks run between any two lines."""
    with telemetry.span("stage", name) as stage:
        await asyncio.sleep(0)
        assert_current(stage)
        with plain("http.client", name):
            await asyncio.sleep(0)
            with telemetry.span("inner", name) as inner:
                await asyncio.sleep(0)
                assert_current(inner)
        assert_current(stage)


async def _turn(number: int) -> None:
    with telemetry.span("conversation.turn", str(number)) as turn:
        await asyncio.gather(*(_stage(f"{stage}-{number}") for stage in ("stt", "llm", "tts")))
        assert_current(turn)


async def _hold(number: int) -> None:
    async with telemetry.conversation("host", id=f"c-{number}") as conversation:
        await _turn(number)
        assert_current(conversation.root)


async def test_sibling_tasks_are_siblings(captured: Captured) -> None:
    """Stages that run at the same time nest into their turn, never into each other."""
    await _hold(1)

    assert trees(captured) == [TURN.format(n=1)]
    assert_faultless(captured)


async def test_siblings_of_plain_sentry_are_siblings(captured: Captured) -> None:
    """So do tasks that know nothing but `sentry_sdk`."""

    async def stage(name: str) -> None:
        with plain("stage", name):
            await asyncio.sleep(0)

    async with telemetry.conversation("host"):
        await asyncio.gather(stage("a"), stage("b"), stage("c"))

    assert trees(captured) == ["conversation host\n├─ stage a\n├─ stage b\n└─ stage c"]
    assert_faultless(captured)


@pytest.mark.parametrize(("parents", "each"), [(1, 20), (20, 1), (1, 200), (20, 10)])
async def test_conversations_side_by_side_never_mix(
    captured: Captured, parents: int, each: int
) -> None:
    """20 and 200 at once, out of one parent task and out of many: each has its own whole tree."""

    async def parent(first: int) -> None:
        await asyncio.gather(*(_hold(first + number) for number in range(each)))

    await asyncio.gather(*(parent(number * each) for number in range(parents)))

    assert trees(captured) == sorted(TURN.format(n=number) for number in range(parents * each))
    assert_faultless(captured)


async def test_two_conversations_of_one_task_have_tasks_of_their_own(captured: Captured) -> None:
    """Whichever is current when a task is started is the task's, whatever happens to the other."""
    go = asyncio.Event()

    async def work(name: str) -> None:
        await go.wait()
        with telemetry.span("work", name) as span:
            assert_current(span)

    async with telemetry.conversation("outer"):
        for_outer = asyncio.create_task(work("of outer"))
        async with telemetry.conversation("inner"):
            for_inner = asyncio.create_task(work("of inner"))
            go.set()
            await asyncio.gather(for_outer, for_inner)

    assert trees(captured) == [
        "conversation inner\n└─ work of inner",
        "conversation outer\n└─ work of outer",
    ]
    assert_faultless(captured)


async def test_a_task_keeps_the_span_it_was_started_in(captured: Captured) -> None:
    """A task that outlives the block it was started in is still its child."""
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        with telemetry.span("work"):
            pass

    async with telemetry.conversation("host"):
        with telemetry.span("outer"):
            task = asyncio.create_task(work())
        go.set()
        await task

    assert trees(captured) == ["conversation host\n└─ outer\n   └─ work"]
    assert_faultless(captured)


async def test_callbacks_are_called_where_they_were_scheduled(captured: Captured) -> None:
    """`call_soon`, `call_later` and a task's done callback keep the span they were made in."""
    loop = asyncio.get_running_loop()
    called = asyncio.Queue[str]()

    def call(name: str) -> None:
        with telemetry.span("callback", name) as span:
            assert_current(span)
        called.put_nowait(name)

    async def nothing() -> None: ...

    async with telemetry.conversation("host"):
        with telemetry.span("outer"):
            loop.call_soon(call, "soon")
            loop.call_later(0, call, "later")
            asyncio.create_task(nothing()).add_done_callback(lambda _: call("done"))
        assert {await called.get() for _ in range(3)} == {"soon", "later", "done"}

    assert trees(captured) == [
        "conversation host\n"
        "└─ outer\n"
        "   ├─ callback done\n"
        "   ├─ callback later\n"
        "   └─ callback soon"
    ]
    assert_faultless(captured)


async def test_a_listener_is_called_in_the_emitters_conversation_unless_bound(
    captured: Captured,
) -> None:
    """An event emitter calls plainly: `bind` decides at registration, else the emitter does."""
    listeners: list[Callable[[], None]] = []

    def listen() -> None:
        with telemetry.span("heard") as span:
            assert_current(span)

    async def emit() -> Conversation:
        async with telemetry.conversation("emitting") as emitting:
            for listener in listeners:
                listener()
            assert_current(emitting.root)
        return emitting

    async with telemetry.conversation("listening") as listening:
        listeners += [listen, telemetry.bind(listen), listening.bind(listen)]
        with telemetry.span("registering"):
            listeners.append(telemetry.bind(listen))
        emitting = await asyncio.create_task(emit())
        assert_current(listening.root)

    assert tree(captured, emitting) == "conversation emitting\n└─ heard"
    assert tree(captured, listening) == (
        "conversation listening\n├─ heard\n├─ heard\n└─ registering\n   └─ heard"
    )
    assert_faultless(captured)
