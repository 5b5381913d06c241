"""What telemetry adds to a request: httpx alone, with Sentry's integration, and with ours.

The transport answers at once, so that the figure is the client's and the integration's. CPU time of
the calling thread, in microseconds a request; the parent is a span of a conversation, or one of a
plain Sentry transaction.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import sentry_sdk
from sentry_sdk.integrations.httpx import HttpxIntegration as SentrysIntegration
from sentry_sdk.transport import Transport

import telemetry
from telemetry import configure
from telemetry.delivery.thread import Delivery
from telemetry.integrations import redirects
from telemetry.integrations.httpx import HttpxIntegration

from .figures import Figure, medians
from .spans import NullOutlet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sentry_sdk.envelope import Envelope

REQUESTS = 400
"""In one conversation."""
TARGET = 30.0
"""Microseconds that ours may add to httpx with Sentry's integration."""
_DSN = "http://key@localhost:9/1"


class _NullTransport(Transport):
    """Where raw sentry-sdk's envelopes end."""

    def capture_envelope(self, envelope: Envelope) -> None:
        envelope.serialize()


class _Answering(httpx.AsyncBaseTransport):
    """Answers without a network, after what ours does in httpx's own transport."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer: httpx.Response = await _settled(self, request)
        return answer


async def _answer(_: object, request: httpx.Request) -> httpx.Response:
    return httpx.Response(204, request=request)


_settled = redirects.settled(_answer)


async def _ask() -> float:
    async with httpx.AsyncClient(transport=_Answering()) as client:
        for _ in range(20):
            await client.get("http://127.0.0.1/")
        before = time.thread_time()
        for _ in range(REQUESTS):
            await client.get("http://127.0.0.1/")
        return (time.thread_time() - before) / REQUESTS * 1e6


async def _in_conversation() -> float:
    async with telemetry.conversation("bench"):
        with telemetry.span("tool"):
            return await _ask()


async def _in_transaction() -> float:
    with sentry_sdk.start_transaction(op="bench", name="bench"), sentry_sdk.start_span(op="tool"):
        return await _ask()


def _plain() -> Mapping[str, float]:
    return {"request": asyncio.run(_ask())}


def _sentry() -> Mapping[str, float]:
    with sentry_sdk.isolation_scope():
        sentry_sdk.init(
            dsn=_DSN,
            traces_sample_rate=1.0,
            transport=_NullTransport,
            auto_enabling_integrations=False,
            integrations=[SentrysIntegration()],
        )
        try:
            return {"request": asyncio.run(_in_transaction())}
        finally:
            sentry_sdk.get_client().close(timeout=0)
            sentry_sdk.get_global_scope().set_client(None)


def _ours() -> Mapping[str, float]:
    with _telemetry():
        return {"request": asyncio.run(_in_conversation())}


@contextmanager
def _telemetry() -> Iterator[None]:
    delivery = Delivery(store=None, sender=NullOutlet(), send_content=False, streaming=False)
    with configure.start(
        delivery,
        strict=True,
        dsn=_DSN,
        traces_sample_rate=1.0,
        auto_enabling_integrations=False,
        integrations=[HttpxIntegration()],
    ):
        yield


def measure(rounds: int) -> list[Figure]:
    """The figures, as medians over so many rounds."""
    plain, sentrys, ours = "httpx", "httpx, Sentry's integration", "httpx, ours"
    found = medians(rounds, {plain: _plain, sentrys: _sentry, ours: _ours})
    cost = {name: figures["request"] for name, figures in found.items()}
    return [
        Figure(f"{plain}, a request", cost[plain], "µs"),
        Figure(f"{sentrys}, a request", cost[sentrys], "µs"),
        Figure(f"{ours}, a request", cost[ours], "µs"),
        Figure("what ours adds to Sentry's", cost[ours] - cost[sentrys], "µs", target=TARGET),
    ]
