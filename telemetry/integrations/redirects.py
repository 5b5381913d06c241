"""Requests of httpx and its successor httpx2, hop by hop: one design under two names."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.tracing_utils import Baggage

from ..headers import traceparent
from . import propagation
from .harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from sentry_sdk.integrations import Integration

FIRST: Final = "telemetry.first"
"""Extension of a request, and of those it is redirected to: whose trace headers they are."""


@dataclass(frozen=True, slots=True)
class _First:
    """A request before it is redirected."""

    id: int
    w3c: bool


def active(integration: type[Integration]) -> Integration | None:
    """This integration, if it is what the operator chose; Sentry's own goes by the same name."""
    found = sentry_sdk.get_client().get_integration(integration)
    return found if isinstance(found, integration) else None


def install(module: ModuleType, integration: type[Integration]) -> None:
    """Go around what Sentry's integration has patched; once, and not before it has.

    Args:
        module: ``httpx`` or ``httpx2``.
        integration: ours for it, with an attribute ``w3c``.
    """
    sending = module.AsyncClient.send
    if sending.__module__.partition(".")[0] != "sentry_sdk":
        return
    module.Client.send = _shown(module.Client.send, integration)
    module.AsyncClient.send = _shown_async(sending, integration)
    module.HTTPTransport.handle_request = settled(module.HTTPTransport.handle_request)
    module.AsyncHTTPTransport.handle_async_request = settled(
        module.AsyncHTTPTransport.handle_async_request
    )


def _shown(send: Callable[..., Any], integration: type[Integration]) -> Callable[..., Any]:
    @functools.wraps(send)
    def shown(self: Any, request: Any, **kwargs: Any) -> Any:
        if (ours := active(integration)) is None:
            return send(self, request, **kwargs)
        _begin(request, ours)
        with propagation.Shown():
            return send(self, request, **kwargs)

    shown.__module__ = __name__
    return shown


def _shown_async(send: Callable[..., Any], integration: type[Integration]) -> Callable[..., Any]:
    @functools.wraps(send)
    async def shown(self: Any, request: Any, **kwargs: Any) -> Any:
        if (ours := active(integration)) is None:
            return await send(self, request, **kwargs)
        _begin(request, ours)
        with propagation.Shown():
            return await send(self, request, **kwargs)

    shown.__module__ = __name__
    return shown


def settled(handle: Callable[..., Any]) -> Callable[..., Any]:
    """A transport's method, which then sees each hop with the headers that are for its host."""

    @functools.wraps(handle)
    def settling(self: Any, request: Any) -> Any:
        first = request.extensions.get(FIRST)
        if first is not None and (first.w3c or first.id != id(request)):
            _settle(request, first)
        return handle(self, request)  # of the asynchronous transport: its coroutine

    return settling


@harmless
def _begin(request: Any, ours: Any) -> None:
    if "sentry-trace" not in request.headers:  # else the application knows where it goes
        request.extensions[FIRST] = _First(id(request), ours.w3c)


@harmless
def _settle(request: Any, first: _First) -> None:
    """A redirect has copied the headers that its first host was to get."""
    sent = request.headers.get("sentry-trace")
    if sent is None:
        return
    if propagation.goes_to(str(request.url)):
        if first.w3c and (parent := traceparent(sent)) is not None:
            request.headers["traceparent"] = parent
        return
    for name in ("sentry-trace", "traceparent"):
        request.headers.pop(name, None)
    baggage = Baggage.strip_sentry_baggage(request.headers.pop("baggage", ""))
    if baggage:
        request.headers["baggage"] = baggage
