"""A real Sentry ingest endpoint for tests, and the real ingestion's verdict on what arrives.

::

    with Ingest() as ingest:
        telemetry.init(dsn=ingest.dsn)
        ...
        ingest.wait_for(lambda: len(ingest.transactions) == 1)
        assert_accepted(ingest.transactions[0])

It listens on a port of its own, keeps connections alive, and misbehaves on request:
:meth:`Ingest.answer`, :meth:`Ingest.hang`, :meth:`Ingest.refuse`, :meth:`Ingest.slow`, and
:meth:`Ingest.heal` to be well again. Only envelopes answered with a success count as received.
"""

from __future__ import annotations

import enum
import gzip
import json
import re
import threading
import time
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from sentry_relay.exceptions import RelayError
from sentry_relay.processing import StoreNormalizer
from sentry_sdk.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


class _Mood(enum.Enum):
    ANSWERING = enum.auto()
    HANGING = enum.auto()
    REFUSING = enum.auto()


@dataclass(frozen=True, slots=True)
class _Behaviour:
    mood: _Mood = _Mood.ANSWERING
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    """Set when another behaviour takes its place: what hangs or waits stops."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in, whatever it was answered."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    client: tuple[str, int]
    """Address and port of the caller: the same for all requests on one connection."""
    size: int
    """Bytes of the body on the wire."""


class Ingest:
    """An ingest endpoint on a free local port, from ``with`` to the end of the block."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._behaviour = _Behaviour()
        self._requests: list[Request] = []
        self._envelopes: list[Envelope] = []
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="ingest"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.refuse()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # -- what arrived --------------------------------------------------------------------------

    @property
    def dsn(self) -> str:
        """The DSN of its only project."""
        return f"http://key@127.0.0.1:{self._server.server_port}/1"

    @property
    def requests(self) -> list[Request]:
        """All requests so far, answered or not."""
        with self._changed:
            return list(self._requests)

    @property
    def envelopes(self) -> list[Envelope]:
        """Envelopes received, in order of arrival."""
        with self._changed:
            return list(self._envelopes)

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """Transaction events received, as Sentry would decode them."""
        return self._events("transaction")

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Streamed spans received."""
        return [span for envelope in self.envelopes for span in spans_in(envelope)]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Error and message events received."""
        return self._events("event")

    def _events(self, kind: str) -> list[dict[str, Any]]:
        items = (item for envelope in self.envelopes for item in envelope if item.type == kind)
        return [item.payload.json for item in items if item.payload.json is not None]

    def wait_for(self, predicate: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait until the predicate is true; it is asked again whenever something arrives.

        Raises:
            AssertionError: it wasn't within ``timeout`` seconds. Says what had arrived.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not predicate():
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            else:
                return
        raise AssertionError(
            f"not within {timeout} s: {len(self.requests)} requests, "
            f"{len(self.transactions)} transactions and {len(self.errors)} errors arrived"
        )

    # -- how it behaves ------------------------------------------------------------------------

    def heal(self) -> None:
        """Answer everything with 200, as at first."""
        self._behave(_Behaviour())

    def answer(
        self, status: int, headers: Mapping[str, str] | None = None, *, delay: float = 0.0
    ) -> None:
        """Answer with this status: 429 with ``Retry-After``, 500, 413, or 200 with limits; so many
        seconds later, or as soon as it is to behave otherwise."""
        self._behave(_Behaviour(status=status, headers=headers or {}, delay=delay))

    def hang(self) -> None:
        """Read requests and never answer; connections end when it behaves otherwise."""
        self._behave(_Behaviour(_Mood.HANGING))

    def refuse(self) -> None:
        """Close connections without an answer."""
        self._behave(_Behaviour(_Mood.REFUSING))

    def slow(self, seconds: float) -> None:
        """Answer with 200, this much later."""
        self._behave(_Behaviour(delay=seconds))

    def _behave(self, behaviour: _Behaviour) -> None:
        with self._changed:
            before, self._behaviour = self._behaviour, behaviour
        before.over.set()

    def _take(self, request: Request, body: bytes) -> _Behaviour | None:
        """Record a request; how to answer it, or None to close the connection."""
        with self._changed:
            self._requests.append(request)
            behaviour = self._behaviour
            self._changed.notify_all()
        match behaviour.mood:
            case _Mood.REFUSING:
                return None
            case _Mood.HANGING:
                behaviour.over.wait()
                return None
            case _Mood.ANSWERING:
                behaviour.over.wait(behaviour.delay)
        if behaviour.status >= 300:
            return behaviour
        try:
            envelope = Envelope.deserialize(_decode(body, request.headers))
        except (ValueError, OSError, EOFError, zlib.error):
            return _Behaviour(status=400)
        with self._changed:
            self._envelopes.append(envelope)
            self._changed.notify_all()
        return behaviour


def _decode(body: bytes, headers: Mapping[str, str]) -> bytes:
    match headers.get("content-encoding", "identity"):
        case "identity":
            return body
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
        case "br":  # the SDK's own, where the package is installed
            import brotli

            decompressed: bytes = brotli.decompress(body)
            return decompressed
        case other:
            raise ValueError(f"no such content encoding here: {other}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # idle keep-alive connections outlive the block
    request_queue_size = 128

    def __init__(self, ingest: Ingest) -> None:
        self.ingest = ingest
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Callers that time out leave broken connections behind: that is what tests do."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            client=self.client_address,
            size=len(body),
        )
        answer = self.server.ingest._take(request, body)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Requests aren't logged."""


# -- what Sentry would say ---------------------------------------------------------------------


def assert_accepted(event: Mapping[str, Any], *others: Mapping[str, Any]) -> None:
    """Assert that Sentry takes a transaction whole and that its spans form a tree.

    It goes through Relay's own store normaliser: nothing may be rejected, removed or cut. Every
    span must have an id of its own, the transaction's trace, and a parent that is the transaction,
    one of its spans, or in one of ``others``: transactions of the same trace.
    """
    # without what the SDK itself has noted, what is found is Relay's verdict
    given = {key: value for key, value in event.items() if key != "_meta"}
    try:
        verdict = StoreNormalizer(project_id=1).normalize_event(given)
    except RelayError as error:
        raise AssertionError(f"Sentry rejects it: {str(error).splitlines()[0]}") from None
    problems = [*_notes(verdict.get("_meta")), *(verdict.get("errors") or [])]
    assert not problems, f"Sentry changes it: {problems}"

    root, spans = _ids(event)
    assert len(verdict.get("spans") or []) == len(spans), "Sentry drops spans"
    assert len({root, *spans}) == len(spans) + 1, "a span's id is used twice"
    trace = event["contexts"]["trace"]["trace_id"]
    known = {root, *spans}
    for other in others:
        if other["contexts"]["trace"]["trace_id"] == trace:
            other_root, other_spans = _ids(other)
            known |= {other_root, *other_spans}
    for span in event.get("spans") or []:
        place = f"span {span['op']!r} ({span.get('description')!r})"
        assert span["trace_id"] == trace, f"{place} is in another trace"
        assert span.get("parent_span_id") in known, f"{place} has no parent in its trace"


_TYPES = {"boolean": bool, "integer": int, "double": float, "string": str, "array": list}


def spans_in(envelope: Envelope) -> list[dict[str, Any]]:
    """The streamed spans of an envelope."""
    spans: list[dict[str, Any]] = []
    for item in envelope:
        if item.type == "span":
            spans += json.loads(item.get_bytes())["items"]
    return spans


def assert_spans_accepted(envelope: Envelope) -> None:
    """Assert that an envelope of streamed spans is as the protocol has it.

    Relay's library can't check these; the rules are written down at
    https://develop.sentry.dev/sdk/telemetry/spans/span-protocol/.
    """
    [item] = envelope.items
    spans = spans_in(envelope)
    assert item.headers["content_type"] == "application/vnd.sentry.items.span.v2+json"
    assert item.headers["item_count"] == len(spans) <= 1_000
    assert {"trace_id", "public_key"} <= envelope.headers["trace"].keys()
    assert {span["trace_id"] for span in spans} == {envelope.headers["trace"]["trace_id"]}
    for span in spans:
        assert re.fullmatch("[0-9a-f]{16}", span["span_id"])
        assert re.fullmatch("[0-9a-f]{16}", span.get("parent_span_id", span["span_id"]))
        assert span["name"]
        assert span["status"] in ("ok", "error")
        assert isinstance(span["is_segment"], bool)
        assert span["end_timestamp"] >= span["start_timestamp"]
        for name, attribute in span["attributes"].items():
            assert type(attribute["value"]) is _TYPES[attribute["type"]], name


def _ids(event: Mapping[str, Any]) -> tuple[str, list[str]]:
    spans: Iterable[Mapping[str, Any]] = event.get("spans") or []
    return event["contexts"]["trace"]["span_id"], [span["span_id"] for span in spans]


def _notes(meta: object, path: str = "") -> Iterator[str]:
    """Relay's notes on an event: a tree like the event's, with the note under the key ``""``."""
    if not isinstance(meta, dict):
        return
    for key, value in meta.items():
        if key == "":
            yield f"{path}: {value}"
        else:
            yield from _notes(value, f"{path}.{key}" if path else key)
