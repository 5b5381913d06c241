"""What a command of ours asks of others is traced, whichever client it asks with, and goes where
the settings say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import aiohttp
import httpx
import httpx2
import pytest

import telemetry
from agent.cli import process
from agent.errors import InputError
from config import load
from telemetry.store import TraceStore
from tests.telemetry.integrations.collector import Collector
from tests.telemetry.integrations.server import serving

if TYPE_CHECKING:
    from pathlib import Path


async def _ask(library: str, url: str) -> None:
    if library == "aiohttp":
        async with aiohttp.ClientSession() as session, session.get(url):
            return
    module = httpx if library == "httpx" else httpx2
    async with module.AsyncClient() as client:
        await client.get(url)


@pytest.mark.parametrize("library", ["httpx", "httpx2", "aiohttp"])
async def test_every_client_is_traced_to_the_hosts_chosen(tmp_path: Path, library: str) -> None:
    """Each request is a span; PARLEY_PROPAGATE_TO says who learns of it."""
    store = tmp_path / "traces.db"
    settings = load(trace_store=store, propagate_to="127.0.0.1")
    with serving() as service, process.traced(settings):
        async with telemetry.conversation("c", id="c-1"):
            await _ask(library, f"{service.url}/here")
            await _ask(library, f"http://localhost:{service.port}/elsewhere")
    found = TraceStore(store).conversation("c-1")
    assert found is not None
    assert [span.op for span in found.spans] == ["conversation", "http.client", "http.client"]
    assert service.parent("/here") == found.spans[1].span_id
    assert "sentry-trace" not in service.headers("/elsewhere")


def test_a_collector_gets_what_it_is_said_to_get() -> None:
    """With the headers of the settings; Sentry need not be there."""
    with Collector() as collector:
        settings = load(
            trace_store="off", otlp_endpoint=collector.endpoint, otlp_headers="x-key=a%2Cb"
        )
        with process.traced(settings), telemetry.conversation("c"):
            pass
        [span] = collector.spans
    assert span.resource["service.name"] == "parley"
    assert collector.requests[0]["x-key"] == "a,b"


def test_a_collector_without_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of text says what to install."""
    monkeypatch.setitem(sys.modules, "telemetry.integrations.otlp", None)
    settings = load(trace_store="off", otlp_endpoint="http://127.0.0.1:4318/v1/traces")
    with pytest.raises(InputError, match="uv sync --extra otlp"), process.traced(settings):
        pass
