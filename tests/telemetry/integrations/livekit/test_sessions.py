"""Sessions: one, several, many; started, not started, closed by whomever."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import sentry_sdk
from livekit.agents import Agent, function_tool
from livekit.agents.testing import fake_job_context

from telemetry import attributes as names
from telemetry.integrations import livekit as livekit_telemetry
from telemetry.integrations.livekit import Recorder
from telemetry.integrations.livekit import session as session_module
from telemetry.runtime import Runtime

from .call import Call, calling
from .providers import Reply
from .tree import complete, only, turns

if TYPE_CHECKING:
    from telemetry.testing import Captured


class Guide(Agent):
    """Tags what it does, and fails when asked to."""

    def __init__(self, name: str) -> None:
        super().__init__(instructions="Be brief.")
        self._name = name

    @function_tool
    async def look(self) -> str:
        """Tag and report, as an application would with plain sentry_sdk."""
        sentry_sdk.set_tag("guide", self._name)
        await asyncio.sleep(0)
        sentry_sdk.capture_exception(LookupError(self._name))
        return f"Seen by {self._name}"


async def test_twenty_sessions_side_by_side_never_mix(captured: Captured) -> None:
    """On one loop, each conversation has its own spans, words, tags and errors."""

    async def hold(number: int) -> None:
        call = Call({f"Look {number}": Reply(tools={"look": {}})})
        options = {"id": str(number), "user": {"id": f"u{number}"}}
        async with calling(call, Guide(str(number)), **options):
            await call.asks(f"Look {number}")

    await asyncio.gather(*(asyncio.create_task(hold(number)) for number in range(20)))
    conversations = complete(captured)
    assert len(conversations) == 20
    assert len({len(spans) for spans in conversations}) == 1
    for event, spans in zip(captured.conversations, conversations, strict=True):
        number = only(spans, names.OP_CONVERSATION).attributes[names.GEN_AI_CONVERSATION_ID]
        [error] = [
            error
            for error in captured.errors
            if error["contexts"]["trace"]["trace_id"] == event["contexts"]["trace"]["trace_id"]
        ]
        assert error["exception"]["values"][-1]["value"] == number
        for told in (error, event):
            assert told["user"]["id"] == f"u{number}"
            assert told["tags"]["guide"] == number


async def test_two_sessions_of_one_task(captured: Captured) -> None:
    """Both traced, then both started, by the same task: each keeps to its own conversation."""
    one, two = Call(), Call()
    first = livekit_telemetry.trace(one.session, name="one")
    second = livekit_telemetry.trace(two.session, name="two")
    await one.session.start(Agent(instructions="One."))
    await two.session.start(Agent(instructions="Two."))
    await asyncio.gather(one.asks("To one"), two.asks("To two"))
    await two.session.say("Two again")
    await one.session.say("One again")
    await one.session.aclose()
    await two.session.aclose()
    complete(captured)
    by_trace = {
        event["contexts"]["trace"]["trace_id"]: captured.spans(event)
        for event in captured.conversations
    }
    for conversation in (first, second):
        assert len(turns(by_trace[conversation.trace_id])) == 2


async def test_a_session_that_cannot_start(captured: Captured) -> None:
    """Its conversation ends there, failed; the error is the caller's of ``start`` to handle."""
    busy = Agent(instructions="Be brief.")
    async with calling(Call(), busy):
        livekit_telemetry.trace((refused := Call()).session, name="refused")
        with pytest.raises(RuntimeError, match="already running"):
            await refused.session.start(busy)
    spans, _ = complete(captured)
    root = only(spans, names.OP_CONVERSATION)
    assert root.name == "refused"
    assert (root.status, root.attributes[names.ERROR_TYPE]) == ("internal_error", "RuntimeError")


async def test_a_session_is_let_go_of(captured: Captured) -> None:
    """Once its conversation has ended, its ``start`` is LiveKit's own again."""
    call = Call()
    conversation = livekit_telemetry.trace(call.session)
    assert "start" in vars(call.session)
    await call.session.start(Agent(instructions="Be brief."))
    await call.session.aclose()
    assert conversation.ended
    assert "start" not in vars(call.session)


async def test_a_start_that_is_cancelled(captured: Captured) -> None:
    """Cancelled while it starts, the conversation ends there."""
    call = Call()
    livekit_telemetry.trace(call.session)
    starting = asyncio.create_task(call.session.start(Agent(instructions="Be brief.")))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    [spans] = complete(captured)
    assert only(spans, names.OP_CONVERSATION).status == "cancelled"


async def test_a_session_closed_by_another_task(captured: Captured) -> None:
    """The close, its spans and the farewell belong to the conversation all the same."""
    call = Call()
    livekit_telemetry.trace(call.session)
    await call.session.start(Agent(instructions="Be brief."))
    await call.asks("Hello")
    await asyncio.create_task(call.session.aclose())
    [spans] = complete(captured)
    assert only(spans, "livekit.session_close").ended_at <= spans[0].ended_at


async def test_a_job_that_shuts_down(captured: Captured) -> None:
    """LiveKit's callbacks run side by side: the conversation still holds the whole close."""
    call = Call()
    with fake_job_context() as job:
        livekit_telemetry.trace(call.session, job)
        await call.session.start(Agent(instructions="Be brief."))
        await call.asks("Hello")
        callbacks = job._shutdown_callbacks
        await asyncio.gather(*(asyncio.create_task(shut("over")) for shut in callbacks))
        await job._on_cleanup()
    [spans] = complete(captured)
    close = only(spans, "livekit.session_close")
    assert close.attributes["lk.close_reason"] == "job_shutdown"


async def test_two_sessions_of_a_job(captured: Captured) -> None:
    """Each is a conversation, and the job's end waits for both."""
    calls = Call(), Call()
    with fake_job_context() as job:
        for call in calls:
            livekit_telemetry.trace(call.session, job)
            await call.session.start(Agent(instructions="Be brief."))
        for call in calls:
            await call.asks("Hello")
        await calls[1].session.aclose()
        callbacks = job._shutdown_callbacks
        await asyncio.gather(*(asyncio.create_task(shut("over")) for shut in callbacks))
        await job._on_cleanup()
    conversations = complete(captured)
    assert [len(turns(spans)) for spans in conversations] == [1, 1]


async def test_a_job_whose_session_never_started(captured: Captured) -> None:
    """Nothing else would end its conversation."""
    call = Call()
    with fake_job_context() as job:
        conversation = livekit_telemetry.trace(call.session, job)
        for shut in job._shutdown_callbacks:
            await shut("over")
        await job._on_cleanup()
    assert conversation.ended
    assert len(complete(captured)) == 1


class _Stuck(Recorder):
    """A recorder whose disk doesn't answer: its file is never complete."""

    async def aclose(self) -> None:
        await asyncio.Event().wait()


class _Broken(Recorder):
    """A recorder that can't complete its file."""

    async def aclose(self) -> None:
        raise OSError("no such disk")


@pytest.mark.parametrize("recorder", [_Stuck, _Broken])
async def test_a_job_whose_recording_does_not_end(
    captured: Captured, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its conversation is delivered for all that, before its process ends."""
    flushed = asyncio.Event()

    async def aflush(_: Runtime) -> bool:
        flushed.set()
        return True

    monkeypatch.setattr(session_module, "RECORDING_TIMEOUT", 0.01)
    monkeypatch.setattr(Runtime, "aflush", aflush)
    call = Call()
    with fake_job_context() as job:
        livekit_telemetry.trace(call.session, job, recorder=recorder())
        [shut] = job._shutdown_callbacks
        async with asyncio.timeout(10):
            with suppress(OSError):
                await shut("over")
        await job._on_cleanup()
    assert flushed.is_set()


async def test_a_job_that_crashes(captured: Captured) -> None:
    """Its conversation has failed, by the same error."""
    call = Call()

    async def entrypoint() -> None:
        livekit_telemetry.trace(call.session, job)
        await call.session.start(Agent(instructions="Be brief."))
        raise LookupError("no such table")

    with fake_job_context() as job:
        await asyncio.wait({asyncio.create_task(entrypoint())})
        callbacks = job._shutdown_callbacks
        await asyncio.gather(*(asyncio.create_task(shut("job crashed")) for shut in callbacks))
        await job._on_cleanup()
    [spans] = complete(captured)
    root = only(spans, names.OP_CONVERSATION)
    assert (root.status, root.attributes[names.ERROR_TYPE]) == ("internal_error", "LookupError")


async def test_an_untraced_session_beside_a_traced_one(captured: Captured) -> None:
    """Nobody asked for it: it records nothing, and no orphans."""
    traced, untraced = Call(), Call()
    await untraced.session.start(Agent(instructions="Be brief."))

    async def hold() -> None:
        async with calling(traced):
            await traced.asks("Hello")

    await asyncio.create_task(hold())
    await untraced.asks("Hello")
    await untraced.session.aclose()
    assert len(complete(captured)) == 1
