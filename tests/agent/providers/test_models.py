"""Choosing, loading and handing out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest
from livekit.plugins.openai import LLM

import agent.providers
from agent.providers import Choice, ProviderError, Say, load, require, scripted

if TYPE_CHECKING:
    from livekit.agents import llm

    from agent.providers import Models, Reply


class Greeting:
    def reply(self, chat_ctx: llm.ChatContext) -> Reply:
        return Say("Hello.")


def test_plugins_are_fresh_for_each_session(models: Models) -> None:
    """No two sessions share a plugin; an agent's script is its own model's."""
    first, second = models.plugins(Greeting()), models.plugins()
    for name in ("vad", "stt", "llm", "tts"):
        assert getattr(first, name) is not getattr(second, name)
    assert isinstance(first.llm, scripted.LLM)
    assert (first.llm.model, second.llm.model) == ("Greeting", "EchoScript")


def test_local_plugins_name_their_models(models: Models) -> None:
    """Traces say which model did it."""
    plugins = models.plugins()
    assert (plugins.stt.provider, plugins.stt.model) == ("moonshine", "moonshine-tiny-en")
    assert (plugins.tts.provider, plugins.tts.model) == ("piper", "en_US-joe-medium")


def test_a_local_voice_takes_what_is_being_written_if_it_is_alone(models: Models) -> None:
    """One of several gets whole sentences: when it fails, another says that sentence."""
    assert models.plugins().tts.capabilities.streaming
    choice = Choice(stt=("openai",), tts=("local", "openai"), api_key="key", inference_threads=1)
    require(choice)
    with load(choice) as several:
        assert not several.plugins().tts.capabilities.streaming


async def test_openai_is_loaded_in_a_thread_after_require() -> None:
    """Requiring on the main thread lets the loading itself be done in another."""
    choice = Choice(llm=("openai",), llm_model="tiny", api_key="key", inference_threads=1)
    require(choice)
    with await anyio.to_thread.run_sync(load, choice) as models:
        plugins = models.plugins()
        assert isinstance(plugins.llm, LLM)
        assert plugins.llm.model == "tiny"
        await plugins.aclose()
        models.close()  # once more is no harm


@pytest.mark.parametrize(
    ("package", "module", "choice", "extra"),
    [
        ("moonshine_voice", "moonshine", Choice(), "local"),
        ("piper", "piper", Choice(), "local"),
        (
            "livekit.plugins.openai",
            "openai",
            Choice(llm=("openai",), llm_model="tiny", api_key="key"),
            "openai",
        ),
    ],
)
def test_missing_package_names_its_extra(
    package: str, module: str, choice: Choice, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that isn't installed is one line that says what to install."""
    monkeypatch.setitem(sys.modules, package, None)  # Python's own way to make an import fail
    monkeypatch.delitem(sys.modules, f"agent.providers.{module}", raising=False)
    monkeypatch.delattr(agent.providers, module, raising=False)
    for check in (require, load):
        with pytest.raises(ProviderError) as refused:
            check(choice)
        assert str(refused.value).endswith(f"not installed: uv sync --extra {extra}")
        assert "\n" not in str(refused.value)
