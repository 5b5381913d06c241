"""Requests of httpx and its successor httpx2, hop by hop: one design under two names."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.tracing_utils import Baggage

from ..headers import traceparent
from . import wire
from .harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from sentry_sdk.integrations import Integration

GIVEN: Final = "telemetry.given"
"""Extension of a request whose trace headers the application has set itself: they stay."""


def install(module: ModuleType, integration: type[Integration]) -> None:
    """Go around what Sentry's integration has patched; once, and not before it has.

    Args:
        module: ``httpx`` or ``httpx2``.
        integration: ours for it, with an attribute ``w3c``.
    """
    sending = module.AsyncClient.send
    if sending.__module__.partition(".")[0] != "sentry_sdk":
        return
    settled = functools.partial(_settle, integration=integration)
    module.Client.send = _shown(module.Client.send, integration)
    module.AsyncClient.send = _shown_async(sending, integration)
    module.HTTPTransport.handle_request = _settled(module.HTTPTransport.handle_request, settled)
    module.AsyncHTTPTransport.handle_async_request = _settled(
        module.AsyncHTTPTransport.handle_async_request, settled
    )


def _shown(send: Callable[..., Any], integration: type[Integration]) -> Callable[..., Any]:
    @functools.wraps(send)
    def shown(self: Any, request: Any, **kwargs: Any) -> Any:
        if sentry_sdk.get_client().get_integration(integration) is None:
            return send(self, request, **kwargs)
        _note_given(request)
        with wire.Shown():
            return send(self, request, **kwargs)

    shown.__module__ = __name__
    return shown


def _shown_async(send: Callable[..., Any], integration: type[Integration]) -> Callable[..., Any]:
    @functools.wraps(send)
    async def shown(self: Any, request: Any, **kwargs: Any) -> Any:
        if sentry_sdk.get_client().get_integration(integration) is None:
            return await send(self, request, **kwargs)
        _note_given(request)
        with wire.Shown():
            return await send(self, request, **kwargs)

    shown.__module__ = __name__
    return shown


def _settled(handle: Callable[..., Any], settle: Callable[[Any], object]) -> Callable[..., Any]:
    @functools.wraps(handle)
    def settled(self: Any, request: Any) -> Any:
        settle(request)
        return handle(self, request)  # of the asynchronous transport: its coroutine

    return settled


@harmless
def _note_given(request: Any) -> None:
    if "sentry-trace" in request.headers:
        request.extensions = {**request.extensions, GIVEN: True}


@harmless
def _settle(request: Any, integration: type[Integration]) -> None:
    """One hop of a request: a redirect has copied the headers that its first host was to get."""
    ours = sentry_sdk.get_client().get_integration(integration)
    sent = request.headers.get("sentry-trace")
    if ours is None or sent is None or GIVEN in request.extensions:
        return
    if wire.goes_to(str(request.url)):
        if getattr(ours, "w3c", False) and (parent := traceparent(sent)) is not None:
            request.headers["traceparent"] = parent
        return
    for name in ("sentry-trace", "traceparent"):
        request.headers.pop(name, None)
    baggage = Baggage.strip_sentry_baggage(request.headers.pop("baggage", ""))
    if baggage:
        request.headers["baggage"] = baggage
