"""Providers on servers: any OpenAI-compatible one, LiveKit Inference, any LiveKit plugin.

=========================  ===================================================================
``openai``                 the server of ``OPENAI_BASE_URL``, with ``OPENAI_API_KEY``
``deepgram/nova-3``        LiveKit Inference, ``PROVIDER/MODEL`` or ``PROVIDER/MODEL:VOICE``
``plugin:deepgram``        the package ``livekit-plugins-deepgram``, with the key it asks for
=========================  ===================================================================

Importing a plugin registers it, which LiveKit allows on the main thread only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from livekit.agents import __version__, inference

from .errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .choice import Choice

Kind: TypeAlias = Literal["stt", "llm", "tts"]

BASE_URL: Final = "https://api.openai.com/v1"
_PLUGIN: Final = "plugin:"


def maker(kind: Kind, name: str, choice: Choice) -> Callable[[], Any]:
    """The maker of a session's plugins of that name.

    One is made here and now, without a connection, so that a missing package, key or model is
    found at start. Raises :class:`ProviderError`, one line of text that names the setting.
    """
    setting = f"PARLEY_{kind.upper()}={name}"
    options = {**_own_options(kind, name, choice, setting), **choice.options_of(kind, name)}
    plugin = _class(kind, name, setting)
    make = _inference(plugin, name, options) if "/" in name else lambda: plugin(**options)
    try:
        make()
    except Exception as error:  # each vendor's constructor complains in its own way
        problem = " ".join(str(error).split()) or type(error).__name__
        raise ProviderError(f"{setting} can't be used: {problem}") from error
    return make


def _inference(
    plugin: Callable[..., Any], model: str, options: Mapping[str, Any]
) -> Callable[[], Any]:
    return lambda: plugin(model, **options)


def _class(kind: Kind, name: str, setting: str) -> Callable[..., Any]:
    """The class of LiveKit's that speaks to it."""
    if "/" in name:
        return getattr(inference, kind.upper())  # type: ignore[no-any-return]
    plugin = name.removeprefix(_PLUGIN)
    try:
        module = importlib.import_module(f"livekit.plugins.{plugin}")
        if plugin == "openai":
            module = importlib.import_module(".openai", __package__)
    except ModuleNotFoundError as error:
        if name == "openai":
            raise ProviderError(
                f"{setting}: LiveKit's OpenAI plugin is not installed: uv sync --extra openai"
            ) from error
        package = f"livekit-plugins-{plugin.replace('_', '-')}"
        raise ProviderError(
            f"{setting}: the package {package} is not installed: uv add {package}=={__version__}"
        ) from error
    found: Callable[..., Any] | None = getattr(module, kind.upper(), None)
    if found is None:
        raise ProviderError(f"{setting}: livekit.plugins.{plugin} has no {kind.upper()}")
    return found


def _own_options(kind: Kind, name: str, choice: Choice, setting: str) -> dict[str, Any]:
    """Arguments for a provider besides those of ``PARLEY_…_OPTIONS``."""
    if name != "openai":
        return {}
    if not choice.api_key:
        raise ProviderError(
            f"{setting} has no key: set OPENAI_API_KEY (any word, if none is asked)"
        )
    # always a base URL: without one the plugin would read the environment
    own = {"base_url": choice.base_url or BASE_URL, "api_key": choice.api_key}
    if kind != "llm":
        return own
    model = choice.llm_model or choice.options_of(kind, name).get("model")
    if not model:
        raise ProviderError(f"{setting} has no model: set PARLEY_LLM_MODEL")
    return {**own, "model": model}
