"""Sentry's envelope protocol: any process with a Sentry SDK may deliver to the viewer.

``POST /api/<project>/envelope/``, of any project, with the key of the DSN that the viewer prints.
Who asks too much is told to come again later; what is malformed or hostile is refused, and counted
on the page of health.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from ..store import TraceStoreError
from .access import equal, ingest_key
from .bodies import MOST_BYTES, decompressed
from .envelopes import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from .received import Received

AT_ONCE: Final = 4
"""Envelopes that are read at the same time; more are to come again."""
_DIGITS: Final = 18
"""Of a length; Python makes no number of too many."""
_KEY: Final = re.compile(r"\bsentry_key=([^,\s]+)")


async def envelope(request: Request) -> Response:
    """Take an envelope."""
    received: Received | None = request.app.state.received
    if received is None:
        return _refusal(RefusedError("off", "nothing is taken here: there is no store for it", 404))
    try:
        _check(request)
        request.app.state.taking += 1
        try:
            body = await _body(request)
            encoding = request.headers.get("content-encoding", "")
            await run_in_threadpool(_take, request, received, body, encoding)
        finally:
            request.app.state.taking -= 1
    except RefusedError as refused:
        received.refuse(refused.reason)
        return _refusal(refused)
    except TraceStoreError as error:
        received.refuse("store")
        return _refusal(RefusedError("store", str(error), 503))
    return JSONResponse({})


def _take(request: Request, received: Received, body: bytes, encoding: str) -> None:
    keys = received.add(decompressed(body, encoding))
    request.app.state.index.touch(received.store, keys)


async def _body(request: Request) -> bytes:
    """The body, as it was sent, and no more of it than may be."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and (len(length) > _DIGITS or int(length) > MOST_BYTES):
        raise RefusedError("too large", "the body is too large", 413)
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > MOST_BYTES:
            raise RefusedError("too large", "the body is too large", 413)
    return bytes(found)


def _check(request: Request) -> None:
    """Refuse whoever hasn't the key, and whoever is one too many."""
    told = _KEY.search(request.headers.get("x-sentry-auth", ""))
    given = told[1] if told else request.query_params.get("sentry_key", "")
    if not equal(given, ingest_key(request.app.state.token)):
        raise RefusedError(
            "wrong key", "the key isn't that of the DSN which the viewer printed", 403
        )
    if request.app.state.taking >= AT_ONCE:
        raise RefusedError("busy", "too many envelopes at once: come again in a second", 429)


def _refusal(refused: RefusedError) -> Response:
    answer = JSONResponse({"detail": str(refused)}, refused.status)
    if refused.status in (429, 503):
        answer.headers["Retry-After"] = "1"
    return answer


routes = [Route("/api/{project}/envelope/", envelope, methods=["POST"])]
