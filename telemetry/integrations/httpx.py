"""httpx: requests as ``http.client`` spans, with trace headers of the span active at the request.

Sentry's own integration patches the sending of a request, not the making of a client, so it is
right for a client that is made once, before ``init`` or in another conversation, and reused. This
one adds three things:

* the parent is what is current for us, also in an async generator, where Sentry's scope isn't;
* a redirect takes the headers along only to hosts that get any (``propagate_to``); httpx copies
  them to wherever it is sent;
* ``traceparent``, when asked for.

A span ends when the response's headers are there; a streamed body is read after it. While only a
handle (``conversation.start_span``) is held, the parent is the current span, which a handle isn't.
"""

from __future__ import annotations

import httpx
from sentry_sdk.integrations.httpx import HttpxIntegration as SentrysIntegration

from . import redirects

__all__ = ["HttpxIntegration"]


class HttpxIntegration(SentrysIntegration):
    """For ``telemetry.init(integrations=[HttpxIntegration()])``.

    Args:
        w3c: also send W3C's ``traceparent``, for services that don't know Sentry.
    """

    def __init__(self, *, w3c: bool = False) -> None:
        self.w3c = w3c
        redirects.install(httpx, HttpxIntegration)  # Sentry sets up each integration once a process

    @staticmethod
    def setup_once() -> None:
        """Patch httpx, after Sentry has."""
        SentrysIntegration.setup_once()
        redirects.install(httpx, HttpxIntegration)
