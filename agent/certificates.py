"""Certificates of the environment (``SSL_CERT_FILE`` and its kin) that can't be used.

Each library for HTTP reads them as soon as a client is made, or when it is imported, and fails
there, even where no server is asked over TLS. So those that can't be used are set aside when a
command starts: services on this machine are reached, and one that is asked over TLS is refused.
"""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agent.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

_FILE: Final = "SSL_CERT_FILE"
_FOLDER: Final = "SSL_CERT_DIR"
_KEYS: Final = "SSLKEYLOGFILE"
_SET_ASIDE: Final = "_SET_ASIDE"
"""Ending of a variable's name under which it is kept."""
_MEND: Final = "give the path of a PEM file, or unset it"
_NOWHERE: Final = "/dev/null/no-certificates"
"""A folder that no machine has."""


class CertificatesError(InputError):
    """Certificates that the environment names and that can't be used. One line of text."""


def set_aside(environ: MutableMapping[str, str]) -> None:
    """Rename the variables that can't be used, so that clients can be made.

    Those of LiveKit's plugins trust nobody then: another choice wouldn't be the operator's.
    """
    if (path := environ.get(_KEYS)) and _unwritable(path):
        environ[_KEYS + _SET_ASIDE] = environ.pop(_KEYS)
    if (path := environ.get(_FILE)) and _unreadable(path):
        environ[_FILE + _SET_ASIDE] = environ.pop(_FILE)
        environ.setdefault(_FOLDER, _NOWHERE)


def problem(environ: Mapping[str, str]) -> str | None:
    """The reason why servers can't be trusted over TLS as this environment says, and the mend."""
    path = environ.get(_FILE) or environ.get(_FILE + _SET_ASIDE)
    if path:
        if (why := _unreadable(path)) is None:
            return None
        return f"{_FILE} names {path}, {why}: {_MEND}"
    folders = environ.get(_FOLDER)
    if folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep) if folder):
        mend = "give one of certificates, or unset it"
        return f"{_FOLDER} names {folders}, which is no folder: {mend}"
    return None


def warnings(environ: Mapping[str, str]) -> list[str]:
    """One line of text for each variable that can't be used."""
    found = problem(environ)
    told = [] if found is None else [f"{found}. Until then no server is trusted over TLS"]
    if path := environ.get(_KEYS + _SET_ASIDE):
        told.append(f"{_KEYS} names {path}, which can't be written: no keys are logged")
    return told


def context(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """The context that a library makes of the environment; where it can't, one that trusts nobody.

    A service that is asked without TLS needs none, but its client wants one.
    """
    try:
        return make()
    except (OSError, ValueError):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def bundle(url: str, environ: Mapping[str, str], called: str = "Sentry") -> str | None:
    """The file whose certificates Sentry is trusted by, as telemetry chooses it; None: its own.

    ``called`` is another that gets what Sentry gets, and is trusted by the same.

    Raises:
        CertificatesError: it is asked over TLS, and the environment names one that can't be used.
    """
    if not is_over_tls(url):
        return None
    require(url, environ, called)
    for name in (_FILE, "REQUESTS_CA_BUNDLE"):
        if path := environ.get(name):
            if (why := _unreadable(path)) is not None:
                raise CertificatesError(f"{name} names {path}, {why}: {_MEND}")
            return path
    return None


def is_over_tls(url: str) -> bool:
    """True if a server at a URL is asked over TLS; so is what has no URL, a library's default."""
    return urlsplit(url).scheme not in ("http", "ws")


def require(url: str, environ: Mapping[str, str], called: str | None = None) -> None:
    """Raise :class:`CertificatesError` where the server at a URL is asked over TLS and can't be
    trusted; ``called`` says which it is, in place of its host."""
    if is_over_tls(url) and (found := problem(environ)) is not None:
        host = called or urlsplit(url).hostname or "the server"
        raise CertificatesError(f"{host} is asked over TLS, and {found}")


@functools.cache
def _unreadable(path: str) -> str | None:
    """The reason why a file of certificates can't be used; found once, as that takes 0.1 s."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "which holds no certificate"
    except FileNotFoundError:
        return "which isn't there"
    except (OSError, ValueError) as error:
        return f"which can't be read ({(getattr(error, 'strerror', None) or str(error)).lower()})"
    return None


def _unwritable(path: str) -> bool:
    try:
        with open(path, "ab"):
            return False
    except (OSError, ValueError):
        return True
