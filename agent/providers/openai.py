"""LiveKit's OpenAI plugin, on clients that are reused and closed to the last connection.

The plugin makes an HTTP client for each of its objects, so for each conversation, and leaves that
of recognition open. Here the sessions of an event loop share one for each server, if they are made
with :class:`~agent.providers.connections.Connections`: those of the gateway. In rooms each job has
a loop of its own, so each call its client. Whose trace a request belongs to is found when it is
sent.
"""

from __future__ import annotations

from typing import Any, Final

import httpx2
import openai
from livekit.plugins import openai as plugin

from . import connections

_POOL: Final = httpx2.Limits(
    max_connections=None,  # how many call at once is decided where they are let in
    max_keepalive_connections=50,
    keepalive_expiry=120,
)
_TLS: Final = httpx2.create_ssl_context()
"""The TLS context, made at import, before the first call: that takes up to 0.16 s, in which an
event loop would stand still."""


class LLM(plugin.LLM):
    """The plugin's language model. Takes the same arguments by name, as do the others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**_shared(options))


class TTS(plugin.TTS):
    """The plugin's synthesis."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**_shared(options))


class STT(plugin.STT):
    """The plugin's recognition, with a client that it closes if it isn't shared."""

    def __init__(self, **options: Any) -> None:
        options = _shared(options)
        self._own = None if "client" in options else _client(options)
        super().__init__(**{"client": self._own, **options})

    async def aclose(self) -> None:
        """Close its connections."""
        await super().aclose()
        if self._own is not None:
            await self._own.close()


def _shared(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with the client that sessions share if they do."""
    server = "openai", options.get("base_url"), options.get("api_key")
    found = connections.shared(server, lambda: _client(options))
    return options if found is None else {"client": found, **options}


def _client(options: dict[str, Any]) -> openai.AsyncClient:
    return openai.AsyncClient(
        api_key=options.get("api_key"),
        base_url=options.get("base_url"),
        max_retries=0,  # LiveKit retries, and gives each request its time limit
        http_client=httpx2.AsyncClient(follow_redirects=True, limits=_POOL, verify=_TLS),
    )
