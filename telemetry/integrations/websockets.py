"""websockets: outgoing connections with trace headers of the span active at the handshake.

A connection lives longer than the span that opened it. So its handshake is one span,
``websocket.client``, and what is sent later carries its own context, if anything is to continue
it: ``telemetry.inject(message)``, and ``headers=telemetry.extract(message)`` where it arrives.

``connect`` is websockets' own with :class:`TracedConnection`; a redirect or a reconnect computes
the headers anew, for the host that it goes to.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from websockets.asyncio import client
from websockets.datastructures import Headers

from .. import api
from ..trace.span import nearest_span
from .harmless import harmless
from .propagation import headers_for

if TYPE_CHECKING:
    from websockets.datastructures import HeadersLike

__all__ = ["TracedConnection", "connect"]


class TracedConnection(client.ClientConnection):
    """For ``websockets.connect(uri, create_connection=TracedConnection)``."""

    async def handshake(
        self, additional_headers: HeadersLike | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Open the connection, as the child of the current span."""
        uri = self.protocol.uri
        url = f"{'wss' if uri.secure else 'ws'}://{uri.host}:{uri.port}{uri.path}"
        if nearest_span() is None:
            await super().handshake(_with(additional_headers, url), *args, **kwargs)
            return
        with api.span("websocket.client", url):
            await super().handshake(_with(additional_headers, url), *args, **kwargs)


connect = functools.partial(client.connect, create_connection=TracedConnection)


def _with(given: HeadersLike | None, url: str) -> HeadersLike | None:
    """The headers that were given, which come first, and ours."""
    return _merged(given, url) or given


@harmless
def _merged(given: HeadersLike | None, url: str) -> Headers:
    merged = Headers(given or {})
    for name, value in headers_for(url).items():
        if name not in merged:
            merged[name] = value
    return merged
