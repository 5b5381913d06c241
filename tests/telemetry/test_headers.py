"""Trace headers from strangers: what is unsound is passed over, what is sound is not obeyed."""

from __future__ import annotations

import asyncio
import json
from collections import UserDict
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import telemetry
from telemetry import headers
from telemetry.stats import refused_headers
from telemetry.testing import capture
from tests.ingest import Ingest

TRACE, SPAN = "0123456789abcdef" * 2, "fedcba9876543210"
NAME = f"{TRACE}-{SPAN}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        f"{TRACE}",
        f"{TRACE}-{SPAN}-2",
        f"{TRACE}-{SPAN}-1-1",
        f"{TRACE[:-1]}-{SPAN}",
        f"{TRACE}0-{SPAN}",
        f"{'0' * 32}-{SPAN}",
        f"{TRACE}-{'0' * 16}",
        f"{'g' * 32}-{SPAN}",
        f"{NAME}-1\r\nX-Injected: yes",
        f"{NAME}, {NAME}",
        f"{'٣' * 32}-{SPAN}",
        "0" * 1_000_000,
        None,
        7,
        [NAME],
        b"\xff\xfe",
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_malformed_is_passed_over_and_counted(value: Any) -> None:
    """Never an error, never half a trace."""
    before = refused_headers.read()
    assert headers.valid({"sentry-trace": value, "baggage": "sentry-environment=x"}) == {}
    assert refused_headers.read() == before + 1


@pytest.mark.parametrize("trusted", [False, True])
@given(st.dictionaries(st.text(), st.text() | st.binary() | st.none() | st.integers()))
def test_anything_at_all(trusted: bool, sent: dict[str, Any]) -> None:
    """Whatever comes, what goes on is well-formed."""
    for name in ("sentry-trace", "baggage", "traceparent"):
        sent.setdefault(name, "x")
    found = headers.valid(sent, trusted=trusted)
    assert found == {}


@given(st.text(alphabet='sentry-=,; acid_ \x00é%"\\', max_size=200))
def test_any_baggage(baggage: str) -> None:
    """What is kept of it is what a header may hold."""
    found = headers.valid({"sentry-trace": NAME, "baggage": baggage})
    assert found["sentry-trace"] == NAME
    assert found.get("baggage", "").isprintable()
    assert found.get("baggage", "").isascii()


def test_a_mapping_that_breaks() -> None:
    """Also where it isn't even a mapping of headers."""

    class Broken(UserDict[str, str]):
        def __iter__(self) -> Any:
            raise RuntimeError("no headers today")

    assert headers.valid(Broken()) == {}
    assert headers.valid(None) == {}


def test_names_in_any_case() -> None:
    """As HTTP has them; bytes too, as ASGI has them."""
    assert headers.valid({"Sentry-Trace": NAME.upper().encode()}) == {"sentry-trace": NAME}


def test_a_strangers_sampling_is_not_obeyed() -> None:
    """Neither the flag nor what baggage says of it, unless they are trusted."""
    sent = {
        "sentry-trace": f"{NAME}-0",
        "baggage": f"other=1,sentry-trace_id={TRACE},sentry-sampled=false,sentry-sample_rand=0.9,"
        "sentry-sample_rate=0,sentry-org_id=7,sentry-transaction=a%20b",
    }
    assert headers.valid(sent) == {
        "sentry-trace": NAME,
        "baggage": f"sentry-trace_id={TRACE},sentry-org_id=7",
    }
    trusted = headers.valid(sent, trusted=True)
    assert trusted["sentry-trace"] == f"{NAME}-0"
    assert "sentry-sampled=false" in trusted["baggage"]
    assert "other" not in trusted["baggage"]


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
def test_nothing_of_a_stranger_goes_on(lifecycle: Literal["transaction", "stream"]) -> None:
    """Their key, organisation and sampling are in no envelope of ours, nor in our requests."""
    sent = {
        "sentry-trace": f"{NAME}-1",
        "baggage": f"sentry-trace_id={TRACE},sentry-public_key=theirs,sentry-org_id=4711,"
        "sentry-sample_rand=0.123456,sentry-release=theirs,sentry-sampled=true,tenant=theirs",
    }
    with Ingest() as ingest, telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle) as runtime:
        with telemetry.conversation("c", headers=telemetry.extract(sent)) as conversation:
            going_out = telemetry.trace_headers()
            conversation.capture_exception(ValueError("reported"))
        assert runtime.flush(30)
        envelopes = [envelope.headers["trace"] for envelope in ingest.envelopes]
    assert conversation.trace_id == TRACE
    for said in (going_out["baggage"], *map(str, envelopes)):
        assert TRACE in said
        assert [word for word in ("theirs", "4711", "0.123456") if word in said] == [], said
    assert len(envelopes) == 2


def test_baggage_of_another_trace() -> None:
    """Its facts are somebody else's."""
    before = refused_headers.read()
    sent = {"sentry-trace": NAME, "baggage": f"sentry-trace_id={'1' * 32},sentry-org_id=7"}
    assert headers.valid(sent) == {"sentry-trace": NAME}
    too_long = {"sentry-trace": NAME, "baggage": "sentry-environment=x," * 1_000}
    assert headers.valid(too_long) == {"sentry-trace": NAME}
    assert refused_headers.read() == before + 2


@pytest.mark.parametrize(
    ("value", "trusted"),
    [
        (f"00-{NAME}-01", f"{NAME}-1"),
        (f"00-{NAME}-00", f"{NAME}-0"),
        (f"01-{NAME}-03", f"{NAME}-1"),
    ],
)
def test_w3c(value: str, trusted: str) -> None:
    """``traceparent`` continues a trace where there is no ``sentry-trace``."""
    assert headers.valid({"traceparent": value}) == {"sentry-trace": NAME}
    assert headers.valid({"traceparent": value}, trusted=True) == {"sentry-trace": trusted}
    assert headers.valid({"traceparent": value, "sentry-trace": f"{'1' * 32}-{SPAN}"}) == {
        "sentry-trace": f"{'1' * 32}-{SPAN}"
    }
    assert headers.valid({"traceparent": f"ff-{NAME}-01"}) == {}


def test_w3c_and_back() -> None:
    """What is sent as W3C's is what was Sentry's."""
    assert headers.traceparent(f"{NAME}-0") == f"00-{NAME}-00"
    assert headers.traceparent(f"{NAME}-1") == f"00-{NAME}-01"
    assert headers.traceparent("nonsense") is None


def test_a_stranger_cannot_switch_telemetry_off() -> None:
    """Their trace is continued, and recorded as this process decides."""
    sent = {
        "sentry-trace": f"{NAME}-0",
        "baggage": f"sentry-trace_id={TRACE},sentry-sampled=false,sentry-sample_rand=0.999999",
    }
    with capture() as captured:
        with telemetry.conversation("c", headers=headers.valid(sent)):
            pass
        [conversation] = captured.conversations
    assert conversation["contexts"]["trace"]["trace_id"] == TRACE
    assert conversation["contexts"]["trace"]["parent_span_id"] == SPAN


@pytest.mark.parametrize(("organisation", "continued"), [("7", True), ("8", False), (None, False)])
def test_strict_continuation(organisation: str | None, continued: bool) -> None:
    """With it, a trace is continued only for callers of the same organisation."""
    baggage = f"sentry-trace_id={TRACE}"
    if organisation is not None:
        baggage += f",sentry-org_id={organisation}"
    sent = headers.valid({"sentry-trace": f"{NAME}-1", "baggage": baggage})
    with capture(strict_trace_continuation=True, dsn="http://key@o7.localhost/1") as captured:
        with telemetry.conversation("c", headers=sent) as conversation:
            pass
        assert len(captured.conversations) == 1
    assert (conversation.trace_id == TRACE) is continued


async def test_a_message_carries_its_context() -> None:
    """What takes it from a queue, elsewhere and later, continues the trace below the sender."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    with capture() as captured:
        async with telemetry.conversation("sender"):
            with telemetry.span("publish") as span:
                message = {"words": "Good evening"}
                telemetry.inject(message)
                await queue.put(json.dumps(message))
        sent = telemetry.extract(json.loads(await queue.get()))
        with telemetry.transaction("queue.process", "words", headers=sent):
            pass
        sender, received = (event["contexts"]["trace"] for event in captured.transactions)
    assert sent.keys() == {"sentry-trace", "baggage"}
    assert received["trace_id"] == sender["trace_id"]
    assert received["parent_span_id"] == span.id


def test_a_message_without_context() -> None:
    """Outside of any span nothing is written, and what came without begins a trace of its own."""
    message: dict[str, str] = {}
    with capture():
        telemetry.inject(message)
    assert message == telemetry.extract(message) == {}
