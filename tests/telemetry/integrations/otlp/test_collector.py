"""A collector gets the tree that Sentry gets, id by id; it is no way around what may be sent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests
from opentelemetry import context

import telemetry
from telemetry.attributes import USER_WORDS
from telemetry.integrations import otlp
from telemetry.store import TraceStore
from tests.ingest import Ingest
from tests.telemetry.conformance.whole import foreign_transaction, plain
from tests.telemetry.delivery.test_recovered import KILLED

from ..collector import CERTIFICATES, Collector
from .sentrys import of_collector, of_sentry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.telemetry.conformance.whole import Lifecycle

MANY = 1_100
"""Spans: more than fit into one of Sentry's transactions, or one request to a collector."""
FORKS = """
import json, os, sys
import telemetry
from telemetry.integrations import otlp
endpoint, lifecycle = sys.argv[1:]
collector = otlp.Collector(endpoint)
runtime = telemetry.init(lifecycle=lifecycle, otlp=collector, send_content=True)
with telemetry.conversation("parent"): pass
assert runtime.flush(30)
child = os.fork()
with telemetry.conversation("parent" if child else "child"): pass
assert runtime.close(30)
assert not runtime.stats().dropped
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that listens."""
    with Collector() as collector:
        yield collector


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    """Sentry, likewise."""
    with Ingest() as ingest:
        yield ingest


async def _call(number: int) -> None:
    """A conversation with turns in tasks, a model, tools, one of which fails, and a late span."""
    async with telemetry.conversation(
        "call",
        id=f"c-{number}",
        user={"id": f"u-{number}"},
        tags={"tenant": "acme"},
        attributes={"lk.room_sid": "RM_1"},
    ) as conversation:

        async def turn(index: int) -> None:
            with telemetry.span("conversation.turn", attributes={"conversation.turn.index": index}):
                with telemetry.span(
                    "gen_ai.chat",
                    "chat small",
                    attributes={
                        "gen_ai.request.model": "small",
                        "gen_ai.usage.output_tokens": 12,
                        "gen_ai.response.finish_reasons": ["stop"],
                        "lk.function_tools": ["book", "cancel"],
                        USER_WORDS: "a table for two",
                    },
                ):
                    await asyncio.sleep(0)
                with pytest.raises(ValueError, match="full"), telemetry.span("gen_ai.execute_tool"):
                    raise ValueError("full")
                with plain("db.query", "SELECT 1"):
                    pass

        await asyncio.gather(*(turn(index) for index in range(3)))
        started = conversation.start_span("agent.speech", started_at=1_700_000_000.25)
        started.finish(1_700_000_001.5)
    conversation.start_span("late").finish()


@pytest.mark.parametrize("beside", [True, False], ids=["beside", "together"])
async def test_the_tree_is_sentrys_id_by_id(
    lifecycle: Lifecycle, beside: bool, collector: Collector, ingest: Ingest, tmp_path: Path
) -> None:
    """Parents, names, ops, times, status, attributes; with AI spans beside their transaction and
    without; while conversations run side by side."""
    with telemetry.init(
        dsn=ingest.dsn,
        lifecycle=lifecycle,
        environment="test",
        release="1.2",
        store=tmp_path / "traces.db",
        stream_gen_ai_spans=beside,
        otlp=otlp.Collector(collector.endpoint, service="desk"),
    ) as runtime:
        await asyncio.gather(*(_call(number) for number in range(4)))
        assert await runtime.aclose(30)
    sentrys = of_sentry(ingest)
    assert len(sentrys) == runtime.stats().spans + runtime.stats().conversations
    assert of_collector(collector.spans) == sentrys
    assert runtime.stats().dropped == {}
    resource = collector.spans[0].resource
    assert all(span.resource == resource for span in collector.spans)
    wanted = ("service.name", "service.version", "deployment.environment.name")
    assert [resource[name] for name in wanted] == ["desk", "1.2", "test"]
    kinds = {span.attributes["sentry.op"]: span.kind for span in collector.spans}
    assert kinds == {
        "conversation": "internal",
        "conversation.turn": "internal",
        "gen_ai.chat": "client",
        "gen_ai.execute_tool": "internal",
        "db.query": "client",
        "agent.speech": "internal",
        "late": "internal",
    }


def test_a_long_conversation_is_whole(
    lifecycle: Lifecycle, collector: Collector, ingest: Ingest
) -> None:
    """In several of Sentry's transactions, and in several requests."""
    with telemetry.init(
        dsn=ingest.dsn, lifecycle=lifecycle, otlp=otlp.Collector(collector.endpoint)
    ) as runtime:
        with telemetry.conversation("call"):
            for _ in range(MANY):
                with telemetry.span("turn"):
                    pass
        assert runtime.close(30)
    sentrys = of_sentry(ingest)
    assert of_collector(collector.spans) == sentrys
    assert len(sentrys) >= MANY + 1
    assert len(collector.requests) > 1


async def test_without_a_dsn_it_gets_the_same(lifecycle: Lifecycle, collector: Collector) -> None:
    """As if Sentry were there."""
    with telemetry.init(lifecycle=lifecycle, otlp=otlp.Collector(collector.endpoint)) as runtime:
        await _call(1)
        assert await runtime.aclose(30)
    spans = of_collector(collector.spans)
    assert len(spans) == runtime.stats().spans + 1
    roots = [span_id for span_id, span in spans.items() if span.parent_id is None]
    assert len(roots) == 1
    assert {span.parent_id for span in spans.values()} - {None} <= spans.keys()


def test_a_transaction_that_is_no_conversations(
    lifecycle: Lifecycle, collector: Collector, ingest: Ingest
) -> None:
    """A web service's, made with Sentry alone: with what it called."""
    with telemetry.init(
        dsn=ingest.dsn, lifecycle=lifecycle, otlp=otlp.Collector(collector.endpoint)
    ) as runtime:
        with foreign_transaction("http.server", "GET /"), plain("db.query", "SELECT 1"):
            pass
        assert runtime.close(30)
    sentrys = {*(span["span_id"] for span in ingest.spans)}
    for event in ingest.transactions:
        spans = [event["contexts"]["trace"], *event["spans"]]
        sentrys |= {span["span_id"] for span in spans}
    assert {span.span_id for span in collector.spans} == sentrys
    assert sorted(span.kind for span in collector.spans) == ["client", "server"]


@pytest.mark.parametrize("sends", [False, True], ids=["", "send_content"])
async def test_words_leave_only_if_the_operator_says_so(
    lifecycle: Lifecycle, collector: Collector, sends: bool
) -> None:
    """By the rule that holds for Sentry, also where there is none."""
    words = " ".join(["violet", "tulip"])  # no constant of the code
    with telemetry.init(
        lifecycle=lifecycle, send_content=sends, otlp=otlp.Collector(collector.endpoint)
    ) as runtime:
        async with telemetry.conversation("call") as conversation:
            attributes = {USER_WORDS: words, "app.note": words}
            with telemetry.span("gen_ai.chat", f"says {words}", attributes=attributes):
                conversation.set_tag("flower", words)
        assert await runtime.aclose(30)
    assert len(collector.spans) == 2
    assert (words in str(collector.spans)) is sends


def test_what_a_killed_process_left_comes_once(
    lifecycle: Lifecycle, collector: Collector, ingest: Ingest, tmp_path: Path
) -> None:
    """By whoever makes envelopes of it, under the release of the one that recorded it. What was an
    envelope already had been given to that one's collector, and isn't again."""
    store = tmp_path / "traces.db"
    ingest.answer(500)
    command = [sys.executable, "-c", KILLED, ingest.dsn, str(store), lifecycle, "no", "x"]
    subprocess.run(command, check=False)
    ingest.heal()
    for _ in range(2):
        with telemetry.init(
            dsn=ingest.dsn, store=store, release="2.0", otlp=otlp.Collector(collector.endpoint)
        ) as runtime:
            assert runtime.recover(30)
            assert runtime.flush(30)
    sentrys, collected = of_sentry(ingest), of_collector(collector.spans)
    assert collected == {span_id: sentrys[span_id] for span_id in collected}
    [root] = [span for span in collector.spans if span.parent_id is None]
    assert root.message == "aborted"
    assert root.resource["service.version"] == "1.2"


def test_each_process_of_a_fork_sends_its_own(lifecycle: Lifecycle, collector: Collector) -> None:
    """By connections of its own."""
    command = [sys.executable, "-W", "error", "-c", FORKS, collector.endpoint, lifecycle]
    subprocess.run(command, check=True, timeout=50, env={**os.environ})
    assert sorted(span.name for span in collector.spans) == ["child", "parent", "parent"]


# -- a collector that isn't well ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers"), [(400, {}), (500, {}), (308, {"Location": "https://elsewhere.example"})]
)
async def test_what_it_refuses_is_counted(
    lifecycle: Lifecycle,
    collector: Collector,
    ingest: Ingest,
    status: int,
    headers: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A redirect too. The log says why, without making an error of it; Sentry has all of it."""
    collector.status, collector.headers = status, headers
    with telemetry.init(
        dsn=ingest.dsn, lifecycle=lifecycle, otlp=otlp.Collector(collector.endpoint)
    ) as runtime:
        await _call(1)
        assert await runtime.aclose(30)
    assert runtime.stats().dropped == {"otlp_failed": len(of_sentry(ingest))}
    assert "Failed to export spans batch" in caplog.text
    assert not ingest.errors


async def test_what_it_says_it_refused_is_counted(
    lifecycle: Lifecycle, collector: Collector
) -> None:
    """Of each request that it answers well."""
    collector.refuses = 2
    with telemetry.init(lifecycle=lifecycle, otlp=otlp.Collector(collector.endpoint)) as runtime:
        await _call(1)
        assert await runtime.aclose(30)
    assert runtime.stats().dropped == {"otlp_failed": 2 * len(collector.requests)}


def test_one_that_hangs_costs_its_spans_alone(
    lifecycle: Lifecycle, collector: Collector, ingest: Ingest, tmp_path: Path
) -> None:
    """Sentry and the store get everything while it does, and closing ends in time."""
    collector.hang()
    store = tmp_path / "traces.db"
    with telemetry.init(
        dsn=ingest.dsn, lifecycle=lifecycle, store=store, otlp=otlp.Collector(collector.endpoint)
    ) as runtime:
        for _ in range(20):
            with telemetry.conversation("call"), telemetry.span("turn"):
                pass
        ingest.wait_for(lambda: len(of_sentry(ingest)) == 40, 30)
        assert collector.asked.wait(30)
        assert not runtime.close(0.5)
    assert runtime.stats().dropped == {"otlp_shutdown": 40}
    assert len(TraceStore(store).conversations()) == 20


def test_one_that_is_away_is_tried_again(lifecycle: Lifecycle, collector: Collector) -> None:
    """By the SDK's exporter, which the end of the process doesn't wait for."""
    collector.status = 503
    with telemetry.init(lifecycle=lifecycle, otlp=otlp.Collector(collector.endpoint)) as runtime:
        with telemetry.conversation("call"):
            pass
        assert collector.asked.wait(30)
        collector.status = 200
        assert runtime.flush(30)
        collector.status = 503
        with telemetry.conversation("call"):
            pass
        assert not runtime.close(0.3)
    assert len(collector.spans) == 1
    assert runtime.stats().dropped == {"otlp_shutdown": 1}


# -- requests of its own --------------------------------------------------------------------------


async def test_its_requests_are_recorded_by_nobody(
    lifecycle: Lifecycle, collector: Collector, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by Sentry's integrations, and not by OpenTelemetry's instrumentations, which look into
    the context: as spans, they would be exported in turn. Nor do they have trace headers."""
    recorded: list[str | None] = []
    send = requests.Session.send

    def instrumented(session: Any, request: Any, **given: Any) -> Any:
        if not context.get_value("suppress_instrumentation"):
            recorded.append(request.url)
        return send(session, request, **given)

    monkeypatch.setattr(requests.Session, "send", instrumented)
    with telemetry.init(
        dsn=ingest.dsn,
        lifecycle=lifecycle,
        enable_logs=True,
        otlp=otlp.Collector(collector.endpoint, headers={"X-Key": "k"}),
    ) as runtime:
        with telemetry.conversation("call"):
            assert await asyncio.to_thread(runtime.flush, 30)
        assert await runtime.aclose(30)
    assert recorded == []
    assert len(of_sentry(ingest)) == len(collector.spans) == 1
    assert not ingest.errors
    [headers] = collector.requests
    assert headers["x-key"] == "k"
    assert not headers.keys() & {"sentry-trace", "baggage", "traceparent"}


@pytest.mark.parametrize("named", ["by us", "by the environment", ""])
def test_over_tls(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By certificates that it is told to trust; those of OpenTelemetry's own variable go before."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # which go before all of these
        monkeypatch.delenv(variable, raising=False)
    bundle = str(CERTIFICATES / "ca.pem")
    if named == "by the environment":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", bundle)
    with Collector(tls=True) as collector:
        ours = {"by us": bundle, "by the environment": "/nowhere.pem", "": None}[named]
        given = otlp.Collector(collector.endpoint, ca_certs=ours)
        if not named:
            with pytest.raises(telemetry.TelemetryError, match="CERTIFICATE_VERIFY_FAILED"):
                given.reach()
            return
        assert given.reach() in collector.endpoint
        with telemetry.init(otlp=given) as runtime, telemetry.conversation("call"):
            pass
        assert runtime.close(30)
        assert len(collector.spans) == 1


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "headers"), (404, "no traces at this path"), (500, "log"), (308, "redirects")],
)
def test_reaching_one_that_does_not_take_it(collector: Collector, status: int, says: str) -> None:
    """Says in one line of text what to do."""
    collector.status, collector.headers = status, {"Location": "https://elsewhere.example"}
    with pytest.raises(telemetry.TelemetryError, match=says) as refused:
        otlp.Collector(collector.endpoint, headers={"x-key": "s3cret"}).reach()
    assert "s3cret" not in str(refused.value)
    assert collector.requests[0]["x-key"] == "s3cret"


def test_reaching_one_with_the_environments_headers(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its exporter sends them."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=s3cret")
    otlp.Collector(collector.endpoint).reach()
    assert collector.requests[0]["x-key"] == "s3cret"
    assert collector.spans == []


@pytest.mark.parametrize(
    "endpoint",
    ["localhost:4318", "http://u:p@host/v1/traces", "http://host", "http://host/v1?key=secret"],
)
def test_an_endpoint_that_is_none(endpoint: str) -> None:
    """Refused in one line of text, which doesn't repeat what may be secret."""
    with pytest.raises(telemetry.TelemetryError, match="v1/traces") as refused:
        otlp.Collector(endpoint)
    assert endpoint not in str(refused.value)


@pytest.mark.parametrize(
    "headers", [{"a b": "secret"}, {"key": "x\ny: z"}, {"key": "ü"}, {"key": " x"}]
)
def test_a_header_that_is_none(headers: dict[str, str]) -> None:
    """Likewise."""
    with pytest.raises(telemetry.TelemetryError, match="can't be sent") as refused:
        otlp.Collector("http://host/v1/traces", headers=headers)
    assert not [value for value in headers.values() if value in str(refused.value)]
