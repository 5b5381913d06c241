"""Starting, stopping, counting, and getting everything out."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry
from telemetry.delivery.thread import Delivery
from telemetry.store import TraceStore
from telemetry.testing import capture
from telemetry.trace.span import Span
from tests.ingest import Ingest, assert_accepted

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.testing import Captured


def test_exports() -> None:
    """`__all__` names exactly what the package offers."""
    assert all(hasattr(telemetry, name) for name in telemetry.__all__)
    assert sorted(telemetry.__all__) == telemetry.__all__


def test_delivered_to_sentry_and_stored(tmp_path: Path) -> None:
    """A conversation reaches an ingest endpoint, is accepted by Relay, and is in the store."""
    with Ingest() as ingest, telemetry.init(dsn=ingest.dsn, store=tmp_path / "t.db") as runtime:
        with telemetry.conversation("host", id="c-1", user={"id": "u"}) as conversation:
            with telemetry.span("gen_ai.chat", attributes={"odd": float("nan"), "it": object()}):
                pass
            conversation.capture_exception(ValueError("reported"))
        assert runtime.flush()

        [event] = ingest.transactions
        assert_accepted(event)
        [error] = ingest.errors
        assert error["contexts"]["trace"]["trace_id"] == conversation.trace_id
        assert error["user"] == {"id": "u"}
    stored = TraceStore(tmp_path / "t.db").conversation("c-1")
    assert stored is not None
    assert (stored.status, len(stored.spans), stored.error_count) == ("ok", 2, 1)


def test_a_long_conversation_goes_on_in_parts(tmp_path: Path) -> None:
    """5,000 spans: one transaction of op `conversation`, the rest in parts, each span once."""
    options: dict[str, Any] = {"store": tmp_path / "t.db", "send_content": True}
    with Ingest() as ingest, telemetry.init(dsn=ingest.dsn, **options) as runtime:
        with telemetry.conversation("host", id="c-1") as conversation:
            for number in range(5_000):
                conversation.start_span("step", str(number)).finish()
        assert runtime.flush(30)

        ops = [event["contexts"]["trace"]["op"] for event in ingest.transactions]
        assert sorted(ops) == ["conversation"] + ["conversation.part"] * 4
        spans = [span for event in ingest.transactions for span in event["spans"]]
        assert {span["description"] for span in spans} == {str(n) for n in range(5_000)}
        assert len(spans) == 5_000
        assert {span["parent_span_id"] for span in spans} == {conversation.root.id}
        assert {span["trace_id"] for span in spans} == {conversation.trace_id}
        assert runtime.stats().dropped_spans == 0
    stored = TraceStore(tmp_path / "t.db").conversation("c-1")
    assert stored is not None
    assert len(stored.spans) == 5_001


def test_a_second_init_is_refused(captured: Captured) -> None:
    """Once per process, until the first runtime is closed."""
    with pytest.raises(telemetry.TelemetryError, match="already"):
        telemetry.init()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dsn": "not-a-dsn"}, "DSN"),
        ({"sample_rate": 2.0}, "sample_rate"),
        ({"lifecycle": "streamed"}, "lifecycle"),
        ({"add_full_stack": True}, "add_full_stack"),
    ],
)
def test_bad_options_are_one_clear_line(options: dict[str, object], problem: str) -> None:
    """What can't be used is said, and nothing is left half initialised."""
    with pytest.raises(telemetry.TelemetryError, match=problem) as raised:
        telemetry.init(**options)  # type: ignore[arg-type]  # wrong on purpose
    assert "\n" not in str(raised.value)
    telemetry.init().close()


def test_before_init_everything_works_and_goes_nowhere() -> None:
    """Code under telemetry can run without it."""
    with telemetry.conversation("host") as conversation, telemetry.span("gen_ai.chat") as span:
        assert telemetry.current_span() is span
        conversation.capture_exception(ValueError())
    with telemetry.span("alone"):
        pass


def test_closing_ends_what_is_open_and_is_idempotent() -> None:
    """Nothing recorded is lost when the process stops in mid-conversation."""
    with Ingest() as ingest:
        runtime = telemetry.init(dsn=ingest.dsn)
        telemetry.conversation("host").start_span("gen_ai.chat")
        assert runtime.close()
        assert runtime.close()

        [event] = ingest.transactions
    assert event["contexts"]["trace"]["status"] == "aborted"
    assert not sentry_sdk.get_client().is_active()


async def test_closing_keeps_its_deadline_when_sentry_hangs() -> None:
    """Without blocking the loop; what it gave up is counted."""
    with Ingest() as ingest:
        ingest.hang()
        runtime = telemetry.init(dsn=ingest.dsn)
        with telemetry.conversation("host"), telemetry.span("gen_ai.chat"):
            pass
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        started = time.monotonic()
        assert not await runtime.aclose(timeout=0.5)
        ticking.cancel()
        assert time.monotonic() - started < 30  # not the minutes that a hung server would take
        assert ticks > 5
        assert runtime.stats().dropped == {"shutdown": 2}


def test_logged_errors_carry_their_conversation(captured: Captured) -> None:
    """A conversation's log errors are events of its own, built off the calling thread."""
    with telemetry.conversation("host", user={"id": "u"}):
        error = ValueError("why")
        logging.getLogger("app").error("could not %s", "reply", exc_info=error)

    [event] = captured.errors
    assert event["user"] == {"id": "u"}
    assert event["logentry"]["formatted"] == "could not reply"
    assert event["exception"]["values"][0]["type"] == "ValueError"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Sentry-Rate-Limits": "99999999999999999999::organization"},
        {"Retry-After": "Wed, 21 Oct 99999 07:28:00 GMT"},
    ],
)
def test_nothing_a_server_answers_ends_delivery(headers: dict[str, str]) -> None:
    """After an absurd answer the next conversation is still delivered, or counted."""
    with Ingest() as ingest:
        runtime = telemetry.init(dsn=ingest.dsn)
        ingest.answer(429, headers)
        with telemetry.conversation("first"):
            pass
        ingest.wait_for(lambda: len(ingest.requests) == 1)
        ingest.heal()
        with telemetry.conversation("second"):
            pass
        runtime.close(timeout=1)
        arrived = len(ingest.transactions)
    assert arrived + sum(runtime.stats().dropped.values()) == 2


def test_one_odd_attribute_costs_itself_only(captured: Captured) -> None:
    """A cycle, a value that can't be printed, a name that isn't text: the conversation arrives."""

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError

    cycle: list[object] = []
    cycle.append(cycle)
    odd = {"cycle": cycle, "unprintable": Unprintable(), 1: "a number", "fine": "yes"}
    with telemetry.conversation("host"), telemetry.span("step") as span:
        span.set(odd)  # type: ignore[arg-type]  # odd on purpose

    [event] = captured.transactions
    assert event["spans"][0]["data"]["fine"] == "yes"
    assert captured.runtime.stats().dropped_spans == 0


def test_one_exception_in_two_conversations_is_two_errors(captured: Captured) -> None:
    """Each is told, under its own user; told twice in one conversation, it is one."""
    error = ConnectionError("the model is gone")
    for user in ("a", "b"):
        with telemetry.conversation("host", user={"id": user}) as conversation:
            conversation.capture_exception(error)
            conversation.capture_exception(error)

    assert [event["user"]["id"] for event in captured.errors] == ["a", "b"]


def test_what_waits_for_the_end_cannot_lose_the_conversation(captured: Captured) -> None:
    """A callback that raises is logged; the conversation is delivered all the same."""

    def broken() -> None:
        raise RuntimeError

    with telemetry.conversation("host") as conversation:
        conversation.on_close(broken)

    assert len(captured.conversations) == 1


def test_headers_of_any_kind_are_taken(captured: Captured) -> None:
    """A mapping that raises, or bytes: no trace is continued, and nothing is raised."""

    class Twice(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            raise LookupError(f"several values for {name}")

    for headers in (Twice({"sentry-trace": "x"}), {b"sentry-trace": b"x"}):
        with telemetry.conversation("host", headers=headers):  # type: ignore[arg-type]
            pass

    assert len(captured.conversations) == 2


def test_a_batch_handed_over_in_the_moment_of_the_end_leaves_nothing_behind() -> None:
    """A thread may still be handing over spans when another has closed the conversation."""
    with capture() as captured:
        with telemetry.conversation("host") as conversation:
            pass
        assert captured.runtime.flush()
        finished = Span(conversation, "work", None, conversation.root, None, None)
        finished.ended_at = finished.started_at
        conversation.spans._finished.append(finished)
        captured.runtime.sink.hand_over(conversation)
        assert captured.runtime.flush()
        delivery = captured.runtime._delivery
        assert isinstance(delivery, Delivery)
        assert delivery._processor._encoded == {}
        assert [event["contexts"]["trace"]["op"] for event in captured.transactions] == [
            "conversation",
            "work",
        ]


def test_a_bad_start_leaves_nothing_started() -> None:
    """What Sentry's own init refuses is raised, and the next start is the first."""
    with pytest.raises(telemetry.TelemetryError, match="no_such_option"):
        telemetry.init(no_such_option=True)
    telemetry.init().close()


@pytest.mark.parametrize(("caller", "continued"), [("7", True), ("8", False)])
def test_only_traces_of_ones_own_organization_are_continued(caller: str, continued: bool) -> None:
    """The organization that ``org_id`` names, where the DSN's host doesn't."""
    trace = "ab" * 16
    headers = {
        "sentry-trace": f"{trace}-{'cd' * 8}-1",
        "baggage": f"sentry-trace_id={trace},sentry-org_id={caller},sentry-sample_rand=0.1",
    }
    with (
        Ingest() as ingest,
        telemetry.init(dsn=ingest.dsn, org_id="7", strict_trace_continuation=True),
        telemetry.conversation("host", headers=headers) as conversation,
    ):
        assert (conversation.trace_id == trace) is continued
