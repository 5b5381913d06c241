"""An HTTP client that waits for a server no longer than a caller does.

A request's patience is the time it has to connect, which LiveKit sets for each attempt to
``PARLEY_PROVIDER_TIMEOUT``. Here it holds for all of it: the answer has to begin within it, to be
whole within it where it isn't streamed, and to go on, by more than single bytes, where it is.

A server that says when it may be asked again (429 or 503 with ``Retry-After``) is not asked before
that, by any session: a request that can wait so long does, another one fails at once. So the next
provider is asked without delay, and one that limits its requests isn't sent more of them.
"""

from __future__ import annotations

import asyncio
import email.utils
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import httpx2

import telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OP_WAIT: Final = "provider.wait"
"""The op of waiting until a provider may be asked again."""
LEAST_BYTES: Final = 64
"""Size of what a stream has to bring within one patience: less than one event has."""
_SAYS_WHEN: Final = {httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE}
MOST_WAIT_SECONDS: Final = 60.0
"""The longest that a server is believed to want to be left alone; then one request finds out."""
_DEFAULT_SECONDS: Final = 5.0
"""Patience of a request that sets no time limit."""


class PatientClient(httpx2.AsyncClient):
    """The client. Raises ``httpx2.ReadTimeout`` where a server goes on for too long."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._not_before: dict[str, float] = {}
        """The times at which paths may be asked again, on a clock that doesn't jump."""

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """Send a request, as the base class does."""
        patience = _patience(request)
        path = request.url.path
        wait = self._not_before.get(path, 0.0) - time.monotonic()
        if wait > patience:
            return _refused(request, wait)
        if wait > 0:
            known = telemetry.current_conversation() is not None
            with telemetry.span(OP_WAIT, "Retry-After") if known else nullcontext():
                await asyncio.sleep(wait)
        try:
            async with asyncio.timeout(patience):
                response = await super().send(request, stream=stream, **options)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no answer within {patience:g} s", request=request) from error
        if response.status_code in _SAYS_WHEN and (seconds := _retry_after(response)) is not None:
            self._not_before[path] = time.monotonic() + seconds
        if stream and isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Steady(response.stream, request, patience)
        return response


class _Steady(httpx2.AsyncByteStream):
    """A stream that has to go on. The time its reader takes doesn't count."""

    def __init__(
        self, stream: httpx2.AsyncByteStream, request: httpx2.Request, patience: float
    ) -> None:
        self._stream = stream
        self._request = request
        self._patience = patience

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._stream)
        left, size = self._patience, 0
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(left):
                    part = await anext(parts)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                slow = f"an answer stopped: {size} bytes in {self._patience:g} s"
                raise httpx2.ReadTimeout(slow, request=self._request) from error
            left -= time.monotonic() - began
            size += len(part)
            if size >= LEAST_BYTES:
                left, size = self._patience, 0
            yield part

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


def _patience(request: httpx2.Request) -> float:
    """The seconds that this request has; its reads and writes have no more of them."""
    limits = request.extensions.get("timeout", {})
    patience: float = limits.get("connect") or _DEFAULT_SECONDS
    for phase in ("read", "write", "pool"):
        limits[phase] = min(limits.get(phase) or patience, patience)
    return patience


def _retry_after(response: httpx2.Response) -> float | None:
    """The seconds until a server may be asked again, if it says so: a number, or a date."""
    said = response.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
        except (ValueError, TypeError, IndexError, OverflowError):  # anybody's text
            return None
    return min(max(0.0, seconds), MOST_WAIT_SECONDS)


def _refused(request: httpx2.Request, wait: float) -> httpx2.Response:
    """The answer in place of a server that isn't to be asked yet."""
    said = {"error": {"message": f"not asked: it may be asked again in {wait:.0f} s"}}
    return httpx2.Response(httpx2.codes.TOO_MANY_REQUESTS, json=said, request=request)
