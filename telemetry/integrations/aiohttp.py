"""aiohttp, which LiveKit's plugins use: as Sentry's integration has clients, and safe to redirect.

Sentry's ends the span of a request when there is an answer; this one also where there is none.

Headers are those of Sentry's current span when a request starts, on sessions that are made after
``init``. aiohttp takes them along to wherever it is redirected; this one takes them off where the
next host gets none (``propagate_to``).

Clients only: a LiveKit worker answers its health checks with aiohttp, and each would be a
transaction. For a service, take Sentry's own integration instead.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import aiohttp
from sentry_sdk.integrations import aiohttp as sentrys
from sentry_sdk.integrations.aiohttp import AioHttpIntegration as SentrysIntegration
from sentry_sdk.integrations.aiohttp import create_trace_config
from sentry_sdk.traces import SpanStatus, StreamedSpan
from sentry_sdk.tracing_utils import Baggage
from yarl import URL

from ..trace.span import status_of
from . import propagation, redirects
from .harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace

    from sentry_sdk.tracing import Span

__all__ = ["AioHttpIntegration"]


class AioHttpIntegration(SentrysIntegration):
    """For ``telemetry.init(integrations=[AioHttpIntegration()])``."""

    def __init__(self) -> None:
        super().__init__()
        if not hasattr(aiohttp.ClientSession.__init__, "watches_redirects"):
            _install()

    @staticmethod
    def setup_once() -> None:
        """Take the client's part of Sentry's integration, which from now on isn't set up itself."""
        _traces.append(_trace_config)


def _trace_config() -> aiohttp.TraceConfig:
    """Sentry's, which forgets a request that fails."""
    config = create_trace_config()
    config.on_request_exception.append(_failed)
    return config


async def _failed(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    request: aiohttp.TraceRequestExceptionParams,
) -> None:
    _finish(vars(context).get("_sentry_span"), request.exception)


@harmless
def _finish(span: Span | StreamedSpan | None, error: BaseException) -> None:
    """End Sentry's span of a request, by its error."""
    if isinstance(span, StreamedSpan):
        span.status = SpanStatus.ERROR
        span.end()
    elif span is not None:
        span.set_status(status_of(error))
        span.finish()


_traces: list[Callable[[], aiohttp.TraceConfig]] = []
"""The makers of Sentry's spans; none if Sentry's own integration was set up first, and does it."""


def _install() -> None:
    init = aiohttp.ClientSession.__init__
    # where Sentry's own integration was set up before this one, it is that which asks for it
    sentrys.create_trace_config = _trace_config

    @functools.wraps(init)
    def watching(self: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> None:
        config = aiohttp.TraceConfig()
        config.on_request_redirect.append(_redirected)
        ours = [*(make() for make in _traces), config]
        kwargs["trace_configs"] = [*(kwargs.get("trace_configs") or ()), *ours]
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
    if redirects.active(AioHttpIntegration) is None:
        return
    answered = redirect.response.headers
    to = redirect.url.join(URL(answered.get("Location") or answered.get("URI") or ""))
    headers = redirect.headers
    if propagation.goes_to(str(to)) or "sentry-trace" not in headers:
        return
    headers.popall("sentry-trace")
    baggage = Baggage.strip_sentry_baggage(",".join(headers.popall("baggage", [])))
    if baggage:
        headers["baggage"] = baggage
