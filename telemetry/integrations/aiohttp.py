"""aiohttp, which LiveKit's plugins use: as Sentry's integration has it, and safe to redirect.

Headers are those of Sentry's current span when a request starts, on sessions that are made after
``init``. aiohttp takes them along to wherever it is redirected; this one takes them off where the
next host gets none (``propagate_to``).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import aiohttp
from sentry_sdk.integrations.aiohttp import AioHttpIntegration as SentrysIntegration
from sentry_sdk.tracing_utils import Baggage
from yarl import URL

from . import hops, wire
from .harmless import harmless

if TYPE_CHECKING:
    from types import SimpleNamespace

__all__ = ["AioHttpIntegration"]


class AioHttpIntegration(SentrysIntegration):
    """For ``telemetry.init(integrations=[AioHttpIntegration()])``; its arguments are Sentry's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(aiohttp.ClientSession.__init__, "watches_redirects"):
            _install()


def _install() -> None:
    init = aiohttp.ClientSession.__init__

    @functools.wraps(init)
    def watching(self: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> None:
        config = aiohttp.TraceConfig()
        config.on_request_redirect.append(_redirected)
        kwargs["trace_configs"] = [*(kwargs.get("trace_configs") or ()), config]
        init(self, *args, **kwargs)

    watching.watches_redirects = True  # type: ignore[attr-defined]
    aiohttp.ClientSession.__init__ = watching  # type: ignore[method-assign]


async def _redirected(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    redirect: aiohttp.TraceRequestRedirectParams,
) -> None:
    _settle(redirect)


@harmless
def _settle(redirect: aiohttp.TraceRequestRedirectParams) -> None:
    """Before the next hop, whose headers these are too."""
    if hops.active(AioHttpIntegration) is None:
        return
    answered = redirect.response.headers
    to = redirect.url.join(URL(answered.get("Location") or answered.get("URI") or ""))
    headers = redirect.headers
    if wire.goes_to(str(to)) or "sentry-trace" not in headers:
        return
    headers.popall("sentry-trace")
    baggage = Baggage.strip_sentry_baggage(",".join(headers.popall("baggage", [])))
    if baggage:
        headers["baggage"] = baggage
