"""Each form in which spans leave for Sentry becomes the SDK's spans, with all that they say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from sentry_sdk.envelope import Envelope, Item, PayloadRef

from telemetry.encoding.streamed_spans import BEGINNING
from telemetry.integrations.otlp.readable import Readable

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

TRACE, ROOT, CHILD, CALLER = "ab" * 16, "01" * 8, "02" * 8, "03" * 8


def _spans(*items: Item) -> list[ReadableSpan]:
    return [*Readable("desk").spans_of(Envelope({}, [*items]))]


def _transaction(**changes: Any) -> Item:
    event = {
        "type": "transaction",
        "transaction": "GET /",
        "contexts": {
            "trace": {
                "trace_id": TRACE,
                "span_id": ROOT,
                "parent_span_id": CALLER,
                "op": "http.server",
                "origin": "auto.http",
            }
        },
        "start_timestamp": "2026-11-26T10:00:00.250000Z",
        "timestamp": "2026-11-26T10:00:01Z",
        "spans": [],
    }
    return Item(PayloadRef(json={**event, **changes}), type="transaction")


def _streamed(**changes: Any) -> dict[str, Any]:
    span: dict[str, Any] = {"trace_id": TRACE, "span_id": CHILD, "parent_span_id": ROOT}
    span |= {"name": "SELECT"}
    span |= {"status": "ok", "is_segment": False, "start_timestamp": 1.25, "end_timestamp": 2.5}
    return {**span, "attributes": {}, **changes}


def test_a_transaction_as_the_sdk_writes_it() -> None:
    """Dates as text, no status: nobody said that it was well. Its parent is somebody else's."""
    [span] = _spans(_transaction())
    assert (span.name, span.kind, span.status.status_code) == (
        "GET /",
        SpanKind.SERVER,
        StatusCode.UNSET,
    )
    assert (span.start_time, span.end_time) == (1_795_687_200_250_000_000, 1_795_687_201 * 10**9)
    assert span.context is not None
    assert (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}") == (TRACE, ROOT)
    assert span.parent is not None
    assert (f"{span.parent.span_id:016x}", span.parent.is_remote) == (CALLER, True)
    assert span.attributes == {"sentry.op": "http.server", "sentry.origin": "auto.http"}


def test_a_span_that_says_little() -> None:
    """Its op is its name; what isn't known isn't there; the parent is of the same process."""
    child: dict[str, Any] = {"trace_id": TRACE, "span_id": CHILD, "parent_span_id": ROOT}
    child |= {"op": "db"}
    child |= {"start_timestamp": 1.0, "description": None, "status": "cancelled"}
    _, span = _spans(_transaction(spans=[child]))
    assert (span.name, span.kind) == ("db", SpanKind.CLIENT)
    assert (span.start_time, span.end_time) == (10**9, 10**9)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "cancelled")
    assert span.parent is not None
    assert not span.parent.is_remote
    assert span.attributes == {"sentry.op": "db", "sentry.status.message": "cancelled"}


def test_whose_it_is() -> None:
    """User and tags are attributes of the root; release and environment are the process's."""
    [span] = _spans(
        _transaction(
            user={"id": "u1", "username": "Ada", "email": None},
            tags={"tenant": "acme"},
            release="1.2",
            environment="test",
        )
    )
    assert span.attributes is not None
    assert {name: span.attributes.get(name) for name in ("user.id", "user.name", "tenant")} == {
        "user.id": "u1",
        "user.name": "Ada",
        "tenant": "acme",
    }
    assert "user.email" not in span.attributes
    wanted = {"service.name": "desk", "service.version": "1.2"}
    wanted["deployment.environment.name"] = "test"
    assert wanted.items() <= dict(span.resource.attributes).items()


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """In OpenTelemetry's own variables, which are the operator's."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "front")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=p-1")
    [span] = _spans(_transaction())
    found = span.resource.attributes
    assert (found["service.name"], found["k8s.pod.name"]) == ("front", "p-1")


@pytest.mark.parametrize("form", ["ours", "another's", "the SDK's"])
def test_streamed_spans(form: str) -> None:
    """As the bytes that are made of a conversation's, as other bytes, and as the SDK has them."""
    members = [
        _streamed(attributes={"a": {"value": 'x"]},{"', "type": "string"}}),
        _streamed(
            status="error",
            attributes={"sentry.status.message": {"value": "aborted", "type": "string"}},
        ),
    ]
    content = {"version": 2, "items": members}
    compact = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    assert compact.startswith(BEGINNING)
    payload = {
        "ours": PayloadRef(bytes=compact),
        "another's": PayloadRef(bytes=json.dumps(content, indent=1).encode()),
        "the SDK's": PayloadRef(json=content),
    }[form]
    first, second = _spans(Item(payload, type="span"))
    assert (first.name, first.attributes) == ("SELECT", {"a": 'x"]},{"'})
    assert (first.start_time, first.end_time) == (1_250_000_000, 2_500_000_000)
    assert first.status.status_code is StatusCode.OK
    assert (second.status.status_code, second.status.description) == (StatusCode.ERROR, "aborted")


def test_values_that_a_collector_cannot_take() -> None:
    """Are JSON as text: dicts, mixed lists, numbers past 64 bits; None isn't there."""
    data = {"a": {"b": 1}, "c": [1, "x"], "d": 2**70, "e": None, "f": [1, 2], "g": True}
    child = {"trace_id": TRACE, "span_id": CHILD, "parent_span_id": ROOT, "op": "db", "data": data}
    _, span = _spans(_transaction(spans=[child]))
    assert span.attributes is not None
    found = {name: value for name, value in span.attributes.items() if len(name) == 1}
    wanted: dict[str, Any] = {"a": '{"b": 1}', "c": '[1, "x"]', "d": str(2**70), "f": [1, 2]}
    assert found == {**wanted, "g": True}


def test_what_holds_no_spans() -> None:
    """Errors and logs are Sentry's alone."""
    assert _spans(Item(PayloadRef(json={"message": "x"}), type="event")) == []
