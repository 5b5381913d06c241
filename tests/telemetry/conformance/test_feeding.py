"""Delivery never feeds on itself: what carries things away, or is asked, adds nothing to them."""

from __future__ import annotations

import gzip
import http.server
import logging
import threading
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import sentry_sdk

import telemetry
from telemetry.attributes import USER_WORDS
from telemetry.testing import capture

from .whole import assert_faultless, trees

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .whole import Lifecycle

app = logging.getLogger("app")


class Service(http.server.ThreadingHTTPServer):
    """Something that answers, as Spotlight's side-car does, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/stream"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        gzipped = body.startswith(b"\x1f\x8b")
        self.server.bodies.append(gzip.decompress(body) if gzipped else body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def _serving() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


def _talk() -> None:
    with telemetry.conversation("host", user={"id": "ada"}), telemetry.span("turn"):
        app.error("no table for %s", "violet tulip")


# -- Spotlight -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"enable_logs": True, "debug": True}], ids=["", "logs and debug"]
)
def test_the_side_car_gets_each_envelope_once(lifecycle: Lifecycle, options: Any) -> None:
    """Its own delivery is none: it makes no span, log or error."""
    with _serving() as service:
        with capture(lifecycle=lifecycle, spotlight=service.url, **options) as captured:
            _talk()
            assert trees(captured) == ["conversation host\n└─ turn"]
            assert len(captured.errors) == 1
            assert_faultless(captured)
            envelopes = captured.envelopes
        assert len(service.bodies) == len(envelopes)  # closing has waited for the last


def test_a_side_car_where_nothing_listens(lifecycle: Lifecycle) -> None:
    """Costs nothing but the copy."""
    with _serving() as gone:
        url = gone.url
    with capture(lifecycle=lifecycle, spotlight=url) as captured:
        _talk()
        assert trees(captured) == ["conversation host\n└─ turn"]
        assert len(captured.errors) == 1
        assert_faultless(captured)


@pytest.mark.parametrize("dsn", ["https://k@o1.ingest.sentry.invalid/1", None], ids=["dsn", ""])
def test_words_leave_with_neither(lifecycle: Lifecycle, dsn: str | None) -> None:
    """What was said, quoted by an error and a log, is not in what Sentry gets, nor the side-car."""
    said = b"violet tulip"
    with _serving() as service:
        given: dict[str, Any] = {"dsn": dsn, "enable_logs": True, "spotlight": service.url}
        with capture(lifecycle=lifecycle, **given) as captured:
            with telemetry.conversation("host"):
                with telemetry.span("turn", attributes={USER_WORDS: f"It is {said.decode()}."}):
                    pass
                app.error("no table for %s", said.decode())
                sentry_sdk.capture_message(f"no table for {said.decode()}", level="error")
            assert len(captured.errors) == 2
            envelopes = captured.envelopes
        assert not [envelope for envelope in envelopes if said in envelope]
        assert service.bodies
        assert not [body for body in service.bodies if said in body]


# -- hooks that ask --------------------------------------------------------------------------------

ONLY_IN: Final[dict[str, Lifecycle]] = {
    "before_send_transaction": "transaction",
    "before_send_span": "stream",
}
"""Hooks that Sentry asks in one lifecycle only."""


@pytest.mark.parametrize(
    "hook", ["before_send", "before_send_transaction", "before_send_span", "event processor"]
)
def test_a_hook_that_asks_and_reports_is_asked_once(lifecycle: Lifecycle, hook: str) -> None:
    """By a traced client, and logging an error: delivered, each would have it asked again."""
    lifecycle = ONLY_IN.get(hook, lifecycle)
    asked: list[str] = []
    with _serving() as service:

        def ask(event: Any, hint: Any) -> Any:
            asked.append(hook)
            urllib.request.urlopen(service.url).read()  # noqa: S310 - our own service
            app.error("in hook")
            sentry_sdk.capture_message("in hook", level="error")
            sentry_sdk.add_breadcrumb(message="in hook")
            with telemetry.span("in hook"):
                pass
            return event

        given: dict[str, Any] = {} if hook == "event processor" else {hook: ask}
        with capture(lifecycle=lifecycle, **given) as captured:
            with telemetry.conversation("host"), telemetry.span("turn"):
                if hook == "event processor":
                    sentry_sdk.get_isolation_scope().add_event_processor(ask)
                app.error("failed")
            assert trees(captured) == ["conversation host\n└─ turn"]
            assert [event["logentry"]["formatted"] for event in captured.errors] == ["failed"]
            assert_faultless(captured)
        assert len(service.bodies) == len(asked) > 0
        assert len(asked) <= 3
