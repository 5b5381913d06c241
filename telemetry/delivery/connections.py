"""The way to Sentry: through which proxy, trusting whom.

Options and environment variables are those of Sentry's own transport, and mean the same: an option
goes before the environment, an empty proxy means none, ``https_proxy`` before ``http_proxy``, and
``NO_PROXY`` is for proxies of the environment only. Two things are otherwise: loopback is never
asked through a proxy of the environment, which would look for it on its own machine; and what can't
be used is said at once, where Sentry would go on trying.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

import certifi
import urllib3
from sentry_sdk.transport import KEEP_ALIVE_SOCKET_OPTIONS

from ..errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sentry_sdk.utils import Dsn

OPTIONS: Final = frozenset(
    {
        "ca_certs",
        "cert_file",
        "http_proxy",
        "https_proxy",
        "keep_alive",
        "key_file",
        "proxy_headers",
        "socket_options",
    }
)
"""Options of ``sentry_sdk.init`` that are about connections."""


_CA_CERTS: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_VARIABLES: Final = (*_CA_CERTS, "CLIENT_CERT_FILE", "CLIENT_KEY_FILE")
"""Environment variables that name certificates."""


def connections(
    dsn: Dsn,
    *,
    at_once: int | None = None,
    http_proxy: str | None = None,
    https_proxy: str | None = None,
    proxy_headers: Mapping[str, str] | None = None,
    ca_certs: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
    keep_alive: bool | None = None,
    socket_options: Sequence[tuple[int, int, int | bytes]] | None = None,
) -> urllib3.PoolManager:
    """Connections to where a DSN points.

    Args:
        dsn: for its scheme and host.
        at_once: connections that are kept, one for each thread that sends.
        http_proxy: URL of the proxy; None asks the environment (``HTTP_PROXY``), "" is none.
        https_proxy: the one for a DSN of scheme https, which else takes the former.
        proxy_headers: sent to the proxy, such as its authorization.
        ca_certs: path of a PEM bundle; else ``SSL_CERT_FILE``, ``REQUESTS_CA_BUNDLE``, certifi's.
        cert_file: path of a client certificate; else ``CLIENT_CERT_FILE``.
        key_file: path of its key; else ``CLIENT_KEY_FILE``.
        keep_alive: probe idle connections; else ``SENTRY_KEEP_ALIVE``.
        socket_options: options of the sockets, as ``socket.setsockopt`` takes them.

    Raises:
        TelemetryError: a proxy or a certificate can't be used.
    """
    options: dict[str, Any] = {
        "num_pools": 2,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": _first(ca_certs, *_CA_CERTS) or certifi.where(),
        "cert_file": _first(cert_file, "CLIENT_CERT_FILE"),
        "key_file": _first(key_file, "CLIENT_KEY_FILE"),
    }
    proxy = _proxy(dsn, http_proxy, https_proxy)
    if dsn.scheme == "https" or (proxy or "").startswith("https"):
        _check(**options)
    else:  # those of the environment are for other servers
        _check(ca_certs=ca_certs or certifi.where(), cert_file=cert_file, key_file=key_file)
    if at_once is not None:
        options["maxsize"] = at_once
    if sockets := _socket_options(keep_alive, socket_options):
        options["socket_options"] = sockets
    if proxy is None:
        return urllib3.PoolManager(**options)
    return _through(proxy, proxy_headers, options)


def _through(
    proxy: str, headers: Mapping[str, str] | None, options: dict[str, Any]
) -> urllib3.PoolManager:
    try:
        if proxy.startswith("socks"):
            from urllib3.contrib.socks import SOCKSProxyManager

            return SOCKSProxyManager(proxy, **options)
        if headers:
            options["proxy_headers"] = dict(headers)
        return urllib3.ProxyManager(proxy, **options)
    except ImportError:
        raise TelemetryError(
            f"the proxy {proxy!r} needs a package that isn't here: install PySocks, or name an "
            "HTTP proxy"
        ) from None
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise TelemetryError(
            f"the proxy {proxy!r} can't be used: {error}: give a URL like http://host:port"
        ) from None


def _proxy(dsn: Dsn, http_proxy: str | None, https_proxy: str | None) -> str | None:
    environment = {} if _is_direct(dsn) else getproxies()
    proxy: str | None = None
    if dsn.scheme == "https" and https_proxy != "":
        proxy = https_proxy or environment.get("https")
    if not proxy and http_proxy != "":
        proxy = http_proxy or environment.get("http")
    return proxy or None


def _is_direct(dsn: Dsn) -> bool:
    """True if the host is loopback, or ``NO_PROXY`` names it or a domain it is in."""
    if _is_loopback(dsn.host or ""):
        return True
    hosts = [host.strip() for host in getproxies().get("no", "").split(",")]
    return any(
        host == "*" or (dsn.host or "").endswith(host) or dsn.netloc.endswith(host)
        for host in hosts
        if host
    )


def _is_loopback(host: str) -> bool:
    name = host.rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")  # RFC 6761
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _socket_options(
    keep_alive: bool | None, given: Sequence[tuple[int, int, int | bytes]] | None
) -> list[tuple[int, int, int | bytes]]:
    options = list(given or ())
    if keep_alive is None:
        keep_alive = os.environ.get("SENTRY_KEEP_ALIVE", "").lower() in ("1", "on", "true", "yes")
    if keep_alive:
        known = {option[:2] for option in options}
        options += [option for option in KEEP_ALIVE_SOCKET_OPTIONS if option[:2] not in known]
    return options


def _first(given: str | None, *variables: str) -> str | None:
    """The value that was given, or the first of these environment variables that is set."""
    return given or next(filter(None, map(os.environ.get, variables)), None)


def _check(*, ca_certs: str, cert_file: str | None, key_file: str | None, **_: object) -> None:
    """Open the certificates now: a connection that can't is only tried again."""
    for path in filter(None, (ca_certs, cert_file, key_file)):
        if not Path(path).is_file():
            raise TelemetryError(
                f"no certificate or key at {path}{_named_by(path)}: give the path of a PEM file"
            )
    try:
        if ca_certs != certifi.where():
            ssl.create_default_context(cafile=ca_certs)
        if cert_file is not None:
            ssl.create_default_context().load_cert_chain(cert_file, key_file)
    except (ssl.SSLError, OSError) as error:
        paths = filter(None, (ca_certs, cert_file, key_file))
        named = ", ".join(path + _named_by(path) for path in paths)
        raise TelemetryError(
            f"a certificate or key can't be read ({named}): {error}: give PEM files that belong "
            "together"
        ) from None


def _named_by(path: str) -> str:
    """The environment variables that name a path, in brackets."""
    names = [name for name in _VARIABLES if os.environ.get(name) == path]
    return f" ({', '.join(names)})" if names else ""
