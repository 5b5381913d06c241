"""The host that a request says it is for, and whether that is this machine.

A server on loopback asks before it answers: a web page may have any name of its own resolve to
127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_AUTHORITY: Final = re.compile(r"(?P<host>[^][:/?#@\s]+|\[[0-9a-f:.]+\])(:\d{1,5})?")


def host_of(authority: str) -> str | None:
    """The host in ``host:port``, lower case, without an IPv6 address's brackets; None in anything
    else."""
    found = _AUTHORITY.fullmatch(authority.lower())
    return None if found is None else found["host"].strip("[]")


def is_loopback(host: str) -> bool:
    """True for this machine's own name for itself, and for its address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
