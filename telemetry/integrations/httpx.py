"""httpx: requests as ``http.client`` spans, with trace headers of the span active at the request.

Sentry's own integration patches the sending of a request, not the making of a client, so it is
right for a client that is made once and reused; it is only chosen here.
"""

from __future__ import annotations

from sentry_sdk.integrations.httpx import HttpxIntegration

__all__ = ["HttpxIntegration"]
