"""What is special to the stream lifecycle; what both share is in the conformance suite."""

from __future__ import annotations

import asyncio
import http.client
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import sentry_sdk
from sentry_sdk import traces
from sentry_sdk.integrations.stdlib import StdlibIntegration

import telemetry
from telemetry import Span
from telemetry.attributes import STARTED_AT, USER_WORDS
from telemetry.store import TraceStore
from telemetry.testing import Captured, capture
from tests.ingest import Ingest, assert_spans_accepted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Telemetry in strict mode and the stream lifecycle."""
    with capture(lifecycle="stream") as captured:
        yield captured


def _values(span: dict[str, Any]) -> dict[str, Any]:
    return {name: attribute["value"] for name, attribute in span["attributes"].items()}


# -- what Sentry gets ----------------------------------------------------------------------------


def test_spans_reach_sentry_and_the_store(tmp_path: Path) -> None:
    """Each on its own, in the protocol's form, with what the conversation says on all of them."""
    with (
        Ingest() as ingest,
        telemetry.init(
            dsn=ingest.dsn,
            lifecycle="stream",
            release="r-1",
            store=tmp_path / "t.db",
            send_content=True,  # with attributes of any name
        ) as runtime,
    ):
        with telemetry.conversation("host", id="c-1", user={"id": "u"}, tags={"tenant": "t"}) as c:
            sentry_sdk.set_context("call", {"room": "r", "seats": 4})
            given = {"count": 3, "odd": float("nan"), "it": object(), "mixed": [1, "a"], "on": True}
            with telemetry.span("gen_ai.chat", "reply", attributes=given):
                pass
            c.capture_exception(ValueError("reported"))
        assert runtime.flush()

        for envelope in ingest.envelopes:
            if envelope.items[0].type == "span":
                assert_spans_accepted(envelope)
        chat, root = ingest.spans
        assert (root["is_segment"], chat["is_segment"]) == (True, False)
        assert (root["trace_id"], chat["parent_span_id"]) == (c.trace_id, root["span_id"])
        everywhere = {
            "sentry.segment.id": root["span_id"],
            "sentry.segment.name": "host",
            "sentry.release": "r-1",
            "user.id": "u",
            "tenant": "t",
        }
        assert everywhere.items() <= _values(chat).items()
        assert everywhere.items() <= _values(root).items()
        assert _values(chat)["sentry.op"] == "gen_ai.chat"
        assert chat["attributes"]["count"] == {"value": 3, "type": "integer"}
        assert chat["attributes"]["on"] == {"value": True, "type": "boolean"}
        assert chat["attributes"]["mixed"] == {"value": '[1, "a"]', "type": "string"}
        assert _values(root)["context.call.seats"] == 4
        [error] = ingest.errors
        assert error["contexts"]["trace"]["trace_id"] == c.trace_id
        assert error["contexts"]["trace"]["span_id"] == root["span_id"]
    stored = TraceStore(tmp_path / "t.db").conversation("c-1")
    assert stored is not None
    assert (stored.status, len(stored.spans), stored.error_count) == ("ok", 2, 1)


def test_times_are_exact_also_of_backdated_spans(captured: Captured) -> None:
    """Start and end as given, to the last digit; the status in full beside Sentry's two."""
    with telemetry.conversation("host") as conversation:
        span = conversation.start_span("stt.recognize", started_at=1_795_000_000.123456)
        span.fail(TimeoutError())
        span.finish(1_795_000_000.654321)

    [sent, _] = captured.streamed
    assert sent["start_timestamp"] == 1_795_000_000.123456
    assert sent["end_timestamp"] == 1_795_000_000.654321
    assert sent["status"] == "error"
    assert captured.transactions[0]["spans"][0]["status"] == "deadline_exceeded"


def test_long_conversations_are_sent_while_they_run(captured: Captured) -> None:
    """Full batches don't wait for the end, and nothing goes on in parts."""
    with telemetry.conversation("host") as conversation:
        for number in range(2_500):
            conversation.start_span("step", str(number)).finish()
        assert len(captured.streamed) >= 2_000

    [event] = captured.transactions
    assert {span["description"] for span in event["spans"]} == {str(n) for n in range(2_500)}
    assert len(event["spans"]) == 2_500


def test_a_late_span_is_a_span_like_the_others(captured: Captured) -> None:
    """It comes after its segment, with its true parent, and counts."""
    with telemetry.conversation("host") as conversation:
        pass
    conversation.start_span("tool.cleanup").finish()

    assert captured.tree(captured.transactions[0]) == "conversation host\n└─ tool.cleanup"
    assert captured.runtime.stats().late_spans == 1


def test_content_and_secrets_stay_here(captured: Captured) -> None:
    """What was said, and what Sentry's scrubber knows as secret, isn't in what is sent."""
    secrets = {USER_WORDS: "my words", "password": "my key"}
    with telemetry.conversation("host", attributes=secrets):
        telemetry.span("gen_ai.chat", attributes=secrets).finish()

    assert len(captured.streamed) == 2
    assert "my " not in str(captured.streamed)


def test_the_operators_hook_has_the_last_word() -> None:
    """`before_send_span` may change name and attributes, nothing else, and may fail."""

    def hook(span: Any, hint: Any) -> Any:
        if span["is_segment"]:
            span["attributes"].clear()
            raise LookupError
        return {**span, "name": "renamed", "attributes": {"a": 1}, "x": 1}

    with capture(lifecycle="stream", before_send_span=hook) as captured:
        with telemetry.conversation("host"), telemetry.span("gen_ai.chat"):
            pass
        chat, root = captured.streamed

    assert (chat["name"], list(chat["attributes"]), "x" in chat) == ("renamed", ["a"], False)
    assert (root["name"], _values(root)["sentry.op"]) == ("host", "conversation")


def test_a_callers_trace_is_continued() -> None:
    """Its sampling context goes on in headers and envelopes."""
    trace_id, parent = "0123456789abcdef" * 2, "fedcba9876543210"
    incoming = {
        "sentry-trace": f"{trace_id}-{parent}-1",
        "baggage": f"sentry-trace_id={trace_id},sentry-sample_rand=0.250000,sentry-release=theirs",
    }
    with Ingest() as ingest, telemetry.init(dsn=ingest.dsn, lifecycle="stream") as runtime:
        with telemetry.conversation("host", headers=incoming) as conversation:
            headers = telemetry.trace_headers()
            assert dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers()) == headers
        assert headers["sentry-trace"] == f"{trace_id}-{conversation.root.id}-1"
        assert "sentry-release=theirs" in headers["baggage"]
        assert runtime.flush()

        [root] = ingest.spans
        assert (root["trace_id"], root["parent_span_id"]) == (trace_id, parent)
        assert ingest.envelopes[0].headers["trace"]["release"] == "theirs"


def test_unsampled_conversations_are_only_stored(tmp_path: Path) -> None:
    """Neither we nor the SDK send anything, and the headers say so."""
    with capture(lifecycle="stream", sample_rate=0.0, store=tmp_path / "t.db") as captured:
        with telemetry.conversation("host", id="c-1"), traces.start_span("plain"):
            assert telemetry.trace_headers()["sentry-trace"].endswith("-0")
        assert captured.streamed == []
        stored = TraceStore(tmp_path / "t.db").conversation("c-1")
    assert stored is not None
    assert [span.name for span in stored.spans] == ["host", "plain"]


# -- Sentry's own spans --------------------------------------------------------------------------


def test_what_sentry_sees_is_the_record(captured: Captured) -> None:
    """Its current span reads and writes ours: name, op, attributes, status, times."""
    with telemetry.conversation("host") as conversation:
        assert traces.get_current_span() is conversation.transaction
        with telemetry.span("gen_ai.chat", "reply", attributes={"a": 1}) as span:
            assert isinstance(span, Span)
            theirs = traces.get_current_span()
            assert theirs is not None
            assert (theirs.span_id, theirs.trace_id) == (span.id, conversation.trace_id)
            assert theirs.get_attributes()["a"] == 1
            assert theirs.start_timestamp is not None
            assert theirs.start_timestamp.timestamp() == pytest.approx(span.started_at)
            theirs.name = "answer"
            theirs.set_attributes({"b": 2, "sentry.op": "gen_ai.responses"})
            theirs.remove_attribute("a")
            theirs.status = "error"
    assert (span.name, span.op, span.attributes) == ("answer", "gen_ai.responses", {"b": 2})
    assert span.status == "internal_error"


async def test_a_plain_span_is_recorded_once_wherever_it_ends(captured: Captured) -> None:
    """Current from start to end without a block; ended by another task, its opener goes on."""
    async with telemetry.conversation("host") as conversation:
        opened = traces.start_span("opened", {"sentry.op": "plain"})
        with telemetry.span("inside"):
            pass
        aside = traces.start_span("aside", parent_span=opened, active=False)
        assert traces.get_current_span() is opened
        await asyncio.create_task(_end(opened))
        assert traces.get_current_span() is conversation.transaction
        with telemetry.span("after"):
            pass
        aside.end()

    [event] = captured.transactions
    assert captured.tree(event) == (
        "conversation host\n├─ plain opened\n│  ├─ inside\n│  └─ default aside\n└─ after"
    )
    stats = captured.runtime.stats()
    assert (stats.spans, stats.open_at_finish) == (len(captured.streamed) - 1, 0)


async def _end(span: traces.StreamedSpan) -> None:
    span.end()


def test_a_segment_of_ones_own_is_left_to_sentry(captured: Captured) -> None:
    """`parent_span=None` asks for one, inside a conversation too: same trace, Sentry's delivery."""
    with telemetry.conversation("host") as conversation:
        with traces.start_span("GET /", {"sentry.op": "http.server"}, parent_span=None):
            with traces.start_span("below"):
                pass
            with telemetry.span("ours"):
                pass
        with telemetry.span("after"):
            pass

    assert sorted(map(captured.tree, captured.transactions)) == [
        "conversation host\n├─ ours\n└─ after",
        "http.server GET /\n└─ default below",
    ]
    assert {span["trace_id"] for span in captured.streamed} == {conversation.trace_id}


def test_in_a_web_services_segment_a_span_is_its_child(captured: Captured) -> None:
    """There is no public way to backdate it: its true start is an attribute."""
    with traces.start_span("GET /", {"sentry.op": "http.server"}) as segment:
        with telemetry.span("db.query", "select", attributes={"rows": 1}) as span:
            assert traces.get_current_span() is not segment
            span.start_span("inner", started_at=100.0).finish()
            headers = telemetry.trace_headers()["sentry-trace"]
            assert headers.startswith(f"{segment.trace_id}-{span.id}")
        with pytest.raises(LookupError), telemetry.span("fails"):
            raise LookupError

    [event] = captured.transactions
    assert captured.tree(event) == "http.server GET /\n├─ db.query select\n│  └─ inner\n└─ fails"
    data = {span["op"]: span["data"] for span in event["spans"]}
    assert (data["db.query"]["rows"], data["inner"][STARTED_AT]) == (1, 100.0)
    assert data["fails"]["error.type"] == "LookupError"
    assert captured.runtime.stats().orphan_spans == 0


# -- delivery isn't traced -----------------------------------------------------------------------


def test_delivery_is_not_traced() -> None:
    """A DSN with a port looks like any other host: a traced delivery would trace its delivery."""
    with (
        Ingest() as ingest,
        Ingest() as service,
        telemetry.init(
            dsn=ingest.dsn, lifecycle="stream", integrations=[StdlibIntegration()], enable_logs=True
        ) as runtime,
    ):
        with telemetry.conversation("host"), telemetry.span("gen_ai.chat"):
            connection = http.client.HTTPConnection(urlsplit(service.dsn).netloc.partition("@")[2])
            connection.request("POST", "/", b"{}")
            connection.getresponse()
            connection.close()
            logging.getLogger("app").warning("said")
        for _ in range(3):  # what one delivery recorded would be in the next
            assert runtime.flush()

        ops = [_values(span)["sentry.op"] for span in ingest.spans]
        assert sorted(ops) == ["conversation", "gen_ai.chat", "http.client"]
        assert not any("sentry-trace" in request.headers for request in ingest.requests)
        assert ["sentry-trace" in request.headers for request in service.requests] == [True]
