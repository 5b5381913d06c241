"""A service's requests, over real HTTP: each below the span that made it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import sentry_sdk
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import telemetry
from telemetry import attributes as names
from telemetry.integrations.asgi import TraceRequests
from telemetry.integrations.httpx import HttpxIntegration
from telemetry.store import TraceStore
from telemetry.testing import Captured, capture
from telemetry.tree import outline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from starlette.requests import Request


async def _table(request: Request) -> Response:
    sentry_sdk.set_tag("table", request.path_params["id"])
    with telemetry.span(names.OP_DB_QUERY, "SELECT"):
        await asyncio.sleep(0)
    return PlainTextResponse(telemetry.trace_headers()["sentry-trace"])


async def _broken(_: Request) -> Response:
    raise RuntimeError("out of tables")


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok")


def _captured(store: Path | None = None) -> AbstractContextManager[Captured]:
    # Sentry's own Starlette integration would open a scope of its own around each handler
    return capture(store=store, integrations=[HttpxIntegration()], auto_enabling_integrations=False)


@asynccontextmanager
async def _service() -> AsyncIterator[str]:
    app = Starlette(
        routes=[
            Route("/tables/{id}", _table),
            Route("/broken", _broken),
            Route("/health", _health),
        ]
    )
    config = uvicorn.Config(
        TraceRequests(app), ws="none", lifespan="off", log_config=None, access_log=False
    )
    server, listener = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    port = listener.getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def test_a_request_hangs_below_the_span_that_made_it(tmp_path: Path) -> None:
    """Twenty conversations, one client: caller, request, service and query are one tree each."""
    store = TraceStore(tmp_path / "traces.db")
    with _captured(store.path) as captured:
        async with _service() as url, httpx.AsyncClient(base_url=url) as client:

            async def converse(number: int) -> str:
                async with telemetry.conversation("host") as conversation:
                    with telemetry.span(names.OP_TOOL, str(number)):
                        await client.get(f"/tables/{number}")
                return conversation.trace_id

            traces = await asyncio.gather(*map(converse, range(20)))
        assert captured.runtime.flush()
        assert captured.runtime.stats().conversations == 20
        assert captured.runtime.stats().orphan_spans == 0

    assert len(store.conversations(limit=100)) == 20
    for number, trace_id in enumerate(traces):
        host, service = store.trace(trace_id)
        assert outline([*host.spans, *service.spans]) == (
            "conversation host\n"
            f"└─ gen_ai.execute_tool {number}\n"
            f"   └─ http.client GET {url}/tables/{number}\n"
            "      └─ http.server GET /tables/{id}\n"
            "         └─ db.query SELECT"
        )
    tags = {
        event["contexts"]["trace"]["trace_id"]: event.get("tags")
        for event in captured.transactions
        if event["transaction"] == "GET /tables/{id}"
    }
    assert tags == {trace_id: {"table": str(number)} for number, trace_id in enumerate(traces)}


async def test_what_fails_is_marked_and_what_asks_for_health_is_left_out() -> None:
    """A status is Sentry's word for the code, an exception its type; /health is no request."""
    with _captured() as captured:
        async with _service() as url, httpx.AsyncClient(base_url=url) as client:
            for path in ("/health", "/nowhere", "/broken"):
                await client.get(path)
        captured.runtime.flush()
        events = {e["transaction"]: e["contexts"]["trace"] for e in captured.transactions}

    assert {name: trace["status"] for name, trace in events.items()} == {
        "GET /nowhere": "not_found",
        "GET /broken": "internal_error",
    }
    data = events["GET /broken"]["data"]
    assert data[names.HTTP_RESPONSE_STATUS_CODE] == 500
    assert data[names.ERROR_TYPE] == "RuntimeError"
