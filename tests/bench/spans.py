"""What one span of 8 attributes costs: ours, raw sentry-sdk's, the OpenTelemetry SDK's.

``loop`` is the CPU time that recording takes in the thread that records, which is a call's event
loop. ``all`` is the CPU time of the whole process until a null transport has the bytes: spans
serialised and encoded as they would go over the wire (Sentry envelopes, OTLP protobuf), without
compression. Both are microseconds a span. CPU time, because a machine that is busy with other
things stretches the wall clock's.
"""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import sentry_sdk
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from sentry_sdk.transport import Transport

import telemetry
from telemetry import attributes as names
from telemetry import configure
from telemetry.delivery.sender import Delivered, Sent
from telemetry.delivery.thread import Delivery
from telemetry.encoding.envelope import encode

from .figures import Figure, medians

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.sdk.trace import ReadableSpan
    from sentry_sdk.envelope import Envelope

SPANS = 500
"""In one conversation: fewer than Sentry takes in a transaction, so that nobody drops any."""
ATTRIBUTES: Mapping[str, Any] = {
    names.GEN_AI_OPERATION_NAME: "chat",
    names.GEN_AI_PROVIDER_NAME: "openai",
    names.GEN_AI_REQUEST_MODEL: "gpt-4.1-mini",
    names.GEN_AI_RESPONSE_MODEL: "gpt-4.1-mini-2025-04-14",
    names.GEN_AI_USAGE_INPUT_TOKENS: 1250,
    names.GEN_AI_USAGE_OUTPUT_TOKENS: 42,
    names.GEN_AI_TIME_TO_FIRST_TOKEN: 0.213,
    names.TURN_INDEX: 7,
}

HANDLE, BLOCK, STREAMED = "handle", "block", "block, stream lifecycle"
SENTRY_HANDLE, SENTRY_BLOCK = "sentry start_child", "sentry with start_span"
SENTRY_STREAMED = "sentry streamed start_span"
OTEL_HANDLE, OTEL_BLOCK = "OpenTelemetry start_span", "OpenTelemetry as current"
WHERE: Mapping[str, str] = {"loop": "on the loop", "all": "all in"}
_DSN = "http://key@localhost:9/1"


class NullOutlet:
    """Where our envelopes end: encoded, then forgotten."""

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Sent:
        """Encode it."""
        encode(envelope)
        return Delivered()

    def close(self) -> None:
        """Nothing to release."""


class _NullTransport(Transport):
    """Where raw sentry-sdk's envelopes end, likewise."""

    def capture_envelope(self, envelope: Envelope) -> None:
        envelope.serialize()


class _NullExporter(SpanExporter):
    """Where OpenTelemetry's spans end, likewise."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


# -- the contenders: each yields a function that records one span, and delivers at the end -----


@contextmanager
def _ours(*, block: bool, streaming: bool = False) -> Iterator[Callable[[], None]]:
    delivery = Delivery(store=None, sender=NullOutlet(), streaming=streaming)
    with (
        configure.start(delivery, strict=True, traces_sample_rate=1.0),
        telemetry.conversation("bench") as conversation,
    ):

        def handle() -> None:
            conversation.start_span("gen_ai.chat", "reply", attributes=ATTRIBUTES).finish()

        def entered() -> None:
            with telemetry.span("gen_ai.chat", "reply", attributes=ATTRIBUTES):
                pass

        yield entered if block else handle


@contextmanager
def _sentry(*, block: bool) -> Iterator[Callable[[], None]]:
    sentry_sdk.init(_DSN, transport=_NullTransport(), traces_sample_rate=1.0)
    with (
        sentry_sdk.isolation_scope(),
        sentry_sdk.start_transaction(op="conversation", name="bench") as transaction,
    ):

        def handle() -> None:
            span = transaction.start_child(op="gen_ai.chat", name="reply")
            span.update_data(dict(ATTRIBUTES))
            span.finish()

        def entered() -> None:
            with sentry_sdk.start_span(op="gen_ai.chat", name="reply") as span:
                span.update_data(dict(ATTRIBUTES))

        yield entered if block else handle
    sentry_sdk.get_client().close()


@contextmanager
def _sentry_streamed() -> Iterator[Callable[[], None]]:
    sentry_sdk.init(
        _DSN, transport=_NullTransport(), traces_sample_rate=1.0, trace_lifecycle="stream"
    )
    with sentry_sdk.isolation_scope(), sentry_sdk.traces.start_span(name="bench"):

        def entered() -> None:
            with sentry_sdk.traces.start_span(name="reply", attributes=dict(ATTRIBUTES)):
                pass

        yield entered
    sentry_sdk.get_client().close()


@contextmanager
def _opentelemetry(*, block: bool) -> Iterator[Callable[[], None]]:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_NullExporter()))
    tracer = provider.get_tracer("bench")
    with tracer.start_as_current_span("bench"):

        def handle() -> None:
            tracer.start_span("reply", attributes=ATTRIBUTES).end()

        def entered() -> None:
            with tracer.start_as_current_span("reply", attributes=ATTRIBUTES):
                pass

        yield entered if block else handle
    provider.shutdown()


def measure(rounds: int, spans: int = SPANS) -> list[Figure]:
    """All contenders, by turns."""
    contenders: dict[str, Callable[[], AbstractContextManager[Callable[[], None]]]] = {
        HANDLE: partial(_ours, block=False),
        BLOCK: partial(_ours, block=True),
        STREAMED: partial(_ours, block=True, streaming=True),
        SENTRY_HANDLE: partial(_sentry, block=False),
        SENTRY_BLOCK: partial(_sentry, block=True),
        SENTRY_STREAMED: _sentry_streamed,
        OTEL_HANDLE: partial(_opentelemetry, block=False),
        OTEL_BLOCK: partial(_opentelemetry, block=True),
    }
    found = medians(
        rounds, {name: partial(_measure, opened, spans) for name, opened in contenders.items()}
    )

    def compared(name: str, other: str, key: str, target: float | None = None) -> Figure:
        value = found[name][key]
        return Figure(
            f"{name}, {WHERE[key]}", value, "µs", value / found[other][key], other, target
        )

    return [
        compared(HANDLE, OTEL_HANDLE, "loop", 0.5),
        compared(HANDLE, SENTRY_HANDLE, "loop"),
        compared(BLOCK, SENTRY_BLOCK, "loop", 1.2),
        compared(BLOCK, OTEL_BLOCK, "loop"),
        compared(STREAMED, SENTRY_STREAMED, "loop"),
        compared(HANDLE, SENTRY_HANDLE, "all", 1.0),
        compared(HANDLE, OTEL_HANDLE, "all"),
        compared(BLOCK, SENTRY_BLOCK, "all", 1.0),
        compared(BLOCK, OTEL_BLOCK, "all"),
        compared(STREAMED, SENTRY_STREAMED, "all"),
        *(
            Figure(f"{name}, {WHERE[key]}", found[name][key], "µs")
            for name in (SENTRY_HANDLE, SENTRY_BLOCK, SENTRY_STREAMED, OTEL_HANDLE, OTEL_BLOCK)
            for key in WHERE
        ),
    ]


def _measure(
    opened: Callable[[], AbstractContextManager[Callable[[], None]]], spans: int
) -> dict[str, float]:
    gc.collect()
    with opened() as record:
        for _ in range(20):  # the first calls fill caches
            record()
        whole, loop = time.process_time(), time.thread_time()
        for _ in range(spans):
            record()
        on_loop = time.thread_time() - loop
    return {"loop": on_loop / spans * 1e6, "all": (time.process_time() - whole) / spans * 1e6}
