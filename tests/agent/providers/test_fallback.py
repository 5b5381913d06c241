"""A provider that fails, and the one that stands in for it: whole conversations, real servers."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from livekit.agents import APIConnectionError, APIConnectOptions, llm, stt
from livekit.agents.utils import http_context

import telemetry
from agent import gateway
from agent.providers import Choice, fallback, load, require
from agent.worker import worker
from tests.agent.counted import counted

from .conftest import frames, silence
from .openai_server import OpenAIServer

if TYPE_CHECKING:
    from telemetry.testing import Captured

    from .conftest import Speak

AGENT = "tests.agent.breaking:BreakingAgent"


def _choice(primary: str, secondary: str, **changes: Any) -> Choice:
    """The primary is down, the secondary serves; each has its own URL."""
    servers: dict[str, dict[str, Any]] = {
        "plugin:openai": {"base_url": primary, "api_key": "key"},
        "openai": {},
    }
    named = {**servers, "plugin:openai": {**servers["plugin:openai"], "model": "first"}}
    return Choice(
        options={"stt": named, "llm": named, "tts": named},
        base_url=secondary,
        api_key="key",
        llm_model="second",
        **changes,
    )


async def test_a_second_model_and_voice_answer_when_the_first_fail(captured: Captured) -> None:
    """The caller is answered by the second, and each attempt is a span of the turn."""
    broken, sound = OpenAIServer(broken=True), OpenAIServer(reply="We are open.")
    async with broken.serving() as primary, sound.serving() as secondary:
        both = ("plugin:openai", "openai")
        choice = _choice(primary, secondary, llm=both, tts=both)
        async with (
            worker(choice, agent=AGENT, environ={}) as open_session,
            anyio.create_task_group() as tasks,
        ):
            url = await tasks.start(functools.partial(gateway.serve, open_session, port=0))
            start = gateway.Start(sample_rate=16000, id="c-1")
            with anyio.fail_after(40):
                async with gateway.connect(url, start=start) as call:
                    said = await _answer(call)
            tasks.cancel_scope.cancel()
    assert "We are open." in said
    assert "/v1/chat/completions" in broken.requests
    assert "/v1/audio/speech" in broken.requests
    assert sound.requests.count("/v1/chat/completions") == 1
    (event,) = captured.conversations
    assert captured.runtime.stats().orphan_spans == 0
    assert _attempts(event, "livekit.llm_request_run")[:2] == [("first", False), ("second", True)]
    speech = _attempts(event, "livekit.tts_request_run")
    assert speech[:2] == [("first", False), ("gpt-4o-mini-tts", True)]


def _attempts(event: dict[str, Any], op: str) -> list[tuple[str, bool]]:
    """Which model was asked, in order, and whether it answered."""
    spans = sorted(event["spans"], key=lambda span: span["start_timestamp"])
    return [(span["description"], span["status"] == "ok") for span in spans if span["op"] == op]


async def test_a_model_that_never_answers_is_given_up() -> None:
    """After the time limit the next is asked; the probe of the first ends with the session."""
    hanging, sound = OpenAIServer(hangs=True), OpenAIServer(reply="Here I am.")
    async with hanging.serving() as primary, sound.serving() as secondary:
        choice = _choice(primary, secondary, llm=("plugin:openai", "openai"), timeout=0.2)
        require(choice)
        with load(choice) as models:
            plugins = models.plugins()
            before = counted("parley_provider_fallbacks", kind="llm")
            chat = plugins.llm.chat(chat_ctx=llm.ChatContext.empty())
            assert (await chat.collect()).text == "Here I am."
            assert counted("parley_provider_fallbacks", kind="llm") == before + 1
            assert _probes() == 1
            await plugins.aclose()
            assert _probes() == 0


def _probes() -> int:
    """How many failed models LiveKit is trying again at the moment."""
    return sum("_recover_llm_task" in repr(task) for task in asyncio.all_tasks())


async def test_the_script_can_stand_in_for_a_model() -> None:
    """With `openai,scripted` the agent's own script answers when the server is out of order."""
    async with OpenAIServer(broken=True).serving() as url:
        choice = Choice(llm=("openai", "scripted"), base_url=url, api_key="key", llm_model="first")
        require(choice)
        with load(choice) as models:
            plugins = models.plugins()
            chat = plugins.llm.chat(chat_ctx=llm.ChatContext.empty())
            assert (await chat.collect()).text == "I am listening."
            await plugins.aclose()


async def test_when_all_fail_it_is_an_api_error() -> None:
    """The session is told; it says so to the caller."""
    async with OpenAIServer(broken=True).serving() as url:
        choice = _choice(url, url, llm=("plugin:openai", "openai"))
        with load(choice) as models:
            plugins = models.plugins()
            once = APIConnectOptions(max_retry=0)
            with pytest.raises(APIConnectionError, match="all LLMs failed"):
                await plugins.llm.chat(
                    chat_ctx=llm.ChatContext.empty(), conn_options=once
                ).collect()
            await plugins.aclose()


async def test_an_utterance_is_recognised_by_the_second(speak: Speak, captured: Captured) -> None:
    """What the first fails at, the second hears too: no word is lost, and the failure is a span."""
    speech = await speak("Are you open on Monday?")
    async with OpenAIServer(broken=True).serving() as url:
        choice = Choice(stt=("openai", "local"), base_url=url, api_key="key", inference_threads=1)
        require(choice)
        with load(choice) as models:
            plugins = models.plugins()
            async with telemetry.conversation("call"), plugins.stt.stream() as stream:
                for frame in frames(speech, silence(1.0)):
                    stream.push_frame(frame)
                stream.end_input()
                assert await _heard(stream) == "are you open on monday"
            await plugins.aclose()
    (event,) = captured.conversations
    assert _attempts(event, fallback.OP_ATTEMPT)[0][0] == "gpt-4o-mini-transcribe"


async def test_a_stream_that_fails_is_followed_by_the_second(
    speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiveKit Inference refuses the WebSocket: local recognition hears what comes then."""
    speech = await speak("Are you open on Monday?")
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret" * 6)
    async with http_context.open(), OpenAIServer().serving() as url:
        monkeypatch.setenv("LIVEKIT_INFERENCE_URL", url)
        choice = Choice(stt=("deepgram/nova-3", "local"), inference_threads=1)
        require(choice)
        with load(choice) as models:
            plugins = models.plugins()
            failed = anyio.Event()
            plugins.stt.on("stt_availability_changed", lambda _: failed.set())
            async with plugins.stt.stream() as stream:
                stream.push_frame(frames(silence(0.02))[0])
                with anyio.fail_after(20):
                    await failed.wait()
                for frame in frames(silence(0.5), speech, silence(1.0)):
                    stream.push_frame(frame)
                stream.end_input()
                assert await _heard(stream) == "are you open on monday"
            await plugins.aclose()


async def _heard(stream: stt.RecognizeStream) -> str:
    """The first transcript, in plain words."""
    with anyio.fail_after(30):
        async for event in stream:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                return event.alternatives[0].text.lower().strip(" ?.").replace(",", "")
    raise AssertionError("nothing was heard")


async def _answer(call: gateway.Call) -> list[str]:
    """Type a turn after the greeting; what the agent has said by the end of its reply."""
    said: list[str] = []
    async for message in call:
        if isinstance(message, gateway.Words) and message.speaker == "agent":
            said.append(message.text.strip())
            if len(said) == 1:
                await call.send_text("Are you open?")
            else:
                await call.end()
    return said
