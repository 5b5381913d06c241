"""Recognition by LiveKit's OpenAI plugin, closed to the last connection.

The plugin's own ``aclose`` leaves its HTTP client open, which is a connection for each
conversation until the garbage collector comes by.
"""

from __future__ import annotations

from typing import Any

import openai
from livekit.plugins import openai as plugin


class STT(plugin.STT):
    """The plugin's, with a client that it closes. Takes the same arguments by name."""

    def __init__(
        self, *, api_key: str | None = None, base_url: str | None = None, **options: Any
    ) -> None:
        # LiveKit retries, and gives each request its time limit
        self._http = openai.AsyncClient(api_key=api_key, base_url=base_url, max_retries=0)
        super().__init__(client=self._http, **options)

    async def aclose(self) -> None:
        """Close its connections."""
        await super().aclose()
        await self._http.close()
