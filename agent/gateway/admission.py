"""Admission: an HTTP request is held to where it comes from and which token it has. No I/O.

Three things are asked, and each stops something of its own:

* **Host**, on a loopback address: a page from elsewhere whose name was made to resolve to this
  machine (DNS rebinding) has that name in it, and is sent away.
* **Origin**: browsers name the page that opens a WebSocket, and let any page open one. Only the
  gateway's own page may; programs name no origin.
* **the token**, where there is one: as ``Authorization: Bearer …``, or as a subprotocol
  (:func:`agent.gateway.protocol.token_subprotocol`).
"""

from __future__ import annotations

import hmac
import http
from typing import TYPE_CHECKING, Final, NamedTuple

from telemetry.authority import host_of, is_loopback
from telemetry.printable import printable

from .protocol import token_subprotocol

if TYPE_CHECKING:
    from websockets.datastructures import Headers

_SHOWN_CHARACTERS: Final = 100
"""Length of what is repeated of a header."""
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Refusal(NamedTuple):
    """An HTTP answer to somebody who may not come in."""

    status: http.HTTPStatus
    text: str


def check_host(headers: Headers, known: str) -> Refusal | None:
    """Refuse a request to a loopback address that was made under a name from elsewhere.

    ``known`` is the name the operator listens on, which is right by definition. Ports may differ:
    they are forwarded.
    """
    given = _only(headers, "Host")
    host = host_of(given)
    if host is not None and (is_loopback(host) or host == known.lower()):
        return None
    name = printable(given, _SHOWN_CHARACTERS)
    text = f"Host '{name}' is not this gateway's: it listens on loopback, as 127.0.0.1.\n"
    return Refusal(http.HTTPStatus.MISDIRECTED_REQUEST, text)


def check_origin(headers: Headers, *, own_page: bool) -> Refusal | None:
    """Refuse a WebSocket that a web page opens, unless the page is the gateway's own."""
    if not headers.get_all("Origin"):
        return None  # a program
    origin = _only(headers, "Origin")
    if own_page and _is_same(origin, _only(headers, "Host")):
        return None
    name = printable(origin, _SHOWN_CHARACTERS)
    return Refusal(http.HTTPStatus.FORBIDDEN, f"Origin '{name}' may not call this gateway.\n")


def check_token(headers: Headers, token: str) -> Refusal | None:
    """Refuse a request that doesn't present the token."""
    bearer = ",".join(headers.get_all("Authorization"))
    offered = ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(",")
    named = token_subprotocol(token)
    if _equal(bearer, f"Bearer {token}") or any(_equal(name.strip(), named) for name in offered):
        return None
    text = "Authorization: Bearer <token> is missing or wrong.\n"
    return Refusal(http.HTTPStatus.UNAUTHORIZED, text)


def _equal(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), right.encode())


def _only(headers: Headers, name: str) -> str:
    """A header's value; empty when there is none, or more than one."""
    values = headers.get_all(name)
    return values[0].strip() if len(values) == 1 else ""


def _is_same(origin: str, host: str) -> bool:
    """True for a page of this origin that was served under this ``Host``; default ports may be
    left out of either. The scheme isn't compared: a proxy in front may have ended TLS."""
    scheme, separator, authority = origin.lower().partition("://")
    if not separator or not host or scheme not in _DEFAULT_PORTS:
        return False
    port = _DEFAULT_PORTS[scheme]
    return authority.removesuffix(port) == host.lower().removesuffix(port)
