"""Admission: who may ask, and the headers of each answer.

* **Host**, where only this machine is listened to: a page from elsewhere whose name was made to
  resolve to this machine (DNS rebinding) has that name in it, and is sent away.
* **the token**, where there is one: as ``Authorization: Bearer …``, or once as ``?token=…``, which
  becomes a cookie, so that it doesn't stay in the browser's history.
* **where a page comes from**: a browser says so, and what changes something is taken from our own
  pages only.
"""

from __future__ import annotations

import hmac
import http
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from ..authority import host_of, is_loopback
from ..printable import printable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

INGEST: Final = "/api/"
"""Paths below it have a key of their own: see :mod:`.ingest`."""
_SAME_SITE: Final = frozenset({"same-origin", "none"})
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "microphone=(), camera=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Sent with everything: a page loads nothing from elsewhere, and no other page loads it."""


def ingest_key(token: str | None) -> str:
    """The key in the address that other processes deliver to. It doesn't tell the token."""
    return "viewer" if token is None else sha256(f"ingest {token}".encode()).hexdigest()[:32]


class Guard:
    """The application behind its door.

    Args:
        app: the application.
        token: asked of everybody; None for nobody but this machine.
        host: the name that it is listened on, which is right by definition.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, host: str) -> None:
        self._app = app
        self._token = token
        self._host = host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    found[name] = value
                found.setdefault("Cache-Control", "no-cache")
            await send(message)

        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if is_loopback(self._host) and not self._is_ours(headers):
            name = printable(headers.get("host", ""), 100)
            return _plain(
                http.HTTPStatus.MISDIRECTED_REQUEST,
                f"Host '{name}' is not the viewer's: it listens on loopback, as 127.0.0.1.",
            )
        if scope["path"].startswith(INGEST):
            if headers.get("sec-fetch-site", "none") not in _SAME_SITE or "origin" in headers:
                return _plain(http.HTTPStatus.FORBIDDEN, "No web page may deliver here.")
            return None
        if self._token is None:
            return None
        return self._without_token(scope, headers, self._token)

    def _without_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """Refuse a request that doesn't present the token; keep it, once it was presented."""
        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = next((value for name, value in asked if name == "token"), None)
        if given is not None and equal(given, token) and scope["method"] in ("GET", "HEAD"):
            rest = urlencode([(name, value) for name, value in asked if name != "token"])
            # a path that begins with two slashes would be another host
            path = "/" + scope["path"].lstrip("/")
            onward = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
            onward.set_cookie(_cookie(token), _mark(token), httponly=True, samesite="strict")
            return onward
        kept = cookie_parser(headers.get("cookie", "")).get(_cookie(token), "")
        if equal(kept, _mark(token)) or equal(headers.get("authorization", ""), f"Bearer {token}"):
            return None
        answer = _plain(
            http.HTTPStatus.UNAUTHORIZED,
            "The viewer asks for its token: open the address that it printed at its start.",
        )
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _is_ours(self, headers: Headers) -> bool:
        given = headers.getlist("host")
        host = host_of(given[0]) if len(given) == 1 else None
        return host is not None and (is_loopback(host) or host == self._host)


def _cookie(token: str) -> str:
    """The name of the cookie: a browser has one jar for all ports of a host, so each viewer's is
    called otherwise."""
    return f"viewer-{_mark(token)[-8:]}"


def _mark(token: str) -> str:
    """The value of the cookie, which others on this host's ports get to see: not the token."""
    return sha256(f"cookie {token}".encode()).hexdigest()


def equal(given: str, right: str) -> bool:
    """Compare a secret that somebody gives, in a time that doesn't tell how far it is right."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), right.encode())


def _plain(status: http.HTTPStatus, text: str) -> PlainTextResponse:
    return PlainTextResponse(f"{text}\n", status)
