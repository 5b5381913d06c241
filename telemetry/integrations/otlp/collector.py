"""A collector, reached by OTLP over HTTP with the exporter of OpenTelemetry's SDK.

That one tries again, at most until its timeout, while the collector says that it is busy or can't
be reached. Of what the environment says it heeds ``OTEL_EXPORTER_OTLP_HEADERS``, ``…_CERTIFICATE``,
``…_CLIENT_CERTIFICATE``, ``…_CLIENT_KEY``, and the proxies. It takes a redirect for a success, and
doesn't read what a collector says of spans that it has refused: both are looked at here.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import requests
from google.protobuf.message import DecodeError
from opentelemetry import context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_CERTIFICATE,
    OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE,
    OTEL_EXPORTER_OTLP_TRACES_HEADERS,
)
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.util.re import parse_env_headers

from ...errors import TelemetryError
from .readable import Readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from sentry_sdk.envelope import Envelope

TIMEOUT_SECONDS: Final = 10.0
"""For a request with all its attempts: the SDK's own default."""
AT_ONCE: Final = 512
"""Spans in a request: as many as the SDK's own processor puts into one."""
SUPPRESSED: Final = "suppress_instrumentation"
"""The key in OpenTelemetry's context that its instrumentations look for: they leave us alone."""
_CERTIFICATES: Final = (OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE, OTEL_EXPORTER_OTLP_CERTIFICATE)
_HEADERS: Final = (OTEL_EXPORTER_OTLP_TRACES_HEADERS, OTEL_EXPORTER_OTLP_HEADERS)
"""Variables of OpenTelemetry's, the one that goes before first."""
_REDIRECTS: Final = "redirects elsewhere: give the URL where it takes traces"
_MEND: Final = {
    401: "look at the headers",
    403: "look at the headers",
    404: "it takes no traces at this path",
    405: "it takes no traces at this path",
    415: "it takes no protobuf",
}
_ENDPOINT: Final = re.compile(r"https?://[^\s/?#@]+/[^\s?#]+")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~\w-]+", re.ASCII)
_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class Collector:
    """A collector of OpenTelemetry's, for ``telemetry.init(otlp=…)``.

    Args:
        endpoint: where it takes traces, path included: ``http://127.0.0.1:4318/v1/traces``.
        headers: for each request, such as an API key.
        service: the name of the service, unless ``OTEL_SERVICE_NAME`` says another.
        ca_certs: a file of certificates to trust, unless ``OTEL_EXPORTER_OTLP_CERTIFICATE`` or
            ``REQUESTS_CA_BUNDLE`` name one.

    Raises:
        TelemetryError: the endpoint is no such URL, or a header is none.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        service: str = "agent",
        ca_certs: str | None = None,
    ) -> None:
        if not _ENDPOINT.fullmatch(endpoint):
            raise TelemetryError(
                "the OTLP endpoint must be the URL where traces are taken, like "
                "http://127.0.0.1:4318/v1/traces: with a path, without user, password and query"
            )
        for name, value in (headers or {}).items():
            if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value):
                raise TelemetryError(f"the OTLP header {name!r} can't be sent: its name or value")
        self._endpoint = endpoint
        self._headers = dict(headers or {})
        self._service = service
        self._ca_certs = None if any(map(os.environ.get, _CERTIFICATES)) else ca_certs

    def connect(self) -> Exporting:
        """An exporter of its own, for one thread of one process."""
        session = requests.Session()
        return Exporting(self._exporter(session), session, Readable(self._service))

    def reach(self, timeout: float = TIMEOUT_SECONDS) -> str:
        """Send an empty request once, which leaves nothing; returns the host that has taken it.

        Raises:
            TelemetryError: it isn't taken. One line of text, with nothing in it that is secret.
        """
        host = urlsplit(self._endpoint).netloc
        said = next(filter(None, map(os.environ.get, _HEADERS)), "")
        own = {"content-type": "application/x-protobuf", **self._headers}
        with requests.Session() as session:
            self._exporter(session)  # which gives it certificates
            try:
                answer = session.post(
                    self._endpoint,
                    headers={**parse_env_headers(said, liberal=True), **own},
                    timeout=timeout,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                raise TelemetryError(f"{host} can't be reached ({_reason(error)})") from None
        if answer.is_redirect:
            raise TelemetryError(f"{host} {_REDIRECTS}")
        if not answer.ok:
            mend = _MEND.get(answer.status_code, "look at its log")
            raise TelemetryError(f"{host} answers HTTP {answer.status_code}: {mend}")
        return host

    def _exporter(self, session: requests.Session) -> OTLPSpanExporter:
        return OTLPSpanExporter(
            endpoint=self._endpoint,
            headers=self._headers,
            timeout=TIMEOUT_SECONDS,
            certificate_file=self._ca_certs,
            compression=Compression.Gzip,
            session=session,
        )


def _reason(error: BaseException) -> str:
    """What the system says, if it has said anything."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__context__
    return type(error).__name__


class Exporting:
    """Exports the spans of envelopes; see :class:`telemetry.delivery.collector_lane.Connection`."""

    def __init__(
        self, exporter: OTLPSpanExporter, session: requests.Session, readable: Readable
    ) -> None:
        session.hooks["response"].append(self._look_at)
        self._exporter = exporter
        self._readable = readable
        self._refused = 0
        """Spans of the last request that the collector has refused, of those it was sent."""
        self._is_closed = False

    def send(self, envelopes: Sequence[Envelope]) -> int:
        """Send the spans of envelopes; the number of those that the collector hasn't taken."""
        spans = chain.from_iterable(map(self._readable.spans_of, envelopes))
        lost = 0
        token = context.attach(context.set_value(SUPPRESSED, True))
        try:
            while batch := [*islice(spans, AT_ONCE)]:
                lost += self._export(batch)
        finally:
            context.detach(token)
        return lost

    def _export(self, batch: Sequence[ReadableSpan]) -> int:
        self._refused = 0
        if self._is_closed or self._exporter.export(batch) is not SpanExportResult.SUCCESS:
            return len(batch)
        return self._refused

    def _look_at(self, response: requests.Response, **_: object) -> None:
        if response.is_redirect:
            response.close()
            raise requests.TooManyRedirects(f"the collector {_REDIRECTS}")
        if response.ok and response.content:
            with suppress(DecodeError):
                answer = ExportTraceServiceResponse.FromString(response.content)
                self._refused = answer.partial_success.rejected_spans

    def close(self) -> None:
        """Wait for no further attempt, and release connections. Idempotent, from any thread."""
        if not self._is_closed:
            self._is_closed = True
            self._exporter.shutdown()  # type: ignore[no-untyped-call]
