"""Any server that speaks OpenAI's chat completions: OpenAI itself, vLLM, Ollama, a gateway, …

Importing this module registers LiveKit's plugin, which LiveKit allows on the main thread only.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from livekit.plugins.openai import LLM

from .errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_URL: Final = "https://api.openai.com/v1"


def server(*, model: str | None, base_url: str | None, api_key: str | None) -> Callable[[], LLM]:
    """What makes each session's model on that server; OpenAI's when ``base_url`` is None.

    A model has a connection pool of its own, which belongs to the event loop it is used on and is
    closed by ``await llm.aclose()``. Raises :class:`ProviderError` when the name or the key is
    missing.
    """
    if not model:
        raise ProviderError("the language model has no name: set PARLEY_LLM_MODEL")
    if not api_key:
        raise ProviderError(
            "the language model has no key: set OPENAI_API_KEY (any word, if none is asked for)"
        )
    # always a base URL: without one the plugin would read the environment
    return partial(LLM, model=model, base_url=base_url or BASE_URL, api_key=api_key)
