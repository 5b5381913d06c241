"""A reply is its session's, whoever asks for it and from wherever: nodes, tools, spans, errors."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import sentry_sdk
from livekit.agents import Agent, function_tool
from sentry_sdk import traces as streamed

import telemetry

from .call import Call, calling
from .providers import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from telemetry.testing import Captured

pytestmark = pytest.mark.anyio

OUTSIDE = contextvars.copy_context()
"""The context of something that was there before any conversation."""
tool_log, node_log = logging.getLogger("tool"), logging.getLogger("node")


class Host(Agent):
    """Everything that application code does while it answers."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.seen: list[tuple[str | None, str | None, str]] = []
        """The current conversation, the trace of Sentry's span, that of the headers."""

    def look(self) -> None:
        conversation = telemetry.current_conversation()
        span = sentry_sdk.get_current_span() or streamed.get_current_span()
        self.seen.append(
            (
                None if conversation is None else conversation.trace_id,
                None if span is None else span.trace_id,
                telemetry.trace_headers().get("sentry-trace", "").partition("-")[0],
            )
        )

    @function_tool
    async def look_up(self) -> str:
        """Look something up."""
        self.look()
        with telemetry.span("db.query", "query"):
            await asyncio.sleep(0)
        tool_log.error("tool logged")
        sentry_sdk.capture_message("tool captured", level="error")
        sentry_sdk.set_tag("tool", "yes")
        return "found"

    async def llm_node(self, *args: Any) -> AsyncIterator[Any]:
        self.look()
        with telemetry.span("app.node", "my llm_node"):
            async for chunk in Agent.default.llm_node(self, *args):
                yield chunk

    async def transcription_node(self, text: Any, model_settings: Any) -> AsyncIterator[Any]:
        async for piece in text:
            with telemetry.span("app.text", "piece"):
                pass
            yield piece
        self.look()
        node_log.error("node logged")
        sentry_sdk.capture_message("node captured", level="error")
        sentry_sdk.set_tag("node", "yes")


Ask: TypeAlias = "Callable[[], Awaitable[Any]]"


async def _by_a_task_born_before(ask: Ask, go: asyncio.Event) -> None:
    await go.wait()
    await ask()


async def _by_a_timer(ask: Ask, call: Call) -> None:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def timed() -> None:
        await ask()
        asked.set()

    loop.call_later(0, lambda: tasks.append(loop.create_task(timed())), context=OUTSIDE.copy())
    await asked.wait()


async def _by_another_thread(ask: Ask, call: Call) -> None:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def here() -> None:
        speech = call.session.generate_reply(user_input="look")
        speech.add_done_callback(lambda _: asked.set())

    def elsewhere() -> None:
        OUTSIDE.copy().run(loop.call_soon_threadsafe, here)

    threading.Thread(target=elsewhere).start()
    await asked.wait()


async def _in_another_conversation(ask: Ask, call: Call) -> None:
    async def dashboard() -> None:
        async with telemetry.conversation("dashboard", user={"id": "boss"}):
            await ask()

    await asyncio.get_running_loop().create_task(dashboard(), context=OUTSIDE.copy())


class Other(Agent):
    """Asks another session for something, in a tool."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(instructions="Be brief.")
        self._ask = ask

    @function_tool
    async def ask_other(self) -> str:
        """Ask."""
        await self._ask()
        return "done"


async def _by_a_tool_of_another_session(ask: Ask, call: Call) -> None:
    async def bob() -> None:
        other = Call({"go": Reply("wait", {"ask_other": {}}), "done": "ok"})
        async with calling(other, Other(ask), user={"id": "bob"}):
            await other.session.generate_reply(user_input="go")
            await other.until(lambda: other.is_listening)

    await asyncio.get_running_loop().create_task(bob(), context=OUTSIDE.copy())


ASKERS: dict[str, Callable[[Ask, Call], Awaitable[None]] | None] = {
    "a task born before": None,
    "a timer": _by_a_timer,
    "another thread": _by_another_thread,
    "another conversation": _in_another_conversation,
    "a tool of another session": _by_a_tool_of_another_session,
}


@pytest.mark.parametrize("who", ASKERS)
@pytest.mark.parametrize("bound", ["after", "before"])
async def test_a_reply_is_its_sessions(captured: Captured, who: str, bound: str) -> None:
    """Under its user, with its tags, in its trace, for Sentry and in headers too; no orphans.

    Where the method was kept from before the session was traced, tags of plain Sentry are the
    asker's.
    """
    call = Call({"look": Reply("one moment", {"look_up": {}}), "found": "here"})
    host = Host()
    kept = call.session.generate_reply

    async def ask() -> None:
        await (kept if bound == "before" else call.session.generate_reply)(user_input="look")

    loop, go = asyncio.get_running_loop(), asyncio.Event()
    born_before = loop.create_task(_by_a_task_born_before(ask, go), context=OUTSIDE.copy())
    async with calling(call, host, user={"id": "ada"}) as conversation:
        asker = ASKERS[who]
        if asker is None:
            go.set()
            await born_before
        else:
            await asker(ask, call)
        await call.until(lambda: call.is_listening)
    born_before.cancel()

    assert captured.runtime.stats().orphan_spans == 0
    trace = conversation.trace_id
    [event] = [e for e in captured.conversations if e["contexts"]["trace"]["trace_id"] == trace]
    names = {span.name for span in captured.spans(event)}
    # LiveKit lets a tool of one session call no tools by what it asks of another
    calls_tools = who != "a tool of another session"
    assert {"my llm_node", "piece"} <= names
    assert ("query" in names) == calls_tools
    for other in captured.transactions:
        if other != event:
            assert not {"my llm_node", "piece", "query"} & {s.name for s in captured.spans(other)}

    reported = {event.get("message") or event["logentry"]["formatted"] for event in captured.errors}
    assert reported >= {"node logged", "node captured"}
    for error in captured.errors:
        assert (error["user"], error["contexts"]["trace"]["trace_id"]) == ({"id": "ada"}, trace)
    assert {(ours, headers) for ours, _, headers in host.seen} == {(trace, trace)}
    if bound == "after":  # else plain Sentry can't know
        assert {sentrys for _, sentrys, _ in host.seen} == {trace}
        assert event["tags"]["node"] == "yes"
        assert ("tool" in event["tags"]) == calls_tools


async def test_a_session_may_be_asked_when_its_conversation_is_over(captured: Captured) -> None:
    """Its methods are its own again."""
    call = Call()
    before = call.session.say
    async with calling(call):
        assert call.session.say is not before
    assert "say" not in vars(call.session)
    assert captured.runtime.stats().orphan_spans == 0
