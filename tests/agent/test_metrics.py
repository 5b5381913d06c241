"""The figures for Prometheus."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

import telemetry
from agent.metrics import Limit, Worker, served


async def test_metrics_are_there_within_the_block() -> None:
    """Sessions, and telemetry's counts as they are when they are asked for."""
    with telemetry.init() as runtime:
        figures = Worker(sessions=lambda: 3, max_sessions=5, stats=runtime.stats)
        async with served("127.0.0.1", 0) as url, httpx.AsyncClient(trust_env=False) as http:
            with figures:
                with telemetry.conversation("host"):
                    pass
                lines = (await http.get(url)).text.splitlines()
            after = (await http.get(url)).text
    for line in (
        "parley_sessions 3.0",
        "parley_sessions_max 5.0",
        "parley_telemetry_conversations_total 1.0",
        "parley_telemetry_waiting 0.0",
    ):
        assert line in lines
    assert "parley_sessions" not in after
    assert "parley_response_latency_seconds" in after


@pytest.mark.parametrize("limit", Limit)
def test_each_limit_is_where_an_operator_looks(limit: Limit) -> None:
    """It is a figure from the first, and a row of the table in the docs."""
    assert f'parley_limits_reached_total{{limit="{limit.value}"}}' in generate_latest().decode()
    table = Path(__file__).parents[2] / "docs" / "deploy.md"
    assert f"`{limit.value}`" in table.read_text("utf-8")


def test_telemetry_in_other_processes() -> None:
    """Only sessions are told then: counts that aren't here aren't 0."""
    registry = CollectorRegistry()
    registry.register(Worker(sessions=lambda: 3, max_sessions=5, stats=None))
    text = generate_latest(registry).decode()
    assert "parley_sessions 3.0" in text
    assert "telemetry" not in text
