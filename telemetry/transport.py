"""Envelopes to Sentry over HTTP, synchronously, from one thread.

:class:`Sender` is one request and what came of it, nothing more: it holds no queue, starts no
thread, waits for nothing but the network and decides no retry. Whoever delivers reads the
:data:`Sent` it returns::

    match sender.send(envelope):
        case Delivered(left_out=items): ...    # arrived, but for what a rate limit held back
        case Retry(after=seconds, reason=why): ...    # not now; give up under this reason
        case Dropped(reason=why): ...          # never

Protocols: https://develop.sentry.dev/sdk/foundations/envelopes/ for the body and
https://develop.sentry.dev/sdk/foundations/transport/rate-limiting/ for what comes back. Sentry's
own SDKs throw away what a rate limit or a server error refuses; we say so and leave it to the
caller, who may have room to wait.

Nothing here holds the interpreter for long: a call's event loop runs in the same process (see
:func:`encode`). And nothing here is recorded by Sentry's own integrations (see
:func:`unobserved`).
"""

from __future__ import annotations

import json
import os
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import urllib3
from sentry_sdk import Scope
from sentry_sdk.client import BaseClient
from sentry_sdk.consts import VERSION, EndpointType
from sentry_sdk.scope import use_scope
from sentry_sdk.utils import BadDsn, Dsn

from .errors import TelemetryError
from .route import connections

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sentry_sdk.envelope import Envelope, Item

NETWORK_ERROR: Final = "network_error"
RATE_LIMITED: Final = "ratelimit_backoff"
TOO_LARGE: Final = "too_large"
UNENCODABLE: Final = "internal_sdk_error"
"""Reasons, besides ``http_NNN``; Sentry's own names for client reports where it has one."""

_DEFAULT_BACKOFF: Final = 60.0
"""Seconds, for a 429 that doesn't say: Sentry's protocol sets this number."""
_LONGEST_BACKOFF: Final = 86_400.0
"""Seconds. What a server asks for beyond a day is taken for a mistake."""
_COMPRESSION: Final = 5
_CHUNK: Final = 64 * 1024
"""Bytes given to zlib at a time; it releases the interpreter lock while it works on them."""
_BATCH: Final = 16 * 1024
"""Bytes of JSON made before other threads get their turn: under 1 ms of work. Measured with 1,000
spans (800 kB): an event loop waits 1.1 ms at most, without the turns 5.3 ms."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Sentry took it."""

    left_out: tuple[Item, ...] = ()
    """Items that weren't sent because a rate limit holds their category: lost, for the reason
    :data:`RATE_LIMITED`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It may arrive later."""

    after: float | None
    """Seconds the server asks to wait; None when it says nothing: the caller's own backoff."""
    reason: str
    """What to count it under if it is given up."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """It will never arrive, however often it is sent."""

    reason: str


Sent = Delivered | Retry | Dropped


class Sender:
    """A connection to one Sentry project, for one thread.

    Args:
        dsn: the project's DSN.
        timeout: seconds to connect, and again seconds between two reads of the answer. Resolving
            a host name isn't covered: no portable call can be.
        network: options of ``sentry_sdk.init`` for proxies and certificates, see
            :data:`telemetry.route.OPTIONS`.

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
        self._connect = partial(connections, parsed, **network)
        self._pool = self._connect()
        self._process = os.getpid()
        self._parents: list[urllib3.PoolManager] = []

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Sent:
        """Send once and say what came of it. Never raises for anything the network does.

        Args:
            envelope: left as it is; items of a rate-limited category stay out of the request.
            timeout: for this request only, in seconds; a shutdown with a deadline needs it.
        """
        allowed, left_out, wait = self._limits.divide(envelope)
        if not allowed:
            return Retry(after=wait, reason=RATE_LIMITED) if left_out else Delivered()
        try:
            body = _gzip(_encode(envelope.headers, allowed))
        except (TypeError, ValueError, RecursionError):
            return Dropped(UNENCODABLE)
        if self._process != os.getpid():
            # The connections so far are the parent's: a forked child neither uses nor closes them.
            self._parents.append(self._pool)
            self._pool, self._process = self._connect(), os.getpid()
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
        except (urllib3.exceptions.HTTPError, OSError):
            return Retry(after=None, reason=NETWORK_ERROR)
        self._limits.update(response.status, response.headers)
        match response.status:
            case status if 200 <= status < 300:
                return Delivered(tuple(left_out))
            case 429:
                return Retry(after=self._limits.divide(envelope)[2] or None, reason=RATE_LIMITED)
            case 413:
                return Dropped(TOO_LARGE)
            case status if status >= 500:
                return Retry(after=_retry_after(response.headers), reason=f"http_{status}")
            case status:
                return Dropped(f"http_{status}")

    def close(self) -> None:
        """Close the connections. Idempotent; a later ``send`` opens new ones."""
        self._pool.clear()


# -- rate limits -------------------------------------------------------------------------------


class RateLimits:
    """Until when the server wants nothing of a category, as its answers said.

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
            self._until[None] = now + (_DEFAULT_BACKOFF if after is None else after)

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
            yield category or None, min(float(seconds[:12]), _LONGEST_BACKOFF)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, given as a number or as a date; None without one."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        after = float(urllib3.Retry().parse_retry_after(value))
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None
    return min(max(0.0, after), _LONGEST_BACKOFF)


# -- encoding ----------------------------------------------------------------------------------


def encode(envelope: Envelope) -> bytes:
    """The envelope's bytes, without ever holding the interpreter for long.

    One ``json.dumps`` of a conversation with 1,000 spans is one C call of 10 to 34 ms in which no
    other thread runs, event loops included. So a payload is encoded a member at a time, its lists
    (spans, logs) an element at a time, and other threads get their turn in between.

    Raises:
        ValueError, TypeError, RecursionError: a value has no JSON form (NaN, a cycle, a key that
            isn't text). Objects JSON doesn't know become text.
    """
    return b"".join(_encode(envelope.headers, envelope.items))


def _encode(headers: Mapping[str, Any], items: list[Item]) -> Iterator[bytes]:
    yield to_json(headers) + b"\n"
    for item in items:
        pieces = _payload(item)
        length = sum(map(len, pieces))
        yield to_json({**item.headers, "length": length}) + b"\n"
        yield from pieces
        yield b"\n"


def _payload(item: Item) -> list[bytes]:
    content = item.payload.json
    if item.payload.bytes is not None or not isinstance(content, dict):
        return [item.get_bytes()]
    pieces: list[bytes] = []
    size = 0
    for piece in _members(content):
        pieces.append(piece)
        size += len(piece)
        if size >= _BATCH:
            size = 0
            time.sleep(0)  # lets go of the interpreter, no more
    return pieces


def _members(content: Mapping[str, Any]) -> Iterator[bytes]:
    before = b"{"
    for key, value in content.items():
        yield before + to_json(key) + b":"
        before = b","
        if isinstance(value, list) and value:
            between = b"["
            for element in value:
                yield between + to_json(element)
                between = b","
            yield b"]"
        else:
            yield to_json(value)
    yield b"}" if content else b"{}"


_ENCODER: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=str)


def to_json(value: object) -> bytes:
    """A value as compact JSON; what JSON doesn't know becomes text.

    Raises:
        ValueError, TypeError, RecursionError: it has no JSON form.
    """
    return _ENCODER.encode(value).encode()


def _gzip(pieces: Iterator[bytes]) -> bytes:
    compressor = zlib.compressobj(_COMPRESSION, wbits=zlib.MAX_WBITS | 16)  # 16: a gzip header
    content = b"".join(pieces)
    compressed = [
        compressor.compress(content[start : start + _CHUNK])
        for start in range(0, len(content), _CHUNK)
    ]
    return b"".join([*compressed, compressor.flush()])


# -- not observing ourselves -------------------------------------------------------------------


class _Unobserving(BaseClient):
    """A client with no integrations that records nothing, yet is active.

    Look-ups of the current client stop at an active one. An inactive client would be skipped, and
    the process's own found behind it.
    """

    def is_active(self) -> Literal[True]:
        return True


_NOBODY: Final = _Unobserving()


@contextmanager
def unobserved() -> Iterator[None]:
    """What runs in this block makes no spans, breadcrumbs, events or logs, and sends no headers.

    Sentry's integrations patch ``http.client`` and ``logging`` for the whole process, and tell
    requests to Sentry from others by comparing hosts, which fails for a DSN with a port: the
    delivery of a span would make a span, whose delivery makes another. They all ask for the
    current client's integration first, so a client without any turns them off for this thread or
    task alone.
    """
    scope = Scope()
    scope.set_client(_NOBODY)
    with use_scope(scope):
        yield
