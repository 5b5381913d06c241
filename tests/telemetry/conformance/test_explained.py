"""A span without a conversation: recorded alone, explained once for each place, never raised."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

import telemetry
from telemetry.attributes import (
    ORPHAN_OPEN_CONVERSATIONS,
    ORPHAN_TASK,
    ORPHAN_THREAD,
    ORPHAN_WHERE,
)
from telemetry.testing import Captured, capture

from .whole import assert_faultless, assert_nothing_current, plain, traces, trees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .whole import Lifecycle


@pytest.fixture
def lenient(lifecycle: Lifecycle) -> Iterator[Captured]:
    """As in production: nothing raises."""
    with capture(strict=False, lifecycle=lifecycle) as captured:
        yield captured


def _lost() -> None:
    with telemetry.span("gen_ai.chat", "lost"), telemetry.span("inner"), plain("http.client", "h"):
        assert telemetry.current_conversation() is None
    assert_nothing_current()


def _on_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function, name="audio-callback")
    thread.start()
    thread.join()


async def _on_task(function: Callable[[], None]) -> None:
    async def run() -> None:
        function()

    await asyncio.create_task(run(), name="worker")


async def test_it_says_what_is_known(lenient: Captured) -> None:
    """Task, thread, file and line, and which conversations were open, on a trace of its own."""
    await _on_task(_lost)
    first, second = telemetry.conversation("host", id="c-1"), telemetry.conversation("host")
    _on_thread(_lost)
    first.close()
    second.close()

    assert trees(lenient)[2:] == ["gen_ai.chat lost\n└─ inner\n   └─ http.client h"] * 2
    line = f"{__file__}:{_lost.__code__.co_firstlineno + 1}"
    facts = [
        {name: spans[0].attributes.get(name) for name in (ORPHAN_TASK, ORPHAN_THREAD, ORPHAN_WHERE)}
        | {"open": sorted(spans[0].attributes[ORPHAN_OPEN_CONVERSATIONS])}
        for spans in traces(lenient).values()
        if spans[0].op == "gen_ai.chat"
    ]
    assert facts == [
        {
            ORPHAN_TASK: "worker",
            ORPHAN_THREAD: threading.current_thread().name,
            ORPHAN_WHERE: line,
            "open": [],
        },
        {
            ORPHAN_TASK: "",
            ORPHAN_THREAD: "audio-callback",
            ORPHAN_WHERE: line,
            "open": sorted(["c-1", second.id]),
        },
    ]
    assert_faultless(lenient, orphan_spans=2)


async def test_strict_mode_raises_the_same_facts(captured: Captured) -> None:
    """And names the call that fixes it; nothing is counted as an orphan then."""
    raised: list[telemetry.MissingConversation] = []

    def lost() -> None:
        with pytest.raises(telemetry.MissingConversation) as error:
            telemetry.span("gen_ai.chat")
        raised.append(error.value)

    async with telemetry.conversation("host", id="c-1"):
        await asyncio.to_thread(lambda: None)
        import contextvars

        contextvars.Context().run(lost)
        contextvars.Context().run(_on_thread, lost)

    line = f"{__file__}:{lost.__code__.co_firstlineno + 2}"
    on_loop, on_thread = raised
    assert (on_loop.op, on_loop.where, on_loop.open_conversations) == ("gen_ai.chat", line, ["c-1"])
    assert on_loop.task is not None
    assert (on_thread.task, on_thread.thread) == (None, "audio-callback")
    for error in raised:
        said = str(error)
        assert "telemetry.bind" in said
        assert "attach()" in said
        assert line in said
        assert "'c-1'" in said
        assert "\n" not in said
    assert_faultless(captured)


def test_each_place_is_logged_once(lenient: Captured, caplog: pytest.LogCaptureFixture) -> None:
    """However often it happens, from whatever task: a log is to be read."""

    def somewhere_else() -> None:
        telemetry.span("tts.synthesize").finish()

    for _ in range(5):
        _lost()
        _on_thread(_lost)
        somewhere_else()

    logged = [record for record in caplog.records if "has no conversation" in record.getMessage()]
    assert [record.levelname for record in logged] == ["WARNING", "WARNING"]
    assert_faultless(lenient, orphan_spans=15)


def test_errors_in_it_are_its_own(lenient: Captured) -> None:
    """An orphan's block fails as any block, and raises what was raised in it."""

    def fail() -> Any:
        with telemetry.span("gen_ai.chat"):
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    [[orphan]] = traces(lenient).values()
    assert orphan.status == "internal_error"
    assert_faultless(lenient, orphan_spans=1)
