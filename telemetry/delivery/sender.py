"""Envelopes to Sentry over HTTP, synchronously.

:class:`Sender` is one request and what came of it, nothing more: it holds no queue, starts no
thread, waits for nothing but the network and decides no retry. Whoever delivers reads the
:data:`Sent` it returns::

    match sender.send(envelope):
        case Delivered(left_out=items): ...    # arrived, but for what a rate limit held back
        case Retry(after=seconds, reason=why): ...    # not now; dropped under this reason, if ever
        case Dropped(reason=why): ...          # never

Protocols: https://develop.sentry.dev/sdk/foundations/envelopes/ for the body and
https://develop.sentry.dev/sdk/foundations/transport/rate-limiting/ for what comes back. Sentry's
own SDKs throw away what a rate limit or a server error refuses; we say so and leave it to the
caller, who may have room to wait.

Nothing here holds the interpreter for long: a call's event loop runs in the same process (see
:mod:`telemetry.encoding.envelope`). And nothing here is recorded by Sentry's own integrations (see
:mod:`.unobserved`).
"""

from __future__ import annotations

import os
import time
import zlib
from _thread import allocate_lock  # the real one, also where a profiler has replaced threading's
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import urllib3
from sentry_sdk.consts import VERSION, EndpointType
from sentry_sdk.utils import BadDsn, Dsn

from ..encoding.envelope import pieces
from ..errors import TelemetryError
from .connections import connections
from .drops import NETWORK_ERROR, RATE_LIMITED, TOO_LARGE, UNENCODABLE
from .unobserved import unobserved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sentry_sdk.envelope import Envelope, Item

AT_ONCE: Final = 8
"""Requests under way together: with Sentry 100 ms away, 80 envelopes a second."""
_DEFAULT_BACKOFF_SECONDS: Final = 60.0
"""For a 429 that doesn't say: Sentry's protocol sets this number."""
_LONGEST_BACKOFF_SECONDS: Final = 86_400.0
"""A server that asks for more than a day is taken to be mistaken."""
_COMPRESSION: Final = 5
_CHUNK_BYTES: Final = 64 * 1024
"""Given to zlib at a time; it releases the interpreter lock while it works on them."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Sentry took it."""

    left_out: tuple[Item, ...] = ()
    """Items that weren't sent because a rate limit holds their category: dropped, for the reason
    :data:`RATE_LIMITED`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It may arrive later."""

    after: float | None
    """Seconds the server asks to wait; None when it says nothing: the caller's own backoff."""
    reason: str
    """The reason to count it under if it is dropped."""
    detail: str = field(default="", compare=False)
    """What the network said, for the log."""
    is_answer: bool = field(default=False, compare=False)
    """True if Sentry said so just now: not so a rate limit that holds still."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """It will never arrive, however often it is sent."""

    reason: str
    detail: str = field(default="", compare=False)
    """What Sentry says of the key or the project, for the log."""


Sent = Delivered | Retry | Dropped


class Sender:
    """Connections to one Sentry project; several threads may send at once.

    Args:
        dsn: the project's DSN.
        timeout: seconds to connect, and again seconds between two reads of the answer. Resolving
            a host name isn't covered: no portable call can be.
        network: options of ``sentry_sdk.init`` for proxies and certificates, see
            :data:`telemetry.delivery.connections.OPTIONS`.

    Raises:
        TelemetryError: the DSN isn't one, or a proxy or a certificate can't be used.
    """

    def __init__(self, dsn: str, *, timeout: float = 5.0, **network: Any) -> None:
        try:
            parsed = Dsn(dsn)
            auth = parsed.to_auth(f"sentry.python/{VERSION}")
        except (BadDsn, ValueError) as error:
            raise TelemetryError(
                f"the Sentry DSN is not valid: {error}: copy it from the project's settings "
                "(Client Keys), it looks like https://key@host/number"
            ) from None
        self._url = auth.get_api_url(EndpointType.ENVELOPE)
        self._timeout = timeout
        self._headers = {
            "Content-Type": "application/x-sentry-envelope",
            "Content-Encoding": "gzip",
            "User-Agent": str(auth.client),
            "X-Sentry-Auth": auth.to_header(),
        }
        self._limits = RateLimits()
        self._connect = partial(connections, parsed, at_once=AT_ONCE, **network)
        self._parents: list[urllib3.PoolManager] = []
        self._begin()

    def _begin(self) -> None:
        """Open nothing yet; in a forked child, use and close nothing of the parent's."""
        self._pool = self._connect()
        self._encoding = allocate_lock()
        """One thread encodes at a time: several would keep a call's loop waiting in turns."""
        self._process = os.getpid()

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Sent:
        """Send once and say what came of it. Never raises for anything the network does.

        Args:
            envelope: left as it is; items of a rate-limited category stay out of the request.
            timeout: for this request only, in seconds; a shutdown with a deadline needs it.
        """
        allowed, left_out, wait = self._limits.divide(envelope)
        if not allowed:
            return Retry(after=wait, reason=RATE_LIMITED) if left_out else Delivered()
        if self._process != os.getpid():
            self._parents.append(self._pool)
            self._begin()
        try:
            with self._encoding:
                body = _gzip(pieces(envelope.headers, allowed))
        except (TypeError, ValueError, RecursionError):
            return Dropped(UNENCODABLE)
        try:
            with unobserved():
                response = self._pool.request(
                    "POST",
                    self._url,
                    body=body,
                    headers=self._headers,
                    timeout=urllib3.Timeout(self._timeout if timeout is None else timeout),
                    retries=False,
                    redirect=False,
                )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Retry(after=None, reason=NETWORK_ERROR, detail=str(error))
        self._limits.update(response.status, response.headers)
        match response.status:
            case status if 200 <= status < 300:
                return Delivered(tuple(left_out))
            case 429:
                after = self._limits.divide(envelope)[2] or None
                return Retry(after=after, reason=RATE_LIMITED, is_answer=True)
            case 413:
                return Dropped(TOO_LARGE)
            case status if status >= 500:
                return Retry(after=_retry_after(response.headers), reason=f"http_{status}")
            case 401 | 403 | 404 as status:
                return Dropped(f"http_{status}", response.headers.get("X-Sentry-Error", ""))
            case status:
                return Dropped(f"http_{status}")

    def close(self) -> None:
        """Close the connections. Idempotent; a later ``send`` opens new ones."""
        self._pool.clear()


# -- rate limits -------------------------------------------------------------------------------


class RateLimits:
    """The times before which the server wants nothing of a category, as its answers said.

    Categories are :attr:`sentry_sdk.envelope.Item.data_category`; None stands for all.
    """

    def __init__(self) -> None:
        self._until: dict[str | None, float] = {}

    def update(self, status: int, headers: Mapping[str, str]) -> None:
        """Take in an answer; ``X-Sentry-Rate-Limits`` counts whatever the status."""
        now = time.monotonic()
        if limits := headers.get("X-Sentry-Rate-Limits"):
            for category, seconds in _parse_limits(limits):
                self._until[category] = max(self._until.get(category, 0.0), now + seconds)
        elif status == 429:
            after = _retry_after(headers)
            self._until[None] = now + (_DEFAULT_BACKOFF_SECONDS if after is None else after)

    def divide(self, envelope: Envelope) -> tuple[list[Item], list[Item], float]:
        """Items that may be sent now, items that may not, seconds until the latter may."""
        now = time.monotonic()
        allowed: list[Item] = []
        limited: list[Item] = []
        wait = 0.0
        for item in envelope.items:
            until = max(self._until.get(item.data_category, 0.0), self._until.get(None, 0.0))
            (limited if until > now else allowed).append(item)
            wait = max(wait, until - now)
        return allowed, limited, wait


def _parse_limits(header: str) -> Iterator[tuple[str | None, float]]:
    """``seconds:category;category:scope:reason, …``; no category means all. Junk is skipped."""
    for limit in header.split(","):
        seconds, _, rest = limit.strip().partition(":")
        if not seconds.isdecimal():
            continue
        for category in rest.partition(":")[0].split(";"):
            yield category or None, min(float(seconds[:12]), _LONGEST_BACKOFF_SECONDS)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, given as a number or as a date; None without one."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        after = float(urllib3.Retry().parse_retry_after(value))
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None
    return min(max(0.0, after), _LONGEST_BACKOFF_SECONDS)


def _gzip(plain: Iterator[bytes]) -> bytes:
    compressor = zlib.compressobj(_COMPRESSION, wbits=zlib.MAX_WBITS | 16)  # 16: a gzip header
    content = b"".join(plain)
    compressed = [
        compressor.compress(content[start : start + _CHUNK_BYTES])
        for start in range(0, len(content), _CHUNK_BYTES)
    ]
    return b"".join([*compressed, compressor.flush()])
