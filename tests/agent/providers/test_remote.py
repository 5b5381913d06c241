"""Providers on servers: how they are named, what they are given, what is refused at start."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from livekit.agents import APIStatusError, inference, llm
from livekit.agents.utils import http_context

from agent.providers import Choice, Plugins, ProviderError, load, remote, require

from .openai_server import OpenAIServer

if TYPE_CHECKING:
    from agent.providers.remote import Kind


def _plugins(choice: Choice) -> Plugins:
    require(choice)
    return load(choice).plugins()


async def test_reply_streams_from_the_server() -> None:
    """The model asked for is the one configured; the reply and its usage come back."""
    chat_ctx = llm.ChatContext.empty()
    chat_ctx.add_message(role="user", content="hello")
    server = OpenAIServer()
    async with server.serving() as base_url:
        choice = Choice(llm=("openai",), llm_model="tiny", base_url=base_url, api_key="key")
        async with remote.maker("llm", "openai", choice)() as model:
            response = await model.chat(chat_ctx=chat_ctx).collect()
    assert response.text == "Good evening."
    assert response.usage.total_tokens == 5
    request = server.chats.pop().body
    assert server.chats == []
    assert (request["model"], request["stream"]) == ("tiny", True)
    assert request["messages"][-1]["content"] == "hello"


async def test_refusal_is_an_api_error() -> None:
    """A server that refuses raises what LiveKit expects of a provider, with its status."""
    async with OpenAIServer().serving() as base_url:
        choice = Choice(llm=("openai",), llm_model="tiny", base_url=base_url, api_key="wrong")
        async with remote.maker("llm", "openai", choice)() as model:
            with pytest.raises(APIStatusError) as refused:
                await model.chat(chat_ctx=llm.ChatContext.empty()).collect()
    assert refused.value.status_code == 401


@pytest.mark.parametrize("name", ["openai", "plugin:openai"])
async def test_no_connection_outlives_its_conversation(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever kind it is, a closed plugin has closed its connections."""
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    server = OpenAIServer()
    async with server.serving() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        choice = Choice(
            stt=(name,), llm=(name,), tts=(name,), llm_model="m", base_url=base_url, api_key="key"
        )
        plugins = _plugins(choice)
        async with plugins.tts.synthesize("Hello.") as speech:
            frame = await speech.collect()
        await plugins.stt.recognize(frame)
        await plugins.llm.chat(chat_ctx=llm.ChatContext.empty()).collect()
        assert server.open
        await plugins.aclose()
        with anyio.fail_after(20):
            while server.open:
                await checkpoint()
    assert len(server.requests) == 3


async def test_livekit_inference_takes_a_model_string(monkeypatch: pytest.MonkeyPatch) -> None:
    """PROVIDER/MODEL is LiveKit Inference, with its keys and without a local model."""
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret" * 6)
    async with http_context.open():
        plugins = _plugins(
            Choice(
                stt=("deepgram/nova-3:en",),
                llm=("openai/gpt-4.1-mini",),
                tts=("cartesia/sonic-3:voice-1",),
                options={"tts": {"cartesia/sonic-3:voice-1": {"language": "en"}}},
            )
        )
        assert isinstance(plugins.stt, inference.STT)
        assert isinstance(plugins.llm, inference.LLM)
        assert isinstance(plugins.tts, inference.TTS)
        models = (plugins.stt.model, plugins.llm.model, plugins.tts.model)
        assert models == ("deepgram/nova-3", "openai/gpt-4.1-mini", "cartesia/sonic-3")
        await plugins.aclose()


async def test_a_plugin_is_given_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """plugin:NAME is LiveKit's plugin of that name, which finds its own key."""
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    plugins = _plugins(
        Choice(
            stt=("plugin:openai",),
            tts=("plugin:openai",),
            options={
                "stt": {"plugin:openai": {"model": "whisper-1"}},
                "tts": {"plugin:openai": {"model": "tts-1", "voice": "echo"}},
            },
        )
    )
    assert (plugins.stt.model, plugins.tts.model) == ("whisper-1", "tts-1")
    await plugins.aclose()


@pytest.mark.parametrize(
    ("kind", "name", "choice", "said"),
    [
        ("llm", "openai", Choice(api_key="key"), "PARLEY_LLM_MODEL"),
        ("llm", "openai", Choice(llm_model="tiny"), "OPENAI_API_KEY"),
        ("stt", "openai", Choice(), "OPENAI_API_KEY"),
        ("stt", "plugin:openai", Choice(), "OPENAI_API_KEY"),
        ("tts", "cartesia/sonic-3", Choice(), "LIVEKIT_API_KEY"),
        ("llm", "openai/gpt-4.1-mini", Choice(), "LIVEKIT_API_KEY"),
        ("stt", "plugin:no_such", Choice(), "livekit-plugins-no-such is not installed: uv add"),
        ("tts", "plugin:deaf", Choice(), "has no TTS"),
        (
            "stt",
            "openai",
            Choice(api_key="key", options={"stt": {"openai": {"modle": "x"}}}),
            "modle",
        ),
    ],
)
def test_what_is_missing_is_one_line(
    kind: Kind, name: str, choice: Choice, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package, key or model that is missing is said at start, by name, with the setting."""
    for variable in ("OPENAI_API_KEY", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setitem(sys.modules, "livekit.plugins.deaf", ModuleType("deaf"))
    with pytest.raises(ProviderError, match=said) as refused:
        remote.maker(kind, name, choice)
    assert str(refused.value).startswith(f"PARLEY_{kind.upper()}={name}")
    assert "\n" not in str(refused.value)


def test_options_are_not_shown() -> None:
    """Options may hold a key: neither they nor the key are in the repr."""
    options: dict[str, Any] = {"stt": {"openai": {"api_key": "hush"}}}
    assert "hush" not in repr(Choice(api_key="hush", options=options))
