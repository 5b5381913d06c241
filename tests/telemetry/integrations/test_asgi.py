"""A service's requests, over real HTTP: each below the span that made it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
import sentry_sdk
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

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

    from telemetry.integrations.asgi import Message, Receive, Scope, Send


async def _table(request: Request) -> Response:
    sentry_sdk.set_tag("table", request.path_params["id"])
    with telemetry.span(names.OP_DB_QUERY, "SELECT"):
        await asyncio.sleep(0)
    return PlainTextResponse(telemetry.trace_headers()["sentry-trace"])


async def _broken(_: Request) -> Response:
    raise RuntimeError("out of tables")


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _static(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("a file")(scope, receive, send)


def _captured(store: Path | None = None, **options: Any) -> AbstractContextManager[Captured]:
    # Sentry's own Starlette integration would open a scope of its own around each handler
    return capture(
        store=store,
        integrations=[HttpxIntegration()],
        auto_enabling_integrations=False,
        **options,
    )


@asynccontextmanager
async def _service(*, trusted: bool = False) -> AsyncIterator[str]:
    app = Starlette(
        routes=[
            Route("/tables/{id}", _table),
            Route("/broken", _broken),
            Route("/tables/{id}/broken", _broken),
            Route("/health", _health),
            Route("/files/{path:path}", _health),
            Mount("/static", _static),
            Mount("/houses/{tenant}", routes=[Route("/rooms/{number:int}", _health)]),
        ]
    )
    config = uvicorn.Config(
        TraceRequests(app, trusted=trusted),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
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
        "GET unmatched": "not_found",
        "GET /broken": "internal_error",
    }
    data = events["GET /broken"]["data"]
    assert data[names.HTTP_RESPONSE_STATUS_CODE] == 500
    assert data[names.ERROR_TYPE] == "RuntimeError"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/tables/007", "GET /tables/{id}"),
        ("POST", "/tables/1", "POST /tables/{id}"),  # there is one, for GET
        ("GET", "/files/a/b/c", "GET /files/{path:path}"),
        ("GET", "/houses/acme/rooms/12", "GET /houses/{tenant}/rooms/{number:int}"),
        ("GET", "/houses/acme/nowhere/else", "GET /houses/{tenant}"),
        ("GET", "/static/secret/name.txt", "GET /static"),
        ("GET", "/my/name/is/Ada", "GET unmatched"),
        ("GET", "/%1b%5b31m/%e2%80%ae", "GET unmatched"),
        ("GET", "/tables/1/", "GET unmatched"),  # answered by a redirect
        ("ADA", "/my/name/is/Ada", "_OTHER unmatched"),
    ],
)
async def test_names_are_routes(method: str, path: str, name: str) -> None:
    """A transaction is named by the route that answers, or by nothing that was sent: names are
    few, and a path's parts are somebody's words."""
    with _captured() as captured:
        async with _service() as url, httpx.AsyncClient(base_url=url) as client:
            await client.request(method, path)
        [event] = captured.transactions
    assert event["transaction"] == name
    route = event["contexts"]["trace"]["data"].get(names.HTTP_ROUTE)
    assert route == (None if "unmatched" in name else name.split()[1])


async def test_names_without_a_router_that_tells() -> None:
    """An older Starlette notes the endpoint alone; an application of another kind notes nothing."""

    async def noting(scope: Scope, _: Receive, send: Send) -> None:
        scope.update(endpoint=noting, path_params={"id": "7"})
        await silent(scope, _, send)

    async def silent(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def nothing() -> Message:
        return {"type": "http.request", "body": b""}

    async def nowhere(_: Message) -> None:
        pass

    asked = {"type": "http", "method": "GET", "path": "/tables/7", "headers": []}
    with _captured() as captured:
        for app in (noting, silent):
            await TraceRequests(app)(dict(asked), nothing, nowhere)
        found = [event["transaction"] for event in captured.transactions]
    assert found == ["GET /tables/{id}", "GET unmatched"]


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
async def test_what_the_server_logs_is_its_requests(
    lifecycle: Literal["transaction", "stream"],
) -> None:
    """uvicorn logs what was let through when the request is over: in its trace, by its route."""
    with _captured(lifecycle=lifecycle) as captured:
        async with (
            _service() as url,
            httpx.AsyncClient(base_url=url) as client,
            telemetry.conversation("host") as conversation,
        ):
            for number in range(3):
                await client.get(f"/tables/{number}/broken")
        services = {
            event["contexts"]["trace"]["span_id"]
            for event in captured.transactions
            if event["transaction"] == "GET /tables/{id}/broken"
        }
        errors = captured.errors

    assert len(services) == 3
    for error in errors:
        assert error["logger"] == "uvicorn.error"
        assert error["transaction"] == "GET /tables/{id}/broken"
        assert error["contexts"]["trace"]["trace_id"] == conversation.trace_id
    assert {error["contexts"]["trace"]["span_id"] for error in errors} == services
    assert [error["exception"]["values"][-1]["value"] for error in errors] == ["out of tables"] * 3


TRACE, SPAN = "0123456789abcdef" * 2, "fedcba9876543210"


@pytest.mark.parametrize(
    "sent",
    [
        [("sentry-trace", "nonsense")],
        [("sentry-trace", f"{TRACE}-{SPAN}-1" + "0" * 4_000)],
        [("sentry-trace", b"\xff\xfe")],
        [("sentry-trace", f"{'0' * 32}-{SPAN}")],
        [("sentry-trace", f"{TRACE}-{SPAN}"), ("sentry-trace", f"{'1' * 32}-{SPAN}")],
        [("traceparent", f"ff-{TRACE}-{SPAN}-01")],
    ],
)
async def test_unsound_headers_are_passed_over(sent: list[tuple[str, str | bytes]]) -> None:
    """The request is answered, in a trace of its own, and the headers are counted."""
    with _captured() as captured:
        async with _service() as url, httpx.AsyncClient(base_url=url) as client:
            asked = [(name.encode(), v.encode() if isinstance(v, str) else v) for name, v in sent]
            assert (await client.get("/tables/1", headers=asked)).status_code == 200
        [event] = captured.transactions
        assert captured.runtime.stats().refused_headers == 1
    trace = event["contexts"]["trace"]
    assert trace["trace_id"] not in (TRACE, "1" * 32)
    assert trace.get("parent_span_id") is None


@pytest.mark.parametrize(("trusted", "recorded"), [(False, 1), (True, 0)])
async def test_strangers_do_not_decide_what_is_sampled(trusted: bool, recorded: int) -> None:
    """A request that says it isn't sampled is recorded, unless whoever asks is trusted."""
    asked = {"sentry-trace": f"{TRACE}-{SPAN}-0", "baggage": f"sentry-trace_id={TRACE}"}
    with _captured() as captured:
        async with _service(trusted=trusted) as url, httpx.AsyncClient(base_url=url) as client:
            answer = await client.get("/tables/1", headers=asked)
        assert len(captured.transactions) == recorded
    assert answer.text.startswith(TRACE)


@pytest.mark.parametrize(
    ("baggage", "continued"),
    [
        ([f"sentry-trace_id={TRACE},sentry-org_id=7"], True),
        (["other=1", f"sentry-trace_id={TRACE}", "sentry-org_id=7"], True),
        ([f"sentry-trace_id={TRACE},sentry-org_id=8"], False),
        ([f"sentry-trace_id={TRACE}"], False),
        ([f"sentry-trace_id={TRACE},sentry-org_id=8", "sentry-org_id=7"], False),
        ([f"sentry-trace_id={'1' * 32},sentry-org_id=7"], False),
        ([], False),
    ],
)
async def test_never_in_another_organisations_trace(baggage: list[str], continued: bool) -> None:
    """With strict continuation, only callers of this organisation are continued."""
    asked = [("sentry-trace", f"{TRACE}-{SPAN}-1"), *(("baggage", text) for text in baggage)]
    with _captured(strict_trace_continuation=True, dsn="http://key@o7.localhost/1") as captured:
        async with _service() as url, httpx.AsyncClient(base_url=url) as client:
            await client.get("/tables/1", headers=asked)
        [event] = captured.transactions
    trace = event["contexts"]["trace"]
    assert (trace["trace_id"] == TRACE) is continued
    assert (trace.get("parent_span_id") == SPAN) is continued
