"""httpx2, which the ``openai`` client uses: as :mod:`.httpx`."""

from __future__ import annotations

import httpx2
from sentry_sdk.integrations.httpx2 import Httpx2Integration as SentrysIntegration

from . import redirects

__all__ = ["Httpx2Integration"]


class Httpx2Integration(SentrysIntegration):
    """For ``telemetry.init(integrations=[Httpx2Integration()])``.

    Args:
        w3c: also send W3C's ``traceparent``, for services that don't know Sentry.
    """

    def __init__(self, *, w3c: bool = False) -> None:
        self.w3c = w3c
        redirects.install(httpx2, Httpx2Integration)

    @staticmethod
    def setup_once() -> None:
        """Patch httpx2, after Sentry has."""
        SentrysIntegration.setup_once()
        redirects.install(httpx2, Httpx2Integration)
