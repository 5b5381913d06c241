"""LiveKit's OpenAI plugin, on clients that are reused, patient for a time, and closed to the last
connection.

The plugin makes an HTTP client for each of its objects, so for each conversation, and leaves that
of recognition open. Here the sessions of an event loop share one for each server, if they are made
with :class:`~agent.providers.connections.Connections`: those of the gateway. In rooms each job has
a loop of its own, so each call its client. Whose trace a request belongs to is found when it is
sent.

The plugin gives a hung recognition or voice thirty seconds, whatever the settings say;
:mod:`~agent.providers.patient` holds every request to its time limit.
"""

from __future__ import annotations

import os
from typing import Any, Final

import httpx2
import openai
from livekit.plugins import openai as plugin

from agent import certificates, proxies

from . import connections
from .patient import PatientClient

_POOL: Final = httpx2.Limits(
    max_connections=None,  # how many call at once is decided where they are let in
    max_keepalive_connections=50,
    keepalive_expiry=120,
)
_TLS: Final = certificates.context(httpx2.create_ssl_context)
"""The TLS context, made at import, before the first call: that takes up to 0.16 s, in which an
event loop would stand still."""


class LLM(plugin.LLM):
    """The plugin's language model. Takes the same arguments by name, as do the others; each has
    a client that it closes if it isn't shared."""

    def __init__(self, **options: Any) -> None:
        self._own, options = _with_client(options)
        super().__init__(**options)

    async def aclose(self) -> None:
        """Close its connections."""
        await super().aclose()
        await _close(self._own)


class TTS(plugin.TTS):
    """The plugin's synthesis."""

    def __init__(self, **options: Any) -> None:
        self._own, options = _with_client(options)
        super().__init__(**options)

    async def aclose(self) -> None:
        """Close its connections."""
        await super().aclose()
        await _close(self._own)


class STT(plugin.STT):
    """The plugin's recognition."""

    def __init__(self, **options: Any) -> None:
        self._own, options = _with_client(options)
        super().__init__(**options)

    async def aclose(self) -> None:
        """Close its connections."""
        await super().aclose()
        await _close(self._own)


def _with_client(options: dict[str, Any]) -> tuple[openai.AsyncClient | None, dict[str, Any]]:
    """The client to be closed by its owner, if it is no shared one, and the options with it."""
    if options.get("client") is not None:
        return None, options
    server = "openai", options.get("base_url"), options.get("api_key")
    shared = connections.shared(server, lambda: _client(options))
    own = _client(options) if shared is None else None
    return own, {**options, "client": shared or own}


def _client(options: dict[str, Any]) -> openai.AsyncClient:
    url = options.get("base_url")
    # without one, openai's client takes this
    with proxies.of_environment(url or os.environ.get("OPENAI_BASE_URL", "")) as trusted:
        http = PatientClient(follow_redirects=True, limits=_POOL, verify=_TLS, trust_env=trusted)
    return openai.AsyncClient(
        api_key=options.get("api_key"),
        base_url=url,
        max_retries=0,  # LiveKit retries, and gives each request its time limit
        http_client=http,
    )


async def _close(client: openai.AsyncClient | None) -> None:
    if client is not None:
        await client.close()
