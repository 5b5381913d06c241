"""Trace headers for clients of any protocol: a request is the child of the span it is made in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sentry_sdk
from sentry_sdk.tracing_utils import should_propagate_trace

from ..api import trace_headers
from ..context import chain
from ..context.scopes import shown_on
from ..headers import traceparent
from ..trace.span import nearest_span

if TYPE_CHECKING:
    from ..context.node import Link


def goes_to(url: str) -> bool:
    """True if requests to this URL get trace headers, as ``init(propagate_to=…)`` says."""
    return should_propagate_trace(sentry_sdk.get_client(), url)


def headers_for(url: str, *, w3c: bool = False) -> dict[str, str]:
    """Trace headers of the current span, now; empty for hosts that get none.

    For whatever has no integration: compute them for each request, never for a client.

    Args:
        url: where the request goes.
        w3c: with ``traceparent``, for peers that don't know Sentry.
    """
    headers = trace_headers() if goes_to(url) else {}
    if w3c and (parent := traceparent(headers.get("sentry-trace", ""))) is not None:
        headers["traceparent"] = parent
    return headers


class Shown:
    """A block in which what is current for us is so for Sentry's integrations, too.

    It mostly is already. Where it isn't, in an async generator or where only a framework's own
    context knows, the span is shown on a scope of the block's own.
    """

    __slots__ = ("_link",)

    def __enter__(self) -> None:
        self._link: Link | None = None
        here = nearest_span()
        if here is None:
            return
        shown = shown_on(sentry_sdk.get_current_scope())
        if shown is None or shown.span is not here:
            self._link = chain.push(here, here.marker())

    def __exit__(self, *_: object) -> None:
        if self._link is not None:
            chain.pop(self._link)
