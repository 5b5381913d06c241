"""What else lives in the process: plain ``sentry_sdk``, other transactions, other services."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry
from telemetry.testing import capture

from .whole import (
    assert_current,
    assert_faultless,
    foreign_transaction,
    plain,
    traces,
    tree,
    trees,
)

if TYPE_CHECKING:
    from telemetry.testing import Captured

    from .whole import Lifecycle

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def _say(number: int) -> None:
    """Everything that application code does with plain Sentry, interleaved with the others'."""
    sentry_sdk.set_user({"id": f"u-{number}"})
    await asyncio.sleep(0)
    sentry_sdk.set_tag("number", number)
    sentry_sdk.set_context("call", {"number": number})
    await asyncio.sleep(0)
    with plain("db.query", f"q-{number}"):
        await asyncio.sleep(0)
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("inner", number)
            await asyncio.sleep(0)
            with plain("http.client", f"h-{number}"), sentry_sdk.new_scope() as deeper:
                deeper.set_tag("deeper", number)
                await asyncio.sleep(0)
                sentry_sdk.capture_exception(LookupError(f"captured {number}"))
            with telemetry.span("ours", f"o-{number}"):
                await asyncio.sleep(0)
                logging.getLogger("app").error("logged %s", number)
    sentry_sdk.capture_message(f"said {number}", level="error")


async def test_plain_sentry_in_twenty_conversations_never_mixes(captured: Captured) -> None:
    """Users, tags, contexts, spans, errors and logs are each conversation's own."""

    async def hold(number: int) -> None:
        async with telemetry.conversation("host", id=f"c-{number}"):
            await asyncio.gather(_say(number), asyncio.to_thread(sentry_sdk.set_tag, "t", number))

    await asyncio.gather(*(hold(number) for number in range(20)))

    numbers: dict[str, str] = {}
    for event in captured.conversations:
        number = event["contexts"]["trace"]["data"]["gen_ai.conversation.id"].removeprefix("c-")
        numbers[event["contexts"]["trace"]["trace_id"]] = number
        assert event["user"] == {"id": f"u-{number}"}
        assert {key: str(value) for key, value in event["tags"].items()} == {
            "number": number,
            "t": number,
        }
    assert trees(captured) == sorted(
        f"conversation host\n"
        f"└─ db.query q-{number}\n"
        f"   ├─ http.client h-{number}\n"
        f"   └─ ours o-{number}"
        for number in range(20)
    )
    arrived = traces(captured)
    assert len(captured.errors) == 60
    for error in captured.errors:
        trace = error["contexts"]["trace"]
        number = numbers[trace["trace_id"]]
        span = next(s for s in arrived[trace["trace_id"]] if s.span_id == trace["span_id"])
        assert error["user"] == {"id": f"u-{number}"}
        assert error["contexts"]["call"] == {"number": int(number)}
        tags = {key: str(value) for key, value in error["tags"].items()}
        said, expected_span, extra = _what(error)
        assert said.endswith(f" {number}")
        assert span.op == expected_span
        assert tags.items() >= dict.fromkeys(["number", *extra], number).items()
        assert ("deeper" in tags, "inner" in tags) == ("deeper" in extra, "inner" in extra)
    assert_faultless(captured)


def _what(error: dict[str, Any]) -> tuple[str, str, list[str]]:
    """What an error said, op of the span it must be of, tags that the nested scopes add."""
    if error.get("exception"):
        return error["exception"]["values"][0]["value"], "http.client", ["inner", "deeper"]
    if error.get("logentry"):
        return error["logentry"]["formatted"], "ours", ["inner"]
    return error["message"], "conversation", []


async def test_errors_captured_by_our_api_carry_their_conversation(captured: Captured) -> None:
    """From inside a span, from another task, from outside any conversation, after its end."""
    async with telemetry.conversation("host", user={"id": "u"}, tags={"a": "b"}) as conversation:
        with telemetry.span("work") as span:
            conversation.capture_exception(ValueError("inside"))
    conversation.capture_exception(ValueError("after"))
    async with telemetry.conversation("other", user={"id": "not u"}):
        conversation.capture_exception(ValueError("from another"))

    found = {error["exception"]["values"][0]["value"]: error for error in captured.errors}
    assert {said: error["contexts"]["trace"]["span_id"] for said, error in found.items()} == {
        "inside": span.id,
        "after": conversation.root.id,
        "from another": conversation.root.id,
    }
    for error in found.values():
        assert error["contexts"]["trace"]["trace_id"] == conversation.trace_id
        assert (error["user"], error["tags"]) == ({"id": "u"}, {"a": "b"})
    assert_faultless(captured)


def test_what_is_reported_or_logged_is_built_off_the_calling_thread(lifecycle: Lifecycle) -> None:
    """So no lock of the SDK's, a handler's or a profiler's stands between a call and its errors."""
    built_by: dict[str, str] = {}

    def note(event: Any, hint: Any) -> Any:
        what = event.get("type") or ("logged" if event.get("logentry") else "reported")
        built_by[what] = threading.current_thread().name
        return event

    with capture(lifecycle=lifecycle, before_send=note, before_send_transaction=note) as captured:
        with telemetry.conversation("host") as conversation:
            conversation.capture_exception(ValueError())
            logging.getLogger("app").error("logged")
        assert len(captured.conversations) == 1

    expected = {"reported", "logged", *(["transaction"] if lifecycle == "transaction" else [])}
    assert built_by == dict.fromkeys(expected, "telemetry-delivery")


def test_a_breadcrumb_hook_may_log_and_raise(lifecycle: Lifecycle) -> None:
    """What is logged leaves a breadcrumb, which asks the hook, which logs: that has an end."""
    asked = 0

    def before_breadcrumb(crumb: Any, hint: Any) -> Any:
        nonlocal asked
        asked += 1
        logging.getLogger("hook").error("of a hook")
        raise RuntimeError("of a hook")

    with capture(lifecycle=lifecycle, before_breadcrumb=before_breadcrumb) as captured:
        with telemetry.conversation("host", user={"id": "u"}):
            logging.getLogger("app").error("logged")
            sentry_sdk.add_breadcrumb(message="left")
        said = [error["logentry"]["formatted"] for error in captured.errors]
        assert said.count("logged") == 1
        assert asked == 2
        assert {error["user"]["id"] for error in captured.errors} == {"u"}
        assert_faultless(captured)


def test_spans_that_a_hook_loses_by_raising_are_all_counted() -> None:
    """A conversation's transaction is dropped with its spans: each of them is accounted for."""

    def before_send_transaction(event: Any, hint: Any) -> Any:
        raise RuntimeError("of a hook")

    with capture(before_send_transaction=before_send_transaction) as captured:
        with telemetry.conversation("host"), telemetry.span("outer"), telemetry.span("inner"):
            pass
        assert captured.transactions == []
        assert captured.runtime.stats().dropped == {"callback_error": 3}


def test_what_is_set_outside_is_everybodys(captured: Captured) -> None:
    """The process's own tags show on every conversation; a conversation's never outside it."""
    sentry_sdk.set_tag("app", "a")
    with telemetry.conversation("host"):
        sentry_sdk.set_tag("conversation", "c")
        with telemetry.conversation("nested"):
            sentry_sdk.set_tag("nested", "n")
    sentry_sdk.capture_exception(ValueError())

    assert [(event["transaction"], event["tags"]) for event in captured.conversations] == [
        ("nested", {"app": "a", "nested": "n"}),
        ("host", {"app": "a", "conversation": "c"}),
    ]
    assert [error["tags"] for error in captured.errors] == [{"app": "a"}]
    assert_faultless(captured)


# -- other transactions, other services ----------------------------------------------------------


async def test_inside_a_web_services_transaction(captured: Captured) -> None:
    """There a span is that transaction's child; a conversation opened there is its own trace."""
    with foreign_transaction("http.server", "POST /call"):
        with telemetry.span("db.query", "before"):
            pass
        async with telemetry.conversation("host") as conversation:
            with telemetry.span("inside") as inside:
                assert_current(inside)
        with telemetry.span("db.query", "after"):
            pass

    assert trees(captured) == [
        "conversation host\n└─ inside",
        "http.server POST /call\n├─ db.query after\n└─ db.query before",
    ]
    assert tree(captured, conversation) == "conversation host\n└─ inside"
    assert captured.runtime.stats().orphan_spans == 0


async def test_a_callers_trace_is_continued(captured: Captured) -> None:
    """The conversation is a child of its caller's span, and says so to whom it calls."""
    headers = {
        "sentry-trace": f"{TRACE}-{PARENT}-1",
        "baggage": f"sentry-trace_id={TRACE},sentry-sample_rand=0.1,sentry-release=theirs",
    }
    async with telemetry.conversation("host", headers=headers) as conversation:
        with telemetry.span("http.client") as span:
            sent = telemetry.trace_headers()
        late = conversation.start_span("open")

    assert conversation.trace_id == TRACE
    assert sent["sentry-trace"] == f"{TRACE}-{span.id}-1"
    assert "sentry-release=theirs" in sent["baggage"]
    [event] = captured.conversations
    assert event["contexts"]["trace"]["parent_span_id"] == PARENT
    assert tree(captured, conversation) == "conversation host\n├─ http.client\n└─ open"
    assert not late.is_open
    assert_faultless(captured, open_at_finish=1)


@pytest.mark.parametrize("why", ["the sample rate", "its caller"])
async def test_unsampled(lifecycle: Lifecycle, why: str) -> None:
    """Everything works, everything is current, its callees are told, and nothing is sent."""
    headers = {"sentry-trace": f"{TRACE}-{PARENT}-0"} if why == "its caller" else {}
    rate = 0.0 if why == "the sample rate" else 1.0
    with capture(sample_rate=rate, lifecycle=lifecycle) as captured:
        async with telemetry.conversation("host", headers=headers):
            with telemetry.span("outer") as outer:
                assert_current(outer)
                await asyncio.to_thread(assert_current, outer)
                with plain("http.client", "plain"):
                    pass
                assert telemetry.trace_headers()["sentry-trace"].endswith("-0")
            sentry_sdk.capture_exception(ValueError())

        assert captured.transactions == []
        assert len(captured.errors) == 1
        stats = captured.runtime.stats()
    assert (stats.conversations, stats.spans, stats.dropped_spans) == (1, 2, 0)
