"""Providers that fail, try again, or stand in for one another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from livekit.agents import Agent, APIConnectionError, APIConnectOptions, APIStatusError, llm, tts

from telemetry import attributes as names

from .call import Call, calling
from .providers import Ear, Mind, Reply, Tone
from .tree import complete, only, shape

if TYPE_CHECKING:
    from telemetry.testing import Captured


def refused() -> APIStatusError:
    """An error that no second attempt would help."""
    return APIStatusError("forbidden", status_code=403, retryable=False)


@pytest.mark.parametrize("failures", [0, 1], ids=["at once", "after another"])
async def test_a_provider_that_gives_up(captured: Captured, failures: int) -> None:
    """The conversation is marked, and each error reported once however often it is logged."""
    call = Call({"Hello": Reply(error=refused()), "Well": Reply(error=refused())})
    call.session.conn_options.max_unrecoverable_errors = failures
    closed = asyncio.Event()
    call.session.on("close", lambda _: closed.set())
    async with calling(call, user={"id": "u1"}):
        call.says("Hello")
        if failures:
            await call.until(lambda: call.mind.requests == 1 and call.is_listening)
            call.says("Well")
        await closed.wait()
    [spans] = complete(captured)
    root = only(spans, names.OP_CONVERSATION)
    assert (root.status, root.attributes[names.ERROR_TYPE]) == ("internal_error", "APIStatusError")
    requests = {span.span_id for span in spans if span.op == "livekit.llm_request"}
    assert len(captured.errors) == len(requests) == (2 if failures else 1)
    for error in captured.errors:
        assert error["exception"]["values"][-1]["type"] == "APIStatusError"
        assert error["user"]["id"] == "u1"
    assert {error["contexts"]["trace"]["span_id"] for error in captured.errors} == requests


async def test_a_provider_that_fails_at_every_attempt(captured: Captured) -> None:
    """LiveKit raises another error on top of the last one, and logs that: it is the same."""
    call = Call({"Hello": Reply(error=APIConnectionError("lost"))})
    call.session.conn_options.llm_conn_options = APIConnectOptions(max_retry=1, retry_interval=0)
    call.session.conn_options.max_unrecoverable_errors = 1
    async with calling(call):
        call.says("Hello")
        await call.until(lambda: call.mind.requests == 2 and call.is_listening)
    complete(captured)
    assert [error["exception"]["values"][-1]["value"] for error in captured.errors] == ["lost"]


async def test_a_second_attempt(captured: Captured) -> None:
    """Each attempt is a span; an error that was got over is no error of the conversation's."""
    call = Call()
    errors = [APIConnectionError("lost"), None]
    call.session.tts.error = lambda: errors.pop(0)  # type: ignore[union-attr]  # it is a Tone
    async with calling(call):
        await call.asks("Hello")
    [spans] = complete(captured)
    assert [line.strip() for line in shape(spans, "tts.synthesize", attempts=True)] == [
        "tts.synthesize",
        "livekit.tts_stream_adapter",
        "livekit.tts_request",
        "livekit.tts_request_run (internal_error)",
        "livekit.tts_request_run",
    ]
    assert only(spans, names.OP_CONVERSATION).status == "ok"
    assert captured.errors == []


async def test_a_model_that_stands_in(captured: Captured) -> None:
    """Behind LiveKit's fallback adapter each request is a span, and tokens are counted once."""
    broken, spare = (
        Mind({"Hello": Reply(error=refused())}, model="broken-1"),
        Mind({}, model="spare-1"),
    )
    call = Call(model=llm.FallbackAdapter([broken, spare]))
    async with calling(call):
        await call.asks("Hello")
    [spans] = complete(captured)
    chat = only(spans, names.OP_CHAT)
    assert (chat.name, chat.status) == ("chat spare-1", "ok")
    asked = [span for span in spans if span.op == "livekit.llm_request"]
    assert {span.name: span.status for span in asked} == {
        "broken-1": "internal_error",  # asked again in the background, whether it is back
        "spare-1": "ok",
    }
    assert chat.attributes[names.GEN_AI_RESPONSE_MODEL] == "spare-1"
    assert sum(span.attributes.get(names.GEN_AI_USAGE_INPUT_TOKENS, 0) for span in spans) == 7


async def test_a_voice_that_stands_in(captured: Captured) -> None:
    """Likewise for synthesis: characters and seconds are counted once."""
    broken, spare = Tone(model="broken-1", error=refused), Tone(model="spare-1")
    call = Call({"Hello": "Good evening"}, voice=tts.FallbackAdapter([broken, spare]))
    async with calling(call):
        await call.asks("Hello")
    [spans] = complete(captured)
    speech = only(spans, names.OP_TTS)
    assert speech.name == "spare-1"
    runs = [span for span in spans if span.op == "livekit.tts_request_run"]
    assert {span.status for span in runs} == {"internal_error", "ok"}
    assert speech.attributes[names.TTS_CHARACTERS] == len("Good evening")
    assert speech.attributes[names.GEN_AI_RESPONSE_MODEL] == "spare-1"


async def test_a_recogniser_of_the_agents_own(captured: Captured) -> None:
    """Transcripts are named after it, not after the session's."""
    call = Call()
    call.ear = Ear(model="sharp-1")
    async with calling(call, Agent(instructions="Be brief.", stt=call.ear)):
        await call.asks("Hello")
    [spans] = complete(captured)
    heard = only(spans, names.OP_STT)
    assert heard.name == heard.attributes[names.GEN_AI_REQUEST_MODEL] == "sharp-1"
