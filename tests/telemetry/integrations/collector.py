"""A collector of OpenTelemetry's for tests: it takes OTLP over HTTP, and remembers each span.

It answers with a status of the test's, or not at all while it hangs.
"""

from __future__ import annotations

import gzip
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span


CERTIFICATES: Final = Path(__file__).parents[1] / "delivery" / "certificates"


@dataclass(frozen=True, slots=True)
class Collected:
    """A span as it was taken, its ids in hex digits."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    started_at: float
    ended_at: float
    """Unix seconds."""
    kind: str
    status: str
    message: str
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


class Collector:
    """One on a free local port, from ``with`` to the end of the block.

    Args:
        tls: whether it is asked over TLS, by a certificate of ``ca.pem``.

    Attributes:
        status: that of each answer.
        headers: those of each answer.
        refuses: spans of each request that it says it has refused.
        requests: headers of the requests so far, names in lower case.
        spans: the spans so far.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self._scheme = "https" if tls else "http"
        self.status = 200
        self.headers: dict[str, str] = {}
        self.refuses = 0
        self.requests: list[dict[str, str]] = []
        self.spans: list[Collected] = []
        self.asked = threading.Event()
        """A request has come."""
        self._answers = threading.Event()
        self._answers.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATES / "server.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._answers.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """Where it takes traces."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/v1/traces"

    def hang(self) -> None:
        """Take requests and don't answer, until :meth:`heal`."""
        self._answers.clear()

    def heal(self) -> None:
        """Answer again, also what waits."""
        self._answers.set()

    def take(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """A request; returns the body of its answer."""
        self.requests.append({name.lower(): value for name, value in headers.items()})
        self.asked.set()
        self._answers.wait()
        if self.status >= 300:
            return b""
        if self.requests[-1].get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.spans += _collected(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.refuses
        return answer.SerializeToString()


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = collector.take(dict(self.headers), body)
            self.send_response(collector.status)
            for name, value in collector.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Requests aren't logged."""

    return Handler


def _collected(request: ExportTraceServiceRequest) -> list[Collected]:
    return [
        _span(span, _values(resource.resource.attributes))
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _span(span: Span, resource: Mapping[str, Any]) -> Collected:
    return Collected(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        name=span.name,
        started_at=span.start_time_unix_nano / 1e9,
        ended_at=span.end_time_unix_nano / 1e9,
        kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        status=span.status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_").lower(),
        message=span.status.message,
        attributes=_values(span.attributes),
        resource=resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(attributes)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    assert kind is not None
    if kind == "array_value":
        return [_value(element) for element in value.array_value.values]
    return getattr(value, kind)
