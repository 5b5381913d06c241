"""The trace crosses the wire: each request's parent at the server is the span it was made in."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import httpx
import httpx2
import pytest

import telemetry
from telemetry.integrations.aiohttp import AioHttpIntegration
from telemetry.integrations.httpx import HttpxIntegration
from telemetry.integrations.httpx2 import Httpx2Integration
from telemetry.integrations.propagation import headers_for
from telemetry.testing import Captured, capture

from .server import Service, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractContextManager

    from tests.telemetry.conformance.whole import Lifecycle

CONNECTIONS = 4


class Client(Protocol):
    """Any of the clients."""

    async def get(self, url: str) -> Any:
        """Request it, and read the answer."""

    async def aclose(self) -> None:
        """Close its connections."""


class Aiohttp:
    """aiohttp's, under the same names."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        self._session = aiohttp.ClientSession(connector=connector)

    async def get(self, url: str) -> None:
        """Request it, and read the answer."""
        async with self._session.get(url) as response:
            await response.read()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._session.close()


def made(library: str) -> Client:
    """A client of this library."""
    if library == "aiohttp":
        return Aiohttp()
    module: Any = {"httpx": httpx, "httpx2": httpx2}[library]
    client: Client = module.AsyncClient(
        limits=module.Limits(max_connections=CONNECTIONS), follow_redirects=True, timeout=30
    )
    return client


@pytest.fixture
def service() -> Iterator[Service]:
    """A service on loopback."""
    with serving() as service:
        yield service


def tracing(
    lifecycle: Lifecycle, *, w3c: bool = False, **options: Any
) -> AbstractContextManager[Captured]:
    """Telemetry with the clients' integrations."""
    return capture(
        lifecycle=lifecycle,
        auto_enabling_integrations=False,
        integrations=[
            HttpxIntegration(w3c=w3c),
            Httpx2Integration(w3c=w3c),
            AioHttpIntegration(),
        ],
        **options,
    )


def above(captured: Captured, span_id: str) -> str | None:
    """The parent of an ``http.client`` span."""
    [found] = [
        span
        for event in captured.transactions
        for span in captured.spans(event)
        if span.span_id == span_id
    ]
    assert found.op == "http.client"
    return found.parent_span_id


@pytest.mark.parametrize("library", ["httpx", "httpx2", "aiohttp"])
async def test_what_is_asked_for_stays_here(
    service: Service, lifecycle: Lifecycle, library: str
) -> None:
    """Path and query of a request, which say what a caller wants, and the error if it fails."""
    said = "tulipan"
    with tracing(lifecycle) as captured:
        client = made(library)
        async with telemetry.conversation("host") as conversation:
            await client.get(f"{service.url}/guests/{said}?q={said}")
            try:
                await client.get(f"http://127.0.0.1:9/guests/{said}?q={said}")
            except Exception as error:  # noqa: BLE001 - each library has its own
                conversation.capture_exception(error)
        await client.aclose()
        sent = b"\n".join(captured.envelopes)
        assert len(captured.errors) == 1
    assert b"http.client" in sent
    assert said not in sent.decode().replace(f'said = \\"{said}\\"', "")  # the source's own line


@pytest.mark.parametrize("library", ["httpx", "httpx2", "aiohttp"])
async def test_one_client_for_twenty_conversations(
    service: Service, lifecycle: Lifecycle, library: str
) -> None:
    """On few connections and in any order, no request names another conversation or span."""
    made_in: dict[str, tuple[str, str]] = {}

    async def converse(number: int, client: Client) -> None:
        async with telemetry.conversation(f"c{number}") as conversation:

            async def ask(turn: int) -> None:
                with telemetry.span("gen_ai.execute_tool", "ask") as span:
                    await asyncio.sleep(0)
                    path = f"/{number}/{turn}"
                    made_in[path] = conversation.trace_id, span.id
                    await client.get(service.url + path)

            await asyncio.gather(*map(ask, range(5)))

    with tracing(lifecycle) as captured:
        client = made(library)
        await asyncio.gather(*(converse(number, client) for number in range(20)))
        await client.aclose()
        assert len(made_in) == len(service.requests) == 100
        for path, (trace_id, span_id) in made_in.items():
            assert service.headers(path)["sentry-trace"].startswith(trace_id)
            assert f"sentry-trace_id={trace_id}" in service.headers(path)["baggage"]
            assert above(captured, service.parent(path)) == span_id
    assert service.connections <= CONNECTIONS


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
async def test_a_client_older_than_telemetry(
    service: Service, lifecycle: Lifecycle, library: str
) -> None:
    """Made before ``init``, used in one conversation and then in another."""
    client = made(library)
    with tracing(lifecycle) as captured:
        for name in ("one", "two"):
            async with telemetry.conversation(name) as conversation:
                await client.get(f"{service.url}/{name}")
            assert above(captured, service.parent(f"/{name}")) == conversation.transaction.span_id
    await client.aclose()
    assert service.connections == 1


@pytest.mark.parametrize("library", ["httpx", "httpx2", "aiohttp"])
async def test_a_client_made_in_another_conversation(
    service: Service, lifecycle: Lifecycle, library: str
) -> None:
    """Made and used in one span of A, it is B's when B uses it, also while A still does."""
    with tracing(lifecycle) as captured:
        async with telemetry.conversation("a"):
            with telemetry.span("tool", "a") as in_a:
                client = made(library)
                await client.get(f"{service.url}/first")

                async def converse() -> str:
                    async with telemetry.conversation("b"):
                        with telemetry.span("tool", "b") as in_b:
                            await client.get(f"{service.url}/b")
                    return in_b.id

                other = asyncio.create_task(converse())
                await client.get(f"{service.url}/a")
                in_b = await other
        await client.aclose()
        for path in ("/first", "/a"):
            assert above(captured, service.parent(path)) == in_a.id
        assert above(captured, service.parent("/b")) == in_b


@pytest.mark.parametrize("library", ["httpx", "httpx2", "aiohttp"])
async def test_retries_are_requests_of_their_own(
    service: Service, lifecycle: Lifecycle, library: str
) -> None:
    """Tried again in another span, it is that span's child."""
    with tracing(lifecycle) as captured:
        client = made(library)
        async with telemetry.conversation("c"):
            spans = []
            for _ in range(2):
                with telemetry.span("attempt") as span:
                    spans.append(span.id)
                    await client.get(f"{service.url}/retried?busy")
        await client.aclose()
        parents = [got["sentry-trace"].split("-")[1] for got in service.all("/retried")]
        assert [above(captured, parent) for parent in parents] == spans


@pytest.mark.parametrize("library", ["httpx", "httpx2", "aiohttp"])
async def test_a_redirect_takes_headers_only_where_they_may_go(
    service: Service, lifecycle: Lifecycle, library: str
) -> None:
    """Sent on to a host that gets no headers, a request leaves them behind; not so otherwise."""
    with tracing(lifecycle, w3c=True, propagate_to=["127.0.0.1"]):
        client = made(library)
        async with telemetry.conversation("c"):
            await client.get(f"{service.url}/a?to=http://localhost:{service.port}/elsewhere")
            await client.get(f"{service.url}/b?to={service.url}/here")
        await client.aclose()
    for name in ("sentry-trace", "baggage", *(["traceparent"] if library != "aiohttp" else [])):
        assert name in service.headers("/a")
        assert name not in service.headers("/elsewhere")
        assert service.headers("/here")[name] == service.headers("/b")[name]


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_a_synchronous_client_is_the_same(
    service: Service, lifecycle: Lifecycle, module: Any
) -> None:
    """In a generator its parent is the generator's span; a redirect leaves headers behind."""
    inner: list[str] = []

    async def sentences(client: Any) -> AsyncIterator[str]:
        with telemetry.span("gen_ai.chat") as span:
            inner.append(span.id)
            client.get(f"{service.url}/a?to=http://localhost:{service.port}/elsewhere")
            yield "One"

    with (
        tracing(lifecycle, propagate_to=["127.0.0.1"]) as captured,
        module.Client(follow_redirects=True) as client,
    ):
        async with telemetry.conversation("c"):
            async for _ in sentences(client):
                pass
        assert above(captured, service.parent("/a")) == inner[0]
    assert not {"sentry-trace", "baggage"} & service.headers("/elsewhere").keys()


@pytest.mark.parametrize("library", ["httpx", "httpx2", "aiohttp"])
async def test_hosts_that_get_no_headers(
    service: Service, lifecycle: Lifecycle, library: str
) -> None:
    """``propagate_to`` holds for every client."""
    with tracing(lifecycle, propagate_to=["elsewhere"]):
        client = made(library)
        async with telemetry.conversation("c"):
            await client.get(f"{service.url}/kept")
            assert headers_for(service.url) == {}
        await client.aclose()
    assert not {"sentry-trace", "baggage"} & service.headers("/kept").keys()


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_headers_that_the_application_sets(
    service: Service, lifecycle: Lifecycle, module: Any
) -> None:
    """What it gives to a host of its choice goes there."""
    with tracing(lifecycle, propagate_to=[]):
        async with telemetry.conversation("c"), module.AsyncClient() as client:
            given = telemetry.trace_headers()
            await client.get(f"{service.url}/given", headers=given)
    assert service.headers("/given")["sentry-trace"] == given["sentry-trace"]


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_in_an_async_generator(service: Service, lifecycle: Lifecycle, module: Any) -> None:
    """A span that is entered in a generator is the parent of what the generator asks for."""
    inner: list[str] = []

    async def sentences(client: Any) -> AsyncIterator[str]:
        with telemetry.span("gen_ai.chat") as span:
            inner.append(span.id)
            await client.get(f"{service.url}/inside")
            yield "One"
            await client.get(f"{service.url}/inside/again")

    with tracing(lifecycle) as captured:
        async with telemetry.conversation("c") as conversation, module.AsyncClient() as client:
            async for _ in sentences(client):
                await client.get(f"{service.url}/outside")
        for path in ("/inside", "/inside/again"):
            assert above(captured, service.parent(path)) == inner[0]
        assert above(captured, service.parent("/outside")) == conversation.transaction.span_id


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_from_a_thread(service: Service, lifecycle: Lifecycle, module: Any) -> None:
    """A synchronous client, in a thread that was there before the conversation."""
    with tracing(lifecycle) as captured, module.Client() as client:
        async with telemetry.conversation("c"):
            with telemetry.span("tool") as span:
                work = telemetry.bind(lambda: client.get(f"{service.url}/thread"))
                thread = threading.Thread(target=work)
                thread.start()
                await asyncio.to_thread(thread.join)
        assert above(captured, service.parent("/thread")) == span.id


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_a_streamed_response(service: Service, lifecycle: Lifecycle, module: Any) -> None:
    """What is asked for while a body is read is no child of the request whose body it is."""
    with tracing(lifecycle) as captured:
        async with telemetry.conversation("c"), module.AsyncClient() as client:
            with telemetry.span("tool") as span:
                async with client.stream("GET", f"{service.url}/body") as response:
                    async for _ in response.aiter_bytes():
                        await client.get(f"{service.url}/meanwhile")
        assert above(captured, service.parent("/body")) == span.id
        meanwhile = service.all("/meanwhile")[0]["sentry-trace"].split("-")[1]
        assert above(captured, meanwhile) == span.id


async def test_a_handle_is_not_current(service: Service, lifecycle: Lifecycle) -> None:
    """A request made while a handle is held is the child of the current span."""
    with tracing(lifecycle) as captured:
        async with telemetry.conversation("c") as conversation, httpx.AsyncClient() as client:
            handle = conversation.start_span("tts.synthesize")
            await client.get(f"{service.url}/held")
            handle.finish()
        assert above(captured, service.parent("/held")) == conversation.transaction.span_id


async def test_w3c(service: Service, lifecycle: Lifecycle) -> None:
    """``traceparent`` says the same as ``sentry-trace``, when asked for."""
    with tracing(lifecycle, w3c=True):
        async with telemetry.conversation("c"), httpx.AsyncClient() as client:
            await client.get(f"{service.url}/both")
            assert headers_for(service.url, w3c=True).keys() == {
                "sentry-trace",
                "baggage",
                "traceparent",
            }
    with tracing(lifecycle):
        async with telemetry.conversation("c"), httpx.AsyncClient() as client:
            await client.get(f"{service.url}/one")
    both = service.headers("/both")
    assert both["traceparent"] == f"00-{both['sentry-trace'][:-2]}-01"
    assert "traceparent" not in service.headers("/one")


async def test_without_a_conversation(service: Service, lifecycle: Lifecycle) -> None:
    """A request is just a request."""
    with tracing(lifecycle) as captured:
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{service.url}/alone")).status_code == 200
        assert captured.runtime.stats().orphan_spans == 0


SERVER = """
import asyncio
from aiohttp import ClientSession, web
import {telemetry} as telemetry
from {telemetry}.integrations.aiohttp import AioHttpIntegration
from {telemetry}.testing import capture

async def health(_):
    return web.Response()

async def main():
    app = web.Application()
    app.router.add_get("/", health)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://127.0.0.1:%d/" % runner.addresses[0][1]
    async with ClientSession() as client:
        async with client.get(url):
            pass
        async with telemetry.conversation("c"):
            async with client.get(url):
                pass
    await runner.cleanup()

with capture(auto_enabling_integrations=False, integrations=[AioHttpIntegration()]) as captured:
    asyncio.run(main())
    print([[span["op"] for span in event["spans"]] for event in captured.transactions])
"""


def test_what_aiohttp_serves_is_not_traced() -> None:
    """A worker's health checks are no transactions; its own requests are one span each."""
    program = SERVER.format(telemetry=telemetry.__name__)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[['http.client']]\n", "")


@pytest.mark.parametrize("library", ["httpx", "httpx2", "aiohttp"])
async def test_a_request_that_nobody_answers(lifecycle: Lifecycle, library: str) -> None:
    """Its span is over when it has failed, and has failed; the next one is none of its affair."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}/"
    with tracing(lifecycle) as captured:
        client = made(library)
        async with telemetry.conversation("host"):
            with pytest.raises((aiohttp.ClientError, httpx.HTTPError, httpx2.HTTPError)):
                await client.get(nobody)
            with telemetry.span("db.query", "afterwards"):
                pass
        await client.aclose()
        [spans] = [captured.spans(event) for event in captured.conversations]
        [request] = [span for span in spans if span.op == "http.client"]
        [after] = [span for span in spans if span.op == "db.query"]
        assert captured.runtime.stats().open_at_finish == 0
    assert request.ended_at <= after.started_at
    assert request.status == "internal_error"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_line_that_asked_a_service(
    service: Service, lifecycle: Lifecycle, enabled: bool
) -> None:
    """enable_http_request_source: it is the application's, not telemetry's around the client."""
    options: dict[str, Any] = {
        "enable_http_request_source": enabled,
        "http_request_source_threshold_ms": 0,
        "integrations": [HttpxIntegration()],
    }
    with capture(lifecycle=lifecycle, **options) as captured:
        with telemetry.conversation("host"), httpx.Client() as client:
            client.get(service.url)
        [_, request] = captured.spans(captured.conversations[0])
    asked_by = "test_the_line_that_asked_a_service" if enabled else None
    assert request.attributes.get("code.function") == asked_by
