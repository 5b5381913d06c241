"""How long the event loop stands still while a long conversation closes and is delivered.

A ticker asks to be woken every millisecond; its longest wait beyond that is the stall. Delivery is
the real one, with the local store and HTTP to a sink. The same ticker without any conversation says
what the machine itself does.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import sentry_sdk

import telemetry

from .figures import Figure, medians
from .sink import sink
from .spans import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TICK = 0.001
TARGET = 10.0
"""Milliseconds."""


async def _longest_wait(during: Callable[[], Awaitable[object]]) -> float:
    """The longest stall in milliseconds while ``during`` runs."""
    loop = asyncio.get_running_loop()
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            longest = max(longest, loop.time() - due)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(10 * TICK)
    longest = 0.0
    await during()
    await asyncio.sleep(2 * TICK)
    ticker.cancel()
    return longest * 1e3


async def _ours(
    dsn: str, spans: int, lifecycle: Literal["transaction", "stream"] = "transaction"
) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "traces.db")
        runtime = telemetry.init(dsn=dsn, store=store, lifecycle=lifecycle)
        conversation = telemetry.conversation("bench")
        for number in range(spans):
            conversation.start_span("gen_ai.chat", "reply", attributes=ATTRIBUTES).finish()
            if number % 50 == 0:
                await asyncio.sleep(0)

        async def close() -> None:
            conversation.close()
            assert await runtime.aflush(60)

        stall = await _longest_wait(close)
        await runtime.aclose()
    return stall


async def _sentry(dsn: str, spans: int) -> float:
    sentry_sdk.init(dsn, traces_sample_rate=1.0)
    transaction = sentry_sdk.start_transaction(op="conversation", name="bench")
    for _ in range(spans):
        span = transaction.start_child(op="gen_ai.chat", name="reply")
        span.update_data(dict(ATTRIBUTES))
        span.finish()

    async def close() -> None:
        transaction.finish()
        await asyncio.to_thread(sentry_sdk.flush, 60)

    stall = await _longest_wait(close)
    sentry_sdk.get_client().close()
    return stall


async def _nothing() -> float:
    return await _longest_wait(partial(asyncio.sleep, 0.5))


def _stall(measured: Callable[[], Awaitable[float]]) -> dict[str, float]:
    async def run() -> float:
        return await measured()

    gc.collect()
    return {"ms": asyncio.run(run())}


def measure(rounds: int) -> list[Figure]:
    """Nothing, raw sentry-sdk, ours, by turns."""
    with sink() as dsn:
        ours: dict[str, Callable[[], Awaitable[float]]] = {
            "1,000 spans": partial(_ours, dsn, 1_000),
            "5,000 spans": partial(_ours, dsn, 5_000),
            "5,000 spans, stream lifecycle": partial(_ours, dsn, 5_000, "stream"),
        }
        others: dict[str, Callable[[], Awaitable[float]]] = {
            "no conversation": _nothing,
            "1,000 spans of raw sentry-sdk": partial(_sentry, dsn, 1_000),
        }
        everything = {name: partial(_stall, run) for name, run in (ours | others).items()}
        found = medians(rounds, everything)
    return [
        Figure(f"loop stall, {name}", run["ms"], "ms", target=TARGET if name in ours else None)
        for name, run in found.items()
    ]
