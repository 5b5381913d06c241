"""Proxies of the environment (``HTTP_PROXY`` and its kin): this machine is reached without one.

A proxy is there for other machines. Asked for a loopback address it would look on its own, and a
service that the agent runs beside would seem to be down.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from agent import certificates
from agent.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_SCHEMES: Final = ("http", "https", "all")
"""The schemes of URLs that a proxy may be named for."""
_KINDS: Final = ("http", "https", "socks5", "socks5h")
"""The kinds of proxy that httpx can use."""
_NO_PROXY: Final = ("no_proxy", "NO_PROXY")
"""Names of the variable, the one that goes before first."""


class ProxyError(InputError):
    """A proxy that the environment names and that can't be used. One line of text."""


@contextmanager
def of_environment(url: str) -> Iterator[bool]:
    """A block that makes a client of the server at ``url``, with httpx or httpx2.

    Yields its ``trust_env``: False where no proxy may be asked. Raises :class:`ProxyError` when
    a proxy can't be used, :class:`~agent.certificates.CertificatesError` when the server is asked
    over TLS and certificates can't.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    certificates.require(url, os.environ)
    if _is_here(host):
        yield False
        return
    proxies = {name: url for name, url in getproxies_environment().items() if name in _SCHEMES}
    for name, proxy in proxies.items():
        if (problem := _problem(proxy)) is not None:
            raise ProxyError(
                f"{name.upper()}_PROXY, through which {host} would be asked, {problem}: give a URL "
                "like http://host:port, or unset it"
            )
    try:
        yield True
    except Exception as error:
        # the libraries say in several ways, one a plain ValueError, that they can't use one
        if not proxies:
            raise
        raise ProxyError(
            f"{host} can't be asked through the proxies of the environment: "
            f"{' '.join(str(error).split())}: see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY"
        ) from error


def _problem(proxy: str) -> str | None:
    """The reason why a proxy can't be used, without quoting it: a password may be in it."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        _ = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in _KINDS:
        return f"is of the kind {parts.scheme}, not one of {', '.join(_KINDS)}"
    if not parts.hostname or re.search(r"\s", parts.hostname):
        return "names no host"
    return None


def is_loopback(host: str) -> bool:
    """True if a host name or address is this machine's own, whatever its resolver says."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1
        except OSError:
            return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_here(host: str) -> bool:
    return is_loopback(host) or host in ("0.0.0.0", "::")  # noqa: S104 - asked, not bound


def spare_loopback(environ: MutableMapping[str, str]) -> None:
    """Add loopback to an environment's ``NO_PROXY``, for clients that others make."""
    if not any(name.lower().endswith("_proxy") for name in environ):
        return
    given = next(filter(None, map(environ.get, _NO_PROXY)), "")
    hosts = [host for part in given.split(",") if (host := part.strip().strip("[]"))]
    for name in _NO_PROXY:
        environ[name] = ",".join(dict.fromkeys([*hosts, *_LOOPBACK]))


def hide_from_livekit(url: str, environ: MutableMapping[str, str]) -> None:
    """Rename the proxy of a LiveKit server's URL where the server is to be reached without it.

    LiveKit's client, which isn't in Python, knows no ``NO_PROXY``, and reads the names in upper and
    in lower case. Clients in Python take the others too: for them the proxy stays.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not (_is_here(host) or proxy_bypass(host)):
        return
    name = "https_proxy" if parts.scheme in ("wss", "https") else "http_proxy"
    for variable in (name.upper(), name):  # where both are set, the latter is the one that counts
        if found := environ.pop(variable, None):
            environ[name.title()] = found
