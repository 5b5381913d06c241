"""ASGI: each request of a service as a transaction below the span that made it.

::

    app = TraceRequests(Starlette(routes=[...]))

Which span that is, the request's ``sentry-trace`` and ``baggage`` headers say. Sentry's own
Starlette and FastAPI integrations do the same for Sentry alone, under scopes of their own; with
this one the local trace store has the service's side too. Use one or the other
(``init(auto_enabling_integrations=False)`` turns Sentry's off).
The protocol: https://asgi.readthedocs.io/en/stable/specs/www.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from sentry_sdk.tracing import get_span_status_from_http_code

from ..api import transaction
from ..attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
    OP_HTTP_SERVER,
)
from ..headers import valid
from ..written import Written

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


UNMATCHED = "unmatched"
"""What a request that no route answers is called."""
OTHER_METHOD = "_OTHER"
"""What a method that HTTP doesn't have is called, as OpenTelemetry has it."""
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)


class TraceRequests:
    """An ASGI application around another, which it leaves as it is.

    Args:
        app: the application.
        ignore: paths that are not traced, such as one that is asked whether the service lives.
        trusted: whether whoever makes requests also decides which of them are sampled. Strangers
            don't; see :mod:`telemetry.headers`.
    """

    def __init__(
        self, app: App, *, ignore: Collection[str] = ("/health",), trusted: bool = False
    ) -> None:
        self._app = app
        self._ignore = frozenset(ignore)
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; only requests over HTTP are traced."""
        if scope["type"] != "http" or scope["path"] in self._ignore:
            await self._app(scope, receive, send)
            return
        headers = valid(_joined(scope["headers"]), trusted=self._trusted)
        method = scope["method"] if scope["method"] in _METHODS else OTHER_METHOD
        with transaction(
            OP_HTTP_SERVER, method, attributes={HTTP_REQUEST_METHOD: method}, headers=headers
        ) as request:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    code = message["status"]
                    request.root.status = get_span_status_from_http_code(code)
                    request.set({HTTP_RESPONSE_STATUS_CODE: code})
                await send(message)

            try:
                await self._app(scope, receive, answer)
            finally:
                route = route_of(scope)
                request.rename(Written.known(f"{method} {route or UNMATCHED}"))
                if route is not None:
                    request.set({HTTP_ROUTE: route})


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By name; what comes several times becomes one, as HTTP has it."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def route_of(scope: Scope) -> str | None:
    """The route that answered: a path with its parameters named rather than filled in.

    None if none did: a path that the service doesn't know is a stranger's words, of which there is
    no end. Starlette, FastAPI and what is built on them note in the scope what they found.
    """
    route = scope.get("route")
    template = getattr(route, "path", None)
    if isinstance(template, str):
        # a mounted application's own routes begin where it is mounted, and that is in `root_path`
        mount = _named(scope.get("root_path", ""), scope)
        return mount if hasattr(route, "routes") else mount + template
    return _named(scope["path"], scope) if "endpoint" in scope else None


def _named(path: str, scope: Scope) -> str:
    for name, value in (scope.get("path_params") or {}).items():
        filled = str(value).strip("/")
        if "/" in filled:  # the rest of a path, whatever it is
            path = path.replace(filled, f"{{{name}}}")
        path = "/".join(f"{{{name}}}" if part == filled else part for part in path.split("/"))
    return path
