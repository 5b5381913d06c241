"""Sending envelopes to a real HTTP endpoint."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Literal

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope, Item, PayloadRef

from telemetry.delivery.drops import NETWORK_ERROR, RATE_LIMITED, TOO_LARGE, UNENCODABLE
from telemetry.delivery.sender import Delivered, Dropped, Retry, Sender
from telemetry.delivery.unobserved import unobserved
from telemetry.errors import TelemetryError
from tests.ingest import Ingest, assert_accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRACE = "ab" * 16
ROOT = "cd" * 8


def transaction(spans: int = 3, **more: Any) -> dict[str, Any]:
    """A transaction event with this many spans, all children of the root."""
    return {
        "type": "transaction",
        "event_id": "ef" * 16,
        "transaction": "hôte",
        "start_timestamp": 1_795_000_000.0,
        "timestamp": 1_795_000_010.0,
        "contexts": {"trace": {"trace_id": TRACE, "span_id": ROOT, "op": "conversation"}},
        "spans": [
            {
                "span_id": f"{number:016x}",
                "parent_span_id": ROOT,
                "trace_id": TRACE,
                "op": "gen_ai.chat",
                "description": 'says "grüß\nGott"',
                "start_timestamp": 1_795_000_001.0,
                "timestamp": 1_795_000_002.0,
                "data": {"number": number, "words": ["a", "b"]},
            }
            for number in range(1, spans + 1)
        ],
        **more,
    }


def envelope(event: dict[str, Any] | None = None) -> Envelope:
    """An envelope with one transaction."""
    made = Envelope(headers={"event_id": "ef" * 16})
    made.add_transaction(event or transaction())  # type: ignore[arg-type] # Event is a TypedDict
    return made


def error_envelope() -> Envelope:
    """An envelope with one error event."""
    return Envelope(items=[Item(PayloadRef(json={"message": "oh"}), type="event")])


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    """An ingest endpoint."""
    with Ingest() as endpoint:
        yield endpoint


@pytest.fixture
def sender(ingest: Ingest) -> Iterator[Sender]:
    """A sender to it."""
    made = Sender(ingest.dsn)
    yield made
    made.close()


def test_delivered_as_it_was_given(ingest: Ingest, sender: Sender) -> None:
    """What arrives is what was sent: gzipped, authenticated, and acceptable to Sentry."""
    assert sender.send(envelope()) == Delivered()
    assert ingest.transactions == [transaction()]
    assert_accepted(ingest.transactions[0])
    (request,) = ingest.requests
    assert request.path == "/api/1/envelope/"
    assert request.headers["content-encoding"] == "gzip"
    assert "sentry_key=key" in request.headers["x-sentry-auth"]


def test_one_connection(ingest: Ingest, sender: Sender) -> None:
    """Requests share a connection, also after an error answer."""
    for status in (200, 500, 200):
        ingest.answer(status)
        sender.send(envelope())
    assert len({request.client for request in ingest.requests}) == 1


def test_what_has_no_json_form_is_dropped(ingest: Ingest, sender: Sender) -> None:
    """A value that can't be encoded costs its envelope, not the delivery thread."""
    assert sender.send(envelope(transaction(nan=float("nan")))) == Dropped(UNENCODABLE)
    assert ingest.requests == []


@pytest.mark.parametrize(
    ("misbehave", "sent"),
    [
        (lambda ingest: ingest.refuse(), Retry(None, NETWORK_ERROR)),
        (lambda ingest: ingest.hang(), Retry(None, NETWORK_ERROR)),
        (lambda ingest: ingest.answer(500), Retry(None, "http_500")),
        (lambda ingest: ingest.answer(503, {"Retry-After": "7"}), Retry(7.0, "http_503")),
        (lambda ingest: ingest.answer(413), Dropped(TOO_LARGE)),
        (lambda ingest: ingest.answer(400), Dropped("http_400")),
        (lambda ingest: ingest.answer(302, {"Location": "/"}), Dropped("http_302")),
    ],
    ids=["refused", "hangs", "500", "503", "413", "400", "redirect"],
)
def test_what_to_do_about_a_failure(
    ingest: Ingest,
    sender: Sender,
    misbehave: Callable[[Ingest], None],
    sent: Retry | Dropped,
) -> None:
    """Each failure says whether to try again, when, and under which reason to give up."""
    misbehave(ingest)
    assert sender.send(envelope(), timeout=0.3) == sent
    ingest.heal()
    assert sender.send(envelope()) == Delivered()


def test_nobody_listens() -> None:
    """A port where nothing listens is a network error."""
    with Ingest() as gone:
        dsn = gone.dsn
    assert Sender(dsn).send(envelope()) == Retry(None, NETWORK_ERROR)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (lambda: {"Retry-After": "30"}, 30),
        # a date is relative to when the test runs, not to when it was collected
        (lambda: {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=1))}, 3600),
        (lambda: {"Retry-After": "soon"}, 60),
        (dict, 60),
    ],
    ids=["seconds", "date", "junk", "none"],
)
def test_a_429_holds_everything(
    ingest: Ingest, sender: Sender, headers: Callable[[], dict[str, str]], seconds: float
) -> None:
    """After a 429 nothing is sent until the server wants it; the caller learns when that is."""
    ingest.answer(429, headers())
    first = sender.send(envelope())
    ingest.heal()
    second = sender.send(error_envelope())
    for sent in (first, second):
        assert isinstance(sent, Retry)
        assert sent.reason == RATE_LIMITED
        assert sent.after == pytest.approx(seconds, abs=30 if seconds == 3600 else 10)
    assert len(ingest.requests) == 1


def test_a_429_that_is_over_at_once(ingest: Ingest, sender: Sender) -> None:
    """A limit of no seconds leaves the pace to the caller."""
    ingest.answer(429, {"Retry-After": "0"})
    assert sender.send(envelope()) == Retry(None, RATE_LIMITED)
    ingest.heal()
    assert sender.send(envelope()) == Delivered()


def test_limits_by_category(ingest: Ingest, sender: Sender) -> None:
    """A limit on transactions, even in a success's headers, leaves errors alone."""
    limits = "junk, 120:transaction;span:organization:quota, 5:profile:key"
    ingest.answer(200, {"X-Sentry-Rate-Limits": limits})
    assert sender.send(error_envelope()) == Delivered()
    held = sender.send(envelope())
    assert isinstance(held, Retry)
    assert held.reason == RATE_LIMITED
    assert held.after is not None
    assert 100 < held.after <= 120

    both = error_envelope()
    both.add_transaction(transaction())  # type: ignore[arg-type] # Event is a TypedDict
    assert sender.send(both) == Delivered(left_out=(both.items[1],))
    assert len(ingest.errors) == 2
    assert ingest.transactions == []
    assert len(both.items) == 2


def test_a_limit_without_categories_is_for_all(ingest: Ingest, sender: Sender) -> None:
    """``60::organization`` holds every category."""
    ingest.answer(200, {"X-Sentry-Rate-Limits": "60::organization"})
    assert sender.send(envelope()) == Delivered()
    assert isinstance(sender.send(error_envelope()), Retry)


@pytest.mark.parametrize("lifecycle", ["static", "stream"])
def test_delivery_records_nothing_of_itself(
    ingest: Ingest, sender: Sender, lifecycle: Literal["static", "stream"]
) -> None:
    """A send inside an open span, with all of Sentry's integrations on, leaves no trace there."""
    with Ingest() as application:  # the process's own Sentry, on another port
        before = sentry_sdk.get_global_scope().client
        sentry_sdk.init(
            application.dsn, traces_sample_rate=1.0, release="test", trace_lifecycle=lifecycle
        )
        try:
            with sentry_sdk.isolation_scope(), sentry_sdk.new_scope():
                open_span = (
                    sentry_sdk.traces.start_span(name="open")
                    if lifecycle == "stream"
                    else sentry_sdk.start_transaction(name="open")
                )
                with open_span:
                    assert sender.send(envelope()) == Delivered()
                    with unobserved():
                        logging.getLogger("delivery").error("nobody hears this")
                        sentry_sdk.capture_message("nor this")
                sentry_sdk.capture_message("after")
            sentry_sdk.flush(5)
            # Its own thread may have just taken the span, and flush doesn't wait for that one.
            application.wait_for(lambda: application.transactions or application.spans)
        finally:
            sentry_sdk.get_client().close()
            sentry_sdk.get_global_scope().set_client(before)
        (request,) = ingest.requests
        assert not {"sentry-trace", "baggage"} & request.headers.keys()
        (after,) = application.errors
        assert after["message"] == "after"
        assert not after.get("breadcrumbs", {}).get("values")
        if lifecycle == "static":
            (event,) = application.transactions
            assert event["spans"] == []
        else:
            assert [span["name"] for span in application.spans] == ["open"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"dsn": "https://sentry.example/1"}, "Missing public key"),
        ({"dsn": "http://key@host:port/1"}, "DSN"),
        ({"dsn": "http://key@host/1", "http_proxy": "ftp://proxy"}, "proxy"),
        ({"dsn": "http://key@host/1", "ca_certs": "/nowhere.pem"}, "/nowhere.pem"),
    ],
    ids=["no key", "bad port", "proxy", "bundle"],
)
def test_bad_settings(arguments: dict[str, str], complaint: str) -> None:
    """A setting that can't work is one line when the sender is made, not a silent retry."""
    with pytest.raises(TelemetryError, match=complaint) as caught:
        Sender(**arguments)  # type: ignore[arg-type] # a table of arguments
    assert "\n" not in str(caught.value)
